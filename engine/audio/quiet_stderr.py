"""Keeps what C libraries write to our standard error out of it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_DESCRIPTOR_2 = threading.Lock()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps what a C library writes to descriptor 2, as the delegate's greeting, out of our standard error.

    What is really wrong arrives as an exception. The descriptor is away for a millisecond, when a network is opened,
    and for one thread at a time: of two, the second would keep the first one's nowhere.
    """
    with _DESCRIPTOR_2:
        try:
            kept = os.dup(2)
        except OSError:  # started without a standard error
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
