"""`earmark service`: what it writes, judged by systemd's own tools where they are.

No test starts a service: where a service manager is needed, a program in its place writes down what it is asked.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY
from helpers_store import Run, earmark, environment, save_cosine, snapshot

from earmark.engine.commands.service import steps
from earmark.engine.commands.service.commands import UNIT as UNIT_NAME
from earmark.engine.commands.service.commands import Place, install_steps, left_behind, uninstall_steps
from earmark.engine.commands.service.steps import Try, path_in
from earmark.engine.commands.service.unit import EXEC_START, require_own_environment, require_visible, unit
from earmark.engine.errors import ServiceError
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Settings

pytestmark = pytest.mark.slow

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "/bin/sh"  # systemd wants one that exists
UNIT = "etc/systemd/system/earmark.service"
SETTINGS = "etc/earmark/earmark.toml"
WEB_UNIT = "etc/systemd/system/earmark-web.service"
MOST_EXPOSURE = {UNIT: 1.2, WEB_UNIT: 2.0}
FAKE_SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$0.log"
case "$*" in
*is-system-running*) echo running ;;
*is-enabled*) echo enabled ;;
*is-active*) echo "${ACTIVE:-active}" ;;
*show*) echo "listening to mic" ;;
*"${FAILING:-none of them}"*) echo "no such thing" >&2; exit 5 ;;
esac
"""

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


def install(root: Path, *arguments: str, code: int = 0) -> Run:
    return earmark("service", "install", "--root", root, "--python", PYTHON, *arguments, code=code)


def verify(file: Path, *arguments: str) -> None:
    """systemd's own opinion; it must have nothing to say, for a misspelt key is only a word on standard error."""
    runtime = file.parent / "run"
    runtime.mkdir(exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *arguments, file],
        capture_output=True,
        text=True,
        env=environment(XDG_RUNTIME_DIR=str(runtime)),
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# --- the units


@needs_systemd_analyze
@pytest.mark.parametrize("unit_file", [UNIT, WEB_UNIT])
def test_systemd_finds_nothing_wrong_with_the_system_units(tmp_path: Path, unit_file: str) -> None:
    install(tmp_path)
    verify(tmp_path / unit_file)


@needs_systemd_analyze
def test_systemd_finds_nothing_wrong_with_the_user_unit(tmp_path: Path) -> None:
    file = tmp_path / "earmark.service"
    file.write_text(unit(True, PYTHON, str(tmp_path / "earmark.toml")))
    verify(file, "--user")


@needs_systemd_analyze
@pytest.mark.parametrize("unit_file", [UNIT, WEB_UNIT])
def test_the_system_units_are_hardened(tmp_path: Path, unit_file: str) -> None:
    install(tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", tmp_path / unit_file],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    found = re.search(r"exposure level for earmark(?:-web)?\.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) <= MOST_EXPOSURE[unit_file]


@pytest.mark.parametrize(
    "unit_file", sorted((REPOSITORY / "engine/daemon/units").iterdir()), ids=lambda path: path.stem
)
def test_no_unit_leaves_a_core_dump(unit_file: Path) -> None:
    """It would hold voices, and the key of an encrypted store."""
    assert "\nLimitCORE=0\n" in unit_file.read_text("utf-8")


@needs_systemd_analyze
@pytest.mark.parametrize("name", ["a b", "50%n", "$HOME", "${HOME}", "Zoë;", "~", "-@:+!"])
def test_systemd_finds_an_interpreter_wherever_it_is(tmp_path: Path, name: str) -> None:
    """systemd-analyze says so if the program of the unit is not there."""
    python = tmp_path / name / "python"
    python.parent.mkdir()
    python.symlink_to(PYTHON)
    file = tmp_path / "earmark.service"
    file.write_text(unit(True, str(python), str(tmp_path / name / "earmark.toml")))
    verify(file, "--user")


def test_an_argument_of_the_unit_is_not_expanded() -> None:
    lines = unit(True, "/a$b/python", '/c $d/50%/"e".toml').splitlines()
    (line,) = [line for line in lines if line.startswith("ExecStart=")]
    assert line == r'ExecStart=/a$b/python -I -u -m earmark.cli listen --json --settings "/c $$d/50%%/\"e\".toml"'


@pytest.mark.parametrize("path", ["bin/python", "/a\nExecStartPre=/bin/rm", "/a\udcff", ""])
def test_a_path_that_cannot_stand_in_a_unit_is_refused(path: str) -> None:
    with pytest.raises(ServiceError, match="absolute path of printable"):
        unit(False, path, "/etc/earmark/earmark.toml")


@pytest.mark.parametrize("path", ["/it's/python", '/say "hi"/python', "/back\\slash/python"])
def test_an_interpreter_that_systemd_does_not_start_is_refused(path: str) -> None:
    with pytest.raises(ServiceError, match="no quotes and no backslash"):
        unit(True, path, "/etc/earmark/earmark.toml")


@pytest.mark.parametrize("user", [False, True])
def test_what_the_daemon_relies_on_is_in_the_unit(user: bool) -> None:
    lines = set(unit(user, PYTHON, "/etc/earmark/earmark.toml").splitlines())
    assert lines >= {
        "Type=notify",
        "NotifyAccess=main",
        "TimeoutStartSec=300s",
        "Restart=on-failure",
        'ExecReload=/bin/sh -c "kill -HUP $MAINPID"',
        "MemoryDenyWriteExecute=yes",
        "RuntimeDirectory=earmark",
    }
    if not user:
        assert lines >= {"ProtectHome=yes", "IPAddressDeny=any", "DevicePolicy=closed", "StateDirectoryMode=0700"}


@pytest.mark.parametrize("user", [False, True])
def test_the_unit_lets_the_service_be_announced(user: bool) -> None:
    """Zeroconf lists this machine's addresses by netlink, and speaks to the groups of mDNS."""
    values = dict(line.split("=", 1) for line in unit(user, PYTHON, "/x.toml").splitlines() if line[:1].isalpha())
    assert "AF_NETLINK" in values["RestrictAddressFamilies"].split()
    assert user or {"224.0.0.251", "ff02::fb"} <= set(values["IPAddressAllow"].split())


def test_a_wheel_carries_the_units(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("engine", "enroll", "models"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "folds"))
    for name in ("setup.cfg", "pyproject.toml", "cli.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, source)
    line = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PIP_RETRIES": "0"}, check=False)
    if done.returncode and "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index to get setuptools from")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in ("earmark.service", "earmark-user.service"):
            unit = (REPOSITORY / "engine/daemon/units" / name).read_bytes()
            assert archive.read(f"earmark/engine/daemon/units/{name}") == unit


# --- into an image


def test_a_dry_run_writes_nothing_and_shows_everything(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    before = snapshot(tmp_path)
    shown = install(tmp_path, "--dry-run").out
    told = install(tmp_path, "--dry-run", "--json").events
    assert snapshot(tmp_path) == before
    assert {step["result"] for step in told} == {"dry run"}
    install(tmp_path)
    for file in (UNIT, SETTINGS):
        content = (tmp_path / file).read_text()
        assert {"step": f"write {tmp_path / file}", "result": "dry run", "content": content} in told
        assert "".join(f"    {line}\n" for line in content.splitlines()) in shown
    written = snapshot(tmp_path)
    earmark("service", "uninstall", "--root", tmp_path, "--dry-run")
    assert snapshot(tmp_path) == written


def test_install_and_uninstall_leave_only_the_settings(tmp_path: Path) -> None:
    assert [step["result"] for step in install(tmp_path, "--json").events] == ["written"] * 5
    files = {name for name, content in snapshot(tmp_path).items() if content is not None}
    link = "etc/systemd/system/multi-user.target.wants/earmark.service"
    assert files == {UNIT, WEB_UNIT, SETTINGS, link, "etc/sysusers.d/earmark.conf"}
    assert (tmp_path / link).resolve() == tmp_path / UNIT
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in (UNIT, SETTINGS)] == [0o644, 0o644]
    run = earmark("service", "uninstall", "--root", tmp_path)
    assert "/etc/earmark/earmark.toml stays" in run.out
    assert "/var/lib/earmark stays" in run.out
    assert {name for name, content in snapshot(tmp_path).items() if content is not None} == {SETTINGS}
    earmark("service", "uninstall", "--root", tmp_path)  # nothing is there any more


def test_the_page_is_off_until_somebody_enables_it_and_goes_with_the_service(tmp_path: Path) -> None:
    install(tmp_path)
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/earmark-web.service"
    assert not os.path.lexists(link)
    assert "WantedBy=multi-user.target" in (tmp_path / WEB_UNIT).read_text()
    link.symlink_to("../earmark-web.service")  # as systemctl enable does
    earmark("service", "uninstall", "--root", tmp_path)
    assert not os.path.lexists(link)
    assert not (tmp_path / WEB_UNIT).exists()


def test_on_this_machine_a_page_that_runs_is_started_anew_and_one_that_goes_is_stopped_first(tmp_path: Path) -> None:
    where = Place(False, Path("/"), tmp_path, tmp_path / UNIT_NAME, tmp_path / "earmark.toml", tmp_path)
    *_, daemon, page = map(str, install_steps(where, PYTHON))
    assert daemon == "systemctl --no-block restart earmark.service"
    assert page == "systemctl --no-block try-restart earmark-web.service"
    for file in (where.unit, where.web_unit):
        file.write_text("ExecStart=x")
    first, second, *_ = map(str, uninstall_steps(where))
    assert first == "systemctl disable --now earmark-web.service"
    assert second == "systemctl disable --now earmark.service"


@pytest.mark.parametrize(
    ("content", "is_told"),
    [('[mqtt]\nhost = "broker"\n', True), ("", False), ("[mqtt]\nhost = 5\n", False), (None, False)],
)
def test_the_broker_is_told_when_the_service_has_ended_and_before_anything_is_gone(
    tmp_path: Path, content: str | None, is_told: bool
) -> None:
    where = Place(True, Path("/"), tmp_path, tmp_path / UNIT_NAME, tmp_path / "earmark.toml", tmp_path)
    where.unit.write_text("ExecStart=x")
    if content is not None:
        where.settings.write_text(content)
    stop, *others = map(str, uninstall_steps(where))
    assert stop.endswith("disable --now earmark.service")
    assert [f"earmark.cli mqtt forget --settings {where.settings}" in step for step in others[:1]] == [is_told]


def test_a_broker_that_cannot_be_told_keeps_nobody_from_uninstalling() -> None:
    assert Try(("sh", "-c", "exit 0")).do() == "done"
    assert Try(("sh", "-c", "echo no broker >&2; exit 1")).do() == (
        "failed, and that is left: `sh -c 'echo no broker >&2; exit 1'` failed with exit code 1: no broker"
    )


def test_the_fresh_settings_change_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    loaded = load(tmp_path / SETTINGS, {})
    assert (loaded.settings, dict(loaded.origins)) == (Settings(), {})


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    results = {step["step"].split("/")[-1]: step["result"] for step in install(tmp_path, "--json").events}
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert set(results.values()) == {"unchanged", "kept"}


def test_settings_that_are_there_are_kept_and_an_old_unit_is_not(tmp_path: Path) -> None:
    for name, content in ((SETTINGS, '[wake]\nmode = "label"\n'), (UNIT, "[Unit]\nDescription=old\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    install(tmp_path)
    assert (tmp_path / SETTINGS).read_text() == '[wake]\nmode = "label"\n'
    assert "Type=notify" in (tmp_path / UNIT).read_text()


def test_settings_that_cannot_be_used_stop_an_installation(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).parent.mkdir(parents=True)
    (tmp_path / SETTINGS).write_text('[wake]\nmod = "label"\n')
    before = snapshot(tmp_path)
    assert "did you mean wake.mode?" in install(tmp_path, code=2).err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("folder", ["/home", "/root", "/run/user", "/tmp"])
def test_an_interpreter_that_the_service_cannot_see_is_refused(tmp_path: Path, folder: str) -> None:
    python = f"{folder}/1000/bin/python"
    run = earmark("service", "install", "--root", tmp_path, "--python", python, code=1)
    assert f"{python} is below {folder}, which a system service does not see" in run.err
    assert "/opt/earmark" in run.err
    assert snapshot(tmp_path) == {}


LINK = "usr/local/bin/earmark"


def test_everybody_finds_the_program_of_a_service_and_so_does_sudo(tmp_path: Path) -> None:
    arguments = ("service", "install", "--root", tmp_path, "--python", "/opt/earmark/bin/python3")
    out = earmark(*arguments).out
    assert os.readlink(tmp_path / LINK) == "/opt/earmark/bin/earmark"  # noqa: PTH115  Path's is not the text
    assert "sudo earmark enroll NAME" in out
    assert f"ln -sf /opt/earmark/bin/earmark {tmp_path / LINK}  (unchanged)" in earmark(*arguments).out.splitlines()
    earmark("service", "uninstall", "--root", tmp_path)
    assert not os.path.lexists(tmp_path / LINK)


def test_a_program_or_a_link_of_others_is_kept(tmp_path: Path) -> None:
    (tmp_path / LINK).parent.mkdir(parents=True)
    (tmp_path / LINK).write_text("of somebody else")
    arguments = ("service", "install", "--root", tmp_path, "--python", "/opt/earmark/bin/python3")
    assert f"{tmp_path / LINK}  (kept)" in earmark(*arguments).out
    assert f"{tmp_path / LINK}  (kept)" in earmark("service", "uninstall", "--root", tmp_path).out
    assert (tmp_path / LINK).read_text() == "of somebody else"
    earmark(*arguments)
    (tmp_path / LINK).unlink()
    (tmp_path / LINK).symlink_to("/home/pi/e/bin/earmark")
    earmark("service", "uninstall", "--root", tmp_path)
    assert os.path.lexists(tmp_path / LINK)


def test_a_program_that_is_found_as_it_is_needs_no_link(tmp_path: Path) -> None:
    install(tmp_path)
    assert not (tmp_path / "usr").exists()


@pytest.mark.parametrize("user", [False, True])
def test_the_units_need_no_program_that_a_small_system_lacks(user: bool) -> None:
    lines = unit(user, PYTHON, "/etc/earmark/earmark.toml").splitlines()
    programs = {line.split("=", 1)[1].split()[0] for line in lines if line.startswith("Exec")}
    assert programs == {PYTHON, "/bin/sh"}


class Installed:
    """What `importlib.metadata` knows of an installation."""

    def __init__(self, told: str | None) -> None:
        self.told = told

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.told


def said_of_home(monkeypatch: pytest.MonkeyPatch, told: str | None) -> str:
    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed(told))
    with pytest.raises(ServiceError) as raised:
        require_visible(["/home/pi/e/bin/python"])
    return str(raised.value)


def test_from_a_home_folder_it_says_the_line_that_leads_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a clone, of a wheel, and of what is not known any more."""
    text = said_of_home(monkeypatch, json.dumps({"url": REPOSITORY.as_uri(), "dir_info": {"editable": True}}))
    assert f"`sudo {shlex.quote(str(REPOSITORY / 'scripts/install_pi'))}` installs earmark into /opt/earmark" in text
    wheel = tmp_path / "ear mark-0.1.0.whl"
    for there in (False, True):
        text = said_of_home(monkeypatch, json.dumps({"url": wheel.as_uri(), "archive_info": {}}))
        assert (
            f"pip install --no-deps '{wheel}' && sudo /opt/earmark/bin/pip install --require-hashes" in text
        ) == there
        wheel.touch()
    for told in (None, "{}", json.dumps({"url": "https://example.org/earmark"})):
        assert "pip install --no-deps WHEEL && " in said_of_home(monkeypatch, told)


def test_who_is_enrolled_beside_the_service_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_cosine(tmp_path / ".local/share/earmark/people", "Anna B")
    monkeypatch.setattr("pwd.getpwnam", {"pi": SimpleNamespace(pw_dir=str(tmp_path))}.__getitem__)
    (line,) = left_behind({"SUDO_USER": "pi"})
    assert line.startswith("'Anna B' is in the people of pi, which the service does not hear: ")
    assert "sudo earmark people import 'Anna B'.tar" in line
    assert list(left_behind({"SUDO_USER": "gone"})) == list(left_behind({})) == []


@pytest.mark.parametrize("user", [False, True])
def test_a_service_loads_nothing_from_where_it_happens_to_be(user: bool) -> None:
    (line,) = [line for line in unit(user, PYTHON, "/s").splitlines() if line.startswith("ExecStart=")]
    assert line.split()[1] == "-I"
    assert command_of_text(line) == PYTHON


def command_of_text(line: str) -> str:
    found = EXEC_START.search(line)
    assert found is not None
    return found["python"]


def test_an_earlier_units_interpreter_is_found_too() -> None:
    assert command_of_text("ExecStart=/opt/earmark/bin/python -m earmark.cli listen") == "/opt/earmark/bin/python"


def test_what_lies_among_a_users_own_packages_is_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    require_own_environment()
    monkeypatch.setattr("site.getusersitepackages", lambda: str(REPOSITORY))
    with pytest.raises(ServiceError, match="install it into an environment, as with `pipx install`"):
        require_own_environment()


@pytest.mark.parametrize(
    ("links", "path", "found"),
    [
        ({}, "/etc/a", "etc/a"),
        ({"etc": "/real"}, "/etc/a", "real/a"),
        ({"etc": "/"}, "/etc/a", "a"),
        ({"etc": "../../../.."}, "/etc/a", "a"),
        ({"etc": "x/../real"}, "/etc/a", "real/a"),
        ({"etc": "/one", "one": "two", "two": "/three/four"}, "/etc/a/b", "three/four/a/b"),
        ({"last": "/elsewhere"}, "/last", "last"),
    ],
)
def test_the_links_of_an_image_are_followed_inside_of_it(
    tmp_path: Path, links: dict[str, str], path: str, found: str
) -> None:
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    assert path_in(tmp_path, Path(path)) == tmp_path / found


def test_links_in_a_circle_are_said(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("/a")
    with pytest.raises(ServiceError, match="round in a circle"):
        path_in(tmp_path, Path("/a/b"))


def test_nothing_outside_of_an_image_is_written(tmp_path: Path) -> None:
    """An image whose folders are absolute links: from outside they lead into this machine's own."""
    image, host = tmp_path / "image", tmp_path / "host"
    for name in ("etc", "usr"):
        (host / name).mkdir(parents=True)
    (host / "settings").write_text("[wake]\n")
    image.mkdir()
    (image / "etc").symlink_to(host / "etc")
    (image / "usr").symlink_to("../host/usr")
    inside = image / str(host / "etc").lstrip("/")
    (inside / "earmark").mkdir(parents=True)
    (inside / "earmark" / "earmark.toml").symlink_to(host / "settings")
    before = sorted(host.rglob("*"))
    run = earmark("service", "install", "--root", image, "--python", "/opt/earmark/bin/python")
    assert sorted(host.rglob("*")) == before
    assert (host / "settings").read_text() == "[wake]\n"
    assert (inside / "systemd" / "system" / "earmark.service").is_file(), run.out
    earmark("service", "uninstall", "--root", image)
    assert sorted(host.rglob("*")) == before


def test_a_program_of_the_system_is_not_one_that_somebody_put_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "install"
    fake.write_text("#!/bin/sh\necho fake\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "fake" not in steps.run(("install", "--version")).stdout
    fake.rename(tmp_path / "systemctl")
    assert steps.run(("systemctl", "--user")).stdout == "fake\n", "of a user, whose PATH it is"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    assert "Not a directory" in install(tmp_path, code=1).err


# --- with a service manager


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a `systemctl` in it."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(FAKE_SYSTEMCTL)
    program.chmod(0o755)
    return tmp_path


def as_user(home: Path, *arguments: str, code: int = 0, **variables: str) -> Run:
    told = environment(HOME=str(home), PATH=f"{home / 'bin'}:{os.environ['PATH']}", **variables)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "SUDO_USER"):
        if name not in variables:
            told.pop(name, None)
    return earmark("service", *arguments, "--user", env=told, code=code)


def asked(home: Path) -> list[str]:
    """What systemctl was asked, questions about its own state left out."""
    log = home / "bin" / "systemctl.log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line for line in lines if "is-system-running" not in line]


def test_a_user_installs_and_uninstalls_a_service(home: Path) -> None:
    run = as_user(home, "install")
    file, settings = home / ".config/systemd/user/earmark.service", home / ".config/earmark/earmark.toml"
    assert file.read_text() == unit(True, sys.executable, str(settings))
    assert settings.stat().st_mode & 0o777 == 0o600
    restart = "--user --no-block restart earmark.service"  # waiting for READY would be waiting for a microphone
    assert asked(home) == ["--user daemon-reload", "--user enable earmark.service", restart]
    for line in ("systemctl --user daemon-reload", f"write {file}  (written)", f"write {settings}  (written)"):
        assert line in run.out.splitlines()
    run = as_user(home, "uninstall")
    assert asked(home) == ["--user disable --now earmark.service", "--user daemon-reload"]
    assert (file.exists(), settings.exists()) == (False, True)
    assert f"{settings} stays" in run.out


def test_a_step_that_fails_is_said_and_ends_it(home: Path) -> None:
    err = as_user(home, "install", code=1, FAILING="enable").err
    assert "`systemctl --user enable earmark.service` failed with exit code 5: no such thing" in err
    assert asked(home)[-1] == "--user enable earmark.service"


def test_status_tells_what_systemd_says(home: Path) -> None:
    as_user(home, "install")
    (facts,) = as_user(home, "status", "--json").events
    assert facts["unit"] == str(home / ".config/systemd/user/earmark.service")
    assert (facts["enabled"], facts["active"], facts["says"]) == ("enabled", "active", "listening to mic")
    assert "no daemon answers" in facts["fault"]
    assert "listening to mic" in as_user(home, "status").out
    assert as_user(home, "status", "--json", code=1, ACTIVE="failed").events[0]["active"] == "failed"


def test_without_systemd_nothing_is_written(home: Path) -> None:
    (home / "bin" / "systemctl").write_text("#!/bin/sh\necho offline\nexit 1\n")
    before = snapshot(home)
    for what in ("install", "uninstall", "status"):
        assert "no systemd of this user runs here (offline)" in as_user(home, what, code=1).err
    assert snapshot(home) == before
    assert json.loads(as_user(home, "install", "--dry-run", "--json").out.splitlines()[0])["result"] == "dry run"


def test_a_users_service_is_not_for_sudo(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    assert "the same without sudo" in as_user(home, "install", code=1, SUDO_USER="pi").err
