"""A person on disk: voiceprints, one for each wake word, and the store that keeps them.

A store is a folder::

    anna/                    one folder a person, mode 0700
      okay_nabu/             one a wake word (or `any-phrase`)
        0001/                one a version; the highest counts, the others are kept for going back
          header.json        what it is, which networks it belongs to, checksums; mode 0600
          arrays.npz         plain arrays, never a pickle

A version is written beside its place (files, fsync, folder fsync) and then renamed into it, so whatever happens
there is the old one or the new one. A voiceprint is biometric data: it never leaves the store unasked.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import unicodedata
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import make_folder, read_limited, sync_folder, temporary_folder, write_synced
from .audio import Float32
from .errors import InputError, PersonDamaged, PersonError, PersonMismatch, PersonUnknown, StoreUnwritable
from .head import HeadWeights

FORMAT = 1
ANY_PHRASE = "any-phrase"
COSINE, TRAINED = "cosine", "trained"
KEPT_VERSIONS = 5
MAX_FILE_BYTES = 4 << 20  # ten times the largest honest file: refuses a bomb before it is unpacked
MAX_NAME_BYTES = 200  # of the folder's name; file systems allow 255

_ARRAYS: Mapping[str, tuple[str, str]] = {  # name -> type, and a letter a dimension: the same letter, the same length
    "takes": ("float32", "nd"),
    "centroid": ("float32", "d"),
    "prototype": ("float32", "p"),
    "projection": ("float16", "dp"),
    "bias": ("float32", "1"),
}
_TRAINED_ARRAYS = ("prototype", "projection", "bias")  # empty where the kind is `cosine`
_HEADER: Mapping[str, type] = {
    "format": int,
    "name": str,
    "keyword": str,
    "kind": str,
    "threshold": float,
    "binding": dict,
    "report": dict,
    "arrays_sha256": str,
    "header_sha256": str,
}


@dataclass(frozen=True)
class Binding:
    """sha256 of the networks that a voiceprint belongs to; with others its numbers mean nothing."""

    keyword: str
    """Empty for `any-phrase`."""
    speaker: str
    head: str


@dataclass(frozen=True)
class Voiceprint:
    """What is known of one person's voice saying one wake word."""

    name: str
    keyword: str
    """Name of the wake word, or `any-phrase`."""
    kind: str
    """`trained`: the score is the mean of raw cosine and trained head; `cosine`: the raw cosine alone."""
    threshold: float
    """Score, in -1…1, from which on it is this person."""
    binding: Binding
    takes: Float32
    """(n, d) embeddings of the enrolment takes, unit rows; d is the speaker network's embedding size."""
    centroid: Float32
    """(d,) their mean, unit length."""
    prototype: Float32
    """(p,) mean of the projected takes, unit length; p is the head's projection size."""
    weights: HeadWeights
    """The trained projection; empty arrays where `kind` is `cosine`."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What enrolment measured, for people to read."""


class PersonStore:
    """The people of one folder; creates it on the first save."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    def names(self) -> list[str]:
        """Everybody with at least one voiceprint, in alphabetical order."""
        return sorted(_names(path for path in _folders(self.folder) if self._keywords(path)))

    def keywords(self, name: str) -> list[str]:
        """The wake words that a person is enrolled for.

        Raises:
            PersonUnknown: there is nobody of that name.
        """
        found = self._keywords(self._person_folder(name))
        if not found:
            known = ", ".join(self.names()) or "nobody"
            raise PersonUnknown(f"no person {name!r} in {self.folder}: enrolled: {known}")
        return found

    def versions(self, name: str, keyword: str) -> list[int]:
        """The kept versions, oldest first; the last one counts."""
        place = self._place(name, keyword)
        return sorted(int(path.name) for path in _folders(place) if _is_version(path)) if self._is_real(place) else []

    def fingerprint(self) -> frozenset[tuple[str, str, int]]:
        """Person, wake word, newest version of everything there is: another one after every change."""
        found: set[tuple[str, str, int]] = set()
        for name in self.names():
            with contextlib.suppress(PersonUnknown):  # erased meanwhile
                for keyword in self.keywords(name):
                    found.update((name, keyword, version) for version in self.versions(name, keyword)[-1:])
        return frozenset(found)

    def load(self, name: str, keyword: str) -> Voiceprint:
        """The newest version of a voiceprint.

        Raises:
            PersonUnknown: there is none.
            PersonDamaged: a checksum or the format does not hold.
        """
        versions = self.versions(name, keyword)
        if not versions:
            raise PersonUnknown(f"{name!r} is not enrolled for {keyword!r}: enrolled for {self.keywords(name)}")
        return _read(self._place(name, keyword) / f"{versions[-1]:04d}")

    def save(self, voiceprint: Voiceprint) -> Path:
        """Writes a new version and drops versions older than the last five; returns its folder.

        Raises:
            InputError: the name cannot be used.
            StoreUnwritable: the disk is full, or the folder may not be written; nothing has changed.
        """
        place = self._place(voiceprint.name, voiceprint.keyword)
        try:
            if not self._is_real(place):
                raise OSError(errno.ELOOP, "its folder is a link")
            make_folder(place)
            for left in place.glob(".new-*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            versions = self.versions(voiceprint.name, voiceprint.keyword)
            target = place / f"{(versions[-1] if versions else 0) + 1:04d}"
            with temporary_folder(place) as temporary:
                for file_name, content in _encode(voiceprint).items():
                    write_synced(Path(temporary, file_name), content)
                sync_folder(temporary)
                Path(temporary).rename(target)
            try:
                sync_folder(place)
            except OSError:
                shutil.rmtree(target, ignore_errors=True)
                raise
        except OSError as error:
            for folder in (place, place.parent):
                with contextlib.suppress(OSError):  # only an empty one goes
                    folder.rmdir()
            raise StoreUnwritable(
                f"{voiceprint.name!r} could not be saved in {self.folder}: {error.strerror}; "
                "nothing was changed: make room or allow writing, and enrol again"
            ) from error
        for old in versions[: -(KEPT_VERSIONS - 1)]:
            shutil.rmtree(place / f"{old:04d}", ignore_errors=True)
        return target

    def remove(self, name: str) -> int:
        """Erases every version of every voiceprint of a person; returns how many versions that were.

        Raises:
            PersonUnknown: there is nobody of that name.
            StoreUnwritable: the files may not be removed.
        """
        count = sum(len(self.versions(name, keyword)) for keyword in self.keywords(name))
        try:
            shutil.rmtree(self._person_folder(name))
            sync_folder(self.folder)
        except OSError as error:
            raise StoreUnwritable(f"{name!r} could not be erased from {self.folder}: {error.strerror}") from error
        return count

    def _person_folder(self, name: str) -> Path:
        return self.folder / folder_name(name)

    def _place(self, name: str, keyword: str) -> Path:
        return self._person_folder(name) / folder_name(keyword)

    def _keywords(self, person: Path) -> list[str]:
        if not self._is_real(person):
            return []
        return sorted(_names(path for path in _folders(person) if any(map(_is_version, _folders(path)))))

    def _is_real(self, folder: Path) -> bool:
        """Whether nothing between the store and a folder inside it is a link, which could point anywhere."""
        between = folder.relative_to(self.folder).parts
        with contextlib.suppress(PermissionError):  # who lists the folder will say so
            return not any(self.folder.joinpath(*between[: n + 1]).is_symlink() for n in range(len(between)))
        return True


def default_folder() -> Path:
    """`$XDG_DATA_HOME/earmark/people`, by default `~/.local/share/earmark/people`."""
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "earmark" / "people"


def folder_name(name: str) -> str:
    """A person's name as the name of a folder: percent-encoded, so that no name can point elsewhere.

    Raises:
        InputError: it is empty, has control characters or outer spaces, or is too long.
    """
    if not name or name != name.strip() or not name.isprintable():
        raise InputError(f"name {name!r} must have printable characters and no space at its ends")
    quoted = urllib.parse.quote(unicodedata.normalize("NFC", name), safe="").replace(".", "%2E")
    if len(quoted) > MAX_NAME_BYTES:
        raise InputError(f"name {name!r} is too long: {len(quoted)} bytes when encoded, {MAX_NAME_BYTES} are allowed")
    return quoted


def check_binding(voiceprint: Voiceprint, binding: Binding) -> None:
    """Refuses a voiceprint that was made with other networks.

    Raises:
        PersonMismatch: it was; the message says which, and to enrol again.
    """
    wanted, found = asdict(binding), asdict(voiceprint.binding)
    if voiceprint.keyword == ANY_PHRASE:
        wanted["keyword"] = found["keyword"]
    differing = [part for part in wanted if wanted[part] != found[part]]
    if differing:
        raise PersonMismatch(
            f"{voiceprint.name!r} ({voiceprint.keyword}) was enrolled with another {' and '.join(differing)} network "
            f"({', '.join(f'{found[part][:12]}… instead of {wanted[part][:12]}…' for part in differing)}): "
            f"`earmark enroll {voiceprint.name}` again"
        )


def _encode(voiceprint: Voiceprint) -> dict[str, bytes]:
    """File name -> content; the same voiceprint gives the same bytes."""
    arrays = io.BytesIO()
    np.savez(
        arrays,
        takes=voiceprint.takes.astype(np.float32),
        centroid=voiceprint.centroid.astype(np.float32),
        prototype=voiceprint.prototype.astype(np.float32),
        projection=voiceprint.weights.projection.astype(np.float16),  # training rounds to it: nothing is lost here
        bias=voiceprint.weights.bias.astype(np.float32),
    )
    header: dict[str, Any] = {
        "format": FORMAT,
        "name": voiceprint.name,
        "keyword": voiceprint.keyword,
        "kind": voiceprint.kind,
        "threshold": voiceprint.threshold,
        "binding": asdict(voiceprint.binding),
        "report": dict(voiceprint.report),
        "arrays_sha256": hashlib.sha256(arrays.getvalue()).hexdigest(),
    }
    header["header_sha256"] = _header_sha256(header)
    return {"arrays.npz": arrays.getvalue(), "header.json": json.dumps(header, indent=1).encode() + b"\n"}


def _header_sha256(header: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in header.items() if key != "header_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(version: Path) -> Voiceprint:
    try:
        contents = {name: read_limited(version / name, MAX_FILE_BYTES) for name in ("header.json", "arrays.npz")}
        header = _checked_header(json.loads(contents["header.json"]))
        if header["arrays_sha256"] != hashlib.sha256(contents["arrays.npz"]).hexdigest():
            raise ValueError("the arrays' checksum does not hold")
        if (folder_name(header["name"]), folder_name(header["keyword"])) != version.parts[-3:-1]:
            raise ValueError(f"it is of {header['name']!r} for {header['keyword']!r} and was copied here")
        arrays = _read_arrays(contents["arrays.npz"], header["kind"])
        return Voiceprint(
            name=header["name"],
            keyword=header["keyword"],
            kind=header["kind"],
            threshold=header["threshold"],
            binding=Binding(**header["binding"]),
            takes=arrays["takes"],
            centroid=arrays["centroid"],
            prototype=arrays["prototype"],
            weights=HeadWeights(arrays["projection"], arrays["bias"]),
            report=header["report"],
        )
    except OSError as error:
        raise PersonError(f"{version}: cannot be read: {error.strerror}") from error
    except Exception as error:  # what json, zipfile and numpy raise on bytes made to harm is no closed list
        raise PersonDamaged(
            f"{version}: damaged: {error}; remove that folder to go back to the version before, or enrol again"
        ) from error


def _read_arrays(content: bytes, kind: str) -> dict[str, Float32]:
    """The arrays of a voiceprint as float32; exactly these, finite, of their types and shapes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if {info.filename for info in archive.infolist()} != {f"{name}.npy" for name in _ARRAYS}:
            raise ValueError(f"the arrays must be exactly {sorted(_ARRAYS)}")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("the arrays must not be packed: they could unpack to any size")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in _ARRAYS}
    lengths = {"1": 1}
    for name, (dtype, letters) in _ARRAYS.items():
        array = arrays[name]
        if kind == COSINE and name in _TRAINED_ARRAYS:
            fits = array.size == 0
        else:
            fits = len(array.shape) == len(letters) and all(
                length > 0 and lengths.setdefault(letter, length) == length
                for letter, length in zip(letters, array.shape)
            )
        if not fits or array.dtype != dtype or not np.isfinite(array).all():
            raise ValueError(
                f"{name} is {array.dtype}{array.shape}, it must be finite {dtype}, shape {letters!r} with {lengths}, "
                f"kind {kind!r}"
            )
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _checked_header(header: Any) -> dict[str, Any]:
    """The header, if its checksum holds and it has exactly the keys and types of the format."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its format must be {FORMAT}")
    if header["header_sha256"] != _header_sha256(header):
        raise ValueError("the header's checksum does not hold")
    if set(header) != set(_HEADER):
        raise ValueError(f"the header's keys must be exactly {sorted(_HEADER)}")
    for key, kind in _HEADER.items():
        if type(header[key]) is not kind:  # JSON's true is an int to isinstance
            raise ValueError(f"{key}={header[key]!r} must be {kind.__name__}")
    if header["kind"] not in (COSINE, TRAINED):
        raise ValueError(f"kind={header['kind']!r} must be {COSINE} or {TRAINED}")
    if not -1 <= header["threshold"] <= 1:  # NaN is not, either
        raise ValueError(f"threshold={header['threshold']} must be within -1…1")
    if not all(isinstance(value, str) for value in header["binding"].values()):
        raise ValueError(f"binding={header['binding']!r} must have sha256 sums")
    return header


def _names(folders: Iterable[Path]) -> Iterator[str]:
    """The names that folders stand for; a folder that this module did not name stands for nobody."""
    for folder in folders:
        name = urllib.parse.unquote(folder.name)
        with contextlib.suppress(InputError):
            if folder_name(name) == folder.name:
                yield name


def _is_version(folder: Path) -> bool:
    name = folder.name
    return name.isascii() and name.isdigit() and f"{int(name):04d}" == name


def _folders(path: Path) -> list[Path]:
    """The real folders inside a folder, hidden ones and links left out; none where there is no such folder."""
    try:
        with os.scandir(path) as entries:
            return [
                path / entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PersonError(f"{path}: cannot be read: {error.strerror}") from error
