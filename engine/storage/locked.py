"""A folder that several processes change: one at a time, and whole whenever one of them is killed.

What is to come is written beside its place as `.new-…` and renamed into it. What is to go is renamed to `.old-…` and
deleted then. A killed process leaves nothing else behind, and the next change sweeps that away.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import StoreUnwritable, system_text_of
from .atomic import NEW_PREFIX, locked, make_folder, replace_synced, sync_folder, temporary_folder
from .owners import as_owner_of, refusal

_LOG = logging.getLogger(__name__)

LOCK_FILE = ".lock"
OLD_PREFIX = ".old-"
"""Of what does not count any more and is being deleted."""


@contextlib.contextmanager
def unwritable(what: str, what_to_do: str, folder: Path) -> Iterator[None]:
    """What the disk refuses as an error that says so.

    Args:
        what: does not become of what, for the message: "'anna' could not be saved in /people".
        what_to_do: by whoever reads it: "make room or allow writing".
        folder: in which something is written; whose it is, is said to who may not.

    Raises:
        StoreUnwritable: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StoreUnwritable(f"{what}: {refusal(error, folder, os.W_OK)}; {what_to_do}") from error


class LockedFolder:
    """One such folder; it is made, with mode 0700, by the first change.

    Names inside it are texts, for the reason that `temporary_folder` gives.

    Args:
        path: of the folder.
        lock: the file that is locked by whoever changes something, mostly `LOCK_FILE` in the folder; None: nothing
            is, because no two processes change the same file of it.
    """

    def __init__(self, path: Path, lock: Path | None) -> None:
        self.path = path
        self._lock = lock

    @contextlib.contextmanager
    def changing(self, what: str, what_to_do: str) -> Iterator[None]:
        """Alone among all processes that change this folder, which is there from now on.

        Root changes it as the user whose folder it is (`owners.as_owner_of`).

        Args:
            what: as for `unwritable`.
            what_to_do: as for `unwritable`.

        Raises:
            StoreUnwritable: instead of an OSError.
        """
        with unwritable(what, what_to_do, self.path), as_owner_of(self.path):
            make_folder(self.path)
            if self._lock is not None and self._lock.parent != self.path:
                _require_no_link(self.path)
            with contextlib.nullcontext() if self._lock is None else locked(self._lock):
                yield

    # --- whoever calls these is inside `changing`

    def temporary(self) -> contextlib.AbstractContextManager[str]:
        """A fresh folder in this one (`atomic.temporary_folder`), for `atomic.put_in_place`."""
        return temporary_folder(self.path)

    def replace(self, path: str | Path, content: bytes) -> None:
        """A file in this folder, or deeper in it, with other content (`atomic.replace_synced`).

        Raises:
            OSError: it cannot be written; the old one is as it was.
        """
        replace_synced(path, content, beside=self.path)

    def move_away(self, path: str | Path) -> str:
        """From now on it is not there, whatever becomes of its files; gives where they are, if there were any.

        It survives a power cut from the next `sync_folder` on.

        Raises:
            OSError: it cannot be moved.
        """
        away = os.path.join(self.path, OLD_PREFIX + secrets.token_hex(8))
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, away)
        return away

    def sync(self) -> None:
        """Makes renames and removals in this folder survive a power cut.

        Raises:
            OSError: it cannot be done.
        """
        sync_folder(self.path)

    def leftovers(self, of: str = "") -> list[str]:
        """The names of what was moved away and is not deleted yet, and of what was never finished.

        Args:
            of: name of a file: only what `replace` left of it.

        Raises:
            OSError: the folder may not be read.
        """
        try:
            found = os.listdir(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        ending = f"-{of}" if of else ""
        return [name for name in found if is_leftover(name) and name.endswith(ending)]

    def sweep(self, of: str = "", only: Iterable[str] | None = None) -> list[OSError]:
        """Deletes the leftovers; what cannot be deleted is logged and returned: it keeps nobody from a change.

        Args:
            of: as for `leftovers`.
            only: what `move_away` gave, for who knows that there is nothing else; None: the folder is looked through.
        """
        faults = []
        for path in (os.path.join(self.path, name) for name in self.leftovers(of)) if only is None else only:
            try:
                _delete(path)
            except OSError as error:
                _LOG.warning("%s: cannot be deleted: %s", path, system_text_of(error))
                faults.append(error)
        return faults

    def sweep_all(self, of: str = "") -> None:
        """Deletes the leftovers, every one.

        Args:
            of: as for `leftovers`.

        Raises:
            OSError: one of them could not be deleted; all others are.
        """
        faults = self.sweep(of)
        if faults:
            raise faults[0]


def _require_no_link(path: Path) -> None:
    """A folder within another one, as the queue within a store, is never a link.

    A store may lie elsewhere, by a link that its owner has laid. But one that was unpacked from somewhere may have
    links in it, and lead its owner to write where somebody else wants it.

    Raises:
        OSError: it is one.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"{path} is a link, which is not followed: put a folder there", str(path))


def is_leftover(name: str) -> bool:
    """Whether a file or folder is called as what a killed process leaves."""
    return name.startswith((NEW_PREFIX, OLD_PREFIX))


def _delete(path: str) -> None:
    """A folder with what is in it, or a file, or a link."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
