"""What somebody may say of a wake: a person's name, or one of two words that are none."""

from __future__ import annotations

import unicodedata

from ..storage.names import folder_name

NOT_ME, NOISE = "not-me", "noise"
"""A stranger, and nobody at all."""


def check_label(label: str) -> str:
    """The label as it is stored.

    Raises:
        InputError: it is neither `not-me` nor `noise` nor what a person can be called.
    """
    folder_name(label)  # refuses what is none
    return unicodedata.normalize("NFC", label)
