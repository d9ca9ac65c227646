"""What woke it and what nearly did, with the sound, into the journal on disk."""

from __future__ import annotations

import contextlib

from ..audio.samples import Int16
from ..errors import WakeError, WakeUnknown
from ..history.journal import open_journal
from ..people import operations
from ..people.store import PersonStore
from ..settings.schema import DAY_S
from ..settings.schema import Journal as JournalSettings
from .base import Control, Notice, Sink
from .files import require_writable
from .peers import host_of, peer_of

LONGEST_IDLE_S = 3600.0
AWAITED = 16  # wakes whose command may still follow; a microphone has one, and the next wake takes its place
PEERS_SHARE = 10  # a peer in the network pushes out at most a tenth of what others have heard


class JournalSink(Sink):
    """Stores each event that comes with a clip; in a quiet household it erases what gets too old all the same.

    Whose command followed is added to the entry of its wake.
    """

    name = "journal"
    wants = "clips"

    def __init__(self, settings: JournalSettings, control: Control) -> None:
        super().__init__(settings, control)
        self._journal = open_journal(settings)
        self._of_peers: dict[int, str] = {}  # number of an entry -> who in the network heard it
        self._numbers: dict[tuple[str, str, int], int] = {}  # of the last wakes, as `_wake_of` -> number
        self.idle_s = min(LONGEST_IDLE_S, settings.days * DAY_S / 24)  # nothing gets older than a twenty-fourth more

    def probe(self) -> None:
        """Raises DaemonError where the folder cannot be written."""
        require_writable("journal.folder", self._journal.folder)

    def open(self) -> None:
        """Makes the folder, tidies it, and looks whose entries there are."""
        self._journal.tidy()
        for number in self._journal.numbers():
            with contextlib.suppress(WakeError):  # a damaged one: it is too old at some time
                self._remember(number, str(self._journal.read(number).event["file"]))

    def send(self, notice: Notice) -> None:
        """One entry; near misses too, but nothing of who was erased since the daemon looked at the store."""
        if notice.clip is None or not self._is_enrolled(notice.event.person):
            return
        number = self._confirm(notice) if notice.event.type == "confirmation" else self._add(notice, notice.clip)
        if number is not None and not self._is_enrolled(notice.event.person):
            # erased while it was written: who erases looks once more behind the last moment to be found here
            with contextlib.suppress(WakeUnknown):
                self._journal.forget([number])

    def _add(self, notice: Notice, clip: Int16) -> int:
        """A new entry; returns its number."""
        if notice.peer:
            self._make_room(notice.peer)
        number = self._journal.add(notice.to_json(), clip)
        self._remember(number, notice.source)
        if notice.event.type == "detection":
            self._numbers = dict([*self._numbers.items(), (_wake_of(notice), number)][-AWAITED:])
        return number

    def _confirm(self, notice: Notice) -> int | None:
        """Whose command followed, into the entry of the wake; returns its number, None: there is none."""
        number = self._numbers.pop(_wake_of(notice), None)
        if number is None:
            return None
        try:
            self._journal.confirm(number, notice.event.confirmation())
        except WakeUnknown:  # somebody has just erased it
            return None
        return number

    def idle(self) -> None:
        """Erases what has become too old."""
        self._journal.tidy()

    def _is_enrolled(self, person: str | None) -> bool:
        if person is None:
            return True
        folder = self._control.household.settings.people.store or None
        return operations.is_enrolled(PersonStore(folder), person)

    def _make_room(self, peer: str) -> None:
        """In a full journal a peer that has a tenth of it loses its own oldest: it must not push out all others."""
        numbers = self._journal.numbers()
        self._of_peers = {number: self._of_peers[number] for number in numbers if number in self._of_peers}
        own = [number for number in numbers if self._of_peers.get(number) == peer_of(peer)]
        if len(numbers) >= self._settings.most and len(own) >= max(1, self._settings.most // PEERS_SHARE):
            with contextlib.suppress(WakeUnknown):  # somebody has just erased it
                self._journal.forget(own[:1])

    def _remember(self, number: int, source: str) -> None:
        kind, _, address = source.partition(":")
        if kind == "wyoming":
            self._of_peers[number] = peer_of(host_of(address))


def _wake_of(notice: Notice) -> tuple[str, str, int]:
    """What a wake and its confirmation have in common, and nothing else that is heard."""
    return notice.source, notice.event.keyword, notice.event.sample
