"""What left this device, when, and how much it told: nothing leaves before it is written here."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from earmark.engine.errors import FleetError, text_of
from earmark.engine.storage.atomic import locked, make_folder, read_limited, replace_synced

from .privacy import epsilon, together

FORMAT = 1
YEAR_S = 365 * 24 * 3600.0
MOST_BYTES = 1 << 20  # some 5000 rounds


@dataclass(frozen=True)
class Entry:
    """One release."""

    at_s: float
    """Seconds since 1970."""
    round: str
    """As the fleet calls it."""
    start_sha256: str
    """Of the start that it is a change of."""
    mu: float
    """How much it told (privacy.py)."""
    clip: float
    deviation: float
    people: int
    """So many had consented and were in it."""
    size_bytes: int


class Ledger:
    """The releases of one device, in a file of its owner's.

    Args:
        file: which is made with the first release.
        budget: ε that a year may cost, at δ = 1e-5.
        clock: seconds since 1970.
    """

    def __init__(self, file: Path, budget: float, clock: Callable[[], float] = time.time) -> None:
        self._file, self.budget, self._clock = file, budget, clock

    def entries(self) -> list[Entry]:
        """All that ever left, oldest first.

        Raises:
            FleetError: the file is damaged: then nothing leaves, for nobody knows how much has.
        """
        try:
            read = json.loads(read_limited(self._file, MOST_BYTES))
            entries, found = read["entries"], read["sha256"]
            if read["format"] != FORMAT or found != _checksum(entries):
                raise ValueError(f"format {read['format']}, checksum {found[:12]}…: must be {FORMAT}, and hold")
            return [Entry(**entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FleetError(
                f"{self._file}: the ledger cannot be used: {text_of(error)}: nothing leaves this device until it is "
                "restored from a copy, or moved away by somebody who takes the risk"
            ) from error

    def spent(self) -> float:
        """ε of the last 365 days; what is dated in the future counts."""
        return epsilon(self._mu())

    def left(self, mu: float) -> bool:
        """Whether a release of so much may still be made this year."""
        return epsilon(together([self._mu(), mu])) <= self.budget

    def write(self, entry: Entry) -> None:
        """Books a release, before it is made.

        Raises:
            FleetError: it would cost more than the budget; nothing is booked.
        """
        make_folder(self._file.parent)
        with locked(self._file.with_suffix(".lock")):
            if not self.left(entry.mu):
                raise FleetError(
                    f"the year's budget is ε {self.budget:g}, ε {self.spent():.2f} is spent, and one more round is "
                    "over it: nothing left this device; try again when the oldest round is a year old"
                )
            entries = [asdict(each) for each in (*self.entries(), entry)]
            content = {"format": FORMAT, "sha256": _checksum(entries), "entries": entries}
            replace_synced(self._file, json.dumps(content, indent=1).encode() + b"\n")

    def now_s(self) -> float:
        """By its clock."""
        return self._clock()

    def _mu(self) -> float:
        since = self._clock() - YEAR_S
        return together(entry.mu for entry in self.entries() if entry.at_s > since)


def _checksum(entries: list[dict[str, object]]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
