"""A phrase of one's own beside the voice: which takes are of it, what is learned, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import EnrolmentRefused
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import builtin_keywords
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.voiceprint import Voiceprint
from earmark.engine.phrases.model import keyword_of

from ..takes.hearing import AcceptedTake
from ..takes.quality import Fault, wakes_in
from .copies import MARGIN_SAMPLES
from .learn import PhraseTools, learn_phrase, likeness_to_others

FEWEST_TAKES = 2  # a take is compared with the others
# Of 240 takes each of asc and dsp no one was less like the others; of other words of the same voice 9 in 10 were
SAME_PHRASE = 0.5
SHORT_S = 0.45  # two syllables, hardly
COMMON_AN_HOUR = 30.0  # in the speech that the phrase was told from, without the voice; of words of half a second, 4


@dataclass(frozen=True)
class OwnPhrase:
    """A phrase that is to be learned beside a voice."""

    text: str
    tools: PhraseTools
    talk: Sequence[Int16] = ()
    """(n,) int16 each, other speech of the owner."""

    @property
    def keyword(self) -> str:
        """The wake word's name."""
        return keyword_of(self.text)

    def of_the_phrase(
        self, name: str, takes: Sequence[AcceptedTake], fewest: int, faults: list[Fault]
    ) -> list[AcceptedTake]:
        """The takes without those of something else, whose faults are appended to `faults`.

        The least like the others goes first, while one is unlike them.

        Raises:
            EnrolmentRefused: fewer than `fewest` are left, or no more than half.
        """
        kept = list(takes)
        while len(kept) >= FEWEST_TAKES:
            likeness = likeness_to_others([take.take.analysis for take in kept], self.tools)
            worst = int(np.argmin(likeness))
            if likeness[worst] >= SAME_PHRASE:
                break
            faults.append(another_phrase(kept.pop(worst).take.file, likeness[worst]))
        if len(kept) < max(fewest, FEWEST_TAKES) or 2 * len(kept) <= len(takes):
            listed = "".join(f"\n  {fault.told(chr(34) + self.text + chr(34), name)}" for fault in faults)
            raise EnrolmentRefused(
                f"{name!r} was not enrolled: {len(kept)} of {len(takes)} takes are of one phrase, at least "
                f"{max(fewest, FEWEST_TAKES)} must be (five are better)" + listed,
                faults,
            )
        return kept

    def is_another(self, take: AcceptedTake, earlier: Sequence[AcceptedTake]) -> Fault | None:
        """Whether a take is of something else than the earlier ones."""
        if not earlier:
            return None
        every = [take.take.analysis, *(one.take.analysis for one in earlier)]
        likeness = likeness_to_others(every, self.tools)[0]
        return another_phrase(take.take.file, likeness) if likeness < SAME_PHRASE else None

    def added_to(self, person: Voiceprint, takes: Sequence[Analysis], seed: int) -> Voiceprint:
        """The voiceprint of somebody's voice with what is learned of the phrase, from the takes of both."""
        learned = learn_phrase(self.text, takes, self.tools, self.talk, seed)
        against = _against(takes, float(learned.report["wakes_an_hour"]))
        return replace(
            person,
            keyword=self.keyword,
            binding=replace(person.binding, keyword=self.tools.network.sha256),
            phrase=learned.model,
            loose_share=1.0,  # the threshold is the phrase's own: no voice is heard below it
            report={**person.report, "phrase": {**learned.report, "against": against}},
        )


def another_phrase(file: str, likeness: float) -> Fault:
    """The fault of a take that is of something else."""
    detail = f"it is like the other takes by {likeness:.2f}, a take of the same phrase by {SAME_PHRASE:.2f} or more"
    return Fault(file, "another_phrase", detail)


def _against(takes: Sequence[Analysis], wakes_an_hour: float) -> list[str]:
    """What speaks against a phrase: `short`, `common`, and the published words that it is like."""
    lengths = [take.bounds[1] - take.bounds[0] - 2 * MARGIN_SAMPLES for take in takes]
    found = ["short"] if float(np.median(lengths)) < SHORT_S * RATE_HZ else []
    found += ["common"] if wakes_an_hour > COMMON_AN_HOUR else []
    for word in builtin_keywords():
        network = KeywordNetwork(word)
        fired = 0
        for take in takes:
            network.reset()
            fired += bool(wakes_in(take.samples, network).candidates)
        if 2 * fired > len(takes):
            found.append(word)
    return found
