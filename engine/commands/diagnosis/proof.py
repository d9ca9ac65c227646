"""The whole path, tried on recordings that earmark carries: on some machines all runs, and nothing is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...audio.files import read_audio
from ...audio.samples import Int16
from ...detector import Detector
from ...errors import ModelError
from ...networks.card import load_card, load_manifest
from ...networks.head import HeadWeights
from ...networks.keyword import KeywordNetwork
from ...networks.speaker import SpeakerNetwork
from ...people.loading import binding_of
from ...people.voiceprint import COSINE, Voiceprint
from ...spotting import find_wakes
from ...verifier import Verifier

RECORDINGS = Path(__file__).with_name("recordings")
"""`okay_nabu` in two voices: enrolled.flac and same_voice.flac are of one, other_voice.flac of another."""
KEYWORD = "okay_nabu"
THRESHOLD = 0.65  # the same voice has 0.93 where all is well, the other one 0.36: in the middle
NAME = "proof"
WHAT_TO_DO = "install earmark again; if that does not help, report it with `earmark doctor --bundle FILE`"


def prove() -> str:
    """Enrols one recording, hears another of the same voice and one of another voice; what came of it.

    Raises:
        ModelError: a word was not heard, or not as its voice.
        AudioError: a recording cannot be read.
        KeywordError: the wake word cannot be loaded.
    """
    network = KeywordNetwork(load_manifest(KEYWORD))
    enrolled, same, other = (
        read_audio(RECORDINGS / f"{name}.flac") for name in ("enrolled", "same_voice", "other_voice")
    )
    speaker = SpeakerNetwork()
    crop, _ = _heard(enrolled, network)
    embedding = speaker.hear(crop).embedding
    none = np.zeros(0, np.float32)
    voiceprint = Voiceprint(
        name=NAME,
        keyword=KEYWORD,
        kind=COSINE,
        threshold=THRESHOLD,
        binding=binding_of(network.manifest.model_sha256, load_card("speaker"), load_card("head")),
        takes=embedding[None],
        centroid=embedding,
        prototype=none,
        weights=HeadWeights(none[None], none),
    )
    detector = Detector([network], Verifier([voiceprint], speaker))
    probabilities, scores = [], []
    for samples, wanted in ((same, NAME), (other, None)):
        probabilities.append(_heard(samples, network)[1])
        events = list(detector.run(samples))
        if len(events) != 1 or events[0].person != wanted or events[0].speaker_score is None:
            voice = "the voice that was enrolled" if wanted else "another voice"
            came = ", ".join(f"{event.type} {event.reason} {event.speaker_score}" for event in events) or "nothing"
            raise ModelError(f"{KEYWORD} by {voice} gives {came}: {WHAT_TO_DO}")
        scores.append(events[0].speaker_score)
    cutoff = network.manifest.probability_cutoff
    return (
        f"{KEYWORD} raises its probability to {min(probabilities):.2f}, cutoff {cutoff:.2f}; "
        f"the same voice scores {scores[0]:.2f}, another one {scores[1]:.2f}"
    )


def _heard(samples: Int16, network: KeywordNetwork) -> tuple[Int16, float]:
    """The crop of the one word in a recording, and the highest mean probability.

    Raises:
        ModelError: it was not heard.
    """
    wakes = find_wakes(samples, network)
    highest, cutoff = float(wakes.mean_scores.max(initial=0.0)), network.manifest.probability_cutoff
    if len(wakes.crops) != 1:
        raise ModelError(
            f"{KEYWORD} raises its probability to {highest:.2f} only, and must over {cutoff:.2f}: {WHAT_TO_DO}"
        )
    return wakes.crops[0], highest
