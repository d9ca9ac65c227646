"""What the rules for takes look at: the figures of a sound, at the ends of its recording, beside the takes before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earmark.engine.audio.samples import RATE_HZ

from .measure import Sound


@dataclass(frozen=True)
class Figures:
    """What the rules look at: one sound, at one of its two ends, beside the takes before."""

    sound: Sound
    """Without clicks."""
    end: str
    """`begins` or `ends`."""
    at_edges: tuple[bool, bool]
    """Whether the sound begins, and ends, where its recording does."""
    is_phrase: bool
    """Whether it is one take of any phrase."""
    shares: tuple[float, float] | None
    """How long it is, and how long it is loud, of what the takes before are; None: nobody knows yet."""

    @property
    def clipped_share(self) -> float:
        """Of the speech, at full scale."""
        return self.sound.clipped_share

    @property
    def clipped_percent(self) -> float:
        """The same in %."""
        return 100 * self.sound.clipped_share

    @property
    def level_dbfs(self) -> float:
        """RMS of the speech."""
        return self.sound.level_dbfs

    @property
    def worst_snr_db(self) -> float:
        """`Sound.worst_snr_db`."""
        return self.sound.worst_snr_db

    @property
    def voicing(self) -> float:
        """How clear the vowels are, 0…1."""
        return self.sound.voicing

    @property
    def above_room_db(self) -> float | None:
        """How far it rises above the room that was measured; None: none was."""
        return self.sound.above_room_db

    @property
    def steady_db(self) -> float | None:
        """How far its loud 30 ms lie above its quiet ones; None: a room was measured, which says more."""
        return self.sound.level_change_db if self.sound.room is None else None

    @property
    def phrase_s(self) -> float | None:
        """From the first sound to the last of a take of any phrase; None: a network says how long the word is."""
        return self.sound.length_samples / RATE_HZ if self.is_phrase else None

    @property
    def spoken_s(self) -> float:
        """How long is spoken, long pauses left out."""
        return self.sound.spoken_samples / RATE_HZ

    @property
    def length_share(self) -> float | None:
        """From the first sound to the last, of what the takes before have."""
        return self.shares[0] if self.shares else None

    @property
    def active_share(self) -> float | None:
        """How long it is loud, of what the takes before are."""
        return self.shares[1] if self.shares else None

    @property
    def edge_db(self) -> float:
        """Level of the 20 ms at this end of the recording, of the loudest 30 ms; −∞: the recording goes on."""
        return self._edges_db[self.end == "ends"]

    @property
    def quieter_edge_db(self) -> float:
        """The same, of the quieter end."""
        return min(self._edges_db)

    @property
    def edge_above_floor_db(self) -> float:
        """The end over the quiet tenth of the sound."""
        return self.edge_db - self.sound.floor_db

    @property
    def distance_ms(self) -> float:
        """From the speech to this end."""
        start, end = self.sound.bounds
        return (len(self.sound.samples) - end if self.end == "ends" else start) * 1000 / RATE_HZ

    @property
    def _edges_db(self) -> tuple[float, float]:
        first, last = (
            level_db if is_edge else -np.inf for level_db, is_edge in zip(self.sound.edges_db, self.at_edges)
        )
        return first, last
