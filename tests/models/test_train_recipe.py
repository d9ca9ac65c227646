"""The recipe of the speaker network's weights: its pack of speech, what a step is drawn from, and its training."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Read, Takes
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float
from earmark.engine.errors import InputError
from earmark.engine.features import mel
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.speaker import MAX_SPEECH_SAMPLES, network_input
from earmark.models import corpora, prune_speaker, speaker_net, speech_pack, speech_rows
from earmark.models.batches import IDENTITIES, ROWS, Batches
from earmark.models.corpora import LABELLED_SETS, SENTENCE_SETS, SETS, TEST_NOISES, TEST_VOICES
from earmark.models.fold import FOLDS, fold_of
from earmark.models.speaker_net import Weights
from earmark.models.speech_rows import SPEEDS, Labels

VOICES = ("awb", "rms", "slt")
PHRASES = ("alexa", "okay_nabu")
TAKES = 2
CALLERS = ("w0", "w4")  # of both folds
TORCH = ("degrade", "held_out", "passes", "speaker_torch", "speech_bank", "train_speaker")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, takes: Takes, audio_dir: Path) -> Path:
    """A folder as the recipe wants it, with a test noise, a test voice, and a recording that the index has not."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[tuple[str, str, str, str]] = []

    def add(source: Path, name: str, speaker: str, phrase: str, file: str) -> None:
        rows.append((name, f"{name}/{speaker or '_'}/{file}.flac", speaker, phrase))
        copy(source, folder / rows[-1][1])

    for voice, phrase in itertools.product(VOICES, PHRASES):
        for number, take in enumerate(takes(voice, phrase, "enroll")[:TAKES]):
            add(take, "asc", voice, phrase, f"{phrase}_{number}")
    for name in (min(TEST_NOISES), "noise_of_a_street"):
        add(audio_dir / "heart_alexa_test_1.flac", "noise", "", "noise", name)
    order = audio_dir / "slt_set_a_timer_for_other_1.flac"
    for caller in CALLERS:
        add(order, "wuw_sent", caller, "operator", "operator_1")
    for speaker in ("", min(TEST_VOICES)):
        add(order, "speech", speaker, "order", "order_1")
    copy(order, folder / "asc" / "withdrawn" / "alexa_0.flac")
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "path", "speaker", "phrase"])
        writer.writerows(rows)
    return folder


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def packed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    speech_pack.pack(data, folder)
    return folder


@pytest.fixture(scope="module")
def speech(packed: Path) -> speech_pack.Speech:
    return speech_pack.unpack([packed])


def test_what_is_unpacked_is_what_was_said(speech: speech_pack.Speech, data: Path, read: Read) -> None:
    clips = [clip for clip in speech.clips if clip.phrase == "asc/alexa" and clip.speaker == "asc/slt"]
    assert len(clips) == TAKES
    for number, clip in enumerate(clips):
        samples = read(data / f"asc/slt/alexa_{number}.flac")
        start, end = locate_speech(samples)
        assert clip.end - clip.start == end - start
        assert clip.start == min(start, speech_pack.AROUND_SAMPLES)
        said, heard = to_float(samples[start:end]), to_float(clip.samples[clip.start : clip.end])
        assert said @ heard > 0.9 * np.linalg.norm(said) * np.linalg.norm(heard), "Opus, and not a sample later"


def test_only_what_the_index_has_and_may_be_trained_on_is_packed(packed: Path, data: Path) -> None:
    """No test noise, no test voice, and nobody who was withdrawn."""
    wanted = {row["path"] for row in corpora.read_index(data) if row["speaker"] not in TEST_VOICES}
    wanted.remove(f"noise/_/{min(TEST_NOISES)}.flac")
    assert {entry["path"] for entry in json.loads((packed / "index.json").read_text())["entries"]} == wanted
    assert len(wanted) == len(VOICES) * len(PHRASES) * TAKES + 1 + len(CALLERS) + 1


def test_there_is_no_pack_without_noise_or_sentences(data: Path, tmp_path: Path) -> None:
    rows = (data / "index.csv").read_text().splitlines()
    for missing, kept in (
        ("noise", [row for row in rows if "noise_of_a_street" not in row]),
        ("speech", [row for row in rows if not row.startswith("speech,speech/_/")]),
    ):
        (tmp_path / "index.csv").write_text("\n".join(kept))
        with pytest.raises(InputError, match=f"no recording of '{missing}'"):
            speech_pack.pack(tmp_path, tmp_path / "pack")


def test_the_last_streams_of_a_set_may_be_left_behind_and_no_other(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_pack, "STREAM_S", 5)
    speech_pack.pack(data, tmp_path)
    streams = sorted(tmp_path.glob("asc_*.opus"))
    assert len(streams) > 2
    whole = speech_pack.unpack([tmp_path])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    streams[-1].rename(elsewhere / streams[-1].name)
    fewer, both = speech_pack.unpack([tmp_path]), speech_pack.unpack([tmp_path, elsewhere])
    words = [[clip for clip in found.clips if clip.phrase.startswith("asc")] for found in (whole, fewer, both)]
    assert 0 < len(words[1]) < len(words[0])
    for clips in words[1:]:
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(words[0], clips))
    assert len(words[2]) == len(words[0])
    streams[0].rename(elsewhere / streams[0].name)
    with pytest.raises(InputError, match=rf"{streams[0].name} is missing"):
        speech_pack.unpack([tmp_path])
    with pytest.raises(InputError, match=r"no index\.json"):
        speech_pack.unpack([elsewhere])


def test_a_sentence_is_cut_into_words_of_its_speaker_and_of_his_fold(speech: speech_pack.Speech) -> None:
    pieces = [clip for clip in speech.clips if clip.phrase == "wuw_sent/sentence"]
    assert {clip.voice for clip in pieces} == {f"wuw/{caller}" for caller in CALLERS}
    for clip in pieces:
        assert 0.6 < (clip.end - clip.start) / RATE_HZ <= 1.6
        assert 0 <= clip.start < clip.end <= len(clip.samples)
    folds = [fold for fold, _ in speech.sentences]
    assert {fold_of("wuw", caller) for caller in CALLERS} == set(FOLDS)
    assert sorted(folds, key=str) == [0, 1, None], "nobody measures the voice of the order"
    assert len(speech.noises) == 1


def test_the_names_of_what_is_for_tests_are_in_the_data(speech_data: Path) -> None:
    """A name that is not would leave its recording among the trained ones."""
    index = corpora.read_index(speech_data)
    assert {Path(row["path"]).stem for row in index if row["set"] == "noise"} > TEST_NOISES
    assert {row["speaker"] for row in index if row["set"] == "speech"} > TEST_VOICES
    people = {name: {row["speaker"] for row in index if row["set"] == name} for name in ("wuw", "wuw_sent")}
    assert people["wuw"] >= people["wuw_sent"], "they have the folds of wuw"
    assert f"{len(people['wuw'])} callers" in (REPOSITORY / "models" / "README.md").read_text("utf-8")


def test_every_set_names_its_licence_and_a_labelled_one_is_of_words() -> None:
    assert all(any(word in text for word in ("CC BY", "MIT", "Apache-2.0")) for text in SETS.values())
    assert set(LABELLED_SETS) <= set(SETS) - set(SENTENCE_SETS)


def test_a_voice_has_one_identity_a_speed_and_the_same_speed_in_all_its_clips(speech: speech_pack.Speech) -> None:
    labels = Labels.of(speech.clips)
    of_slt = [str(name) for name in labels.identity if name.startswith("asc/slt ")]
    assert len(of_slt) == 3 * TAKES * len(PHRASES)
    assert set(of_slt) == {f"asc/slt {name}" for name in SPEEDS}
    factors = speech_rows.speed_factors("asc/slt")
    assert factors == speech_rows.speed_factors("asc/slt") != speech_rows.speed_factors("asc/rms")
    assert factors[""] == 1
    assert 0.82 <= factors["faster"] <= 0.93
    assert 1.08 <= factors["slower"] <= 1.2


def test_a_row_has_the_clip_at_its_place_at_three_speeds(speech: speech_pack.Speech) -> None:
    assert speech_rows.MAX_SPEECH_SAMPLES == MAX_SPEECH_SAMPLES
    for clip in speech.clips:
        rows = speech_rows.rows_of(clip)
        factors = speech_rows.speed_factors(clip.speaker)
        for (buffer, start, end), factor in zip(rows, factors.values()):
            assert buffer.shape == (speech_rows.BUFFER_SAMPLES,)
            length = min((clip.end - clip.start) * factor, MAX_SPEECH_SAMPLES)
            assert end - start == pytest.approx(length, abs=1)
            assert start == speech_pack.AROUND_SAMPLES
        buffer, start, end = rows[0]
        np.testing.assert_array_equal(buffer[start:end], clip.samples[clip.start : clip.start + end - start])


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Rows of a few people, who said some phrases a few times; a few people are of no fold."""
    rows = [
        (f"{corpus}/{phrase}", f"{corpus}/p{person}", -1 if corpus == "wake" else person % 2)
        for corpus in ("asc", "wake")
        for phrase in range(draw(st.integers(1, 3)))
        for person in range(draw(st.integers(4, 40)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    phrases, identities, folds = zip(*rows)
    return Labels(np.array(phrases), np.array(identities), np.array(folds))


@settings(max_examples=30)
@given(labels(), st.sampled_from([None, *FOLDS]), st.integers(0, 2**32 - 1))
def test_a_step_asks_who_of_several_people_outside_the_fold_it_is(rows: Labels, fold: int | None, seed: int) -> None:
    batches = Batches(rows, fold, phrases=4)
    batch, again = (batches.draw(np.random.default_rng(seed)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(batch, again))
    assert 0 < len(batch.clips) <= batches.most_rows == 4 * IDENTITIES * 2 * ROWS
    if fold is not None:
        assert (rows.fold[batch.clips] != fold).all()
    names = rows.identity[batch.clips]
    assert np.array_equal(names[:, None] == names, batch.person[:, None] == batch.person)
    for group in range(4):
        of_group = batch.group == group
        who, counts = np.unique(batch.person[of_group], return_counts=True)
        assert len(who) > 1
        assert set(counts) == {2 * ROWS}
        assert len({phrase.split("/")[0] for phrase in rows.phrase[batch.clips[of_group]]}) == 1
    for pair, alone in zip(batch.clips.reshape(-1, 2 * ROWS), batch.alone.reshape(-1, 2 * ROWS)):
        assert (len(set(pair.tolist())) == 1) == alone.all() == alone.any()
    assert not (batch.clean & batch.coded).any()


@pytest.fixture(scope="module")
def weights() -> Weights:
    """A network of the shipped layers' shapes, as random as before training, in which everything is heard."""
    rng = np.random.default_rng(0)
    shapes = {"front.in": (3, 3, 1, 4), "front.out": (3, 3, 4, 4), "delay": (5, 40, 12)}
    for stage in (1, 2):
        for number in (0, 1):
            shapes |= {f"front.{stage}.{number}.{part}": (3, 3, 4, 4) for part in ("first", "second")}
        shapes[f"front.{stage}.0.past"] = (1, 1, 4, 4)
    channels = 12
    activated = []
    for block, layers in enumerate((2, 3, 2), 1):
        for layer in range(1, layers + 1):
            name = f"block{block}.{layer}"
            activated.append((name, channels))
            shapes |= {f"{name}.narrow": (channels, 8), f"{name}.local": (3, 8, 4)}
            shapes |= {f"{name}.context1": (8, 4), f"{name}.context2": (4, 4)}
            channels += 4
        activated.append((f"transit{block}", channels))
        shapes[f"transit{block}"] = (channels, channels // 2)
        channels //= 2
    activated.append(("out", channels))
    shapes["dense"] = (2 * channels, speaker_net.EMBEDDING_SIZE)
    found: Weights = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
    for name, count in activated:
        found[f"{name}.scale"] = rng.uniform(0.5, 1.5, count).astype(np.float32)
        found[f"{name}.shift"] = rng.normal(0, 0.1, count).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def recipe() -> SimpleNamespace:
    """The modules that cannot be imported without torch."""
    pytest.importorskip("torch")
    return SimpleNamespace(**{name: importlib.import_module(f"earmark.models.{name}") for name in TORCH})


@pytest.fixture(scope="module")
def work(recipe: SimpleNamespace, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    recipe.speech_bank.prepare([packed], folder, "cpu")
    return folder


@pytest.fixture(scope="module")
def bank(recipe: SimpleNamespace, work: Path) -> Any:
    return recipe.speech_bank.load(work, "cpu")


@pytest.fixture
def degrader(recipe: SimpleNamespace, bank: Any) -> Any:
    return recipe.degrade.Degrader(bank.mixed_in(0), "cpu", 1)


def test_the_bank_has_every_row_and_what_gsm_leaves_of_it(bank: Any, speech: speech_pack.Speech) -> None:
    count = 3 * len(speech.clips)
    assert len(bank.waves) == len(bank.coded) == len(bank.bounds) == len(bank.labels.phrase) == count
    rows = np.flatnonzero(bank.labels.identity == "asc/slt ")
    clean, bounds, _ = bank.rows(rows, np.zeros(len(rows), bool))
    narrow, _, through = bank.rows(rows, np.ones(len(rows), bool))
    assert through.all()
    likeness = []
    for one, other, (start, end) in zip(clean.numpy(), narrow.numpy(), bounds.tolist()):
        spectra = [np.abs(np.fft.rfft(wave[start:end])) for wave in (one, other)]
        high = np.fft.rfftfreq(end - start, 1 / RATE_HZ) > 4000
        assert (spectra[1][high] ** 2).sum() < 1e-4 * (spectra[1] ** 2).sum()
        below = [spectrum[~high] / np.linalg.norm(spectrum[~high]) for spectrum in spectra]
        likeness.append(below[0] @ below[1])
    assert max(likeness) > 0.9, "half of them are through GSM alone"


def test_no_voice_of_a_fold_is_mixed_into_its_training(
    recipe: SimpleNamespace, bank: Any, speech: speech_pack.Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe.speech_bank, "LEAST_SOUND_SAMPLES", 0)
    for fold in (None, *FOLDS):
        wanted = sum(len(samples) for owner, samples in speech.sentences if fold is None or owner != fold)
        assert len(bank.mixed_in(fold).voices) == wanted
    assert len(bank.mixed_in(0).voices) < len(bank.mixed_in(None).voices)


def test_a_clean_row_is_what_the_engine_would_hear(
    recipe: SimpleNamespace, bank: Any, degrader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe.degrade, "_AROUND_S", (0.1, 0.1))
    rows = np.arange(0, len(bank.waves), 5)
    waves, bounds, nothing = bank.rows(rows, np.zeros(len(rows), bool))
    frames, lengths = degrader.heard(waves, bounds, nothing)
    for row, wave, (start, end), found, count in zip(
        rows, bank.waves[rows].numpy(), bounds.tolist(), frames, lengths
    ):
        crop: Int16 = wave[start - RATE_HZ // 10 : min(end + RATE_HZ // 10, len(wave))]
        expected = network_input(crop, *locate_speech(crop), mel.VOICE)
        assert int(count) == len(expected), row
        whole = len(expected) - 2  # the row ends with a whole frame, and what lies beyond it is in the last two
        np.testing.assert_allclose(found[:whole], expected[:whole], rtol=5e-3, atol=1e-6)


def test_what_happens_to_a_row_is_drawn_from_the_seed(recipe: SimpleNamespace, bank: Any) -> None:
    rows = np.arange(0, len(bank.waves), 2)
    coded = rows % 5 == 0

    def heard(seed: int) -> Any:
        degrader = recipe.degrade.Degrader(bank.mixed_in(None), "cpu", seed)
        waves, bounds, through = bank.rows(rows, coded)
        return [values.numpy() for values in degrader.heard(waves, bounds, bounds[:, 0] > 0, through)]

    (frames, lengths), again, other = heard(1), heard(1), heard(2)
    assert np.array_equal(frames, again[0])
    assert np.mean([np.array_equal(a, b) for a, b in zip(frames, other[0])]) < 0.05
    assert np.isfinite(frames).all()
    assert (frames >= 0).all()
    assert (frames.sum(axis=(1, 2)) > 0).all()
    assert lengths.min() > 5
    assert lengths.max() <= 1 + MAX_SPEECH_SAMPLES // mel.HOP_SAMPLES


def test_torchs_network_is_numpys(recipe: SimpleNamespace, bank: Any, degrader: Any, weights: Weights) -> None:
    waves, bounds, nothing = bank.rows(np.array([0, 1, 2]), np.zeros(3, bool))
    frames, lengths = degrader.heard(waves, bounds, nothing)
    found = recipe.passes.frozen(weights, "cpu")(frames, lengths).numpy()
    assert len(set(lengths.tolist())) > 1
    for row, count, embedding in zip(frames.numpy(), lengths.tolist(), found):
        np.testing.assert_allclose(embedding, speaker_net.embed(weights, row[:count]), atol=1e-3)
    cosine = found[0] @ found[1] / np.linalg.norm(found[0]) / np.linalg.norm(found[1])
    assert cosine < 0.9999


def test_a_channels_worth_is_what_the_embedding_changes_without_it(
    recipe: SimpleNamespace, bank: Any, degrader: Any, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel whose listeners do not hear it is worth nothing, and goes first."""
    monkeypatch.setattr(recipe.train_speaker, "WORTH_STEPS", 1)
    deaf = {name: values.copy() for name, values in weights.items()}
    deaf["block2.1.local.weight"][:, 5] = deaf["block2.1.context1.weight"][5] = 0
    worth = recipe.train_speaker.worth(bank, Batches(bank.labels, None, 2), degrader, deaf)
    assert {name: len(values) for name, values in worth.fisher.items()} == prune_speaker.channels(deaf)
    narrow = worth.fisher["block2.1.narrow"]
    assert narrow[5] == 0
    assert (np.delete(narrow, 5) > 0).any()
    size = sum(values.size for values in deaf.values())
    smaller = prune_speaker.pruned(deaf, worth, int(0.8 * size))
    assert 0.6 * size < sum(values.size for values in smaller.values()) <= 0.8 * size
    assert smaller["block2.1.narrow.weight"].shape[1] < 8
    waves, bounds, nothing = bank.rows(np.arange(6), np.zeros(6, bool))
    cosines = []
    for row, count in zip(*(values.numpy() for values in degrader.heard(waves, bounds, nothing))):
        whole, less = (speaker_net.embed(each, row[:count]) for each in (deaf, smaller))
        cosines.append(whole @ less / np.linalg.norm(whole) / np.linalg.norm(less))
    assert np.mean(cosines) > 0.8


def test_a_channel_that_never_changes_can_go_without_a_trace(weights: Weights, read: Read, takes: Takes) -> None:
    """Its mean goes into the biases of those who hear it."""
    still = {name: values.copy() for name, values in weights.items()}
    still["block1.1.narrow.weight"][:, 2] = 0
    still["block1.1.narrow.bias"][2] = 0.7
    still["transit3.weight"][:, 1], still["transit3.bias"][1] = 0, 0.4
    keep = {name: np.ones(count, bool) for name, count in prune_speaker.channels(still).items()}
    keep["block1.1.narrow"][2] = keep["transit3"][1] = False
    means: dict[str, Any] = {}
    for block in (1, 2, 3):
        for layer in speaker_net.layers_of(still, block):
            name = f"block{block}.{layer}"
            means[f"{name}.in"] = np.zeros(len(still[f"{name}.scale"]))
            means[f"{name}.narrow"] = np.zeros(8)
            means[f"{name}.context"] = np.zeros(4)
        means[f"transit{block}.in"] = np.zeros(len(still[f"transit{block}.scale"]))
    means["block1.1.narrow"][2] = 0.7
    outputs = len(still["out.scale"])
    means["dense.in"] = np.zeros(2 * outputs)
    means["dense.in"][1] = max(0.0, 0.4 * still["out.scale"][1] + still["out.shift"][1])
    smaller = prune_speaker.without(still, keep, means)
    samples = read(takes("slt", "alexa", "enroll")[0])
    frames = network_input(samples, *locate_speech(samples), mel.VOICE)
    # At a row's ends the local layer looks at nothing, where the bias now says what the channel would have
    whole, less = (speaker_net.embed(each, frames) for each in (still, smaller))
    assert whole @ less / np.linalg.norm(whole) / np.linalg.norm(less) > 0.999


def trained(recipe: SimpleNamespace, bank: Any, weights: Weights, result: Path, seconds: float) -> Weights:
    """A training whose clock goes on by 1 s at each look: three a step."""
    ticks = itertools.count()
    recipe.train_speaker.time = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    options = recipe.train_speaker.Options(seconds=seconds, phrases=1)
    recipe.train_speaker.train(bank, weights, 0, result, options)
    return speaker_net.read_weights(result)


def test_training_moves_all_tensors_in_proportion_to_their_values(
    recipe: SimpleNamespace, bank: Any, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe.train_speaker, "worth", lambda *_: None)
    monkeypatch.setattr(prune_speaker, "pruned", lambda teacher, *_: teacher)
    monkeypatch.setattr(recipe.train_speaker, "CHECKPOINT_SECONDS", 5)
    monkeypatch.setattr(recipe.train_speaker, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(recipe.train_speaker, "time", None)  # is put back afterwards
    small = {**weights, "delay.weight": weights["delay.weight"] / 300}
    first, again = (trained(recipe, bank, small, tmp_path / f"{name}.npz", 12) for name in "ab")
    for name, values in first.items():
        np.testing.assert_allclose(again[name], values, atol=2e-3, rtol=2e-3, err_msg=name)
        start = small[name].astype(np.float16).astype(np.float32)  # as it is saved
        moved = np.abs(values - start).mean() / np.abs(start).mean()
        assert 0 < moved < 5e-3, f"{name}: at one rate for all `delay` moves by 0.2"
    with pytest.raises(InputError, match="give more --seconds"):
        trained(recipe, bank, small, tmp_path / "none.npz", 0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_tensors_rate_follows_its_values(recipe: SimpleNamespace) -> None:
    torch: Any = importlib.import_module("torch")
    share = recipe.train_speaker.share_of_rate
    kernel = torch.full((5, 5), -0.06)
    assert share("block1.1.local", kernel) == pytest.approx(1)
    assert share("block1.1.local", kernel / 200) == pytest.approx(1 / 200)
    assert share("delay/weight", kernel / 200) == pytest.approx(0.3 / 200)
    assert share("out/shift", 0 * kernel) == 0.5
    rate = recipe.train_speaker.learning_rate
    assert rate(0, 0.0) < rate(50, 0.1) < rate(99, 0.1) == pytest.approx(rate(500, 0.1))
    assert rate(500, 1.0) == 0 < rate(500, 0.9) < rate(500, 0.5)


def test_the_loss_is_least_where_each_person_is_one_and_nobody_else(recipe: SimpleNamespace, bank: Any) -> None:
    torch: Any = importlib.import_module("torch")
    batch = Batches(bank.labels, None, 2).draw(np.random.default_rng(0))
    bias = torch.tensor(0.45)
    told = torch.eye(int(batch.person.max()) + 1)[torch.from_numpy(batch.person)]
    mixed = told[torch.from_numpy(np.random.default_rng(1).permutation(len(told)))]
    same = torch.ones_like(told) / told.shape[1] ** 0.5
    losses = [sum(recipe.train_speaker.told_apart(each, batch, bias)) for each in (told, same, mixed)]
    assert losses[0] < 0.05 < 5 < min(losses[1:])


def test_a_pass_that_says_something_else_is_not_trained_with(
    recipe: SimpleNamespace, bank: Any, degrader: Any, weights: Weights
) -> None:
    net = recipe.speaker_torch.Network(weights)
    batch = Batches(bank.labels, None, 2).draw(np.random.default_rng(0))
    frames, lengths = recipe.train_speaker.heard(bank, degrader, batch)
    passed = recipe.passes.fast_pass(net)
    assert "cosine 1.0" in recipe.passes.compare(net, passed, frames, lengths)
    assert all(values.grad is None for values in net.parameters())
    with pytest.raises(RuntimeError, match="--no-graph"):
        recipe.passes.compare(net, lambda *rows: -passed(*rows), frames, lengths)


def test_who_was_left_out_is_looked_at(
    recipe: SimpleNamespace, bank: Any, degrader: Any, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe.held_out, "TAKES", 1)
    net = recipe.passes.frozen(weights, "cpu")
    texts = [recipe.held_out.look(net, bank, fold, degrader) for fold in (*FOLDS, None)]
    assert texts[-1] == "nobody"
    assert any("asc clean" in text and "asc GSM" in text for text in texts)
    own, strangers = np.linspace(0.6, 0.9, 50), np.linspace(0.1, 0.5, 70)
    assert recipe.held_out.rates(own, strangers) == (0, 0)
    assert recipe.held_out.rates(strangers, own) == (100, 100)
    assert recipe.held_out.rates(own, own)[0] == pytest.approx(50, abs=2)


def test_weights_that_do_not_fit_are_refused(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save: Callable[..., None] = np.savez  # numpy 2 takes the arrays for its own arguments
    save(path, **weights)
    assert speaker_net.read_weights(path).keys() == weights.keys()
    for broken in (
        {name: values for name, values in weights.items() if name != "dense.bias"},
        {**weights, "dense.bias": np.full(speaker_net.EMBEDDING_SIZE, np.nan, np.float32)},
        {**weights, "transit2.weight": weights["transit2.weight"][1:]},
    ):
        save(path, **broken)
        with pytest.raises(ValueError, match=r"weights\.npz"):
            speaker_net.read_weights(path)
