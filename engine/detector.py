"""The main path: source → frontend → keyword → speaker → decision."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .audio.offset import OffsetRemover
from .audio.opening import Audio, open_source
from .audio.samples import RATE_HZ, Float32, Int16, checked
from .audio.sources import Source
from .confirmation import Confirmer
from .decision import REFRACTORY_SAMPLES, Candidate, KeywordDecision
from .errors import AudioError, ModelError
from .event import Event
from .features.activity import ActivityGate
from .features.following import BEFORE_SAMPLES
from .features.frontend import HOP_SAMPLES, Frontend, Ring
from .networks.card import MODELS_DIR
from .networks.keyword import KeywordNetwork, Words, load_networks
from .networks.speaker import CROP_SAMPLES
from .people.loading import open_people, phrases_of
from .people.store import PersonStore
from .phrases.model import is_phrase
from .phrases.network import PhraseNetwork
from .phrases.spotter import PhraseManifest, PhraseSpotter
from .settings.policy import Confirm, Mode, Policy
from .verifier import Verdict, Verifier

_LOG = logging.getLogger(__name__)

PUSH_SAMPLES = RATE_HZ  # what one step takes at most: far less than the ring holds
# What a live source may gather before it gives more, so that a processor that would rather sleep is woken seldom:
REST_SAMPLES = RATE_HZ // 2  # while the gate rests: a wake word is longer, so that what follows its start comes soon
LATE_SAMPLES = RATE_HZ * 3 // 20  # 150 ms; docs/research/latency.md has how late decisions are for it
FLUSH_SAMPLES = RATE_HZ // 2  # silence after the end: a network fires up to 0.3 s after the word's last sound


class Detector:
    """Hears wake words in a stream and says whose voice it was::

        detector = Detector.load("okay_nabu")
        for event in detector.run("evening.wav"):
            print(event.person, event.time_ms)

    A wake word for which somebody is enrolled is heard through the loose cutoff too. What only passes that is an
    event if the voice is known, and nothing otherwise, in every mode.

    Args:
        keywords: the wake words, as `load_networks` takes them; they share one frontend. An empty list hears nothing:
            of a satellite that asks for other words than there are, for one.
        verifier: the people who are known.
        policy: who may wake it and how easily; a mode alone is the policy with that mode.
        near_misses: report what only passed the loose cutoff, too; may be changed at any time.
        phrases: of people's own that are heard; None: all of the people who are known.
    """

    def __init__(
        self,
        keywords: Words,
        verifier: Verifier,
        policy: Policy | Mode = "only",
        near_misses: bool = False,
        phrases: Sequence[PhraseManifest] | None = None,
    ) -> None:
        self._frontend, self._ring, self._gate = Frontend(), Ring(), ActivityGate()
        self._offset = OffsetRemover()
        self._waiting: list[Int16] = []  # pieces that were pushed and have not been heard
        self._waiting_samples = 0
        self._heard_from = 0  # so many must be there before a network can decide something
        self._heard_hops = 0  # hops that the frontend was given, and those between that were left out
        self._channels: list[tuple[KeywordNetwork | PhraseSpotter, KeywordDecision]] = []
        self._phrases: PhraseNetwork | None = None  # what the spotters hear, opened when there is one
        self._quiet_until: dict[str, int] = {}
        self._confirmer: Confirmer | None = None
        self.near_misses = near_misses
        self.update([] if keywords == [] else load_networks(keywords), verifier, policy, phrases)

    @classmethod
    def load(
        cls,
        words: Words = "okay_nabu",
        store: PersonStore | str | os.PathLike[str] | None = None,
        mode: Mode = "only",
        *,
        models: str | os.PathLike[str] = MODELS_DIR,
        near_misses: bool = False,
        confirm: Confirm = "off",
    ) -> Detector:
        """A detector for wake words and the people of a store.

        >>> detector = earmark.Detector.load(["okay_nabu", "alexa"], mode="label")
        >>> [(event.keyword, event.time_ms) for event in detector.run("tests/audio/slt_alexa_test_1.flac")]
        [('alexa', 1160)]

        Args:
            words: one or several, as `load_networks` takes them.
            store: the people, or their folder; None: the user's own store.
            mode: `only` known people wake it; `prefer` and `label`: everybody, known people by name.
            models: folder of speaker network and head; by default those that earmark carries.
            near_misses: report what was nearly a wake word, too.
            confirm: `label` and `cancel` listen on, and say whose command followed (docs/confirmation.md).

        Raises:
            KeywordError: a wake word is unknown, or its network cannot be used.
            PersonError: there is no such store, or there are people in it and none of them can be used.
            ModelError: speaker network or head cannot be used.
        """
        networks = load_networks(words)
        verifier = Verifier.load(open_people(store), [network.manifest for network in networks], Path(models))
        return cls(networks, verifier, Policy(mode=mode, confirm=confirm), near_misses)

    def update(
        self,
        keywords: Sequence[KeywordNetwork],
        verifier: Verifier,
        policy: Policy | Mode = "only",
        phrases: Sequence[PhraseManifest] | None = None,
    ) -> None:
        """Other wake words, people, policy or phrases from the next sample on; the stream goes on.

        A network that was there before keeps its state; a new one begins to hear now.
        """
        self._hear_waiting()  # by what has been true so far
        self._verifier = verifier
        self._policy = policy if isinstance(policy, Policy) else Policy(mode=policy)
        self._gate.enabled = self._policy.skip_quiet
        if self._confirmer is not None and self._policy.confirmed(self._confirmer.keyword) == "off":
            self._confirmer = None
        known = {id(network): decision for network, decision in self._channels}
        spotters = self._spotters(phrases_of(verifier.people) if phrases is None else phrases)
        self._channels = []
        listening: list[KeywordNetwork | PhraseSpotter] = [*keywords, *spotters]
        for network in listening:
            manifest = network.manifest
            cutoff = self._policy.cutoff(manifest.name, manifest.probability_cutoff)
            share = verifier.loose_share(manifest.name)
            loose_cutoff = None if share is None else share * cutoff
            decision = known.get(id(network)) or KeywordDecision(
                manifest.name,
                cutoff,
                manifest.sliding_window_size,
                network.stride,
                loose_cutoff=loose_cutoff,
                first_frame=self._frontend.frames,
                block=network.block if isinstance(network, PhraseSpotter) else 1,
            )
            decision.set_cutoffs(cutoff, loose_cutoff)
            self._channels.append((network, decision))

    def _spotters(self, phrases: Sequence[PhraseManifest]) -> list[PhraseSpotter]:
        """One for each phrase, those that were there before where it is the same; and what they hear."""
        known = {n.manifest: n for n, _ in self._channels if isinstance(n, PhraseSpotter)}
        if not phrases:
            self._phrases = None
        elif self._phrases is None:
            self._phrases, known = PhraseNetwork(), {}
        block = self._phrases.block if self._phrases is not None else 1
        return [known.get(phrase) or PhraseSpotter(phrase, block) for phrase in phrases]

    def reset(self) -> None:
        """Forgets the stream, not the people."""
        self._frontend.reset()
        if self._phrases is not None:
            self._phrases.reset()
        self._gate.reset()
        self._offset.reset()
        self._waiting, self._waiting_samples, self._heard_from = [], 0, 0
        self._heard_hops = 0
        self._ring = Ring()
        self._quiet_until.clear()
        self._confirmer = None
        for network, decision in self._channels:
            network.reset()
            decision.reset()

    @property
    def samples(self) -> int:
        """How many samples of the stream have been pushed."""
        return self._ring.end + self._offset.held_samples + self._waiting_samples

    @property
    def patience_samples(self) -> int:
        """So many samples may be gathered before the next push, 0 where a network begins to hear something.

        No network can decide sooner, whatever it says, or by 150 ms at most. It changes no event: any cut of the
        stream gives the same.
        """
        if self._offset.held_samples:  # the first sound of a stream is late enough
            return 0
        if self._gate.is_resting or not self._channels:
            return REST_SAMPLES if self._confirmer is None else LATE_SAMPLES
        if any(decision.stirs for _, decision in self._channels):
            return 0
        patience = min(decision.earliest_sample for _, decision in self._channels) - self.samples + LATE_SAMPLES
        return patience if self._confirmer is None else min(patience, LATE_SAMPLES)

    @property
    def scores(self) -> dict[str, float]:
        """wake word -> its keyword score now, 0…1; 0 while the gate rests."""
        resting = self._gate.is_resting
        return {network.manifest.name: 0.0 if resting else decision.score for network, decision in self._channels}

    def audio(self, start: int, end: int) -> Int16:
        """A copy of the samples [start, end) of the stream, of its last 4 s, without a constant offset."""
        self._hear_waiting()
        return self._ring.last(start, end)

    def push(self, samples: Int16 | Float32, *, floats: bool = False) -> list[Event]:
        """(n,) int16 at 16 kHz, any n ≥ 0 -> the events that it completes, in the order they were decided in.

        With `floats` the samples are floats in -1…1 instead. Small pieces wait, as copies, until they are enough for
        a network to decide something: to hear ten pieces of 10 ms at once costs a fifth, and makes no event later.

        Raises:
            AudioError: they are something else.
        """
        piece = checked(samples, floats)
        self._waiting_samples += len(piece)
        if self._waiting_samples < self._heard_from:
            self._waiting.append(piece.copy())
            return []
        self._waiting.append(piece)
        return self._hear_waiting()

    def _hear_waiting(self) -> list[Event]:
        """Hears what waits; there are no events where `push` would have let it wait longer."""
        if not self._waiting:
            return []
        piece = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._waiting_samples = [], 0
        events = self._push(self._offset.push(piece))
        self._heard_from = self._undecided_samples()
        return events

    def _undecided_samples(self) -> int:
        """So many samples must follow before anything can be decided, whatever they are."""
        if self._offset.held_samples or self._confirmer is not None or not self._channels:
            return 0
        if self._gate.is_resting:
            return self._gate.unlooked_samples
        return min(decision.earliest_sample for _, decision in self._channels) - self._ring.end

    def _push(self, samples: Int16) -> list[Event]:
        """(n,) int16 without an offset."""
        events = []
        for start in range(0, len(samples), PUSH_SAMPLES):
            piece = samples[start : start + PUSH_SAMPLES]
            self._ring.push(piece)
            candidates = [c for span in self._gate.push(piece) for c in self._hear(*span)]
            candidates.sort(key=lambda c: c.sample + c.waited_samples)  # when it was decided: the same for any cut
            for candidate in candidates:
                events += self._confirm(self._gate.heard_at(candidate.sample + candidate.waited_samples))
                events += self._judge(candidate)
            events += self._confirm(self._ring.end)
        return events

    def _confirm(self, until: int) -> list[Event]:
        """Listens on after a wake word, up to a position: the confirmation, if it is complete."""
        confirmer = self._confirmer
        if confirmer is None:
            return []
        event = confirmer.push(self._ring.last(confirmer.next_sample, until), self._verifier)
        if event is None:
            return []
        self._confirmer = None
        return [event]

    def _hear(self, first_hop: int, end_hop: int) -> Iterator[Candidate]:
        """What the networks hear in the hops [first_hop, end_hop)."""
        skipped = first_hop - self._heard_hops
        self._heard_hops = end_hop
        if skipped:
            self._frontend.skip(skipped)
        samples = self._ring.last(first_hop * HOP_SAMPLES, end_hop * HOP_SAMPLES)
        frames = self._frontend.push(samples)
        features = frames if self._phrases is None else self._phrases.push(samples)
        for network, decision in self._channels:
            decision.skip(skipped)
            yield from decision.push(network.push(features if isinstance(network, PhraseSpotter) else frames))

    def finish(self) -> list[Event]:
        """The stream is over: half a second of silence lets a word at its very end be heard."""
        events = self._hear_waiting()
        events += self._push(np.concatenate([self._offset.finish(), np.zeros(FLUSH_SAMPLES, np.int16)]))
        if self._confirmer is not None:
            events.append(self._confirmer.finish(self._verifier))
            self._confirmer = None
        return events

    def run(
        self, audio: Audio, *, rate_hz: int = RATE_HZ, floats: bool = False, channel: int | None = None
    ) -> Iterator[Event]:
        """A stream from its beginning to its end, live or recorded: the events as they come.

        Args:
            audio: a path, a source, or an array (n,) of int16.
            rate_hz: of an array.
            floats: an array holds floats in -1…1.
            channel: of a file, only this one, from 0; None: those that hold the voice.

        Raises:
            AudioError: it is something else, or cannot be read.
        """
        return self._run(open_source(audio, rate_hz, floats, channel))

    def _run(self, source: Source) -> Iterator[Event]:
        self.reset()
        with source:
            for block in source:
                yield from self.push(block.samples)
        yield from self.finish()

    def _judge(self, candidate: Candidate) -> list[Event]:
        """What comes of a candidate; nothing of a weak one of no known voice, or too soon after an accepted one."""
        if candidate.sample < self._quiet_until.get(candidate.keyword, 0):
            return []
        verdict, found = self._ask(candidate)
        published, cutoff = self._cutoffs(candidate.keyword)
        audible = not candidate.weak or candidate.score > verdict.loose_share * cutoff
        # a phrase is its owners' in every mode: without the voice it would be taken for too much else
        mode = "only" if is_phrase(candidate.keyword) else self._policy.mode
        known = verdict.person is not None and audible
        if candidate.weak and known:
            self._quiet_until[candidate.keyword] = candidate.sample + REFRACTORY_SAMPLES
        failed = found == "speaker_failed"
        if candidate.weak:
            accepted, setting = known, ""
        elif failed and mode == "only":
            accepted = self._policy.on_error == "accept"
            setting = "accept" if accepted else ""
        else:
            accepted = known or mode != "only"
            setting = mode if accepted and not known else ""
        needed = verdict.loose_share * published if candidate.weak else published
        if not setting and (verdict.by_sensitivity or (accepted and candidate.score <= needed)):
            setting = "sensitivity"
        if candidate.weak and not accepted and not self.near_misses:
            return []
        event = Event(
            type="detection" if accepted else "near_miss" if candidate.weak else "rejection",
            keyword=candidate.keyword,
            sample=candidate.sample,
            keyword_score=candidate.score,
            person=verdict.person,
            speaker_score=verdict.score,
            reason=f"{found}:{setting}" if setting else found,
            embedding=verdict.embedding,
            decided_sample=candidate.sample + candidate.waited_samples,
        )
        if accepted and verdict.heard is not None and self._policy.confirmed(candidate.keyword) != "off":
            before = self._ring.last(candidate.sample - BEFORE_SAMPLES, candidate.sample)
            self._confirmer = Confirmer(event, verdict.heard, before, self._policy)
        return [event]

    def _ask(self, candidate: Candidate) -> tuple[Verdict, str]:
        """Whose voice it is, and what was found."""
        crop = self._ring.last(candidate.sample - CROP_SAMPLES, candidate.sample)
        try:
            verdict = self._verifier.verify(crop, candidate.keyword, self._policy)
        except AudioError:  # the network fired on something that is not speech
            return Verdict(None, None), "no_speech"
        except ModelError as error:  # a declared policy, not the end of the daemon
            _LOG.error("the speaker side failed, on_error=%s: %s", self._policy.on_error, error)
            return Verdict(None, None), "speaker_failed"
        enrolled = bool(self._verifier.enrolled(candidate.keyword))
        return verdict, "known_voice" if verdict.person else "unknown_voice" if enrolled else "nobody_enrolled"

    def _cutoffs(self, keyword: str) -> tuple[float, float]:
        """The published cutoff of a wake word, and the one in force."""
        manifests = (network.manifest for network, _ in self._channels)
        published = next(m.probability_cutoff for m in manifests if m.name == keyword)
        return published, self._policy.cutoff(keyword, published)
