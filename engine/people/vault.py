"""Encryption at rest: with a stolen card nobody has the voiceprints, unless the key was on it too.

Every file of a version is sealed by itself, with ChaCha20-Poly1305 (RFC 8439; no Raspberry Pi before the 5 has AES
instructions) under a key of the store. That key is random, and lies in the store as `.keyring.json`, sealed in turn
under a key that scrypt (RFC 7914) derives from the passphrase or the content of the key file. Where a file belongs is
authenticated with it, so that nobody can swap two of them; which files there are is in the index (index.py).

A store whose keyring is of format 2 has an index from its first moment on. The format is authenticated with the key,
so that nobody can take the index away and call the store an older one.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Union

from ..errors import (
    CryptographyMissing,
    InputError,
    PersonDamaged,
    PersonError,
    PersonLocked,
    PersonNewer,
    text_of,
)
from ..storage.atomic import read_limited
from ..storage.owners import refusal

FORMAT = 2
FORMAT_WITHOUT_INDEX = 1
KEYRING_FILE = ".keyring.json"
SEALED_SUFFIX = ".sealed"
MAGIC = b"earmark sealed 1\n"
NONCE_BYTES, KEY_BYTES, SALT_BYTES, TAG_BYTES = 12, 32, 16, 16
ID_DIGITS = 32
SIGNING = b"earmark signs exports 1"
"""What is derived from the key of a store to sign with, and is of no use for anything else."""
# One of the settings of equal strength in OWASP's Password Storage Cheat Sheet: 32 MiB, of which a Pi Zero 2 has 512.
SCRYPT = {"n": 1 << 15, "r": 8, "p": 3}
MAX_SCRYPT = {"n": 1 << 17, "r": 8, "p": 4}  # of a keyring that somebody else wrote: 128 MiB
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 8, 4096
MAX_KEYRING_BYTES = 4096

Secret = Callable[[], Union[bytes, bytearray]]
"""Gives the passphrase, or the content of the key file; may ask for it, and may raise PersonLocked. A bytearray is
zeroed when the key is derived."""

_KEYS = {"format", "kdf", "n", "r", "p", "salt", "nonce", "sealed_key"}
_OPENED: dict[bytes, bytearray] = {}  # sha256 of a keyring -> the key in it: for a daemon's reload


class Vault:
    """Seals and opens the files of one store.

    Args:
        key: 32 bytes; no copy of ours is made, so that whoever made it can zero it.
        id: of the keyring that gives it; another one after each `earmark people encrypt`.
        has_index: whether the store has had an index from the first moment on.

    Raises:
        CryptographyMissing: the library is not installed.
    """

    def __init__(self, key: bytearray, id: str = "", has_index: bool = True) -> None:
        self._key = key
        self._cipher = _cipher(key)
        self.id, self.has_index = id, has_index

    def seal(self, content: bytes, where: str) -> bytes:
        """A file's content -> what is written instead; another one at each call."""
        nonce = os.urandom(NONCE_BYTES)
        return MAGIC + nonce + bytes(self._cipher.encrypt(nonce, content, MAGIC + where.encode()))

    def open(self, sealed: bytes, where: str) -> bytes:
        """What `seal` was given.

        Raises:
            ValueError: it is damaged, of another place, or of another store.
        """
        if not sealed.startswith(MAGIC) or len(sealed) < len(MAGIC) + NONCE_BYTES + TAG_BYTES:
            raise ValueError(f"{where} is not sealed by earmark")
        nonce = sealed[len(MAGIC) : len(MAGIC) + NONCE_BYTES]
        try:
            return bytes(self._cipher.decrypt(nonce, sealed[len(MAGIC) + NONCE_BYTES :], MAGIC + where.encode()))
        except _invalid_tag() as error:
            raise ValueError(f"the seal of {where} does not hold: damaged, or of another person or store") from error

    def sign(self, content: bytes) -> tuple[str, str]:
        """Public key and signature (Ed25519, RFC 8032) in hexadecimal digits, by a key that only this store has."""
        key = _library("ed25519").Ed25519PrivateKey.from_private_bytes(
            hmac.new(self._key, SIGNING, hashlib.sha256).digest()
        )
        return key.public_key().public_bytes_raw().hex(), key.sign(content).hex()

    def keyring(self, secret: bytes | bytearray) -> bytes:
        """The content of a keyring that gives this vault to whoever has the secret.

        Raises:
            InputError: the secret is too short or too long.
        """
        check_secret(secret)
        values: dict[str, Any] = {
            "format": FORMAT,
            "kdf": "scrypt",
            **SCRYPT,
            "salt": os.urandom(SALT_BYTES).hex(),
            "nonce": os.urandom(NONCE_BYTES).hex(),
        }
        cipher = _cipher(_derive(secret, values))
        sealed = bytes(cipher.encrypt(bytes.fromhex(values["nonce"]), self._key, _context(values)))
        return json.dumps({**values, "sealed_key": sealed.hex()}, indent=1).encode() + b"\n"


def is_signed(content: bytes, public_key: str, signature: str) -> bool:
    """Whether whoever has the private key has signed this.

    Raises:
        ValueError: one of the two is none.
        CryptographyMissing: the library is not installed.
    """
    key = _library("ed25519").Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    try:
        key.verify(bytes.fromhex(signature), content)
    except _invalid_tag("InvalidSignature"):
        return False
    return True


def keyring_id(content: bytes) -> str:
    """What tells a keyring from every other one; no secret."""
    return hashlib.sha256(content).hexdigest()[:ID_DIGITS]


def mark_of(sealed: bytes) -> str:
    """What tells a sealed file from every other one under the same key: its nonce, in hexadecimal digits.

    Nobody without the key can make another content that opens with it.
    """
    return sealed[len(MAGIC) : len(MAGIC) + NONCE_BYTES].hex()


def new_vault() -> Vault:
    """One with a random key.

    Raises:
        CryptographyMissing: the library is not installed.
    """
    return Vault(bytearray(os.urandom(KEY_BYTES)))


def wipe(secret: bytes | bytearray) -> None:
    """Zeroes a key or a passphrase that nobody needs any more.

    Bytes stay as they are, and so does what the interpreter and the library of ciphers have copied.
    """
    if isinstance(secret, bytearray):
        secret[:] = bytes(len(secret))


def forget_keys() -> None:
    """Zeroes the keys of all stores that this process has opened; whoever opens one again needs its secret again."""
    while _OPENED:
        wipe(_OPENED.popitem()[1])


atexit.register(forget_keys)


def is_encrypted(store: Path) -> bool:
    """Whether a store has a keyring."""
    return os.path.lexists(store / KEYRING_FILE)


def open_vault(store: Path, secret: Secret) -> Vault:
    """The vault of an encrypted store; the secret is asked for once in a process.

    Raises:
        PersonLocked: it is the wrong one, or none is to be had.
        PersonDamaged: the keyring breaks its format.
        PersonError: the keyring cannot be read.
        CryptographyMissing: the library is not installed.
    """
    path = store / KEYRING_FILE
    try:
        content = read_limited(path, MAX_KEYRING_BYTES)
        digest = hashlib.sha256(content).digest()
        values = _checked(json.loads(content))
    except OSError as error:
        raise PersonError(f"{path}: cannot be read: {refusal(error, path)}") from error
    except (ValueError, KeyError, RecursionError) as error:
        raise PersonDamaged(
            f"{path}: damaged: {text_of(error)}; put it back from a backup: without it nothing that is sealed "
            "can be read"
        ) from error
    if digest not in _OPENED:
        _OPENED[digest] = _unlock(values, path, secret)
    return Vault(_OPENED[digest], keyring_id(content), values["format"] > FORMAT_WITHOUT_INDEX)


def as_written(files: Mapping[str, bytes], place: str, vault: Vault | None) -> dict[str, bytes]:
    """The files of a folder as they lie on the disk: sealed for their place and named so, or as they are.

    Args:
        files: name -> content.
        place: of their folder in the store: anna/okay_nabu/0001.
        vault: of the store; None: it is not encrypted.
    """
    if vault is None:
        return dict(files)
    return {name + SEALED_SUFFIX: vault.seal(content, f"{place}/{name}") for name, content in files.items()}


def check_secret(secret: bytes | bytearray) -> None:
    """Refuses a passphrase or key that is easy to guess, or much too long.

    Raises:
        InputError: it is.
    """
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise InputError(
            f"the passphrase or key has {len(secret)} bytes, it must have {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES}"
        )


def _unlock(values: dict[str, Any], path: Path, secret: Secret) -> bytearray:
    given = secret()
    try:
        return _unlocked(values, path, given)
    finally:
        wipe(given)


def _unlocked(values: dict[str, Any], path: Path, given: bytes | bytearray) -> bytearray:
    if not given or len(given) > MAX_SECRET_BYTES:
        raise PersonLocked(f"the key of {path.parent} is empty or has more than {MAX_SECRET_BYTES} bytes")
    try:
        cipher = _cipher(_derive(given, values))
    except ValueError as error:  # OpenSSL has rules of its own, as that n must be below 2^(16 r)
        raise PersonDamaged(
            f"{path}: damaged: n, r and p do not fit: {text_of(error)}; put it back from a backup"
        ) from error
    try:
        key = cipher.decrypt(bytes.fromhex(values["nonce"]), bytes.fromhex(values["sealed_key"]), _context(values))
    except _invalid_tag() as error:
        raise PersonLocked(
            f"wrong key for {path.parent}: give the passphrase or the key file with which it was encrypted "
            "(--key-file, people.key_file, EARMARK_PASSPHRASE)"
        ) from error
    return bytearray(key)


def _checked(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError("it is no table")
    if type(values.get("format")) is int and values["format"] > FORMAT:
        raise PersonNewer(
            f"{KEYRING_FILE} is of format {values['format']}, this earmark knows {FORMAT}: install a newer earmark"
        )
    known = type(values.get("format")) is int and values["format"] in (FORMAT_WITHOUT_INDEX, FORMAT)
    if set(values) != _KEYS or not known or values["kdf"] != "scrypt":
        raise ValueError(f"it must have format {FORMAT_WITHOUT_INDEX} or {FORMAT}, kdf scrypt and {sorted(_KEYS)}")
    for key, most in MAX_SCRYPT.items():
        value = values[key]
        if type(value) is not int or not 0 < value <= most or value & (value - 1 if key == "n" else 0):
            raise ValueError(f"{key}={value!r:.80} must be within 1…{most}, n a power of two")
    for key, size in (("salt", SALT_BYTES), ("nonce", NONCE_BYTES), ("sealed_key", KEY_BYTES + TAG_BYTES)):
        value = values[key]
        if not isinstance(value, str) or len(value) != 2 * size or len(bytes.fromhex(value)) != size:
            raise ValueError(f"{key}={value!r:.80} must be {size} bytes in hexadecimal digits")
    return values


def _derive(secret: bytes | bytearray, values: dict[str, Any]) -> bytes:
    n, r, p = values["n"], values["r"], values["p"]
    return hashlib.scrypt(
        secret, salt=bytes.fromhex(values["salt"]), n=n, r=r, p=p, maxmem=2 * 128 * r * (n + p), dklen=KEY_BYTES
    )


def _context(values: dict[str, Any]) -> bytes:
    """What is authenticated with the key: how it was derived."""
    return json.dumps([values[key] for key in ("format", "kdf", "n", "r", "p", "salt")]).encode()


def _cipher(key: bytes | bytearray) -> Any:
    return _library("aead").ChaCha20Poly1305(key)


def _invalid_tag(name: str = "InvalidTag") -> type[Exception]:
    found: type[Exception] = getattr(_library("exceptions"), name)
    return found


@functools.cache
def _library(part: str) -> Any:
    """Loaded only where a store is encrypted: most are not."""
    try:
        if part == "aead":
            from cryptography.hazmat.primitives.ciphers import aead

            return aead
        if part == "ed25519":
            from cryptography.hazmat.primitives.asymmetric import ed25519

            return ed25519
        from cryptography import exceptions
    except ImportError as error:
        raise CryptographyMissing(
            'for an encrypted store, and for signatures: pip install "earmark[encryption]"'
        ) from error
    return exceptions
