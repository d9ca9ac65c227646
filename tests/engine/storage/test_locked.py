"""What all folders share that several processes change; people, journal and queue have the tests of their own."""

from __future__ import annotations

import errno
import functools
import logging
import os
import shutil
from pathlib import Path

import pytest

from earmark.engine.errors import StoreUnwritable
from earmark.engine.storage.locked import LOCK_FILE, LockedFolder, unwritable


@pytest.fixture
def folder(tmp_path: Path) -> LockedFolder:
    return LockedFolder(tmp_path / "made", tmp_path / "made" / LOCK_FILE)


def names(folder: LockedFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def test_a_change_makes_the_folder_and_its_lock_for_their_owner_alone(folder: LockedFolder) -> None:
    assert folder.leftovers() == []
    with folder.changing("it could not be changed", "allow writing"):
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert (folder.path / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_a_folder_within_another_is_not_followed(tmp_path: Path) -> None:
    """Of a store that was unpacked from somewhere."""
    target, place = tmp_path / "target", tmp_path / "place"
    target.mkdir()
    place.symlink_to(target)
    within = LockedFolder(place, tmp_path / LOCK_FILE)
    with pytest.raises(StoreUnwritable, match="is a link, which is not followed"), within.changing("it", "allow it"):
        within.replace(place / "file", b"content")
    assert list(target.iterdir()) == []
    with LockedFolder(place, place / LOCK_FILE).changing("it", "allow it"):
        (place / "file").touch()
    assert (target / "file").exists(), "a store itself may lie elsewhere"


def test_a_folder_without_a_lock_has_no_file_of_ours(tmp_path: Path) -> None:
    alone = LockedFolder(tmp_path / "made", lock=None)
    with alone.changing("it could not be changed", "allow writing"):
        alone.replace(alone.path / "file", b"content")
    assert names(alone) == ["file"]


def test_what_the_disk_refuses_is_said_with_what_to_do(folder: LockedFolder) -> None:
    message = r"^anna could not be saved: No space left on device; make room$"
    for changing in (folder.changing, functools.partial(unwritable, folder=folder.path)):
        with pytest.raises(StoreUnwritable, match=message), changing("anna could not be saved", "make room"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    linked = pytest.raises(StoreUnwritable, match="anna could not be saved: its folder is a link; make room")
    with linked, unwritable("anna could not be saved", "make room", folder.path):
        raise OSError("its folder is a link")


def test_what_is_moved_away_is_gone_and_what_was_not_there_is_no_fault(folder: LockedFolder) -> None:
    with folder.changing("it could not be changed", "allow writing"):
        (folder.path / "entry").mkdir()
        (folder.path / "entry" / "file").write_bytes(b"content")
        away = folder.move_away(folder.path / "entry")
        folder.move_away(folder.path / "entry")
        assert folder.leftovers() == [Path(away).name]
        assert (Path(away) / "file").read_bytes() == b"content"
        folder.sweep_all()
    assert names(folder) == [LOCK_FILE]


def test_only_what_was_left_of_one_file_is_swept_where_others_write_theirs(folder: LockedFolder) -> None:
    folder.path.mkdir()
    for name in (".new-17-one.session", ".new-18-other.session", ".new-18-none.session", "one.session"):
        (folder.path / name).touch()
    assert folder.sweep("one.session") == []
    assert names(folder) == [".new-18-none.session", ".new-18-other.session", "one.session"]


def test_leftovers_that_cannot_be_deleted_keep_no_others_and_each_is_logged(
    folder: LockedFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (".old-1", ".old-3"):
        (folder.path / name).mkdir(parents=True)
    for name in (".old-0", ".old-2"):
        (folder.path / name).touch()

    def refuse(path: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="Operation not permitted"):
        folder.sweep_all()
    assert names(folder) == [".old-1", ".old-3"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"{folder.path / name}: cannot be deleted: Operation not permitted" for name in names(folder)
    ]
