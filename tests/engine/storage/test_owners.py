"""Root changes somebody else's folder as that user, and who may not look into one is told who may."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY
from helpers_store import environment, make_voiceprint, opened, save_cosine

from earmark.engine.errors import StoreUnwritable
from earmark.engine.history.queue import LearningQueue
from earmark.engine.people import operations
from earmark.engine.people.store import PersonStore
from earmark.engine.storage.owners import as_owner_of, refusal

NOBODY = 65534
GROUP = grp.getgrgid(1).gr_name  # every Linux has a second group

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def theirs(open_folder: Path) -> Path:
    """A folder of `nobody`, closed to all others, as the service's is."""
    folder = open_folder / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def owners(folder: Path) -> set[int]:
    return {os.lstat(path).st_uid for path in (folder, *folder.rglob("*"))}


def as_nobody(program: str, *arguments: str | Path) -> str:
    """What a program of `nobody` prints. It has loaded all it needs while it may: a clone may be root's alone."""
    begin = (
        "import contextlib, importlib, os, pkgutil, sys, tempfile\n"
        "from earmark.engine.commands.status import ask\n"
        "from earmark.engine.errors import EarmarkError\n"
        "from earmark.engine.history.journal import open_journal\n"
        "from earmark.engine.people.store import PersonStore\n"
        "from earmark.engine.settings.schema import Journal\n"
        "from helpers_store import make_voiceprint\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "import earmark.engine\n"
        "for module in pkgutil.walk_packages(earmark.engine.__path__, 'earmark.engine.'):\n"
        "    with contextlib.suppress(ImportError, EarmarkError): importlib.import_module(module.name)\n"
        "with tempfile.TemporaryDirectory() as warm:\n"
        "    PersonStore(warm).save(make_voiceprint())\n"
        "    PersonStore(warm).load('anna', 'okay_nabu')\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "def said(ask):\n"
        "    try: print(ask())\n"
        "    except EarmarkError as error: print(type(error).__name__, error)\n"
    )
    env = environment(PYTHONPATH=str(REPOSITORY / "tests"))
    line = [sys.executable, "-c", begin + program, *map(str, arguments)]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=True).stdout


# --- root


def test_what_root_puts_into_somebody_elses_store_is_theirs(theirs: Path) -> None:
    """As `sudo earmark enroll` does; every kind of change, also the first one, which makes the store."""
    store = opened(theirs / "people")
    for _ in range(3):
        store.save(make_voiceprint())
    operations.rename(store, "anna", "zoë")
    store.rollback("zoë", "okay_nabu")
    store.save(make_voiceprint("bob"))
    store.remove("bob")
    LearningQueue(store).forget(None)
    assert owners(theirs) == {NOBODY}
    assert store.folder.stat().st_mode & 0o777 == 0o700
    out = as_nobody(
        "s = PersonStore(folder)\ns.save(make_voiceprint('zoë'))\nprint(s.versions('zoë', 'okay_nabu'))", store.folder
    )
    assert out == "[1, 2, 3, 4, 5]\n"
    assert os.geteuid() == 0
    (Path(theirs) / "by root").touch()
    assert (Path(theirs) / "by root").stat().st_uid == 0, "root is root again"


def test_roots_own_folders_stay_roots(open_folder: Path) -> None:
    save_cosine(open_folder / "people")
    assert owners(open_folder / "people") == {0}


def test_a_link_in_somebody_elses_folder_leads_root_nowhere(theirs: Path, open_folder: Path) -> None:
    """Whoever has taken over the service must not have root write where the service cannot."""
    target = open_folder / "roots"
    target.mkdir(mode=0o755)
    (theirs / "people").symlink_to(target)
    os.chown(theirs / "people", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StoreUnwritable, match="Permission denied"):
        PersonStore(theirs / "people").save(make_voiceprint())
    assert list(target.iterdir()) == []


def test_a_link_that_root_has_laid_is_followed(theirs: Path, open_folder: Path) -> None:
    (open_folder / "link").symlink_to(theirs)
    save_cosine(open_folder / "link")
    assert owners(theirs) == {NOBODY}


def test_another_thread_of_root_is_root_meanwhile(theirs: Path, open_folder: Path) -> None:
    go = threading.Event()

    def write() -> None:
        go.wait()
        (open_folder / "of another thread").touch()

    thread = threading.Thread(target=write)
    thread.start()
    with as_owner_of(theirs):
        go.set()
        thread.join()
        (theirs / "inside").touch()
    assert [path.stat().st_uid for path in (open_folder / "of another thread", theirs / "inside")] == [0, NOBODY]


def test_after_an_error_root_is_root_again(theirs: Path, open_folder: Path) -> None:
    with contextlib.suppress(ValueError), as_owner_of(theirs):
        raise ValueError
    (open_folder / "after").touch()
    assert (open_folder / "after").stat().st_uid == 0


def test_a_key_that_only_root_may_read_opens_somebody_elses_store(theirs: Path, open_folder: Path) -> None:
    """It is asked for in the middle of the change."""
    pytest.importorskip("cryptography")
    from earmark.engine.history import sealing
    from earmark.engine.people import vault
    from earmark.engine.people.keys import secret_from

    key = open_folder / "key"
    key.write_bytes(b"a key of root alone")
    key.chmod(0o600)
    store = PersonStore(theirs / "people", secret_from(str(key), {}))
    store.save(make_voiceprint())
    sealing.encrypt(store, key.read_bytes(), lambda *_: None)
    vault._OPENED.clear()
    store.save(make_voiceprint())
    assert owners(theirs) == {NOBODY}
    assert store.versions("anna", "okay_nabu") == [1, 2]


# --- everybody else


def test_a_store_that_is_somebodys_alone_says_whose(open_folder: Path) -> None:
    save_cosine(open_folder / "people")
    program = "said(PersonStore(folder).names)\nsaid(lambda: PersonStore(folder).save(make_voiceprint()))"
    for line in as_nobody(program, open_folder / "people").splitlines():
        assert (
            f"Permission denied: {open_folder / 'people'} is of the user root, who alone may: the same with sudo"
            in line
        )


def test_a_folder_on_the_way_that_is_closed_is_named(open_folder: Path) -> None:
    folder = open_folder / "closed"
    folder.mkdir(mode=0o700)
    save_cosine(folder / "people")
    said = as_nobody(
        "said(PersonStore(folder).names)\nsaid(open_journal(Journal(folder=str(folder))).numbers)", folder / "people"
    )
    assert said.count(f"{folder} is of the user root, who alone may") == 2


def test_a_socket_that_a_group_may_use_names_the_group(open_folder: Path) -> None:
    """As /run/earmark is of the group earmark; nobody needs to listen for that."""
    folder = open_folder / "run"
    folder.mkdir(mode=0o750)
    folder.chmod(0o750)
    os.chown(folder, 0, 1)
    said = as_nobody("said(lambda: ask([folder / 'earmark.sock']))", folder)
    assert said.startswith("DaemonError no daemon answers you: ")
    assert (
        f"{folder} is of the user root and the group {GROUP}: the same with sudo, or `sudo usermod -aG {GROUP} "
        in said
    )
    assert "log in again" in said
    assert "start one with" not in said, "there may be one"


def test_ones_own_folder_that_is_closed_is_opened_by_oneself(theirs: Path) -> None:
    theirs.chmod(0o000)
    said = as_nobody("said(PersonStore(folder / 'people').names)", theirs)
    assert f"{theirs} is your own: `chmod u+rwX {theirs}`" in said


@pytest.mark.parametrize(
    ("mode", "group", "wanted", "names_it"),
    [
        (0o750, 1, os.R_OK, True),
        (0o710, 1, os.R_OK, False),
        (0o750, 1, os.W_OK, False),
        (0o770, 1, os.W_OK, True),
        (0o770, 0, os.W_OK, False),  # nobody is told to become a member of root's group
    ],
)
def test_a_group_is_named_only_where_it_helps(
    open_folder: Path, mode: int, group: int, wanted: int, names_it: bool
) -> None:
    folder = open_folder / "some"
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, 0, group)
    program = f"from earmark.engine.storage.owners import who_may\nprint(who_may(folder, {wanted}))"
    assert ("usermod" in as_nobody(program, folder)) == names_it


def test_other_errors_are_in_the_systems_own_words(open_folder: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert refusal(full, open_folder) == "No space left on device"
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert refusal(denied, open_folder) == "Permission denied", "root would be told to use sudo"
