"""A process whose memory nobody else reads: it holds keys, voices and voiceprints.

The kernel writes no core dump of it, and no other process of the same user may attach to it or read its memory, as a
hook could. Root may.
"""

from __future__ import annotations

from ..errors import text_of

PR_SET_DUMPABLE = 4  # linux/prctl.h


def keep_private() -> str:
    """Makes it so for this process, its threads and what it forks; another program that it starts is as usual.

    Returns:
        Why it cannot be; empty: it is so.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0:
            return ""
        return text_of(OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) is refused"))
    except (ImportError, OSError, AttributeError) as error:  # no ctypes, or a C library without it
        return text_of(error)
