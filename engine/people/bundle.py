"""A person in one file, to move or to back up: an uncompressed tar with a manifest of sizes and checksums.

    manifest.json                      name, and size and sha256 of every other member; it comes first; a signature
    okay_nabu/0003/header.json         the same files as in the store (engine/people/codec.py), never sealed
    okay_nabu/0003/arrays.npz
    okay_nabu/0003/take-01.wav         only where recordings were kept

Everything is checked before anything of it is believed: a member that the manifest does not name, that is no plain
file, or whose name is not exactly of this form, refuses the whole file. Nothing is ever unpacked onto a disk.

A file from a sealed store is signed with a key that only that store has (vault.py): its manifest has the public key,
and a signature of all else that is in it. That proves that the file is as somebody with the key of that store has
exported it. It does not prove whose voice it is, nor that the public key is that of a store one knows: whoever
imports compares it with what `earmark people verify` says on the other machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BundleError, CryptographyMissing, InputError, PersonNewer, system_text_of
from ..storage.atomic import read_limited, replace_synced
from ..storage.names import folder_name, is_person_folder, is_version, name_of
from . import codec
from .store import KEPT_VERSIONS, Tree
from .vault import Vault, is_signed

FORMAT = 2
FORMAT_NOT_SIGNED = 1
KIND = "earmark person"
MANIFEST = "manifest.json"
MAX_BYTES = 64 << 20  # three wake words in five versions of 40 recordings; a Pi Zero 2 can hold it in memory
MAX_MANIFEST_BYTES = 4 << 20
MAX_MEMBERS = 5_000  # ten wake words in five versions of 99 recordings
_FILE = re.compile(r"header\.json|arrays\.npz|take-[0-9]{2}\.wav")


@dataclass(frozen=True)
class Bundle:
    """What is in a file."""

    name: str
    tree: Tree
    signed_by: str | None
    """Public key of the store that it was exported from; None: nobody has signed it."""


def to_bytes(name: str, tree: Tree, vault: Vault | None = None) -> bytes:
    """The file of a person; the same person gives the same bytes.

    Args:
        name: of the person.
        tree: everything of it.
        vault: of a sealed store, to sign with; None: it is not signed.

    Raises:
        InputError: it would be too large to be imported again.
    """
    members = {
        f"{folder_name(keyword)}/{version:04d}/{file}": content
        for (keyword, version), files in sorted(tree.items())
        for file, content in sorted(files.items())
    }
    sums = {path: {"bytes": len(content), "sha256": _sha256(content)} for path, content in members.items()}
    manifest = {"format": FORMAT_NOT_SIGNED, "kind": KIND, "name": name, "files": sums}
    if vault is not None:
        manifest["format"] = FORMAT
        key, value = vault.sign(_signed_part(manifest))
        manifest["signature"] = {"key": key, "value": value}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in {MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n", **members}.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o600
            archive.addfile(info, io.BytesIO(data))
    if len(content.getvalue()) > MAX_BYTES:
        raise InputError(
            f"{name!r} has {len(content.getvalue())} bytes, {MAX_BYTES} can be exported: leave recordings out"
        )
    return content.getvalue()


def from_bytes(content: bytes) -> Bundle:
    """The person in a file, all of it checked: the name, everything there is, and who has signed it.

    Raises:
        PersonNewer: a later earmark wrote it.
        BundleError: anything is wrong with it.
        CryptographyMissing: it is signed, and the library that can tell by whom is not installed.
    """
    try:
        members = _members(content)
        manifest = _checked(json.loads(members.pop(MANIFEST)))
        _check_sums(members, manifest["files"])
        signed_by = _signer(manifest)
        name, tree = str(manifest["name"]), _tree(members)
        for (keyword, version), files in tree.items():
            voiceprint = codec.decode(files)
            codec.decode_recordings(files)
            if (voiceprint.name, voiceprint.keyword) != (name, keyword):
                raise ValueError(f"version {version} is of {voiceprint.name!r} for {voiceprint.keyword!r}")
        return Bundle(name, tree, signed_by)
    except (PersonNewer, CryptographyMissing):
        raise
    except Exception as error:  # what tarfile, json, zipfile and numpy raise on bytes made to harm is no closed list
        raise BundleError(f"not a person exported by earmark, or damaged: {error or type(error).__name__}") from error


def write(path: Path, content: bytes) -> None:
    """Writes an exported person: all of it or nothing, mode 0600.

    Raises:
        InputError: it is there already, or cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already: choose another name")
    try:
        replace_synced(path, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {system_text_of(error)}") from error


def read(path: Path) -> Bundle:
    """What `from_bytes` finds in a file.

    Raises:
        BundleError, PersonNewer, CryptographyMissing: as `from_bytes`, or it cannot be read.
    """
    try:
        content = read_limited(path.resolve(), MAX_BYTES)
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"{path}: cannot be read: {reason}") from error
    try:
        return from_bytes(content)
    except (BundleError, PersonNewer) as error:
        raise type(error)(f"{path}: {error}; nothing was changed") from error


def _members(content: bytes) -> dict[str, bytes]:
    """Name -> content of the members; plain files only, none twice, nothing but zeros behind them."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for info in archive:
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse() or info.pax_headers:
                raise ValueError(f"{info.name!r:.80} is no plain file")
            if info.name in members:
                raise ValueError(f"{info.name!r:.80} is there twice")
            if len(members) >= MAX_MEMBERS:
                raise ValueError(f"it has more than {MAX_MEMBERS} members")
            limit = MAX_MANIFEST_BYTES if info.name == MANIFEST else codec.MAX_FILE_BYTES
            if not 0 <= info.size <= min(limit, len(content)):
                raise ValueError(f"{info.name!r:.80} has {info.size} bytes, at most {limit} are allowed")
            file = archive.extractfile(info)
            data = file.read() if file is not None else b""
            if len(data) != info.size:
                raise ValueError(f"{info.name!r:.80} is truncated")
            members[info.name] = data
        rest = content[archive.offset :]
    if rest.strip(b"\0"):
        raise ValueError("there is something behind its last member")
    if next(iter(members), None) != MANIFEST:
        raise ValueError(f"it does not begin with {MANIFEST}")
    return members


def _checked(manifest: Any) -> dict[str, Any]:
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise ValueError(f"its manifest must be of kind {KIND!r}")
    if type(manifest.get("format")) is int and manifest["format"] > FORMAT:
        raise PersonNewer(
            f"it is of format {manifest['format']}, this earmark knows {FORMAT}: install a newer earmark"
        )
    keys, signed = {"format", "kind", "name", "files"}, {"signature"} & set(manifest)
    if set(manifest) != keys | signed or manifest["format"] != (FORMAT if signed else FORMAT_NOT_SIGNED):
        raise ValueError(f"its manifest must have kind, name, files, and format {FORMAT} where it has a signature")
    if not isinstance(manifest["name"], str) or not isinstance(manifest["files"], dict) or not manifest["files"]:
        raise ValueError("its manifest must have a name and files")
    folder_name(manifest["name"])
    return manifest


def _signed_part(manifest: Mapping[str, Any]) -> bytes:
    """All of a manifest but the signature; with it the sums, and so all of the file."""
    return json.dumps({key: manifest[key] for key in manifest if key != "signature"}, sort_keys=True).encode()


def _signer(manifest: Mapping[str, Any]) -> str | None:
    if "signature" not in manifest:
        return None
    signature = manifest["signature"]
    if not isinstance(signature, dict) or set(signature) != {"key", "value"}:
        raise ValueError("its signature must have key and value")
    key, value = signature["key"], signature["value"]
    if not (isinstance(key, str) and isinstance(value, str) and is_signed(_signed_part(manifest), key, value)):
        raise ValueError("its signature does not hold: it is not as it was exported")
    return key


def _check_sums(members: Mapping[str, bytes], sums: Mapping[str, Any]) -> None:
    if set(members) != set(sums):
        raise ValueError("its members are not those of its manifest")
    for path, content in members.items():
        if sums[path] != {"bytes": len(content), "sha256": _sha256(content)}:
            raise ValueError(f"the checksum of {path!r:.80} does not hold")


def _tree(members: Mapping[str, bytes]) -> dict[tuple[str, int], dict[str, bytes]]:
    tree: dict[tuple[str, int], dict[str, bytes]] = {}
    for path, content in members.items():
        word, number, file = path.split("/")
        if not (is_person_folder(word) and is_version(number) and _FILE.fullmatch(file)):
            raise ValueError(f"{path!r:.80} is not WAKE_WORD/VERSION/FILE")
        tree.setdefault((name_of(word), int(number)), {})[file] = content
    for (keyword, version), files in tree.items():
        wanted = {codec.HEADER_FILE, codec.ARRAYS_FILE, *codec.recording_files(files[codec.HEADER_FILE])}
        if set(files) != wanted:
            raise ValueError(f"version {version} for {keyword!r} has {sorted(files)}, not {sorted(wanted)}")
    counts = Counter(keyword for keyword, _ in tree)
    if max(counts.values()) > KEPT_VERSIONS:
        raise ValueError(f"{max(counts.values())} versions for a wake word, at most {KEPT_VERSIONS} are kept")
    return tree


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
