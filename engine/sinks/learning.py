"""What is heard, as embeddings, into the people's store to learn from; and once a day a process that learns it."""

from __future__ import annotations

import json
import logging
import subprocess

from ..audio.samples import RATE_HZ
from ..errors import DaemonError, LearningError
from ..event import Event
from ..history.clock import WatchedClock, boot_s
from ..history.queue import LearningQueue, QueuedWake
from ..household import Household
from ..people.keys import secret_from
from ..people.store import FREE_SPEECH, PersonStore
from ..processes import passphrase
from ..processes.own import own_command
from ..settings.reading import FILE_VARIABLE
from ..settings.schema import Learning as LearningSettings
from .base import Control, Notice, Sink

_LOG = logging.getLogger(__name__)

LONGEST_IDLE_S = 3600.0
# So long a clock must go on before it is believed: one without a battery is set by the network within minutes after
# the start. What it says before must not erase what waits.
SETTLED_S = 3600.0
MOST_SHIFTED = 700  # ids of what this process has queued: more are not kept
RETRY_SAMPLES = 30 * RATE_HZ  # who was not understood says it again within half a minute
TIDY_AFTER = 50  # entries: so many may wait beyond what the store keeps
UPDATE_LIMIT_S = 1800.0  # of a learning process: ten people on a Pi Zero 2 need some minutes


class LearningSink(Sink):
    """Queues what can be learned from; runs `earmark learn now` when it is due.

    The process is another one, so that nothing of what training needs is ever loaded here; while it runs, this
    sink's queue waits.
    """

    name = "learning"
    wants = "all"

    def __init__(self, settings: LearningSettings, control: Control) -> None:
        super().__init__(settings, control)
        self._update_s = settings.update_s
        self.idle_s = min(LONGEST_IDLE_S, settings.update_s / 24) if settings.update_s else LONGEST_IDLE_S
        self._clock = WatchedClock()
        self._now_s, _ = self._clock.look()
        self._began_s = self._tidied_s = boot_s()
        self._own: list[str] = []
        self._since_tidied = 0

    def open(self) -> None:
        """Erases what is too much; what is too old not yet, for at the start of a machine the clock may be wrong."""
        try:
            self._store().tidy(None)
        except LearningError as error:  # an entry that cannot be read, for one: others can be kept all the same
            self.note = str(error)
            _LOG.warning("learning: %s", error)

    def send(self, notice: Notice) -> None:
        """One entry; an accepted wake takes back what was rejected just before it."""
        self._look()
        event, store = notice.event, self._store()
        keyword = self._learned_as(event)
        said = event.sample if event.type != "confirmation" else event.decided_sample  # it has its wake's place, else
        if event.embedding is not None and notice.trusted and keyword:
            heard = QueuedWake(
                type="detection" if keyword == FREE_SPEECH else event.type,
                keyword=keyword,
                person=event.person,
                score=event.speaker_score,
                source=notice.source,
                sample=said,
                at_s=notice.at_s + (said - event.sample) / RATE_HZ,
                speaker_sha256=self._control.household.cards[0].sha256,
                embedding=event.embedding,
            )
            kept = store.add(heard, only_enrolled=True)
            if kept:
                self._own = [*self._own[1 - MOST_SHIFTED :], heard.id]
                self._since_tidied += 1
            if kept and event.type == "detection" and event.person is not None:  # a wake, and no command
                store.withdraw(notice.source, event.keyword, event.sample - RETRY_SAMPLES)
        if self._since_tidied >= TIDY_AFTER:
            self._since_tidied = 0
            store.tidy(None)  # what is too much; what is too old goes once an hour
        self._tidy_if_due()
        self._update_if_due()

    def _learned_as(self, event: Event) -> str:
        """The keyword of the voiceprint that may learn from it; empty: none.

        Of commands only those that confirm the wake, of people who have given free speech.
        """
        if event.type != "confirmation":
            return event.keyword
        spoken = event.command is not None and event.person is not None and event.command.woken_by == event.person
        known = any(one.name == event.person and one.keyword == FREE_SPEECH for one in self._control.household.people)
        return FREE_SPEECH if event.reason == "confirmed" and spoken and known else ""

    def idle(self) -> None:
        """Erases what has become too old, and learns."""
        self._look()
        self._tidy_if_due()
        self._update_if_due()

    def _look(self) -> None:
        """At the clock; where it was stepped, what this process has queued keeps its age."""
        self._now_s, step_s = self._clock.look()
        if step_s and self._own:
            _LOG.warning("the clock was stepped by %+.0f s: the times of %d wakes too", step_s, len(self._own))
            self._store().shift(self._own, step_s)

    def _tidy_if_due(self) -> None:
        """Once an hour, whether or not somebody speaks; by the clock once it has gone on for an hour."""
        if boot_s() - self._tidied_s >= LONGEST_IDLE_S:
            self._store().tidy(self._now_s if self._clock.unstepped_s >= SETTLED_S else None)
            self._tidied_s = boot_s()

    def _store(self) -> LearningQueue:
        people = self._control.household.settings.people
        return LearningQueue(PersonStore(people.store or None, secret_from(people.key_file)))

    def _update_if_due(self) -> None:
        if not self._update_s or self._clock.unstepped_s < min(SETTLED_S, self._update_s):
            return
        queue = self._store()
        if not queue.folder.parent.is_dir():  # nobody was ever enrolled
            return
        last_s = queue.updated_s()
        # where the clock was set back since then it is due, too
        since_s = boot_s() - self._began_s if last_s is None else abs(self._now_s - last_s)
        if since_s < self._update_s:
            return
        changes = {FILE_VARIABLE: ""}  # the flags say everything
        try:
            done = passphrase.run_with(passphrase.given(), command(self._control.household), changes, UPDATE_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise DaemonError(f"`earmark learn now` took longer than {UPDATE_LIMIT_S:g} s and was ended") from error
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode:
            raise DaemonError(f"`earmark learn now` ended with code {done.returncode}: {said[-500:]}")
        for line in said.splitlines():
            _LOG.info("learning: %s", line)


def command(household: Household) -> list[str]:
    """`earmark learn now` with the settings of a household."""
    settings = household.settings
    texts = {
        "people.store": settings.people.store,
        "people.models": settings.people.models,
        "people.key_file": settings.people.key_file,
        "journal.folder": settings.journal.folder,
        "wake.keywords": json.dumps(settings.wake.keywords),
        "learning.enabled": "true",
    }
    flags = [word for key, text in texts.items() if text for word in ("--set", f"{key}={text}")]
    return own_command("earmark.cli", "learn", "now", *flags)
