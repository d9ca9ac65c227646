"""A wake or a near one, as it waits to be learned: an embedding, when and where it was heard, and who it was."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ..audio.samples import Float32
from ..event import WAKE_TYPES
from ..people.index import WAITING_FOLDER
from ..people.meaning import check_facts
from ..people.vault import MAGIC, Vault
from .labels import NOISE, NOT_ME

FORMAT = 1
FOLDER = WAITING_FOLDER
"""Of the entries, in the people's store; the place of an entry is authenticated with its seal."""
MAX_ENTRY_BYTES = 64 << 10
FROM_JOURNAL = "label"
"""The type of a wake that was taken over from the journal, where somebody said who it was."""

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
class QueuedWake:
    """A wake, or a near one."""

    type: str
    """As of the daemon's events, or `FROM_JOURNAL`."""
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
        return self.person is not None if self.label is None else self.label not in (NOT_ME, NOISE)

    def facts(self) -> dict[str, Any]:
        """All but the embedding, as JSON has it."""
        values = asdict(replace(self, embedding=np.zeros(0, np.float32)))
        del values["embedding"]
        return {"id": self.id, **values}


def encode(heard: QueuedWake) -> bytes:
    """The content of its file, not sealed."""
    values = {key: value for key, value in heard.facts().items() if key != "id"}
    row = heard.embedding.astype("<f4").tobytes()
    values = {"format": FORMAT, **values, "embedding": base64.b64encode(row).decode()}
    return json.dumps({**values, "sha256": _sha256(values)}).encode() + b"\n"


def decode(content: bytes, name: str, vault: Vault | None) -> QueuedWake:
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
    if checksum != _sha256(values) or values["type"] not in (*WAKE_TYPES, FROM_JOURNAL):
        raise ValueError("its checksum does not hold")
    del values["format"]
    row = np.frombuffer(base64.b64decode(values.pop("embedding"), validate=True), "<f4").astype(np.float32)
    if not abs(float(np.linalg.norm(row)) - 1) < 1e-3:  # NaN is not, either
        raise ValueError("its embedding is not of unit length")
    check_facts(values)
    heard = QueuedWake(**values, embedding=row)
    if heard.id != name:
        raise ValueError(f"it is {heard.id} and was copied here")
    return heard


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
