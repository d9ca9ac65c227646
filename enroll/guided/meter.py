"""The level of a microphone as a bar with a zone in which speech should be."""

from __future__ import annotations

from dataclasses import dataclass

from ..layout import cells
from ..takes.rules import QUIET_DBFS

METER_DBFS = (-60.0, 0.0)
MOST_CELLS, LEAST_CELLS = 30, 8
LABEL_CELLS = len("listening")  # the longest: the zone stays where it is from line to line
# The loudest tenth of a second of a word is 2 to 8 dB above its mean, of which the rule for quiet takes asks: what
# reaches 6 dB more than that rule is not refused. From −6 dBFS on more than 3 % of a word can be at full scale; 3 dB
# are left to that (takes of `okay_nabu` in tests/audio, made louder step by step: not repeatable, no script does it).
GOOD_DBFS = (QUIET_DBFS + 6.0, -9.0)
SILENCE_DBFS = -55.0  # below it only a quiet room is heard
WORDS = ("silence", "quiet", "good", "too loud")


@dataclass(frozen=True)
class Meter:
    """One line in parts, for colours."""

    before: str
    bar: str
    rest: str
    behind: str
    is_good: bool
    is_loud: bool

    @property
    def line(self) -> str:
        """All of it."""
        return self.before + self.bar + self.rest + self.behind


def word_of(dbfs: float) -> str:
    """One of `WORDS`."""
    low, high = GOOD_DBFS
    return WORDS[(dbfs >= SILENCE_DBFS) + (dbfs >= low) + (dbfs > high)]


def meter(label: str, dbfs: float, left: str, columns: int, zone: bool = True) -> Meter:
    """`  say something ▕████[███······]····▏good`: the zone between brackets, and in words where the level is.

    Args:
        label: what it is about, short.
        dbfs: RMS level of the last tenth of a second.
        left: of a countdown.
        columns: of the terminal, 20 or more; the line stays below it.
        zone: somebody is to speak; without it an empty bar is right, and nothing is said of the level.
    """
    word = word_of(dbfs)
    behind = f"▏{left or (word if zone else '')}"
    widest = 1 + max(cells(left), *map(len, WORDS))
    room = columns - 1 - 2 - widest - 2 - 3  # behind the label: a space, ▕, two brackets
    label = label.ljust(LABEL_CELLS) if len(label.ljust(LABEL_CELLS)) <= room - LEAST_CELLS else ""
    length = max(min(MOST_CELLS, room - len(label)), 4)
    low, high = METER_DBFS
    at = [round(length * min(max((level - low) / (high - low), 0.0), 1.0)) for level in (dbfs, *GOOD_DBFS)]
    filled, opens, closes = at
    before = f"  {label} ▕" if label else "  ▕"
    if not zone:
        return Meter(before, "█" * filled, "·" * (length + 2 - filled), behind, is_good=False, is_loud=False)
    if word == "good":
        filled = min(max(filled, opens + 1), closes)
    else:  # what is not good does not touch the zone
        filled = max(filled, closes + 1) if word == "too loud" else min(filled, opens - 1)
    cells_of_bar = ["█" if cell < filled else "·" for cell in range(length)]
    cells_of_bar.insert(closes, "]")
    cells_of_bar.insert(opens, "[")
    shown = filled + (filled > opens) + (filled > closes)
    text = "".join(cells_of_bar)
    return Meter(before, text[:shown], text[shown:], behind, word == "good", word == "too loud")
