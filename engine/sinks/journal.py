"""What woke it and what nearly did, with the sound, into the journal on disk."""

from __future__ import annotations

from ..history.journal import open_journal
from ..settings.schema import DAY_S
from ..settings.schema import Journal as JournalSettings
from .base import Control, Notice, Sink
from .files import require_writable

LONGEST_IDLE_S = 3600.0


class JournalSink(Sink):
    """Stores each event that comes with a clip; in a quiet household it erases what gets too old all the same."""

    name = "journal"
    wants = "clips"

    def __init__(self, settings: JournalSettings, control: Control) -> None:
        super().__init__(settings, control)
        self._journal = open_journal(settings)
        self.idle_s = min(LONGEST_IDLE_S, settings.days * DAY_S / 24)  # nothing gets older than a twenty-fourth more

    def probe(self) -> None:
        """Raises DaemonError where the folder cannot be written."""
        require_writable("journal.folder", self._journal.folder)

    def open(self) -> None:
        """Makes the folder, and tidies it."""
        self._journal.tidy()

    def send(self, notice: Notice) -> None:
        """One entry; near misses too."""
        if notice.clip is not None:
            self._journal.add(notice.to_json(), notice.clip)

    def idle(self) -> None:
        """Erases what has become too old."""
        self._journal.tidy()
