"""One update of a household: what was heard and what was said of it, into the voiceprints.

Everything is read anew each time: who is a stranger is decided with the people of today, so that somebody who has
enrolled since is no impostor any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Float32
from earmark.engine.errors import AudioError, LearningError, ModelError, PersonError, WakeError
from earmark.engine.history import updates, vouched
from earmark.engine.history.journal import Journal
from earmark.engine.history.journal_entry import Entry
from earmark.engine.history.labels import NOISE
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.history.queued_wake import FROM_JOURNAL
from earmark.engine.networks.card import Card
from earmark.engine.networks.speaker import CROP_SAMPLES
from earmark.engine.people.loading import check_networks
from earmark.engine.people.store import ANY_PHRASE, PersonStore, Voiceprint
from earmark.engine.settings.schema import DAY_S

from ..enrolment import Enroller
from .impostors import HomeImpostors, impostors
from .learn import Addition, Learner, learned_of

_LOG = logging.getLogger(__name__)

SAME_S = 5.0  # the journal writes its time half a second after the event: nobody says it twice at the same sample
COHORT_STEP = 20  # so many more impostors are worth training against anew, without anything learned


@dataclass(frozen=True)
class Update:
    """What came of one person and wake word."""

    name: str
    keyword: str
    version: int | None
    """The new one; None: nothing was changed."""
    added: tuple[Mapping[str, Any], ...] = ()
    refused: tuple[tuple[Mapping[str, Any], str], ...] = ()
    dropped: tuple[Mapping[str, Any], ...] = ()
    """What had been learned and was said to be somebody else's since."""
    waiting: int = 0
    """Own wakes that are left for another day."""
    impostors: int = 0
    """Of the home."""

    def to_json(self) -> dict[str, Any]:
        """As `earmark learn now` prints it."""
        refused = [{**facts, "reason": reason} for facts, reason in self.refused]
        return {**vars(self), "added": [*self.added], "refused": refused, "dropped": [*self.dropped]}


class Updater:
    """Updates the people of one store.

    Args:
        people: the store.
        enroller: networks and cohort; only who was enrolled with them can learn.
        journal: where labels are; None: nobody has said anything.
    """

    def __init__(self, people: PersonStore, enroller: Enroller, journal: Journal | None = None) -> None:
        self._people, self._journal = people, journal
        self._heard = LearningQueue(people)
        self._learner = Learner(enroller)
        self._speaker = enroller.speaker
        self._verifier = enroller.verifier

    def run(self, now_s: float, dry_run: bool = False) -> Iterator[Update]:
        """Everybody, one after the other; each is saved before the next one begins.

        Args:
            now_s: seconds since 1970, as this machine believes; nothing is erased for it.
            dry_run: nothing is saved, and nothing erased.

        Raises:
            PersonError: the store cannot be read.
            StoreUnwritable: it cannot be written.
        """
        if not dry_run:
            self._heard.update(now_s)
            self._heard.tidy(None)  # what is too old the daemon erases: it watches the clock, which may be wrong here
        voiceprints = list(self._voiceprints())
        entries = self._labelled(self._heard.read(), voiceprints, dry_run)
        undone = self._heard.undone()
        entries = [one for one in entries if one.speaker_sha256 == self._speaker.card.sha256 and one.id not in undone]
        for person in voiceprints:
            try:
                update = self._update(person, voiceprints, entries, now_s, dry_run)
            except (PersonError, LearningError, ModelError) as error:  # of this person: the others learn all the same
                _LOG.error("%s (%s): nothing is learned: %s", person.name, person.keyword, error)
                continue
            yield update

    def _update(
        self,
        person: Voiceprint,
        everybody: Sequence[Voiceprint],
        entries: Sequence[QueuedWake],
        now_s: float,
        dry_run: bool,
    ) -> Update:
        version = self._people.versions(person.name, person.keyword)[-1]
        names = {other.name for other in everybody}
        here = [one for one in entries if self._belongs(one, person, everybody)]
        home = self._home(here, everybody, names)
        others = [other for other in everybody if other.keyword == person.keyword and other.name != person.name]
        now, dropped = self._without_mislabelled(person, entries, home)
        candidates = [one for one in here if self._is_candidate(one, now)]
        said = [one for one in candidates if one.label is not None]
        unsaid = [one for one in candidates if one.label is None]
        learned_today = any(
            not facts["label"] and abs(now_s - float(facts["learned_s"])) < DAY_S for facts in now.learned
        )
        added: list[Addition] = []
        refused: list[tuple[Addition, str]] = []
        for some, most in ((said, len(said)), (unsaid, 0 if learned_today else 1)):
            if not some or not most:
                continue
            additions = [Addition(one.embedding, {**one.facts(), "learned_s": now_s}) for one in some]
            outcome = self._learner.learn(now, self._learner.in_order(now, additions), home, others, most)
            now = outcome.voiceprint or now
            added += outcome.added
            refused += outcome.refused
        known = int(person.report.get("home_impostors", 0))
        size = len(home.everybody)
        said_before = int(person.report.get("home_said", 0))
        if now is person and (size >= known + COHORT_STEP or len(home.strangers) > said_before):
            now, _ = self._learner.at_home(person, home, others)
        done = now is not person
        if done:
            now = replace(now, report={**person.report, "home_impostors": size, "home_said": len(home.strangers)})
        if done and not dry_run:
            version = updates.put(self._people, now, version, person)
        if not dry_run:
            # also what was learned by a process that was killed before it could erase it
            gone = {str(facts["id"]) for facts in now.learned} & {one.id for one in here}
            self._heard.erase(sorted(gone | {str(one.facts["id"]) for one, _ in refused}))
        left = len(candidates) - len(added) - len(refused)
        return Update(
            person.name,
            person.keyword,
            version if done and not dry_run else None,
            tuple(one.facts for one in added),
            tuple((one.facts, reason) for one, reason in refused),
            dropped,
            left,
            size,
        )

    def _is_candidate(self, one: QueuedWake, person: Voiceprint) -> bool:
        """Said to be the person's, or taken for the person's, and beyond doubt; and not learned yet."""
        if one.id in {facts["id"] for facts in person.learned}:
            return False
        if one.label is not None:
            return one.label == person.name
        return (
            one.type == "detection"
            and one.person == person.name
            and self._learner.wide(person, one.embedding, one.score)
        )

    def _belongs(self, one: QueuedWake, person: Voiceprint, everybody: Iterable[Voiceprint]) -> bool:
        """Whether it is for this voiceprint: of its wake word, or of none that the person is enrolled for."""
        if person.keyword != ANY_PHRASE:
            return one.keyword == person.keyword
        return (person.name, one.keyword) not in {(other.name, other.keyword) for other in everybody}

    def _home(self, entries: Sequence[QueuedWake], everybody: Sequence[Voiceprint], names: set[str]) -> HomeImpostors:
        said = [one for one in entries if one.label is not None and one.label != NOISE and one.label not in names]
        unsaid = [one for one in entries if one.label is None and one.person is None]
        return HomeImpostors(
            impostors(self._rows(unsaid), [other for other in everybody if self._fits(other)], self._verifier),
            self._rows(said),
        )

    def _rows(self, entries: Sequence[QueuedWake]) -> Float32:
        rows = np.array([one.embedding for one in entries], np.float32)
        return rows.reshape(len(entries), self._speaker.embedding_size)

    def _without_mislabelled(
        self, person: Voiceprint, entries: Sequence[QueuedWake], home: HomeImpostors
    ) -> tuple[Voiceprint, tuple[Mapping[str, Any], ...]]:
        """The person without what was learned and is now said to be somebody else's."""
        said = {one.id: one.label for one in entries if one.label is not None and one.label != person.name}
        bad = [facts for facts in person.learned if facts["id"] in said]
        if not bad:
            return person, ()
        rest = [one for one in learned_of(person) if one.facts not in bad]
        dropped = tuple({**facts, "label": said[str(facts["id"])]} for facts in bad)
        return self._learner.with_takes(person, rest, home), dropped

    def _voiceprints(self) -> Iterator[Voiceprint]:
        """Everybody who can be read; who cannot is said."""
        for name in self._people.names():
            try:
                for keyword in self._people.keywords(name):
                    voiceprint = self._people.load(name, keyword)
                    check_networks(voiceprint, voiceprint.binding.keyword, *self._cards)
                    yield voiceprint
            except PersonError as error:
                _LOG.warning("left out: %s", error)

    @property
    def _cards(self) -> tuple[Card, Card]:
        return self._speaker.card, self._learner.enroller.head.card

    def _fits(self, person: Voiceprint) -> bool:
        return (person.binding.speaker, person.binding.head) == tuple(card.sha256 for card in self._cards)

    # --- the journal

    def _labelled(self, entries: list[QueuedWake], people: Sequence[Voiceprint], dry_run: bool) -> list[QueuedWake]:
        """The entries with what the journal's labels say of them, and those that only the journal has."""
        if self._journal is None:
            return entries
        found = {one.id: one for one in entries}
        for entry, label in vouched.believed(self._journal, self._people):
            same = [one for one in found.values() if _is_same(entry, one.facts())]
            known = [facts for person in people for facts in person.learned if _is_same(entry, facts)]
            heard = same[0] if same else self._embedded(entry, str(known[0]["id"]) if known else None)
            if heard is None or heard.label == label or (known and known[0]["label"] == label):
                continue
            found[heard.id] = replace(heard, label=label)
            if not dry_run:
                self._heard.add(found[heard.id])
                if entry.number not in self._journal.numbers():  # its person was erased while it was heard again
                    self._heard.erase([heard.id])
                    del found[heard.id]
        return sorted(found.values(), key=lambda one: one.id)

    def _embedded(self, entry: Entry, known_id: str | None) -> QueuedWake | None:
        """An entry of the journal, heard again; None: it cannot be used."""
        assert self._journal is not None
        event = entry.event
        try:
            samples = self._journal.samples(entry.number)
            embedding = self._speaker.embed(samples[max(0, entry.word_end - CROP_SAMPLES) : entry.word_end])
        except (WakeError, AudioError) as error:
            _LOG.warning("entry %d of the journal: %s", entry.number, error)
            return None
        heard = QueuedWake(
            type=FROM_JOURNAL,
            keyword=str(event["keyword"]),
            person=event["person"],
            score=event["speaker_score"],
            source=str(event["file"]),
            sample=int(event["time_ms"]) * RATE_HZ // 1000,
            at_s=float(entry.at.timestamp()),
            speaker_sha256=self._speaker.card.sha256,
            embedding=embedding,
        )
        if known_id is not None:
            heard = replace(heard, at_s=int(known_id.split("-")[0]) / 1000)
        return heard


def _is_same(entry: Entry, facts: Mapping[str, Any]) -> bool:
    """Whether an entry of the journal is the wake of these facts."""
    near = abs(float(facts["at_s"]) - entry.at.timestamp()) < SAME_S
    at_ms = round(1000 * int(facts["sample"]) / RATE_HZ)
    return near and facts["source"] == str(entry.event["file"]) and abs(at_ms - int(entry.event["time_ms"])) <= 1
