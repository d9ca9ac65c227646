"""Whether somebody in the store was enrolled, changed or erased: looked at often, and cheap where there are many."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import PersonError
from ..people.store import PersonStore

MOST_SHARE = 5e-4  # of a core for whole looks: of 10 people, 2 ms, one every 4 s; of 1,000, 250 ms, one every 8 min
SETTLED_S = 2.0  # a file system's times have steps of up to a second: so fresh, one may hide a second change


class StoreWatch:
    """Every change by earmark is prepared in the store's folder, and so changes the time of that folder.

    While it is the same, nobody's folder is looked into. What others changed in the depth, as who copies files by
    hand, is found by whole looks, which come as often as they are cheap.

    Args:
        store: as it is now; another one after a reload.
    """

    def __init__(self, store: Callable[[], PersonStore]) -> None:
        self._store = store
        self._mark: object = None
        self._due_s = 0.0
        self._state = self._look()

    def has_changed(self) -> bool:
        """Since the last call, or since this was made; also where the store cannot be read any more."""
        mark = self._mark_of_folder()
        if mark is not None and mark == self._mark and time.monotonic() < self._due_s:
            return False
        before, self._state = self._state, self._look()
        return self._state != before

    def _look(self) -> object:
        """A whole look: another one after each change."""
        self._mark = self._mark_of_folder()  # before it: what comes meanwhile is seen next time
        start_s = time.thread_time()
        try:
            return self._store().fingerprint()
        except PersonError as error:
            return str(error)
        finally:
            self._due_s = time.monotonic() + (time.thread_time() - start_s) / MOST_SHARE

    def _mark_of_folder(self) -> object:
        """None: there is no folder, or its time is so fresh that it tells nothing."""
        folder = self._store().folder
        try:
            found = folder.stat()
        except OSError:
            return None
        is_settled = time.time() - found.st_mtime > SETTLED_S
        return (folder, found.st_ino, found.st_mtime_ns, found.st_nlink) if is_settled else None
