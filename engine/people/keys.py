"""Where the key of an encrypted store comes from: environment, file, systemd credential, or whoever sits there."""

from __future__ import annotations

import getpass
import logging
import os
import stat
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError, PersonLocked, text_of
from ..processes.passphrase import VARIABLE, given
from ..storage.atomic import read_secret
from ..storage.edited import without_mark
from ..storage.owners import refusal
from .vault import MAX_SECRET_BYTES, Secret, check_secret, wipe

_LOG = logging.getLogger(__name__)

MOST_MORE_BYTES = 5  # of an editor: three of a mark, two of a line end
CREDENTIAL = "earmark.key"
"""What systemd's LoadCredential= or LoadCredentialEncrypted= must call it."""


def secret_from(key_file: str | None, environment: Mapping[str, str] = os.environ, ask: bool = False) -> Secret:
    """What gives the passphrase, or the content of the key file, when it is needed.

    Args:
        key_file: of the settings; None or empty: none.
        environment: variables.
        ask: whether a person may be asked, where there is a terminal.
    """

    def secret() -> bytearray:
        found = _given(key_file, environment)
        if found is not None:
            return found
        if ask and sys.stdin is not None and sys.stdin.isatty():
            return encoded(_typed("passphrase of the people's store: "))
        raise PersonLocked(
            f"the store of the people is encrypted: name its key with --key-file, people.key_file or {VARIABLE}"
        )

    return secret


def new_secret_from(key_file: str | None, environment: Mapping[str, str] = os.environ) -> bytearray:
    """The passphrase or key with which a store is to be encrypted; on a terminal it is asked for twice.

    Whoever has used it zeroes it (`vault.wipe`).

    Raises:
        InputError: none is given, it is too short, or the two differ.
        PersonLocked: the key file cannot be read.
    """
    found = _given(key_file, environment)
    if found is None:
        if sys.stdin is None or not sys.stdin.isatty():
            raise InputError(f"encrypting needs a passphrase or key: --key-file FILE, {VARIABLE}, or a terminal")
        found = encoded(_typed("new passphrase: "))
        check_secret(found)
        again = encoded(_typed("once more: "))
        is_same = again == found
        wipe(again)
        if not is_same:
            raise InputError("the two passphrases differ: nothing was changed")
    check_secret(found)
    return found


def encoded(passphrase: str) -> bytearray:
    """A passphrase as bytes, the same whatever way the keyboard composes its letters."""
    return bytearray(unicodedata.normalize("NFC", passphrase), "utf-8", "surrogateescape")


def _typed(question: str) -> str:
    try:
        return getpass.getpass(question)
    except EOFError as error:
        raise PersonLocked("no passphrase was typed: the store of the people stays locked") from error


def _given(key_file: str | None, environment: Mapping[str, str]) -> bytearray | None:
    passphrase = given(environment)
    if passphrase is not None:
        return encoded(passphrase)
    if key_file:
        return _read(Path(key_file))
    if environment.get("CREDENTIALS_DIRECTORY"):
        path = Path(environment["CREDENTIALS_DIRECTORY"]) / CREDENTIAL
        if _may_be_there(path):
            return _read(path)
    return None


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # whoever reads it says why it cannot be
        return True


def _read(path: Path) -> bytearray:
    """A key file: its bytes, without an editor's mark and last line end, so that what one wrote is a passphrase."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            _LOG.warning("%s: others may read this key: chmod 600", path)
        content = read_secret(path.resolve(), MAX_SECRET_BYTES + MOST_MORE_BYTES)
    except OSError as error:
        raise PersonLocked(f"{path}: the key file cannot be read: {refusal(error, path)}") from error
    except ValueError as error:
        raise PersonLocked(f"{path}: the key file cannot be used: {text_of(error)}") from error
    key = without_mark(content)  # another one, always
    wipe(content)
    if key.endswith(b"\n"):
        del key[-1:]
    return key
