"""A published start: its numbers, a card about them, and a signature of the card (Ed25519, RFC 8032)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import CryptographyMissing, FleetError, text_of
from earmark.engine.storage.atomic import make_folder, read_limited, replace_synced

FORMAT = 1
CARD, NUMBERS, SIGNATURE = "start.json", "start.f32", "start.sig"
CONTEXT = b"earmark fleet start 1\n"  # signed before the card: a signature of anything else is none of a start
MOST_CARD_BYTES, MOST_NUMBERS_BYTES = 1 << 16, 1 << 24


@dataclass(frozen=True)
class Start:
    """A start whose signature held."""

    numbers: Float32
    """(192, 128), finite."""
    card: Mapping[str, Any]


def new_key() -> tuple[bytes, str]:
    """A private key, 32 bytes, and the public one as 64 hexadecimal digits."""
    keys = _keys()
    private = keys.Ed25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw().hex()


def publish(folder: Path, numbers: Float32, card: Mapping[str, Any], key: bytes) -> None:
    """Writes a start, its card and the signature into a folder; the signature comes last.

    Args:
        folder: made where there is none.
        numbers: the start.
        card: what else is to be known of it; size, shape and checksum are added.
        key: the private one.

    Raises:
        CryptographyMissing: the library is not installed.
    """
    private = _keys().Ed25519PrivateKey.from_private_bytes(key)
    content = np.ascontiguousarray(numbers, "<f4").tobytes()
    facts = {"format": FORMAT, "shape": list(numbers.shape), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps({**facts, **card}, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    make_folder(folder)
    replace_synced(folder / NUMBERS, content, mode=0o644)
    replace_synced(folder / CARD, text, mode=0o644)
    replace_synced(folder / SIGNATURE, private.sign(CONTEXT + text), mode=0o644)


def read(folder: Path, public: str) -> Start:
    """A start that is signed with this key, and whole.

    Raises:
        FleetError: it is not, or is none.
        CryptographyMissing: the library is not installed.
    """
    keys = _keys()
    try:
        key = keys.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError as error:
        raise FleetError(
            f"key {public!r}: must be 64 hexadecimal digits, as whoever publishes the start tells"
        ) from error
    try:
        card = read_limited(folder / CARD, MOST_CARD_BYTES)
        content = read_limited(folder / NUMBERS, MOST_NUMBERS_BYTES)
        signature = read_limited(folder / SIGNATURE, 64)
    except (OSError, ValueError) as error:
        raise FleetError(f"{folder}: is no published start: {text_of(error)}") from error
    try:
        key.verify(signature, CONTEXT + card)
    except Exception as error:
        if type(error).__name__ != "InvalidSignature":
            raise
        raise FleetError(
            f"{folder}: is not signed with the key {public[:12]}…: it is refused; ask whoever publishes it"
        ) from error
    try:
        facts = json.loads(card)
        if facts["format"] != FORMAT or facts["sha256"] != hashlib.sha256(content).hexdigest():
            raise ValueError("its format or its checksum")
        numbers = np.frombuffer(content, "<f4").reshape(facts["shape"]).astype(np.float32)
        if not np.all(np.isfinite(numbers)):
            raise ValueError("a number that is none")
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(
            f"{folder}: the numbers are not those of the card: {text_of(error)}: fetch it again"
        ) from error
    return Start(numbers, facts)


def _keys() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise CryptographyMissing(
            "a start is signed, and the library for it is not installed: `pip install 'earmark[fleet]'`"
        ) from error
    return ed25519
