"""One's own people, or the service's: which a command means, and what is said where there are two.

The service is a folder of `nobody` and a unit in a temporary folder. Commands run as root, as `nobody`, and as a
third user, who has no name.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import forked
import pytest
from conftest import REPOSITORY
from helpers_store import RUN_LIMIT_S, Run, checked, environment, save_cosine

NOBODY, ANNA = 65534, 12345

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else"),
]

PROGRAM = """
import os, sys
from pathlib import Path
from earmark.engine.commands import learn_commands, people_commands, wakes_commands
from earmark.engine.commands.service import commands, which_store
from earmark.engine.storage import user_folders
from earmark.enroll.commands import enroll_commands
import encodings.cp437, platformdirs.unix  # a Python of root alone cannot be read any more by another user
from earmark.cli import main
root, user = Path(sys.argv[1]), int(sys.argv[2])
user_folders.SERVICE_FOLDER, which_store.SERVICE_UNIT = root / "service", root / "earmark.service"
if user:
    os.setgroups([]), os.setgid(user), os.setuid(user)
sys.argv = ["earmark", *sys.argv[3:]]
sys.exit(main())
"""


@dataclass(frozen=True)
class Machine:
    """One with a service, in which `slt` is enrolled."""

    root: Path

    @property
    def service(self) -> Path:
        return self.root / "service"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def own(self) -> Path:
        return self.home / ".local/share/earmark"

    def run(self, user: int, *arguments: str | Path, code: int = 0, **variables: str) -> Run:
        env = environment(HOME=str(self.home), XDG_RUNTIME_DIR=str(self.root / "run"), **variables)
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "SUDO_USER"):
            if name not in variables:
                env.pop(name, None)
        done = forked.run(
            [str(self.root), str(user), *map(str, arguments)], b"", Path("/"), env, RUN_LIMIT_S, PROGRAM
        )
        run = checked(done.returncode, done.stdout, done.stderr)
        assert run.code == code, run.err
        return run

    def enrol_own(self, name: str) -> None:
        save_cosine(self.own / "people", name)
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, ANNA, ANNA)


@pytest.fixture
def machine() -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    made = Machine(root)
    for folder, owner in ((made.service, NOBODY), (made.home, ANNA)):
        folder.mkdir(mode=0o700)
        os.chown(folder, owner, owner)
    (root / "earmark.service").touch()
    save_cosine(made.service / "people", "slt")
    yield made
    shutil.rmtree(root)


def test_root_and_the_services_own_user_mean_the_services_people(machine: Machine) -> None:
    for user in (0, NOBODY):
        run = machine.run(user, "people", "list")
        assert (run.out, run.err) == ("slt  (okay_nabu)\n", ""), user


def test_what_is_left_of_a_service_is_still_roots_to_see(machine: Machine) -> None:
    (machine.root / "earmark.service").unlink()
    assert machine.run(0, "people", "list").out == "slt  (okay_nabu)\n"


def test_a_folder_of_root_is_of_no_service(machine: Machine) -> None:
    """As in a container, in which everything is root's: nothing changes there."""
    for path in (machine.service, *machine.service.rglob("*")):
        os.chown(path, 0, 0)
    assert "nobody is enrolled in" in machine.run(0, "people", "list").err


def test_who_names_a_folder_means_it(machine: Machine) -> None:
    machine.enrol_own("anna")
    assert machine.run(0, "people", "list", XDG_DATA_HOME=str(machine.own.parent)).out == "anna  (okay_nabu)\n"
    assert machine.run(0, "people", "list", EARMARK_PEOPLE_STORE=str(machine.own / "people")).out.startswith("anna")
    assert machine.run(0, "people", "list", "--store", machine.own / "people").out == "anna  (okay_nabu)\n"


def test_root_enrols_for_the_service(machine: Machine) -> None:
    machine.run(0, "people", "export", "slt", "--to", machine.root / "slt.tar")
    machine.run(0, "people", "import", machine.root / "slt.tar", "--as", "zoë", "--unjudged")
    assert machine.run(NOBODY, "people", "list").out == "slt  (okay_nabu)\nzoë  (okay_nabu)\n"
    assert {path.lstat().st_uid for path in machine.service.rglob("*")} == {NOBODY}


def test_others_look_at_their_own_and_are_told_of_the_services(machine: Machine) -> None:
    machine.enrol_own("anna")
    for command in (["people", "list"], ["learn", "list"], ["people", "show", "anna"]):
        run = machine.run(ANNA, *command)
        assert f"these are your own, {machine.own / 'people'}; " in run.err
        assert f"hears those in {machine.service / 'people'}: `sudo earmark {' '.join(command)}`" in run.err
        assert "`earmark people export anna --to anna.tar && sudo earmark people import anna.tar`" in run.err
    assert machine.run(ANNA, "people", "list").out == "anna  (okay_nabu)\n"
    run = machine.run(ANNA, "wakes", "list")
    assert f"these are your own, {machine.own / 'wakes'}; " in run.err
    assert f"are in {machine.service / 'wakes'}: `sudo earmark wakes list`" in run.err


def test_nobody_is_enrolled_where_the_service_does_not_hear_it(machine: Machine) -> None:
    """Before anything is recorded; the recordings need not even be there."""
    run = machine.run(ANNA, "enroll", "anna b", "--from", "take.wav", code=2)
    assert f"this machine's service hears the people in {machine.service / 'people'}: " in run.err
    assert "enrol there with `sudo earmark enroll 'anna b' --from take.wav`" in run.err
    assert f"--store {machine.own / 'people'}" in run.err
    assert "export" not in run.err, "there is nobody to take along"
    machine.enrol_own("rms")
    assert "rms is in your own; into the service's with" in machine.run(ANNA, "enroll", "anna", code=2).err


def test_who_names_a_store_is_not_asked(machine: Machine) -> None:
    run = machine.run(ANNA, "enroll", "anna", "--store", machine.own / "people", "--from", "take.wav", code=3)
    assert "service" not in run.err
    assert machine.run(ANNA, "people", "list", EARMARK_PEOPLE_STORE=str(machine.own)).err.count("service") == 0
    assert machine.run(ANNA, "wakes", "list", EARMARK_JOURNAL_FOLDER=str(machine.own)).err == ""


def test_whose_own_daemon_hears_is_not_told_of_another(machine: Machine) -> None:
    socket = machine.root / "run" / "earmark" / "earmark.sock"
    unit = machine.home / ".config" / "systemd" / "user" / "earmark.service"
    for path in (socket, unit):
        path.parent.mkdir(parents=True)
        path.touch()
        for made in (machine.home, *machine.home.rglob("*")):
            os.chown(made, ANNA, ANNA)
        assert "service" not in machine.run(ANNA, "people", "list").err, path
        path.unlink()
    assert "service" in machine.run(ANNA, "people", "list").err


def test_without_a_service_nothing_is_said(machine: Machine) -> None:
    (machine.root / "earmark.service").unlink()
    assert "service" not in machine.run(ANNA, "people", "list").err
    shutil.rmtree(machine.service)
    assert machine.run(ANNA, "wakes", "list").err == ""
    assert str(machine.home) in machine.run(0, "people", "list").err


def test_whose_the_services_people_are_is_said_to_who_may_not_see_them(machine: Machine) -> None:
    run = machine.run(ANNA, "people", "list", "--store", machine.service / "people", code=2)
    assert f"{machine.service} is of the user nobody, who alone may: the same with sudo" in run.err


def test_a_mistyped_argument_is_shown_as_it_was_typed(machine: Machine) -> None:
    run = machine.run(ANNA, "enroll", "$(reboot)", "--from", "a b.wav", code=2)
    assert "`sudo earmark enroll '$(reboot)' --from 'a b.wav'`" in run.err


def test_the_units_folder_is_the_one_that_commands_take() -> None:
    from earmark.engine.commands.service.which_store import SERVICE_UNIT
    from earmark.engine.storage.user_folders import SERVICE_FOLDER

    unit = (REPOSITORY / "engine/daemon/units/earmark.service").read_text()
    assert f"StateDirectory={SERVICE_FOLDER.name}\n" in unit
    assert f"XDG_DATA_HOME={SERVICE_FOLDER.parent}\n" in unit
    assert [str(path) for path in (SERVICE_FOLDER, SERVICE_UNIT)] == [
        "/var/lib/earmark",
        "/etc/systemd/system/earmark.service",
    ]
