"""What a broken-off session has so far, on disk until it is done: embeddings, never audio.

One file for each person, wake word and store, mode 0600 in a folder of mode 0700 outside the store: a checksum, then
plain arrays, never a pickle. It is biometric data, and erased as soon as the person is enrolled. It is replaced in
one step: killed at any moment, it is that before the last take or that with it (docs/research/kill9.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError, text_of
from earmark.engine.features.speech import Analysis
from earmark.engine.storage.atomic import read_limited
from earmark.engine.storage.locked import LockedFolder, unwritable
from earmark.engine.storage.user_folders import sessions_folder

from ..takes.hearing import AcceptedTake
from ..takes.quality import Take
from ..training.train import TakeEmbeddings

FORMAT = 3
MAX_BYTES = 4 << 20  # 9 takes with 6 copies and 200 crops of others are 0.5 MB
_NO_AUDIO = np.zeros(0, np.int16)


@dataclass(frozen=True)
class Kept:
    """The good takes of a session and its room."""

    heard: list[AcceptedTake]
    """Without their crops."""
    varied: list[TakeEmbeddings]
    room: Float32
    """(40,)."""
    room_dbfs: float


class KeptSession:
    """The file of one session.

    Args:
        store: the folder of the person store that it is for.
        name: of the person.
        keyword: name of the wake word.
        bound: what the embeddings depend on: with other values they are not used again.
        folder: of such files; None: `sessions_folder()`.
    """

    def __init__(
        self, store: Path, name: str, keyword: str, bound: Mapping[str, Any], folder: Path | None = None
    ) -> None:
        key = hashlib.sha256(json.dumps([str(store.absolute()), name, keyword]).encode()).hexdigest()
        self.path = (folder or sessions_folder()) / f"{key[:32]}.session"
        self._folder = LockedFolder(self.path.parent, lock=None)  # one person enrols at one microphone at a time
        self._bound = json.loads(json.dumps(bound))

    def save(self, kept: Kept) -> None:
        """Replaces what was kept before.

        Raises:
            StoreUnwritable: it cannot be written; what was there is as it was.
        """
        takes = [
            [*(value for name, value in vars(heard.take).items() if name != "analysis"), heard.crop_snr_db]
            for heard in kept.heard
        ]
        shares = [list(take.heard) for take in kept.varied]
        header = {
            "format": FORMAT,
            "bound": self._bound,
            "takes": takes,
            "shares": shares,
            "room_dbfs": kept.room_dbfs,
        }
        content = io.BytesIO()
        np.savez(
            content,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            clean=np.array([take.clean for take in kept.varied], np.float32),
            copies=np.array([take.copies for take in kept.varied], np.float32),
            elsewhere=np.array([take.elsewhere for take in kept.varied], np.float32),
            high_db=np.array([np.nan if take.high_db is None else take.high_db for take in kept.varied]),
            room=kept.room.astype(np.float32),
        )
        digest = hashlib.sha256(content.getvalue()).hexdigest().encode()
        with self._folder.changing(f"{self.path}: the session cannot be kept", "make room or allow writing there"):
            self._folder.sweep_all(self.path.name)
            self._folder.replace(self.path, digest + content.getvalue())

    def load(self) -> Kept | None:
        """What was kept; None: nothing, or it belongs to other networks or another seed.

        Raises:
            InputError: the file is damaged, or cannot be read.
        """
        try:
            content = read_limited(self.path, MAX_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read: {text_of(error)}; remove it to begin anew") from error
        try:
            return self._decoded(content)
        except Exception as error:  # what json, zipfile and numpy raise on damaged bytes is no closed list
            raise InputError(f"{self.path}: damaged: {text_of(error)}; remove it to begin anew") from error

    def erase(self) -> None:
        """Nothing of the session is left.

        Raises:
            StoreUnwritable: the file may not be removed.
        """
        with unwritable(f"{self.path}: could not be erased", "allow writing there", self.path.parent):
            self._folder.sweep_all(self.path.name)
            self.path.unlink(missing_ok=True)
            if self.path.parent.is_dir():
                self._folder.sync()
            with contextlib.suppress(OSError):  # others are kept there
                self.path.parent.rmdir()

    def _decoded(self, content: bytes) -> Kept | None:
        digest, body = content[:64], content[64:]
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("its checksum does not hold")
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT or header["bound"] != self._bound:
                return None
            clean, copies, elsewhere, room = (
                arrays[name].astype(np.float32) for name in ("clean", "copies", "elsewhere", "room")
            )
            high_db = arrays["high_db"] if "high_db" in arrays else np.full(len(clean), np.nan)  # of before
        lengths = {len(each) for each in (header["takes"], header["shares"], clean, copies, elsewhere, high_db)}
        if len(lengths) > 1:
            raise ValueError("its takes differ in number")
        heard = [
            AcceptedTake(Take(file, Analysis(_NO_AUDIO), *figures), embedding, crop_snr_db)
            for (file, *figures, crop_snr_db), embedding in zip(header["takes"], clean)
        ]
        shares = [tuple(float(share) for share in each) for each in header["shares"]]
        varied = [
            TakeEmbeddings(take, rows, heard=each, elsewhere=away, high_db=None if np.isnan(db) else float(db))
            for take, rows, each, away, db in zip(clean, copies, shares, elsewhere, high_db)
        ]
        return Kept(heard, varied, room, header["room_dbfs"])
