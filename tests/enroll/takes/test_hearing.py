"""What a session hears of one recording after the other, and what that costs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from conftest import MakeNetwork, Read, Takes

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.features import mel
from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.training import cohort
from earmark.enroll.training.train import TrainPlan

COPIES = 6


@pytest.fixture
def mels(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many mels were computed, of each scale: `slaney` finds the speech, `htk` is what the network hears."""
    count: Counter[str] = Counter()
    power_mel = mel.power_mel

    def counted(samples: Float32, bands: mel.Bands = mel.WORD) -> Float32:
        count[bands.scale] += 1
        return power_mel(samples, bands)

    monkeypatch.setattr(mel, "power_mel", counted)
    return count


@pytest.fixture
def five(takes: Takes, read: Read, rng: np.random.Generator) -> list[Int16]:
    """Takes of "okay nabu" with a second of a quiet room on both sides."""
    said = [np.pad(read(path), RATE_HZ) for path in takes("slt", "okay_nabu", "enroll")[:5]]
    return [samples + np.rint(rng.normal(0, 5, len(samples))).astype(np.int16) for samples in said]


@pytest.fixture(scope="module")
def network() -> SpeakerNetwork:
    """One that remembers no crop of other tests."""
    return SpeakerNetwork()


def with_click(samples: Int16, rng: np.random.Generator) -> Int16:
    return np.concatenate([rng.normal(0, 9000, RATE_HZ // 20).astype(np.int16), samples])


@pytest.mark.parametrize(
    ("word", "clicks", "computed"),
    [
        (None, False, 1),  # the recording is the crop
        (None, True, 2),  # the recording, to find the click, and what is left
        ("okay_nabu", False, 2),  # the recording, which may hold a sentence, and the crop
    ],
)
def test_the_mel_of_a_take_is_computed_once_for_its_recording_and_once_for_its_crop(
    word: str | None,
    clicks: bool,
    computed: int,
    five: list[Int16],
    mels: Counter[str],
    network: SpeakerNetwork,
    make_network: MakeNetwork,
    rng: np.random.Generator,
) -> None:
    hearing = Hearing(network, make_network(word) if word else None)
    for number, samples in enumerate(five[:2], start=1):
        mels.clear()
        heard = hearing.take(with_click(samples, rng) if clicks else samples, f"take {number}")
        assert (len(heard.takes), heard.faults) == (number, ())
        assert mels == {"slaney": computed, "htk": 1}


@pytest.mark.parametrize("word", [None, "okay_nabu"])
def test_an_enrolment_computes_one_mel_for_each_take_its_variations_and_conditions(
    word: str | None,
    five: list[Int16],
    mels: Counter[str],
    network: SpeakerNetwork,
    head: SpeakerHead,
    make_network: MakeNetwork,
) -> None:
    recordings = [Recording(f"take {number}", samples) for number, samples in enumerate(five)]
    enroller = Enroller(network, head, cohort.load())
    plan = TrainPlan(steps=1, copies=COPIES)
    enroller.enrol("slt", recordings, make_network(word) if word else None, Options(plan=plan))
    each = len(five) * (1 + COPIES + len(CONDITIONS))
    assert mels == {"slaney": each, "htk": each}
