"""One stream in a household: a detector that follows the household's changes, and the sound around what it heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from .audio.samples import Int16
from .detector import Detector
from .event import CLIP_AFTER_SAMPLES, CLIP_BEFORE_SAMPLES, Event
from .household import Household
from .networks.card import KeywordManifest
from .networks.keyword import KeywordNetwork
from .phrases.spotter import PhraseManifest
from .settings.policy import Policy
from .verifier import Verifier

# The ring holds more than what must be there: 1.5 s before the word, 0.6 until a weak one is decided (and 0.1 until
# its next inference), and this.
CLIP_PUSH_SAMPLES = 8_000


class Voices:
    """The speaker side of the household; its networks are opened once, for all listeners of one thread."""

    def __init__(self) -> None:
        self._household: Household | None = None
        self._verifier = Verifier([])

    def of(self, household: Household) -> Verifier:
        """Who is known in this state of the household.

        Raises:
            ModelError: the networks cannot be used.
        """
        old = self._household
        if old is None or household.networks != old.networks:
            self._verifier = Verifier(household.people, folder=household.folder, delegate=household.delegate)
            self._verifier.warm_up()
        elif household is not old:
            self._verifier = self._verifier.with_people(household.people)
        self._household = household
        return self._verifier


class Listener:
    """One stream in this household: a detector that follows the household's changes, and clips of what it heard.

    Args:
        household: as it is now.
        clips: keep the sound around every event, for a journal.
        only: of the household's wake words these; None: all.
        voices: shared with the other listeners of this thread; None: its own.
        confirms: whether what follows a wake word is listened to, where the settings ask for it. Of a client that
            sends nothing of the command it must not be: the next thing that it sends is something else.
    """

    def __init__(
        self,
        household: Household,
        clips: bool = False,
        only: Iterable[str] | None = None,
        voices: Voices | None = None,
        confirms: bool = True,
    ) -> None:
        self._only = None if only is None else set(only)
        self._household = household
        self._networks = {manifest: KeywordNetwork(manifest) for manifest in self._wanted(household)}
        self._voices = voices or Voices()
        self._clips, self._confirms = clips, confirms
        self._waiting: list[Event] = []
        self._ready: list[tuple[Event, Int16]] = []
        verifier = self._voices.of(household)
        near_misses = clips or household.settings.learning.enabled
        self._detector = Detector(
            [*self._networks.values()], verifier, self._policy(household), near_misses, self._phrases(household)
        )

    @property
    def samples(self) -> int:
        """How many samples of the stream have been pushed."""
        return self._detector.samples

    @property
    def patience_samples(self) -> int:
        """So many samples may be gathered before the next push; 0: as few as there are."""
        return self._detector.patience_samples

    @property
    def scores(self) -> dict[str, float]:
        """wake word -> its keyword score now, 0…1."""
        return self._detector.scores

    def follow(self, household: Household, clips: bool | None = None) -> None:
        """Goes on with another state of the household, where it is another; what it has heard stays.

        Args:
            household: as it is now.
            clips: whether clips are kept from now on; None: as before.
        """
        if clips is not None and clips != self._clips:
            self._clips = clips
            self._detector.near_misses = clips or self._household.settings.learning.enabled
            self._waiting, self._ready = [], []
        if household is self._household:
            return
        self._networks = {
            manifest: self._networks.get(manifest) or KeywordNetwork(manifest) for manifest in self._wanted(household)
        }
        networks, voices = [*self._networks.values()], self._voices.of(household)
        self._detector.update(networks, voices, self._policy(household), self._phrases(household))
        self._detector.near_misses = self._clips or household.settings.learning.enabled
        self._household = household

    def push(self, samples: Int16) -> list[Event]:
        """(n,) int16 -> the events that it completes; near misses where clips are kept or it learns."""
        if not self._clips:
            return self._detector.push(samples)
        events = []
        for start in range(0, len(samples), CLIP_PUSH_SAMPLES):
            found = self._detector.push(samples[start : start + CLIP_PUSH_SAMPLES])
            events += found
            self._collect(found)
        return events

    def finish(self) -> list[Event]:
        """The stream is over: half a second of silence lets a word at its very end be heard."""
        events = self._detector.finish()
        if self._clips:
            self._collect(events)
        return events

    def clips(self, now: bool = False) -> list[tuple[Event, Int16]]:
        """The events whose half second has passed, or with `now` all of them, each with the 2 s around it.

        A confirmation comes after its wake and has no sound: of a command none is kept.
        """
        if now:
            self._collect([], now)
        ready, self._ready = self._ready, []
        return ready

    def _collect(self, events: list[Event], now: bool = False) -> None:
        """Cuts the clips that are whole, while the detector still has them."""
        self._waiting += events
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            end = event.sample + CLIP_AFTER_SAMPLES
            if not now and self._detector.samples < end:
                self._waiting.append(event)
            elif event.type == "confirmation":
                self._ready.append((event, np.zeros(0, np.int16)))
            else:
                self._ready.append((event, self._detector.audio(event.sample - CLIP_BEFORE_SAMPLES, end)))

    def _policy(self, household: Household) -> Policy:
        policy = household.policy
        return policy if self._confirms else replace(policy, confirm="off", confirm_of={})

    def _phrases(self, household: Household) -> list[PhraseManifest]:
        return [phrase for phrase in household.phrases if self._only is None or phrase.name in self._only]

    def _wanted(self, household: Household) -> list[KeywordManifest]:
        return [manifest for manifest in household.manifests if self._only is None or manifest.name in self._only]
