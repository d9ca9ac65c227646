"""A file is the old one or the new one, and a folder is there or not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from disks import FullDisk

from earmark.engine.storage.atomic import put_in_place, replace_synced

Umask = Callable[[int], int]


@pytest.fixture
def umask() -> object:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(
    ("mask", "asked", "found"),
    [(0o077, 0o644, 0o644), (0o000, 0o600, 0o600), (0o777, 0o600, 0o600), (0o000, 0o640, 0o640)],
)
def test_a_file_has_the_mode_that_was_asked_for(
    tmp_path: Path, umask: Umask, mask: int, asked: int, found: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o400)
    umask(mask)
    replace_synced(path, b"new", mode=asked)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", found)


def test_a_file_is_replaced_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_synced("file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_write_that_is_broken_off_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def broken_off(_descriptor: int) -> None:
        raise fault

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", broken_off)
    with pytest.raises(fault):
        replace_synced(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_place_cannot_be_synced_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()
    monkeypatch.setattr(os, "fsync", FullDisk(0))
    with pytest.raises(OSError, match="No space left"):
        put_in_place(folder, tmp_path / "place")
    assert list(tmp_path.iterdir()) == []
