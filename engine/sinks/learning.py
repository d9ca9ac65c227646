"""What is heard, as embeddings, into the people's store to learn from; and once a day a process that learns it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time

from ..audio.samples import RATE_HZ
from ..errors import DaemonError
from ..history.queue import LearningQueue, QueuedWake
from ..household import Household
from ..people.keys import secret_from
from ..people.store import PersonStore
from ..settings.reading import FILE_VARIABLE
from ..settings.schema import Learning as LearningSettings
from .base import Control, Notice, Sink

_LOG = logging.getLogger(__name__)

LONGEST_IDLE_S = 3600.0
RETRY_SAMPLES = 30 * RATE_HZ  # who was not understood says it again within half a minute
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
        self._began_s = time.time()
        if settings.update_s:
            self.idle_s = min(LONGEST_IDLE_S, settings.update_s / 24)

    def open(self) -> None:
        """Erases what is too old."""
        self._store().tidy(time.time())

    def send(self, notice: Notice) -> None:
        """One entry; an accepted wake takes back what was rejected just before it."""
        event, store = notice.event, self._store()
        if event.embedding is not None:
            heard = QueuedWake(
                type=event.type,
                keyword=event.keyword,
                person=event.person,
                score=event.speaker_score,
                source=notice.source,
                sample=event.sample,
                at_s=notice.at_s,
                speaker_sha256=self._control.household.cards[0].sha256,
                embedding=event.embedding,
            )
            store.add(heard)
            if event.type == "detection" and event.person is not None:
                store.withdraw(notice.source, event.keyword, event.sample - RETRY_SAMPLES)
        self._update_if_due()

    def idle(self) -> None:
        """Erases what has become too old, and learns."""
        self._store().tidy(time.time())
        self._update_if_due()

    def _store(self) -> LearningQueue:
        people = self._control.household.settings.people
        return LearningQueue(PersonStore(people.store or None, secret_from(people.key_file)))

    def _update_if_due(self) -> None:
        last_s = self._store().updated_s()
        last_s = self._began_s if last_s is None else last_s
        if not self._update_s or abs(time.time() - last_s) < self._update_s:  # a clock that was set back is due, too
            return
        environment = {**os.environ, FILE_VARIABLE: ""}  # the flags say everything
        try:
            done = subprocess.run(
                command(self._control.household),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=UPDATE_LIMIT_S,
                env=environment,
                check=False,
            )
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
    return [sys.executable, "-m", "earmark.cli", "learn", "now", *flags]
