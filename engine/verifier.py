"""Whose voice a crop is: the speaker network and the heads of the people who are enrolled."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .audio.samples import Float32, Int16
from .decision import LOOSE_SHARE
from .errors import AudioError, ModelError, text_of
from .features.narrow import through_line
from .networks import crowd
from .networks.card import MODELS_DIR, KeywordManifest, load_card
from .networks.conditions import CONDITIONS, NARROW_DB, PLAIN, Open, handicaps, is_by_telephone, open_to
from .networks.head import SpeakerHead
from .networks.runtime import Delegate
from .networks.speaker import CROP_SAMPLES, SpeakerNetwork, Utterance
from .networks.trained.kinds import HEAD
from .networks.trained.scorers import Mels, Scorers
from .people.loading import load_people
from .people.store import ANY_PHRASE, COSINE, TRAINED, PersonStore, Voiceprint
from .settings.policy import Policy

_LOG = logging.getLogger(__name__)

MANY = 8  # people with trained heads, each of which takes 0.1 ms; of so many it pays to see first who can matter
DECADE = {COSINE: 0.07, TRAINED: 0.08}  # added to a threshold for each tenth of the FAR (docs/how_it_works.md)

HEAD_SHARE = 0.5  # of the score, where the trained head is used (docs/research/channels.md)
HEAD_SHARE_WITHOUT_ELSEWHERE = 1 / 3  # of people who were enrolled before (docs/research/head.md)

CLEAN_DB = 20.0  # from this SNR on a try counts as clean: of clean recordings nine in ten have more
# Noise lowers everybody's score, strangers' too: with this, 1 % of strangers in quiet are 1 % in noise. Who has a
# prototype in noise needs none.
ALLOWANCE_PER_DB = 0.003  # docs/research/thresholds.md, "Tries in noise"


class Heard(NamedTuple):
    """One utterance, as it came, and as it would have come by telephone."""

    plain: Utterance
    lined: Utterance
    """`plain` itself, where nobody is known by telephone alone."""

    def of(self, person: Voiceprint) -> Utterance:
        """As it is compared with a person."""
        return self.lined if person.by_telephone else self.plain


@dataclass(frozen=True)
class Verdict:
    """Who it was, if anybody."""

    person: str | None
    """None: nobody who is enrolled."""
    score: float | None
    """Of that person, or of the one who came nearest to the own threshold; None where nobody could be asked."""
    by_sensitivity: bool = False
    """At the enrolled thresholds it would have been the other way round: known instead of unknown, or unknown."""
    loose_share: float = LOOSE_SHARE
    """Share of the keyword network's cutoff from which on this person, or the nearest one, is heard."""
    embedding: Float32 | None = field(default=None, compare=False, repr=False)
    """(embedding size,) what was judged, for who learns from it; None where nobody could be asked."""
    heard: Heard | None = field(default=None, compare=False, repr=False)
    """The whole of it, for who goes on with it."""


class Verifier:
    """Scores a crop against everybody who is enrolled for the wake word.

    A person's score is the largest over the prototypes that the try may be compared with: the mean of the takes, and
    the takes as they would be in noise, by telephone and so on (engine/networks/conditions.py). Of each it is the raw
    cosine, or, where enrolment kept what it trained, the mean of it and what that says; less what strangers reach of
    it. It is that person if the score reaches the person's own threshold; of several, the one farthest above it.

    People who were enrolled before there were such prototypes have the score of then: `_score_without_elsewhere`.

    Of many people most are not asked: what they score at most (engine/networks/crowd.py) makes them neither known nor
    the nearest one. The verdict is the same, to the last bit.
    """

    def __init__(
        self,
        people: Iterable[Voiceprint],
        speaker: SpeakerNetwork | None = None,
        head: SpeakerHead | None = None,
        folder: Path = MODELS_DIR,
        delegate: Delegate = "auto",
    ) -> None:
        self.people = list(people)
        self._speaker, self._head, self._folder, self._delegate = speaker, head, folder, delegate
        self._scorers = Scorers(folder, delegate)
        self.unusable: dict[tuple[str, str], int] = {}
        """Person and wake word -> how often it was left out because its numbers give no score."""
        self._bounds: dict[int, crowd.Bound | None] = {}  # by the id of the person
        self._rows: dict[int, int] = {}
        self._crowd: crowd.Crowd | None = None
        if self.people:
            self._networks()  # a damaged one is told at once, not at the first wake

    @classmethod
    def load(
        cls,
        store: PersonStore,
        keywords: Iterable[KeywordManifest],
        folder: Path = MODELS_DIR,
        delegate: Delegate = "auto",
    ) -> Verifier:
        """Everybody in a store who is enrolled for one of these wake words, or for any phrase, and can be used.

        Raises:
            PersonError: there is somebody, and nobody can be used: damaged, locked, or made with other networks.
            ModelError: the networks cannot be used.
        """
        people, _ = load_people(store, keywords, load_card("speaker", folder), load_card("head", folder))
        return cls(people, folder=folder, delegate=delegate)

    def with_people(self, people: Iterable[Voiceprint]) -> Verifier:
        """The same networks, other people; the two must not be asked at the same time."""
        others = Verifier(people, self._speaker, self._head, self._folder, self._delegate)
        others._look_ahead(self)
        return others

    def warm_up(self) -> None:
        """Runs the speaker side once at its largest, if there is somebody to know.

        What memory it will ever need is taken now, and the first wake word is judged as fast as any other.
        """
        for person in self.people[:1]:
            chirp = 3000 * np.sin(np.arange(CROP_SAMPLES) ** 1.7)  # importing numpy.random would cost 2 MB and 9 ms
            noise = chirp.astype(np.int16)
            heard = self._networks()[0].hear(noise)
            self.score(person, heard.embedding[None], mels=[heard.mel])
        self._look_ahead()

    def enrolled(self, keyword: str) -> list[Voiceprint]:
        """The voiceprints that can be asked about a wake word."""
        return [person for person in self.people if person.keyword in (keyword, ANY_PHRASE)]

    def loose_share(self, keyword: str) -> float | None:
        """The lowest share of a wake word's cutoff at which somebody is heard; None: nobody is enrolled for it."""
        return min(map(loose_share_of, self.enrolled(keyword)), default=None)

    def verify(self, crop: Int16, keyword: str, policy: Policy = Policy()) -> Verdict:  # noqa: B008  it is frozen
        """(n,) int16 around one utterance -> whose voice it is, at the sensitivities of the policy.

        Raises:
            AudioError: there is no speech in the crop.
            ModelError: a network failed.
        """
        people = self.enrolled(keyword)
        if not people:
            return Verdict(None, None)
        both = self.hear(crop, people)
        heard, lined = both
        tries = [both.of(person) for person in people]
        most = self._most(people, heard, lined)
        asked = {n: self._asked(people[n], tries[n]) for n in np.flatnonzero(np.isinf(most)).tolist()}
        usable = [n for n in range(len(people)) if asked.get(n, 0.0) is not None]
        scores = {n: score for n, score in asked.items() if score is not None}
        decades = policy.home_decades(len({people[n].name for n in usable}))
        enrolled = [person.threshold + decades * DECADE[person.kind] for person in people]
        thresholds = [
            policy.threshold(person.name, threshold, DECADE[person.kind])
            for person, threshold in zip(people, enrolled)
        ]
        nearest = max((score - thresholds[n] for n, score in scores.items()), default=-np.inf)
        may_be_known = np.flatnonzero((most >= enrolled) & np.isfinite(most))
        for n in [*may_be_known.tolist(), *np.argsort(thresholds - most, kind="stable").tolist()]:
            if n in asked:
                continue
            if most[n] < min(nearest + thresholds[n], enrolled[n]):
                break  # nor can those behind it be the nearest, or be known as enrolled
            if self._at_most(people[n], tries[n]) < min(nearest + thresholds[n], enrolled[n]):
                continue
            asked[n] = score = self._asked(people[n], tries[n])
            if score is not None:
                scores[n], nearest = score, max(nearest, score - thresholds[n])
        if not scores:
            raise ModelError(f"nobody who is enrolled for {keyword!r} can be asked: `earmark doctor` says why")
        best = max(sorted(scores), key=lambda n: scores[n] - thresholds[n])
        known = scores[best] >= thresholds[best]
        as_enrolled = any(score >= enrolled[n] for n, score in scores.items())
        person = people[best]
        return Verdict(
            person.name if known else None,
            scores[best],
            known != as_enrolled,
            loose_share_of(person),
            both.of(person).embedding,
            both,
        )

    def hear(self, crop: Int16, people: Iterable[Voiceprint]) -> Heard:
        """(n,) int16 of about one utterance, as it is compared with some people.

        Raises:
            AudioError: there is no speech in it.
            ModelError: the network failed.
        """
        speaker = self._networks()[0]
        heard = speaker.hear(crop)
        by_telephone = any(person.by_telephone for person in people)
        return Heard(heard, by_line(speaker, crop, heard) if by_telephone else heard)

    def _most(self, people: list[Voiceprint], heard: Utterance, lined: Utterance) -> npt.NDArray[np.float64]:
        """(n,) what `_asked` gives at most of each person; infinite where there are few, or nothing is known."""
        self._look_ahead()
        rows = np.array([self._rows.get(id(person), -1) for person in people])
        if self._crowd is None:
            return np.full(len(people), np.inf)
        plain = self._crowd.most(heard.embedding, open_to(heard))
        narrow = plain if lined is heard else self._crowd.most(lined.embedding, open_to(lined))
        most = np.where([person.by_telephone for person in people], narrow[rows], plain[rows]).astype(np.float64)
        return np.where(rows < 0, np.inf, most + [allowance(person, heard.snr_db) for person in people])

    def _at_most(self, person: Voiceprint, heard: Utterance) -> float:
        """A lower one of these for one person."""
        bound = self._bounds[id(person)]
        assert bound is not None
        assert self._crowd is not None
        weights, centre = person.weights.projection, self._crowd.start.centre
        return crowd.most_of(bound, weights, centre, heard.embedding, open_to(heard)) + allowance(
            person, heard.snr_db
        )

    def _look_ahead(self, before: Verifier | None = None) -> None:
        """Where many people are known, prepares what `_most` needs, but for those whom `before` has it of."""
        if self._bounds or sum(person.kind == TRAINED for person in self.people) < MANY:
            return
        found = self._networks()[1].start()
        start = crowd.Start(*found) if found is not None else None
        known = before._bounds if before is not None else {}  # its people live as long as it does: so do their ids
        for person in self.people:
            self._bounds[id(person)] = known.get(id(person)) or (start and _bound(person, start))
        bounds = {key: bound for key, bound in self._bounds.items() if bound is not None}
        if bounds and start is not None:
            self._crowd = crowd.Crowd([*bounds.values()], start)
            self._rows = {key: row for row, key in enumerate(bounds)}
            self._bounds.update(zip(bounds, self._crowd.bounds))

    def _asked(self, person: Voiceprint, heard: Utterance) -> float | None:
        """The score of what was heard; None: this person's numbers give none; the others are asked all the same."""
        try:
            score = float(self.score(person, heard.embedding[None], open_to(heard), [heard.mel])[0])
            why = "" if np.isfinite(score) else f"the score is {score}"
        except (ModelError, ValueError) as error:  # numbers of another size: no store has checked this voiceprint
            why = text_of(error)
        if not why:
            return min(1.0, score + allowance(person, heard.snr_db))
        if (person.name, person.keyword) not in self.unusable:
            _LOG.error("%s (%s) cannot be asked, and is left out: %s", person.name, person.keyword, why)
        self.unusable[person.name, person.keyword] = self.unusable.get((person.name, person.keyword), 0) + 1
        return None

    def score(self, person: Voiceprint, embeddings: Float32, may: Open = PLAIN, mels: Mels = None) -> Float32:
        """(n, embedding size) embeddings -> (n,) scores in -1…1, without an allowance.

        `may` is what they may be compared with, of `open_to`: of all alike, or (n, 1 + len(CONDITIONS)). Whose
        trainer hears the tries themselves is asked by the plain cosine where their `mels` are not known.
        """
        if not len(person.offsets):
            return self._score_without_elsewhere(person, embeddings, mels)
        scores = self.resembled(person, embeddings, mels) - person.offsets - handicaps()[: len(person.offsets)]
        scores = np.where(may[..., : len(person.offsets)], scores, np.float32(-1))
        largest: Float32 = np.clip(scores.max(axis=1), np.float32(-1), np.float32(1))
        return largest

    def condition(self, person: Voiceprint, embedding: Float32) -> str | None:
        """The one of `CONDITIONS` whose prototype a (d,) embedding resembles most; None: the mean of the takes."""
        if not len(person.offsets):
            return None
        nearest = int(self.resembled(person, embedding[None])[0].argmax())
        return CONDITIONS[nearest - 1] if nearest else None

    def resembled(self, person: Voiceprint, embeddings: Float32, mels: Mels = None) -> Float32:
        """(n, 1 + k) how much embeddings resemble each prototype, in -1…1; `mels` as of `score`."""
        prototypes = person.prototypes
        scores = embeddings @ prototypes.T
        if person.kind == TRAINED and person.trainer != HEAD:
            scores = fused(scores, self._scorers.scores(person.trainer, person.model, embeddings, mels, scores))
        elif person.kind == TRAINED:
            head = self._head_of(person)
            projected = head.project(np.concatenate([embeddings, prototypes[1:]]))
            own = np.concatenate([person.prototype[None], projected[len(embeddings) :]])
            scores = fused(scores, projected[: len(embeddings)] @ own.T)
        return np.asarray(scores, np.float32)

    def _score_without_elsewhere(self, person: Voiceprint, embeddings: Float32, mels: Mels) -> Float32:
        """Of people who were enrolled before there were prototypes by condition: their thresholds are for it."""
        cosine: Float32 = embeddings @ person.centroid
        if person.kind == COSINE:
            return cosine
        if person.trainer != HEAD:
            each = self._scorers.scores(person.trainer, person.model, embeddings, mels, cosine[:, None])[:, 0]
            return np.clip(fused(cosine, each, HEAD_SHARE_WITHOUT_ELSEWHERE), -1, 1)
        trained = self._head_of(person).score(embeddings, person.prototype)
        return fused(cosine, trained, HEAD_SHARE_WITHOUT_ELSEWHERE)

    def _head_of(self, person: Voiceprint) -> SpeakerHead:
        """The head with the person's weights in it."""
        head = self._networks()[1]
        head.set_weights(person.weights)
        return head

    def margin(self, person: Voiceprint, embeddings: Float32, may: Open = PLAIN, mels: Mels = None) -> Float32:
        """(n, embedding size) embeddings -> (n,) scores less the person's threshold: comparable between people.

        They count as heard in as much noise as the takes were; `may` and `mels` are those of `score`.
        """
        margins: Float32 = self.score(person, embeddings, may, mels) - np.float32(person.threshold)
        return margins

    def _networks(self) -> tuple[SpeakerNetwork, SpeakerHead]:
        """Opened when there is somebody to know."""
        self._speaker = self._speaker or SpeakerNetwork(self._folder, self._delegate)
        self._head = self._head or SpeakerHead(self._folder)
        return self._speaker, self._head


def by_line(speaker: SpeakerNetwork, crop: Int16, heard: Utterance) -> Utterance:
    """What was `heard` in (n,) int16, as it would have come by telephone; as it is, where it did.

    That takes the network a second time. SNR and clipping stay those of the crop.
    """
    if is_by_telephone(heard.high_db):
        return heard
    try:
        lined = speaker.hear(through_line(crop))
    except AudioError:  # all of it lay outside the band
        return heard
    return lined._replace(
        snr_db=heard.snr_db, high_db=min(lined.high_db, NARROW_DB - 1), clipped_share=heard.clipped_share
    )


def _bound(person: Voiceprint, start: crowd.Start) -> crowd.Bound | None:
    """Of what `Verifier.score` asks a person with; None: these numbers give no score, or perhaps none, or no head."""
    if person.trainer != HEAD:
        return None
    count = len(person.offsets)
    share = head_share(person) if person.kind == TRAINED else 0.0
    taken_off = person.offsets + handicaps()[:count] if count else np.zeros(1, np.float32)
    try:
        prototypes = person.prototypes if count else person.centroid[None]
    except ValueError:  # numbers of another size; `_asked` says so
        return None
    weights = person.weights.projection
    return crowd.bound_of(crowd.Asked(prototypes, weights, person.prototype, share, taken_off), start)


def loose_share_of(person: Voiceprint) -> float:
    """Share of the keyword network's cutoff from which on a person is heard: the own one, where it was measured."""
    return LOOSE_SHARE if person.loose_share is None else person.loose_share


def allowance(person: Voiceprint, snr_db: float) -> float:
    """Added to the score of a try at an SNR, 0…0.06: nothing where the takes are as noisy, or nobody knows.

    Nothing either where there is a prototype in noise.
    """
    if len(person.offsets):
        return 0.0
    known = person.report.get("takes_snr_db")
    takes_db = min(CLEAN_DB, known) if isinstance(known, (int, float)) else 0.0
    return ALLOWANCE_PER_DB * max(0.0, takes_db - max(0.0, snr_db))


def head_share(person: Voiceprint) -> float:
    """Of the person's score, where the trained head is used."""
    return HEAD_SHARE if len(person.offsets) else HEAD_SHARE_WITHOUT_ELSEWHERE


def fused(cosine: Float32, trained: Float32, share: float = HEAD_SHARE) -> Float32:
    """The score where the trained head is used: both cosines, of one shape, by their shares."""
    score: Float32 = np.float32(1 - share) * cosine + np.float32(share) * trained
    return score
