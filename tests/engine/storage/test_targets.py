"""What a command will write at its end can be asked for before, and is written whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from earmark.engine.errors import InputError
from earmark.engine.storage.targets import require_writable, write


def test_asking_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    require_writable(tmp_path / "new.json")
    require_writable(tmp_path / "old.json")
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_a_folder_and_a_place_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder; name a file"):
        require_writable(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        require_writable(tmp_path / "none" / "out.json")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="there is no folder"):
        require_writable(tmp_path / "file" / "out.json")


def test_what_others_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(InputError, match="is not ours to write"):
        require_writable(tmp_path / "out.json")


def test_a_device_or_a_pipe_gets_the_content_and_stays(tmp_path: Path) -> None:
    """`--json /dev/null` by root must not make a file of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        require_writable(pipe)
        write(pipe, b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    write("/dev/null", b"content")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a pipe to somebody")
def test_a_pipe_that_somebody_else_has_laid_there_gets_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "picture.png"
    os.mkfifo(pipe)
    os.chown(pipe, 12345, 12345)
    link = tmp_path / "link.png"
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (pipe, link):
            with pytest.raises(InputError, match="it is no file, and is another user's"):
                require_writable(path)
            with pytest.raises(InputError, match="it is no file, and is another user's"):
                write(path, b"content")
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_what_has_no_name_is_nobodys_trap() -> None:
    """`/dev/stdout` behind sudo leads to a pipe of whoever typed it."""
    reader, writer = os.pipe()
    try:
        write(f"/proc/self/fd/{writer}", b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_is_replaced_whole_or_the_reason_is_told(tmp_path: Path) -> None:
    write(tmp_path / "out.json", b"one")
    write(tmp_path / "out.json", b"two")
    assert (tmp_path / "out.json").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o600  # it has people's scores
    with pytest.raises(InputError, match=r"none/out.json: cannot be written"):
        write(tmp_path / "none" / "out.json", b"one")
