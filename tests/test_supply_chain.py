"""What earmark is made of: bounds, the lock file, the bill of materials, and where each shipped file is from."""

from __future__ import annotations

import configparser
import functools
import hashlib
import importlib.metadata
import itertools
import json
import re
import runpy
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from packaging.markers import default_environment
from packaging.requirements import Requirement
from test_packaging import tracked

from earmark.engine.commands.service import lock

TEXT = lock.LOCK.read_text("utf-8")
PAGE = (REPOSITORY / "docs" / "supply_chain.md").read_text("utf-8")
SCRIPT = runpy.run_path(str(REPOSITORY / "scripts" / "parts" / "lock.py"))
BILL = runpy.run_path(str(REPOSITORY / "scripts" / "parts" / "sbom.py"))
TARGETS = [*itertools.product(SCRIPT["PYTHONS"], SCRIPT["MACHINES"])]
TYPES = {"application", "library", "file", "machine-learning-model"}  # of those that CycloneDX 1.6 has
SUM = re.compile("[0-9a-f]{64}")


def required() -> Iterator[str]:
    """Every requirement of setup.cfg and pyproject.toml."""
    read = configparser.ConfigParser()
    read.read(REPOSITORY / "setup.cfg")
    texts = [read["options"]["install_requires"], *read["options.extras_require"].values()]
    for line in "\n".join(texts).splitlines():
        if line.strip() and not line.startswith(("#", "earmark[")):
            yield line
    built_by = re.search(r"^requires = (\[.*\])$", (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert built_by
    yield from json.loads(built_by[1])


@functools.cache
def environment(python: str, machine: str) -> dict[str, str]:
    here = {"python_version": python, "platform_machine": machine, "python_full_version": f"{python}.1"}
    return {**{key: str(value) for key, value in default_environment().items()}, **here}


@pytest.mark.parametrize("text", sorted(set(required())))
def test_every_requirement_has_a_lower_and_an_upper_bound(text: str) -> None:
    operators = {each.operator for each in Requirement(text).specifier}
    assert operators in ({">=", "<"}, {"=="})


@pytest.mark.parametrize(("python", "machine"), TARGETS)
def test_the_lock_has_all_that_a_service_needs_and_each_within_its_bounds(python: str, machine: str) -> None:
    here = environment(python, machine)
    locked = lock.pins(TEXT, here)
    for text in SCRIPT["requirements"]():
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate(here):
            assert wanted.specifier.contains(locked[wanted.name.lower()]), text
    needed = {name for line in re.findall(r"^    # needs: (.*)$", TEXT, re.MULTILINE) for name in line.split()}
    assert needed <= set(locked)


def test_every_locked_package_has_sums_and_nothing_else() -> None:
    pieces = re.split(r"^(?=[\w.-]+==)", TEXT, flags=re.MULTILINE)[1:]
    assert len(pieces) > 30
    for piece in pieces:
        first, *rest = piece.splitlines()
        sums = [line.split("sha256:")[1].removesuffix(" \\") for line in rest if "--hash=sha256:" in line]
        assert sums, first
        assert all(SUM.fullmatch(each) for each in sums)
        assert all(line.startswith(("    --hash=sha256:", "    # ")) for line in rest)
    assert "://" not in TEXT


@pytest.mark.parametrize("python", ["3.9", "3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("machine", SCRIPT["MACHINES"])
def test_the_service_reads_the_lock_as_pip_does(python: str, machine: str) -> None:
    here, pips = environment(python, machine), {}
    for line in re.findall(r"^[\w.-]+==.*$", TEXT, re.MULTILINE):
        wanted = Requirement(line.removesuffix(" \\"))
        if wanted.marker is None or wanted.marker.evaluate(here):
            pips[wanted.name] = str(wanted.specifier).removeprefix("==")
    assert lock.pins(TEXT, here) == pips


def all_targets_but(*left_out: tuple[str, str]) -> set[tuple[str, str]]:
    return {*TARGETS} - {*left_out}


@pytest.mark.parametrize(
    "targets",
    [
        all_targets_but(),
        all_targets_but(("3.11", "aarch64"), ("3.11", "x86_64")),
        all_targets_but(("3.13", "aarch64"), ("3.13", "x86_64")),
        {("3.12", "aarch64"), ("3.12", "x86_64")},
        {("3.11", "aarch64"), ("3.13", "aarch64"), ("3.13", "x86_64")},
    ],
    ids=lambda targets: f"{len(targets)} targets",
)
def test_a_pin_is_for_the_targets_that_pip_chose_it_for(targets: set[tuple[str, str]]) -> None:
    line = f"some-package==1.0{SCRIPT['marker'](targets)} \\\n"
    found = {(python, machine) for python, machine in TARGETS if lock.pins(line, environment(python, machine))}
    assert found == targets


def test_an_installation_that_is_not_the_locked_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = lock.pins(TEXT)
    monkeypatch.setattr(importlib.metadata, "version", installed.__getitem__)
    assert lock.remarks() == []
    installed["numpy"] = "1.0"
    (remark,) = lock.remarks()
    assert remark.startswith("1 packages are not those that earmark locks by their sums: numpy 1.0, not ")
    assert f"`{sys.executable} -I -m pip install --require-hashes --only-binary :all: -r {lock.LOCK}`" in remark
    del installed["setuptools"]
    installed.pop("numpy")

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert "numpy none, not " in lock.remarks()[0], "what makes the wheel is not needed to run"


# --- the bill of materials


def wheel_in(folder: Path, more: bytes = b"") -> Path:
    """A wheel of the files that are no modules, as a build has them; `more` makes it another one."""
    folder.mkdir()
    wheel = folder / "earmark-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "Metadata-Version: 2.1\nName: earmark\nVersion: 0.1.0\nSummary: A wake word\n"
        archive.writestr(zipfile.ZipInfo("earmark-0.1.0.dist-info/METADATA"), about)
        archive.writestr(zipfile.ZipInfo("earmark/cli.py"), more)
        for path in shipped():
            archive.writestr(zipfile.ZipInfo(f"earmark/{path}"), (REPOSITORY / path).read_bytes())
    return wheel


@functools.cache
def shipped() -> tuple[str, ...]:
    """What the wheel has beside modules, as setup.cfg says it."""
    read = configparser.ConfigParser()
    read.read(REPOSITORY / "setup.cfg")
    found = []
    for package, patterns in read["options.package_data"].items():
        folder = REPOSITORY.joinpath(*package.split(".")[1:])
        for line in patterns.splitlines():
            for pattern in filter(None, map(str.strip, line.split(","))):
                found += [str(path.relative_to(REPOSITORY)) for path in folder.glob(pattern)]
    return tuple(sorted(found))


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BILL["bill"](wheel_in(tmp_path_factory.mktemp("bill") / "dist")))
    return found


def components(node: Any) -> Iterator[dict[str, Any]]:
    """All of them, those inside others too."""
    for one in node.get("components", []):
        yield one
        yield from components(one)


def test_the_bill_is_what_cyclonedx_asks_for(bill: dict[str, Any]) -> None:
    """The rules of the JSON schema of version 1.6, of all that is in it."""
    assert set(bill) == {
        "bomFormat",
        "specVersion",
        "serialNumber",
        "version",
        "metadata",
        "components",
        "dependencies",
    }
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"]
    )
    root = bill["metadata"]["component"]
    everything = [root, *components(root), *components(bill)]
    keys = {
        "type",
        "bom-ref",
        "name",
        "version",
        "description",
        "licenses",
        "hashes",
        "purl",
        "properties",
        "components",
    }
    for one in everything:
        assert set(one) <= keys
        assert one["type"] in TYPES
        assert one["hashes"]
        assert all(each["alg"] == "SHA-256" and SUM.fullmatch(each["content"]) for each in one["hashes"])
        kinds = [next(iter(each)) for each in one["licenses"]]
        assert kinds in (["license"], ["expression"])
        assert all(set(each["license"]) in ({"id"}, {"name"}) for each in one["licenses"] if "license" in each)
        assert all(set(each) == {"name", "value"} for each in one.get("properties", []))
        if "purl" in one:
            assert re.fullmatch(r"pkg:pypi/[a-z0-9-]+@[\w.+!]+", one["purl"])
    refs = [one["bom-ref"] for one in everything]
    assert len(refs) == len(set(refs))
    told = [each["ref"] for each in bill["dependencies"]]
    assert len(told) == len(set(told))
    assert {ref for each in bill["dependencies"] for ref in (each["ref"], *each["dependsOn"])} <= set(refs)
    assert all(len(each["dependsOn"]) == len(set(each["dependsOn"])) for each in bill["dependencies"])


def test_the_bill_has_every_locked_package_and_every_file_that_is_no_source(bill: dict[str, Any]) -> None:
    locked = re.findall(r"^([\w.-]+)==(\S+)", TEXT, re.MULTILINE)
    assert [(one["name"], one["version"]) for one in bill["components"]] == locked
    assert sum(len(one["hashes"]) for one in bill["components"]) == TEXT.count("--hash=sha256:")
    carried = {one["name"]: one["hashes"][0]["content"] for one in components(bill["metadata"]["component"])}
    assert {**carried, **{name: digits for name, digits in provenance() if name.endswith("LICENSE.txt")}} == dict(
        provenance()
    )


def test_the_same_wheel_has_the_same_bill_and_another_one_another(tmp_path: Path) -> None:
    made = [BILL["bill"](wheel_in(tmp_path / name, more)) for name, more in (("a", b""), ("b", b""), ("c", b"x"))]
    assert made[0] == made[1] != made[2]
    assert json.loads(made[0])["serialNumber"] != json.loads(made[2])["serialNumber"]


def test_the_bill_lies_beside_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = wheel_in(tmp_path / "dist")
    monkeypatch.setattr(sys, "argv", ["sbom.py", str(wheel)])
    assert BILL["main"]() == 0
    out = wheel.with_name("earmark-0.1.0-py3-none-any.cdx.json")
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes() == BILL["bill"](wheel)
    monkeypatch.setattr(sys, "argv", ["sbom.py"])
    assert BILL["main"]() == 2


# --- where everything is from


def provenance() -> list[tuple[str, str]]:
    """The rows of the page: file and sum."""
    return re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE)


def test_every_shipped_file_that_is_no_source_has_its_row() -> None:
    named = {name for name, _ in provenance()}
    assert len(named) == len(provenance())
    sources = (".service", "requirements.txt", "py.typed", ".html", ".css", ".mjs", ".svg")
    texts = "enroll/web/texts/"
    wanted = {name for name in shipped() if not name.endswith(sources) and not name.startswith(texts)}
    assert named == wanted
    assert len(wanted) >= 10


def test_every_row_has_the_sum_of_its_file_and_names_a_recipe_that_is_there() -> None:
    for name, digits in provenance():
        assert hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest() == digits, name
    for recipes in re.findall(r"^\| `[^`]+` \|.*\| ([^|]*) \| `[0-9a-f]{64}` \|$", PAGE, re.MULTILINE):
        assert [name for name in re.findall(r"`([^`]+)`", recipes) if not (REPOSITORY / name).is_file()] == []


def test_no_file_of_the_project_names_a_host_of_packages() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted.org")
    for name in tracked():
        content = (REPOSITORY / name).read_bytes() if (REPOSITORY / name).is_file() else b""
        assert not [host for host in hosts if host.encode() in content], name
