"""Whose voice it is: the rule on plain numbers, and with the real networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Read, Takes
from helpers_store import make_voiceprint, unit

from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.household import load_household
from earmark.engine.listener import Voices
from earmark.engine.networks import runtime
from earmark.engine.networks.conditions import ANYWHERE, CONDITIONS, PLAIN, Open, open_to
from earmark.engine.networks.head import HeadWeights, SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork, Utterance
from earmark.engine.people.store import ANY_PHRASE, COSINE, TRAINED, PersonStore, Voiceprint
from earmark.engine.settings.policy import Policy
from earmark.engine.settings.schema import People, Settings
from earmark.engine.verifier import Verdict, Verifier, allowance, fused

WORD = "okay_nabu"
CROP: Int16 = np.zeros(100, np.int16)
VOICE: Float32 = np.array([1, 0], np.float32)
"""What the network below hears; the cosine to a centroid is then the centroid's first number."""
NOWHERE = Path("/there is no such folder")


class FixedNetwork(SpeakerNetwork):
    """Hears the same voice in everything, at an SNR."""

    def __init__(self, snr_db: float = 60.0) -> None:
        self._snr_db = snr_db
        self.crops = 0

    def hear(self, crop: Int16) -> Utterance:
        if crop is CROP:
            self.crops += 1
            return Utterance(VOICE, self._snr_db)
        raise AudioError("nothing said")


class FixedHead(SpeakerHead):
    """Projects nothing: a person's weights are the score."""

    def __init__(self) -> None:
        self._score = np.float32(0)

    def set_weights(self, weights: HeadWeights) -> None:
        self._score = weights.bias[0]

    def score(self, embeddings: Float32, prototype: Float32) -> Float32:  # noqa: ARG002
        return np.full(len(embeddings), self._score, np.float32)


def person(name: str, cosine: float, threshold: float, **changes: Any) -> Voiceprint:
    """Somebody to whom `VOICE` has this cosine."""
    base = make_voiceprint(name, WORD, COSINE, threshold=threshold)
    centroid = np.array([cosine, np.sqrt(1 - cosine**2)], np.float32)
    return replace(base, centroid=centroid, **{"report": {}, **changes})


def trained(name: str, cosine: float, head: float, threshold: float) -> Voiceprint:
    """The same with a trained head that gives this score."""
    weights = HeadWeights(np.zeros((2, 2), np.float32), np.array([head], np.float32))
    return replace(person(name, cosine, threshold), kind=TRAINED, weights=weights)


def verifier(*people: Voiceprint, snr_db: float = 60.0) -> Verifier:
    return Verifier(people, FixedNetwork(snr_db), FixedHead(), NOWHERE)


def verify(*people: Voiceprint, snr_db: float = 60.0, policy: Policy | None = None) -> Verdict:
    return verifier(*people, snr_db=snr_db).verify(CROP, WORD, policy or Policy())


# --- of several people


ANNA, BEN = person("anna", 0.75, 0.5), person("ben", 0.875, 0.75)
"""Ben has the higher score; Anna is farther above the own threshold."""


@pytest.mark.parametrize("people", [(ANNA, BEN), (BEN, ANNA)])
def test_of_two_people_the_one_farthest_above_the_own_threshold_wins(people: tuple[Voiceprint, ...]) -> None:
    assert verify(*people) == Verdict("anna", 0.75)


@pytest.mark.parametrize("order", [1, -1])
def test_of_nobody_known_the_score_is_of_who_came_nearest_to_the_own_threshold(order: int) -> None:
    people = [person("anna", 0.5, 0.625, loose_share=0.4), person("ben", 0.625, 0.875, loose_share=0.5)]
    assert verify(*people[::order]) == Verdict(None, 0.5, loose_share=0.4)


def test_a_persons_own_sensitivity_decides_who_wins() -> None:
    """Threshold 0.57 instead of 0.5, and 0.68 instead of 0.75: ben is 0.195 above it, anna 0.18."""
    policy = Policy(voice_sensitivity_of={"anna": 0.0, "ben": 1.0})
    assert verify(ANNA, BEN, policy=policy) == Verdict("ben", 0.875)


def test_who_is_enrolled_for_another_word_is_not_asked() -> None:
    other = person("ben", 1.0, 0.0, keyword="alexa")
    assert verify(other, ANNA) == Verdict("anna", 0.75)
    assert verify(replace(other, keyword=ANY_PHRASE), ANNA) == Verdict("ben", 1.0)


def test_where_nobody_is_enrolled_for_the_word_the_network_is_not_run() -> None:
    network = FixedNetwork()
    asked = Verifier([ANNA], network, FixedHead(), NOWHERE)
    assert asked.verify(CROP, "alexa") == Verdict(None, None)
    assert network.crops == 0
    assert asked.verify(CROP, WORD).person == "anna"
    assert network.crops == 1, "one pass, however many people"


def test_the_verdict_has_what_was_judged() -> None:
    embedding = verify(ANNA, BEN).embedding
    assert embedding is not None
    np.testing.assert_array_equal(embedding, VOICE)


# --- the threshold


def test_a_score_equal_to_the_threshold_is_known() -> None:
    assert verify(person("anna", 0.75, 0.75)) == Verdict("anna", 0.75)
    assert verify(person("anna", 0.75, float(np.nextafter(0.75, 1)))) == Verdict(None, 0.75)


def test_a_score_is_capped_at_1_before_it_is_judged() -> None:
    """0.06 are added for the noise, to a cosine of 1: a threshold of 1.035 is not reached."""
    noisy = person("anna", 1.0, 1.0, report={"takes_snr_db": 30.0})
    assert verify(noisy, snr_db=0.0) == Verdict("anna", 1.0)
    strict = Policy(voice_sensitivity=0.25)
    assert verify(noisy, snr_db=0.0, policy=strict) == Verdict(None, 1.0, by_sensitivity=True)


@pytest.mark.parametrize(
    ("voice_sensitivity", "person_threshold"),
    [(0.0, 0.58), (0.25, 0.54), (0.5, 0.5), (0.75, 0.46), (1.0, 0.42)],
)
def test_the_threshold_moves_a_decade_for_half_a_unit_of_sensitivity(
    voice_sensitivity: float, person_threshold: float
) -> None:
    policy = Policy(voice_sensitivity=voice_sensitivity)
    assert policy.threshold("anna", 0.5, 0.08) == pytest.approx(person_threshold)


@pytest.mark.parametrize(
    ("kind", "score", "known"),
    [(COSINE, 0.685, True), (COSINE, 0.675, False), (TRAINED, 0.675, True), (TRAINED, 0.665, False)],
)
def test_at_full_sensitivity_a_threshold_is_0_07_lower_or_0_08_where_a_head_was_trained(
    kind: str, score: float, known: bool
) -> None:
    found = person("anna", score, 0.75) if kind == COSINE else trained("anna", score, score, 0.75)
    assert verify(found, policy=Policy(voice_sensitivity=1.0)).person == ("anna" if known else None)


@pytest.mark.parametrize(
    ("shows", "score", "sensitivity", "known", "by_sensitivity"),
    [
        ("known as enrolled", 0.8, 0.5, True, False),
        ("unknown as enrolled", 0.7, 0.5, False, False),
        ("known only since it is more sensitive", 0.7, 1.0, True, True),
        ("known anyway", 0.8, 1.0, True, False),
        ("unknown even so", 0.6, 1.0, False, False),
        ("unknown only since it is less sensitive", 0.8, 0.0, False, True),
        ("unknown anyway", 0.7, 0.0, False, False),
    ],
)
def test_what_the_sensitivity_turned_round_is_said(
    shows: str, score: float, sensitivity: float, known: bool, by_sensitivity: bool
) -> None:
    """The enrolled threshold is 0.75, 0.68 at full sensitivity, 0.82 at none."""
    verdict = verify(person("anna", score, 0.75), policy=Policy(voice_sensitivity=sensitivity))
    assert (verdict.person is not None, verdict.by_sensitivity) == (known, by_sensitivity), shows


def test_another_person_who_is_known_as_enrolled_is_no_work_of_the_sensitivity() -> None:
    people = person("anna", 0.8, 0.75), person("ben", 0.1, 0.75)
    for order in (people, people[::-1]):
        verdict = verify(*order)
        assert (verdict.person, verdict.by_sensitivity) == ("anna", False)


# --- the score


@pytest.mark.parametrize(
    ("cosine", "head", "share", "score"),
    [
        (0.6, 0.9, 1 / 3, 0.7),
        (0.9, 0.0, 1 / 3, 0.6),
        (-0.3, 0.6, 1 / 3, 0.0),
        (0.6, 0.9, 0.5, 0.75),
        (0.6, 0.9, 0, 0.6),
    ],
)
def test_fused_is_both_cosines_by_the_share_of_the_head(
    cosine: float, head: float, share: float, score: float
) -> None:
    found = fused(np.array([cosine, 1], np.float32), np.array([head, 1], np.float32), share)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [score, 1], atol=1e-6)


def test_only_who_has_a_trained_head_is_asked_for_it() -> None:
    assert verify(trained("anna", 0.6, 0.9, 0.5)).score == pytest.approx(0.7)
    assert verify(person("anna", 0.6, 0.5)).score == pytest.approx(0.6)
    two = verifier(trained("anna", 0.6, 0.9, 0.5), trained("ben", 0.6, 0.3, 0.5))
    assert [float(two.score(one, VOICE[None])[0]) for one in two.people] == pytest.approx([0.7, 0.5])


def test_a_margin_is_the_score_less_the_enrolled_threshold() -> None:
    asked = verifier(ANNA)
    np.testing.assert_allclose(asked.margin(ANNA, np.stack([VOICE, -VOICE])), [0.25, -1.25])


# --- prototypes by condition

OFFSETS = np.array([0.01, -0.02, 0.0, 0.0, 0.0, 0.0, 0.0], np.float32)


def elsewhere(name: str, cosine: float, threshold: float, **by_condition: float) -> Voiceprint:
    """Somebody to whom `VOICE` has these cosines: as the takes are, and in conditions; in the others -0.5."""
    cosines = np.array([by_condition.get(each.replace(" ", "_"), -0.5) for each in CONDITIONS])
    rows = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)
    return replace(person(name, cosine, threshold), elsewhere=rows[None], offsets=OFFSETS)


def heard_as(embedding: Float32 = VOICE, snr_db: float = 60.0, high_db: float = -20.0, clipped: float = 0.0) -> Open:
    return open_to(Utterance(embedding, snr_db, high_db, clipped))


def test_a_score_is_the_largest_of_the_prototypes_that_are_open_less_what_strangers_reach() -> None:
    anna = elsewhere("anna", 0.5, 0.6, noise=0.7, line=0.9)
    asked = verifier(anna)
    for may, score in (
        (PLAIN, 0.49),
        (heard_as(snr_db=10.0), 0.74),
        (heard_as(high_db=-70.0), 0.895),
        (ANYWHERE, 0.895),
    ):
        assert float(asked.score(anna, VOICE[None], may)[0]) == pytest.approx(score, abs=1e-6)
    both = np.stack([PLAIN, heard_as(snr_db=10.0)])
    np.testing.assert_allclose(asked.score(anna, np.stack([VOICE, VOICE]), both), [0.49, 0.74], atol=1e-6)


def test_a_decision_asks_what_the_try_shows() -> None:
    anna = elsewhere("anna", 0.5, 0.6, noise=0.7)
    assert verify(anna, snr_db=60.0).person is None
    noisy = verify(anna, snr_db=10.0)
    assert noisy.person == "anna"
    assert noisy.score == pytest.approx(0.74)


def test_who_has_a_prototype_in_noise_needs_no_allowance() -> None:
    report = {"takes_snr_db": 50.0}
    assert allowance(replace(elsewhere("anna", 0.5, 0.6), report=report), 0.0) == 0
    assert allowance(person("ben", 0.5, 0.6, report=report), 0.0) > 0


def test_a_score_stays_within_1_whatever_is_taken_off() -> None:
    near = replace(elsewhere("anna", 1.0, 0.6), offsets=np.full(7, -0.75, np.float32))
    far = replace(elsewhere("anna", -1.0, 0.6), offsets=np.full(7, 0.75, np.float32))
    for each, score in ((near, 1.0), (far, -1.0)):
        assert float(verifier(each).score(each, VOICE[None])[0]) == score


# --- the home


def test_in_a_home_the_promise_is_of_all_together_or_of_each_alone() -> None:
    """Ten people: a tenth of the strangers is left to each, 0.07 more of the plain cosine."""
    people = [person("anna", 0.75, 0.7), *(person(f"other {number}", 0.1, 0.7) for number in range(9))]
    assert verify(*people[:1]).person == "anna"
    assert verify(*people).person is None
    assert verify(*people, policy=Policy(far_of="person")).person == "anna"
    assert not verify(*people).by_sensitivity, "the settings said so, and no sensitivity"


def test_who_is_enrolled_twice_counts_once() -> None:
    twice = person("anna", 0.75, 0.74), replace(person("anna", 0.75, 0.74), keyword=ANY_PHRASE)
    assert verify(*twice).person == "anna"


@pytest.mark.parametrize(("people", "decades"), [(0, 0.0), (1, 0.0), (2, 0.30103), (10, 1.0)])
def test_each_of_so_many_people_has_a_part_of_the_strangers(people: int, decades: float) -> None:
    assert Policy().home_decades(people) == pytest.approx(decades, abs=1e-5)
    assert Policy(far_of="person").home_decades(people) == 0


# --- noise


@pytest.mark.parametrize(
    ("shows", "takes_snr_db", "snr_db", "added"),
    [
        ("3 thousandths for each dB below the takes", 15.0, 5.0, 0.03),
        ("as noisy as the takes", 15.0, 15.0, 0.0),
        ("cleaner than the takes", 15.0, 40.0, 0.0),
        ("clean takes count as 20 dB", 50.0, 12.0, 0.024),
        ("a clean try of clean takes", 50.0, 20.0, 0.0),
        ("a try counts as 0 dB at least", 50.0, -10.0, 0.06),
        ("takes that were noise themselves", -5.0, -10.0, 0.0),
        ("nobody knows", None, 0.0, 0.0),
        ("nonsense", "quiet", 0.0, 0.0),
    ],
)
def test_the_allowance_for_noise(shows: str, takes_snr_db: object, snr_db: float, added: float) -> None:
    noisy = person("anna", 0.5, 0.5, report={"takes_snr_db": takes_snr_db})
    assert allowance(noisy, snr_db) == pytest.approx(added), shows


def test_the_allowance_counts_before_the_threshold_and_is_each_persons_own() -> None:
    noisy = person("anna", 0.72, 0.75, report={"takes_snr_db": 20.0})
    without = person("ben", 0.74, 0.75)
    for people, snr_db, name, score in (
        ([noisy], 20.0, None, 0.72),
        ([noisy], 9.0, "anna", 0.753),
        ([without, noisy], 9.0, "anna", 0.753),
    ):
        verdict = verify(*people, snr_db=snr_db, policy=Policy(far_of="person"))
        assert verdict.person == name
        assert verdict.score == pytest.approx(score)


# --- who is asked


def test_with_people_has_the_same_networks_and_leaves_the_first_as_it_was() -> None:
    """Had it lost its networks, it would look for them in a folder that is not there."""
    first = verifier(ANNA)
    second = first.with_people([BEN])
    assert second.verify(CROP, WORD) == Verdict("ben", 0.875)
    assert first.verify(CROP, WORD) == Verdict("anna", 0.75)
    assert first.with_people([]).verify(CROP, WORD) == Verdict(None, None)


def test_a_wake_words_loose_share_is_the_lowest_of_those_who_are_enrolled_for_it() -> None:
    people = [
        person("anna", 0.5, 0.5, loose_share=0.5),
        person("ben", 0.5, 0.5, loose_share=0.4),
        person("carl", 0.5, 0.5, keyword="alexa"),
        person("dora", 0.5, 0.5, keyword="hey_jarvis", loose_share=0.8),
    ]
    asked = verifier(*people)
    shares = [asked.loose_share(word) for word in (WORD, "alexa", "hey_jarvis", "hey_mycroft")]
    assert shares == [0.4, 0.6, 0.8, None], "0.6 where it was not measured"
    anybody = asked.with_people([*people, person("eve", 0.5, 0.5, keyword=ANY_PHRASE, loose_share=0.45)])
    assert [anybody.loose_share(word) for word in (WORD, "alexa", "hey_mycroft")] == [0.4, 0.45, 0.45]


def test_the_verdict_has_the_loose_share_of_who_was_found() -> None:
    people = [replace(ANNA, loose_share=0.7), replace(BEN, loose_share=0.3)]
    assert verify(*people) == Verdict("anna", 0.75, loose_share=0.7)
    assert verify(*people[1:]).loose_share == 0.3
    assert verify(BEN).loose_share == 0.6


# --- with the real networks


def test_a_known_voice_is_known_by_its_score_and_a_stranger_is_not(
    slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead, takes: Takes, read: Read
) -> None:
    """The formula, written a second time."""
    asked = Verifier([slt], speaker, head)
    assert slt.kind == TRAINED
    for voice, name in (("slt", "slt"), ("rms", None), ("awb", None)):
        crop = read(takes(voice, WORD, "test")[0])
        heard = speaker.hear(crop)
        head.set_weights(slt.weights)
        from_head = float(head.score(heard.embedding[None], slt.prototype)[0])
        clean = (float(heard.embedding @ slt.centroid) + from_head) / 2 - slt.offsets[0]
        away = unit(slt.elsewhere[:, CONDITIONS.index("far")].mean(axis=0))
        both = head.project(np.stack([heard.embedding, away]))
        far = (float(heard.embedding @ away) + float(both[0] @ both[1])) / 2 - slt.offsets[2] - 0.03
        expected = max(clean, far)
        assert heard.snr_db > 22
        verdict = asked.verify(crop, WORD)
        assert verdict.person == name
        assert verdict.score == pytest.approx(expected, abs=1e-6)
        assert (expected >= slt.threshold) == (name is not None)


def test_it_opens_its_networks_itself_and_asks_only_for_speech(
    slt: Voiceprint, head: SpeakerHead, takes: Takes, read: Read
) -> None:
    crop = read(takes("slt", WORD, "test")[0])
    own = Verifier([slt])
    assert own.verify(crop, WORD) == Verifier([slt], SpeakerNetwork(delegate="auto"), head).verify(crop, WORD)
    with pytest.raises(AudioError, match="nothing said"):
        own.verify(np.zeros(16_000, np.int16), WORD)


@pytest.mark.parametrize("order", [("off", "on"), ("on", "off")])
def test_a_household_opens_the_speaker_network_as_its_settings_say(
    order: tuple[str, str], slt: Voiceprint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runtime, "DELEGATE_IS_SMALL", True)  # under tflite-runtime both would be opened alike
    monkeypatch.setattr(SpeakerNetwork, "__init__", lambda *given: asked.append(given[-1]))
    monkeypatch.setattr(Verifier, "warm_up", lambda _: None)
    PersonStore(tmp_path).save(slt)
    voices = Voices()
    for delegate in (order[0], order[0], order[1]):
        settings = Settings(people=People(store=str(tmp_path), speaker_delegate=delegate))
        voices.of(load_household(settings, try_networks=False))
    assert asked == [order[0], order[1]], "opened anew where that has changed"


def test_a_delegate_that_is_wanted_where_there_is_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {}
    for small in (True, False):
        monkeypatch.setattr(runtime, "DELEGATE_IS_SMALL", small)
        for delegate in ("auto", "on", "off"):
            people = People(store=str(tmp_path), speaker_delegate=delegate)
            remarks = load_household(Settings(people=people), try_networks=False).remarks
            said[small, delegate] = any("speaker_delegate = on does nothing" in remark for remark in remarks)
    assert [key for key, is_said in said.items() if is_said] == [(False, "on")]


# --- of many people


class Hearing(SpeakerNetwork):
    """Hears what it is told to."""

    def __init__(self) -> None:
        self.heard = Utterance(VOICE, 60.0)

    def hear(self, crop: Int16) -> Utterance:  # noqa: ARG002
        return self.heard


def crowd_of(slt: Voiceprint, rng: np.random.Generator) -> list[Voiceprint]:
    """Fifteen of each sort that there is, and two whose numbers give no score."""
    people = []
    for number in range(15):
        centroid = unit(rng.standard_normal(192))
        moved = slt.weights.projection + 0.02 * rng.standard_normal((192, 128)).astype(np.float32)
        bare = replace(
            slt,
            name=f"bare {number}",
            elsewhere=np.zeros((0, 0, 0), np.float32),
            offsets=np.zeros(0, np.float32),
            centroid=centroid,
            prototype=unit(centroid @ moved),
            weights=HeadWeights(moved, slt.weights.bias),
            report={"takes_snr_db": 30.0},
            threshold=0.3 + 0.05 * (number % 5),
        )
        elsewhere = unit(centroid + 0.05 * rng.standard_normal((5, 6, 192)).astype(np.float32))
        full = replace(bare, name=f"full {number}", elsewhere=elsewhere, offsets=slt.offsets)
        caller = replace(full, name=f"caller {number}", report={"takes_high_db": -70.0})
        people += [bare, full, caller, replace(bare, name=f"plain {number}", kind=COSINE)]
    short = replace(full, name="short", centroid=centroid[:50])
    return [*people, short, replace(full, name="no number", offsets=slt.offsets * np.float32("nan"))]


@pytest.mark.parametrize("sensitivity", [0.5, 0.0, 1.0])
def test_of_many_people_few_are_asked_and_the_verdict_is_the_same_to_the_last_bit(
    sensitivity: float, slt: Voiceprint, head: SpeakerHead, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, network = crowd_of(slt, rng), Hearing()
    monkeypatch.setattr("earmark.engine.verifier.by_line", lambda _, __, heard: heard._replace(high_db=-65.0))
    asked: list[str] = []
    ask = Verifier._asked

    def counted(verifier: Verifier, who: Voiceprint, heard: Utterance) -> float | None:
        asked.append(who.name)
        return ask(verifier, who, heard)

    monkeypatch.setattr(Verifier, "_asked", counted)
    verdicts: dict[bool, list[Verdict]] = {True: [], False: []}
    tries = []
    for number in range(30):  # of strangers, and of people who are there, ever nearer
        towards = people[7 * number % 60].centroid * np.float32(number % 6)
        voice = unit(rng.standard_normal(192) / np.sqrt(192) + towards)
        tries.append(Utterance(voice, [10.0, 60.0][number % 2], [-20.0, -65.0][number % 3 == 0]))
    counts = {}
    for is_looked_ahead in (True, False):
        monkeypatch.setattr("earmark.engine.verifier.MANY", 8 if is_looked_ahead else 10**6)
        verifier = Verifier(people, network, head).with_people(people[::-1])  # what is known of them is kept
        asked.clear()
        for heard in tries:
            network.heard = heard
            verdicts[is_looked_ahead].append(verifier.verify(CROP, WORD, Policy(voice_sensitivity=sensitivity)))
        counts[is_looked_ahead] = len(asked)
    assert verdicts[True] == verdicts[False]
    assert {verdict.person is None for verdict in verdicts[True]} == {True, False}
    assert counts[False] == 30 * 62
    assert counts[True] < 30 * 62 / 3
