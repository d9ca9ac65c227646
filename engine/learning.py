"""What the daemon heard, kept to learn from: embeddings only, never a sound.

It lies inside the people's store, and so where the people are, and goes with them::

    .learning/                     mode 0700
      1732490000123-5d3f91aa.json    one wake: when, who, the embedding, a checksum; mode 0600; sealed as the store is
      undone.json                    what was learned and taken back: it is not learned again
      .updated                       its time of change is when the last update began

An entry's name begins with its time and ends with a checksum of where it was heard, so that entries are ordered by
their names, and the same wake is the same entry whoever writes it. An entry is written beside its place and renamed
into it. What is too old or too many is erased by whoever adds something; how old, the caller's clock says.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .atomic import NEW_PREFIX, make_folder, read_limited, replace_synced, sync_folder
from .audio import Float32
from .errors import LearningError, PersonLocked, StoreUnwritable
from .person import PersonStore
from .vault import MAGIC, Vault

_LOG = logging.getLogger(__name__)

FORMAT = 1
FOLDER, UNDONE_FILE, UPDATED_FILE, SUFFIX = ".learning", "undone.json", ".updated", ".json"
MOST_OWN = 200  # wakes that wait to be learned: five a day for the 40 days that 40 takes need
MOST_IMPOSTORS = 500  # 1.5 MB; the head trains against 64 of them
DAY_S = 86_400.0
OWN_DAYS, IMPOSTOR_DAYS = 14.0, 60.0  # a cold is over, and a guest is gone; chosen, not measured
MOST_UNDONE = 1000
MAX_ENTRY_BYTES = 64 << 10
TYPES = ("detection", "rejection", "near_miss", "label")
NOISE = "noise"

_KEYS: Mapping[str, tuple[type, ...]] = {
    "format": (int,),
    "type": (str,),
    "keyword": (str,),
    "person": (str, type(None)),
    "score": (float, int, type(None)),
    "source": (str,),
    "sample": (int,),
    "at_s": (float, int),
    "label": (str, type(None)),
    "speaker_sha256": (str,),
    "embedding": (str,),
    "sha256": (str,),
}


@dataclass(frozen=True)
class Heard:
    """A wake, or a near one."""

    type: str
    """detection, rejection or near_miss as the daemon's events; `label`: taken over from the journal, where somebody
    said who it was."""
    keyword: str
    person: str | None
    """Whom the daemon took it for."""
    score: float | None
    """Of that person, or of the nearest one."""
    source: str
    """The microphone or client."""
    sample: int
    """Where in its stream: counts the audio since the daemon began."""
    at_s: float
    """Seconds since 1970 by the daemon's clock."""
    speaker_sha256: str
    """The network that made the embedding."""
    embedding: Float32 = field(compare=False, repr=False)
    """(d,) unit length."""
    label: str | None = None
    """Who it really was, if somebody said so: a name, `not-me`, `noise`."""

    @property
    def id(self) -> str:
        """Its name on the disk, and in a voiceprint that learned it."""
        return f"{round(1000 * self.at_s):013d}-{zlib.crc32(self.source.encode()):08x}"

    @property
    def is_own(self) -> bool:
        """Whether it is somebody's who may be enrolled; else it is a stranger's, or noise."""
        return self.person is not None if self.label is None else self.label not in ("not-me", NOISE)

    def facts(self) -> dict[str, Any]:
        """All but the embedding, as JSON has it."""
        values = asdict(replace(self, embedding=np.zeros(0, np.float32)))
        del values["embedding"]
        return {"id": self.id, **values}


class LearningStore:
    """What waits to be learned in one people's store; several processes may use it at the same time."""

    def __init__(self, people: PersonStore) -> None:
        self.folder = people.folder / FOLDER
        self._people = people

    def add(self, heard: Heard) -> None:
        """Keeps a wake; the same one again replaces it.

        Raises:
            StoreUnwritable: the disk is full, or the folder may not be written; there is no part of it.
            PersonError: the store is encrypted, and its key is not to be had.
        """
        vault = self._people.vault()
        content = _encode(heard)
        if vault is not None:
            content = vault.seal(content, f"{FOLDER}/{heard.id}")
        with self._told("could not be kept"):
            make_folder(self.folder)
            replace_synced(self.folder / (heard.id + SUFFIX), content, beside=self.folder)

    def read(self) -> list[Heard]:
        """Everything that waits, oldest first; what is damaged is erased and logged.

        Raises:
            PersonError: the store is encrypted, and its key is not to be had.
            LearningError: the folder may not be read.
        """
        vault = self._people.vault()
        found = []
        for name in self._names():
            try:
                found.append(_decode(read_limited(self.folder / (name + SUFFIX), MAX_ENTRY_BYTES), name, vault))
            except FileNotFoundError:  # erased meanwhile
                continue
            except OSError as error:
                raise LearningError(f"{self.folder / name}: cannot be read: {error.strerror}") from error
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                _LOG.warning("%s: damaged: %s: erased", self.folder / name, error)
                self.erase([name])
        return found

    def erase(self, ids: Iterable[str]) -> int:
        """Erases entries, those that are still there; returns how many that were.

        Raises:
            StoreUnwritable: they may not be removed.
        """
        count = 0
        with self._told("could not be erased"):
            for name in ids:
                with contextlib.suppress(FileNotFoundError):
                    (self.folder / (name + SUFFIX)).unlink()
                    count += 1
            if count:
                sync_folder(self.folder)
        return count

    def withdraw(self, source: str, keyword: str, since_sample: int) -> int:
        """Erases what was rejected in a source since then: the person has now been accepted, so it was no stranger.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonError, LearningError: as `read`.
        """
        newest = [name for name in self._names()[-20:] if name.endswith(f"-{zlib.crc32(source.encode()):08x}")]
        vault = self._people.vault()
        doubtful = []
        for name in newest:
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                heard = _decode(read_limited(self.folder / (name + SUFFIX), MAX_ENTRY_BYTES), name, vault)
                unsaid = not heard.is_own and heard.label is None
                if unsaid and heard.keyword == keyword and heard.sample >= since_sample:
                    doubtful.append(name)
        return self.erase(doubtful)

    def tidy(self, now_s: float) -> int:
        """Erases what is too old or too many, and what killed processes left; returns how many entries.

        What is not sealed is sealed, where the store has been encrypted since.

        Args:
            now_s: seconds since 1970. What seems to come from the future is kept.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonError, LearningError: as `read`.
        """
        for name in self._listed():
            if name.startswith(NEW_PREFIX):
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
        self.seal()
        entries = self.read()
        gone = []
        for own, most, days in ((True, MOST_OWN, OWN_DAYS), (False, MOST_IMPOSTORS, IMPOSTOR_DAYS)):
            kind = [heard for heard in entries if heard.is_own == own]
            young = [heard for heard in kind if now_s - heard.at_s <= days * DAY_S]
            gone += [heard.id for heard in kind if heard not in young[-most:]]
        return self.erase(gone)

    def seal(self) -> None:
        """Seals what is not, where the store is encrypted.

        Raises:
            StoreUnwritable: it could not be written.
            PersonError, LearningError: as `read`.
        """
        if self._people.vault() is not None:
            for heard in self.read():
                if not self._is_sealed(heard.id):
                    self.add(heard)

    def forget(self, person: str | None = None) -> int:
        """Erases what was heard of a person, or everything; returns how many entries.

        Where the store is encrypted and its key is not to be had, everything: whose it is cannot be read.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonError, LearningError: as `read`.
        """
        if person is None:
            return self.erase(self._names())
        try:
            return self.erase(heard.id for heard in self.read() if person == (heard.label or heard.person))
        except PersonLocked:
            return self.erase(self._names())

    # --- when it was learned

    def updated_s(self) -> float | None:
        """When the last update began, in seconds since 1970; None: there was none."""
        try:
            return (self.folder / UPDATED_FILE).stat().st_mtime
        except OSError:
            return None

    def update(self, now_s: float) -> None:
        """An update begins.

        Raises:
            StoreUnwritable: the folder may not be written.
        """
        with self._told("could not be used"):
            make_folder(self.folder)
            path = self.folder / UPDATED_FILE
            replace_synced(path, b"", beside=self.folder)
            os.utime(path, (now_s, now_s))

    # --- what was taken back

    def undone(self) -> set[str]:
        """The ids of what was learned and taken back.

        Raises:
            LearningError: the list is damaged, or may not be read.
        """
        path = self.folder / UNDONE_FILE
        try:
            values = json.loads(read_limited(path, 1 << 20))
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                raise ValueError("it must be a list of texts")
            return set(values)
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, RecursionError) as error:
            raise LearningError(f"{path}: cannot be used: {error}; delete it") from error

    def undo(self, ids: Iterable[str]) -> None:
        """Keeps these from being learned again.

        Raises:
            StoreUnwritable: the list could not be written.
            LearningError: as `undone`.
        """
        listed = sorted(self.undone() | set(ids))[-MOST_UNDONE:]
        with self._told("could not be written"):
            make_folder(self.folder)
            content = json.dumps(listed, indent=1).encode() + b"\n"
            replace_synced(self.folder / UNDONE_FILE, content, beside=self.folder)
        self.erase(ids)

    # --- the parts of it

    def _names(self) -> list[str]:
        """The ids of all entries, oldest first."""
        names = [name.removesuffix(SUFFIX) for name in self._listed() if name.endswith(SUFFIX)]
        return sorted(name for name in names if name[:1].isdigit())

    def _is_sealed(self, name: str) -> bool:
        try:
            return read_limited(self.folder / (name + SUFFIX), MAX_ENTRY_BYTES).startswith(MAGIC)
        except (OSError, ValueError):  # gone meanwhile
            return True

    def _listed(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LearningError(f"{self.folder}: cannot be read: {error.strerror}") from error

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreUnwritable(
                f"what was heard {what} in {self.folder}: {error.strerror or error}: make room, or allow writing"
            ) from error


def _encode(heard: Heard) -> bytes:
    values = {key: value for key, value in heard.facts().items() if key != "id"}
    row = heard.embedding.astype("<f4").tobytes()
    values = {"format": FORMAT, **values, "embedding": base64.b64encode(row).decode()}
    return json.dumps({**values, "sha256": _sha256(values)}).encode() + b"\n"


def _decode(content: bytes, name: str, vault: Vault | None) -> Heard:
    """An entry, checked.

    Raises:
        ValueError, KeyError, TypeError: it breaks the format.
    """
    if content.startswith(MAGIC):
        if vault is None:
            raise ValueError("it is sealed, and the store is not encrypted any more")
        content = vault.open(content, f"{FOLDER}/{name}")
    values = json.loads(content)
    if not isinstance(values, dict) or set(values) != set(_KEYS) or values["format"] != FORMAT:
        raise ValueError(f"it must have {sorted(_KEYS)}, and format {FORMAT}")
    for key, kinds in _KEYS.items():
        if type(values[key]) not in kinds:  # JSON's true is an int to isinstance
            raise ValueError(f"{key}={values[key]!r:.80} must be {' or '.join(kind.__name__ for kind in kinds)}")
    checksum = values.pop("sha256")
    if checksum != _sha256(values) or values["type"] not in TYPES:
        raise ValueError("its checksum does not hold")
    del values["format"]
    row = np.frombuffer(base64.b64decode(values.pop("embedding"), validate=True), "<f4").astype(np.float32)
    if not abs(float(np.linalg.norm(row)) - 1) < 1e-3:  # NaN is not, either
        raise ValueError("its embedding is not of unit length")
    heard = Heard(**values, embedding=row)
    if heard.id != name:
        raise ValueError(f"it is {heard.id} and was copied here")
    return heard


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
