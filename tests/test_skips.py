"""A run of CI that skips what is not on the list fails; elsewhere nobody minds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skips
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

CONFTEST = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import skips

def pytest_configure(config):
    allowed = [skips.Allowed("test_listed.py::test_moon*", "no moon: *", "it is new")]
    skips.watch(config, [*allowed, skips.Allowed("test_whole.py", "no sun", "it is night")])
"""
LISTED = """
import pytest

def test_light():
    pass

@pytest.mark.parametrize("side", ["near", "far"])
def test_moon(side):
    pytest.skip("no moon: new")

@pytest.mark.xfail(reason="no stars", strict=True)
def test_stars():
    assert False
"""
WHOLE = "import pytest\npytest.skip('no sun', allow_module_level=True)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tests of which everything that is skipped is listed."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_listed.py").write_text(LISTED)
    (tmp_path / "test_whole.py").write_text(WHOLE)
    return tmp_path


def run(folder: Path, ci: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of pytest in the folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", *arguments],
        cwd=folder,
        env={**environment, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


workers = pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["alone", "two workers"])
NOT_LISTED = {  # file -> source, which test and why
    "test_listed.py": (f"{LISTED}def test_sun():\n    pytest.skip('no moon: new')", "::test_sun: no moon: new"),
    "test_file.py": ("pytest.skip('no moon: new', allow_module_level=True)", ": no moon: new"),
    "test_mark.py": ("@pytest.mark.skip(reason='no sun')\ndef test_moon():\n    pass", "::test_moon: no sun"),
    "test_fixture.py": (
        "@pytest.fixture\ndef sun():\n    pytest.skip('no sun')\ndef test_it(sun):\n    pass",
        "::test_it: no sun",
    ),
    "test_reason.py": ("def test_moon():\n    pytest.skip('no telescope')", "::test_moon: no telescope"),
}


@workers
def test_what_is_listed_may_be_skipped(folder: Path, workers: tuple[str, ...]) -> None:
    code, said = run(folder, "true", *workers)
    assert "1 passed, 3 skipped, 1 xfailed" in said
    assert (code, skips.LISTED.name in said) == (0, False)


@workers
def test_what_is_not_listed_fails_the_run_and_is_named(folder: Path, workers: tuple[str, ...]) -> None:
    for file, (source, _) in NOT_LISTED.items():
        (folder / file).write_text(f"import pytest\n{source}\n")
    code, said = run(folder, "1", *workers)
    assert code == pytest.ExitCode.TESTS_FAILED
    named = said.split(skips.LISTED.name)[1].splitlines()
    wanted = {file + text for file, (_, text) in NOT_LISTED.items()}
    assert {line for line in named if line.startswith("test_")} == wanted


def test_outside_of_ci_anything_may_be_skipped(folder: Path) -> None:
    (folder / "test_more.py").write_text(WHOLE)
    code, said = run(folder, "0")
    assert (code, skips.LISTED.name in said) == (0, False)


@pytest.mark.parametrize(
    ("ci", "wanted"), [(None, False), ("", False), ("0", False), ("False", False), ("1", True), ("true", True)]
)
def test_ci_is_what_says_so(monkeypatch: pytest.MonkeyPatch, ci: str | None, wanted: bool) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    assert skips.is_ci() == wanted


def test_a_failure_keeps_its_exit_code(folder: Path) -> None:
    (folder / "test_more.py").write_text("def test_it():\n    raise KeyboardInterrupt\n")
    (folder / "test_listed.py").write_text("import pytest\ndef test_sun():\n    pytest.skip('cloudy')\n")
    code, said = run(folder, "1")
    assert code == pytest.ExitCode.INTERRUPTED
    assert "test_listed.py::test_sun: cloudy" in said


def test_every_entry_of_the_list_is_of_a_file_that_exists_and_says_why() -> None:
    allowed = skips.read_allowed()
    assert allowed
    for entry in allowed:
        assert len(entry.why) > 20
        assert list(REPOSITORY.glob(entry.test.split("::")[0])), entry.test
