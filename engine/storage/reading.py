"""Reading what somebody else may have put there: plain files of a limited size, inside one folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_plain(path: Path, most_bytes: int, inside: Path | None = None) -> bytes:
    """The content of a plain file that is not larger; a link is followed.

    Never waits, as for a pipe that nobody writes, and takes no more memory than the limit, as for `/dev/zero`.

    Args:
        path: of the file.
        most_bytes: it may have.
        inside: the folder that it must lie in, links followed; None: anywhere.

    Raises:
        ValueError: it is larger, is no plain file, or lies elsewhere.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path.name or path} is not a file")
    with os.fdopen(descriptor, "rb") as file:
        if inside is not None and not path.resolve().is_relative_to(inside.resolve()):
            raise ValueError(f"{path.name} is a link out of its folder")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} is larger than {most_bytes} bytes")
    return content
