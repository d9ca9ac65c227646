"""The recipe of the speaker network's weights: its pool of speech, and its network against the one in numpy."""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Read, Takes

from earmark.engine.audio.samples import Int16, to_float
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features import mel
from earmark.engine.features.speech import locate_speech, noise_of
from earmark.engine.networks.speaker import MAX_SPEECH_SAMPLES
from earmark.models import prune_speaker, speaker_net, speech_pool, train_speaker
from earmark.models.fold import FOLDS, fold_of
from earmark.models.speaker_net import Weights
from earmark.models.speech_pool import DEGRADED_VERSIONS, SETS, TEST_NOISES, Backgrounds, Pool

LONGEST_FRAMES = 1 + MAX_SPEECH_SAMPLES // mel.HOP_SAMPLES
VOICES = ("awb", "rms", "slt")
PHRASES = ("alexa", "okay_nabu")
CLIP_VERSIONS = sum(1 + count for count in DEGRADED_VERSIONS.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, takes: Takes, audio_dir: Path) -> Path:
    """A folder as the recipe wants it: three voices, two takes of two phrases each, and two noises."""
    folder = tmp_path_factory.mktemp("data")
    rows: list[tuple[str, str, str, str]] = []
    for voice in VOICES:
        for phrase in PHRASES:
            for number, take in enumerate(takes(voice, phrase, "enroll")[:2]):
                rows.append(("asc", f"asc/{voice}/{phrase}_{number}.flac", voice, phrase))
                copy(take, folder / rows[-1][1])
    for name in (min(TEST_NOISES), "noise_of_a_street"):
        rows.append(("noise", f"noise/_/{name}.flac", "", "noise"))
        copy(audio_dir / "heart_alexa_test_1.flac", folder / rows[-1][1])
    rows.append(("speech", "speech/_/order_1.flac", "", "order"))
    copy(audio_dir / "slt_set_a_timer_for_other_1.flac", folder / rows[-1][1])
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "path", "speaker", "phrase"])
        writer.writerows(rows)
    return folder


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@pytest.fixture(scope="module")
def pool(data: Path) -> Pool:
    return speech_pool.build(data)


@pytest.fixture(scope="module")
def take(takes: Takes, read: Read) -> Int16:
    return read(takes("slt", "alexa", "enroll")[0])


@pytest.fixture
def backgrounds(data: Path) -> Backgrounds:
    return speech_pool.read_backgrounds(data, speech_pool.read_index(data))


def rows_of(pool: Pool) -> Iterator[npt.NDArray[np.float16]]:
    for start, length in zip(np.cumsum(pool.length) - pool.length, pool.length):
        yield pool.frames[start : start + length]


def test_every_clip_has_its_versions_the_clean_one_first(pool: Pool, data: Path, read: Read) -> None:
    recordings = len(VOICES) * len(PHRASES) * 2
    assert np.count_nonzero(pool.phrase != "speech/order") == 3 * recordings
    assert np.count_nonzero(np.char.startswith(pool.phrase[pool.clip], "asc/")) == CLIP_VERSIONS * recordings
    assert np.bincount(pool.clip).tolist() == [
        1 + DEGRADED_VERSIONS[identity.split(" ")[-1]] for identity in pool.identity
    ]
    samples = read(data / "asc/awb/alexa_0.flac")
    start, end = locate_speech(samples)
    gain = mel.gain_to_level(to_float(samples[start:end]))
    noise = noise_of(mel.power_mel(to_float(samples), mel.VOICE)) * gain**2
    clean = speech_pool.without_noise(mel.power_mel(to_float(samples[start:end]) * gain, mel.VOICE), noise)
    frames, length = pool.batch(pool.clean_rows()[:1])
    assert length.tolist() == [len(clean)]
    np.testing.assert_allclose(frames[0], clean, rtol=2e-3, atol=1e-6)


def test_a_row_is_a_spectrum_that_the_network_takes(pool: Pool) -> None:
    assert pool.frames.dtype == np.float16
    for row in rows_of(pool):
        assert 10 < len(row) <= LONGEST_FRAMES
        assert row.shape[1] == mel.VOICE.mels
        assert np.isfinite(row).all()
        assert (row >= 0).all()
        assert row.any()


def test_a_degraded_row_is_not_the_clean_one(pool: Pool) -> None:
    rows = list(rows_of(pool))
    clean = [rows[pool.clean_rows()[clip]] for clip in pool.clip]
    equal = [np.array_equal(row, other) for row, other in zip(rows, clean)]
    assert sum(equal) - len(pool.phrase) <= 0.05 * len(rows)  # nothing at all happens to a few


def test_the_same_seed_gives_the_same_rows(take: Int16, backgrounds: Backgrounds) -> None:
    first, again, other = (
        speech_pool.versions_of(take, 5, backgrounds, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert np.array_equal(first[0], other[0])
    assert not any(np.array_equal(a, b) for a, b in zip(first[1:], other[1:]))


def test_a_clip_gives_the_same_rows_whatever_else_is_in_the_pool(pool: Pool, data: Path) -> None:
    few = speech_pool.build(data, limit=2)
    whole = dict(zip(zip(pool.phrase, pool.identity), np.split(pool.length, pool.clean_rows()[1:])))
    assert 1 < len(few.phrase) < len(pool.phrase)
    for phrase, identity, lengths in zip(few.phrase, few.identity, np.split(few.length, few.clean_rows()[1:])):
        if not phrase.startswith("asc/"):
            np.testing.assert_array_equal(whole[phrase, identity], lengths)
    np.testing.assert_array_equal(next(rows_of(few)), next(rows_of(pool)))


def test_the_subtraction_keeps_the_loudness_and_what_is_clean(rng: np.random.Generator) -> None:
    frames = rng.uniform(1, 2, (50, mel.VOICE.mels)).astype(np.float32)
    noise = np.full(mel.VOICE.mels, 0.5, np.float32)
    clear = speech_pool.without_noise(frames, noise)
    assert clear.sum() == pytest.approx(frames.sum(), rel=1e-4)
    np.testing.assert_allclose(clear / clear[0, 0], (frames - 0.5) / (frames[0, 0] - 0.5), rtol=1e-4)
    np.testing.assert_allclose(speech_pool.without_noise(frames, 0 * noise), frames, rtol=1e-4)
    drowned = speech_pool.without_noise(frames, 100 * noise)
    np.testing.assert_allclose(drowned, frames, rtol=1e-4, err_msg="nothing but the floor is left, as loud as before")
    assert not speech_pool.without_noise(0 * frames, noise).any()


def test_a_clip_without_speech_is_refused(backgrounds: Backgrounds, rng: np.random.Generator) -> None:
    with pytest.raises(AudioError):
        speech_pool.versions_of(np.zeros(16000, np.int16), 1, backgrounds, rng)


def test_no_test_noise_is_trained_on(data: Path) -> None:
    index = speech_pool.read_index(data)
    assert len([row for row in index if row["set"] == "noise"]) == 2
    assert len(speech_pool.read_backgrounds(data, index).recordings) == 1
    only_tests = [row for row in index if Path(row["path"]).stem != "noise_of_a_street"]
    with pytest.raises(InputError, match="noise"):
        speech_pool.read_backgrounds(data, only_tests)


def test_the_test_noises_are_recordings_of_the_data(speech_data: Path) -> None:
    """A name that is not would leave its recording among the trained ones."""
    noises = {Path(row["path"]).stem for row in speech_pool.read_index(speech_data) if row["set"] == "noise"}
    assert noises > TEST_NOISES


def test_a_voice_has_one_identity_a_speed_and_the_same_speed_in_all_its_clips(pool: Pool) -> None:
    for voice in VOICES:
        identities = pool.identity[pool.speaker == f"asc/{voice}"].tolist()
        assert len(set(identities)) == 3
        assert len(identities) == 3 * 2 * len(PHRASES)
    factors = speech_pool.speed_factors("asc/slt")
    assert factors == speech_pool.speed_factors("asc/slt") != speech_pool.speed_factors("asc/rms")
    assert factors[""] == 1
    assert 0.82 <= factors["faster"] <= 0.93
    assert 1.08 <= factors["slower"] <= 1.2


def test_a_fold_leaves_out_its_speakers_and_nobody_else(pool: Pool) -> None:
    left_out = [set(pool.speaker[~pool.outside(fold)].tolist()) for fold in FOLDS]
    assert left_out[0] | left_out[1] == {f"asc/{voice}" for voice in VOICES}
    assert not left_out[0] & left_out[1]
    for fold in FOLDS:
        assert all(zlib.crc32(speaker.encode()) & 1 == fold for speaker in left_out[fold])
        assert all(fold_of(*speaker.split("/")) == fold for speaker in left_out[fold])
        assert pool.outside(fold)[pool.phrase == "speech/order"].all()
    assert pool.outside(None).all()


@pytest.mark.parametrize("fold", FOLDS)
def test_an_episode_asks_about_the_same_people_outside_the_fold(pool: Pool, fold: int) -> None:
    episodes = train_speaker.Episodes(pool, fold)
    outside = pool.outside(fold)
    for seed in range(20):
        episode = episodes.draw(np.random.default_rng(seed))
        assert len(episode.queries) == len(episode.supports) == len(episode.identities) > 0
        for rows in (episode.queries, episode.supports):
            np.testing.assert_array_equal(pool.identity[pool.clip[rows]], episode.identities)
            assert outside[pool.clip[rows]].all()
        several = np.char.startswith(pool.phrase[pool.clip[episode.queries]], "asc/")
        assert (pool.clip[episode.queries] != pool.clip[episode.supports])[several].all(), "another take"
    again = episodes.draw(np.random.default_rng(19))
    assert all(np.array_equal(a, b) for a, b in zip(again, episode))


def test_a_pool_is_read_back_and_not_taken_for_another(pool: Pool, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "pool.npz"
    with path.open("wb") as file:
        speech_pool.save(pool, file)
    found = speech_pool.load(path, speech_pool.source_of(data, None))
    for name, values in pool._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), values)
    with pytest.raises(InputError, match="another --work"):
        speech_pool.load(path, speech_pool.source_of(data, 2))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="delete it"):
        speech_pool.load(path, pool.source)


def test_every_set_names_its_licence() -> None:
    assert all(any(word in text for word in ("CC BY", "MIT", "Apache-2.0")) for text in SETS.values())


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
def heard(pool: Pool, weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> train_speaker.Heard:
    pytest.importorskip("torch")
    return train_speaker.Heard.prepared(pool, weights, tmp_path_factory.mktemp("work"))


def test_torchs_network_is_numpys(pool: Pool, weights: Weights) -> None:
    torch: Any = pytest.importorskip("torch")
    frames, length = pool.batch(pool.clean_rows()[:3])
    net = train_speaker._network(weights)
    with torch.no_grad():
        found = net(torch.from_numpy(frames), torch.from_numpy(length)).numpy()
    assert len(set(length.tolist())) > 1
    for row, count, embedding in zip(frames, length, found):
        np.testing.assert_allclose(embedding, speaker_net.embed(weights, row[:count]), atol=1e-3)
    cosine = found[0] @ found[1] / np.linalg.norm(found[0]) / np.linalg.norm(found[1])
    assert cosine < 0.9999


def test_what_is_kept_of_the_front_is_what_the_network_hears(
    pool: Pool, weights: Weights, heard: train_speaker.Heard
) -> None:
    torch: Any = pytest.importorskip("torch")
    rows = pool.clean_rows()[:4]
    net = train_speaker._network(weights)
    with torch.no_grad():
        found = torch.nn.functional.normalize(net.back(*map(torch.from_numpy, heard.batch(rows))), dim=1).numpy()
    np.testing.assert_allclose(found, heard.targets[:4], atol=5e-3)  # float16 between the two
    np.testing.assert_allclose(np.linalg.norm(heard.targets, axis=1), 1, atol=1e-5)


def test_kept_files_of_another_pool_are_refused(pool: Pool, weights: Weights, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train_speaker.Heard.prepared(pool, weights, tmp_path)
    np.save(tmp_path / "teach.npy", np.zeros((3, speaker_net.EMBEDDING_SIZE), np.float32))
    with pytest.raises(InputError, match="delete it"):
        train_speaker.Heard.prepared(pool, weights, tmp_path)


def test_a_channels_worth_is_what_the_embedding_changes_without_it(
    pool: Pool, weights: Weights, heard: train_speaker.Heard
) -> None:
    """A channel whose listeners do not hear it is worth nothing, and goes first."""
    pytest.importorskip("torch")
    deaf = {name: values.copy() for name, values in weights.items()}
    deaf["block2.1.local.weight"][:, 5] = deaf["block2.1.context1.weight"][5] = 0
    worth = train_speaker.worth(pool, heard, deaf, None)
    assert {name: len(values) for name, values in worth.fisher.items()} == prune_speaker.channels(deaf)
    narrow = worth.fisher["block2.1.narrow"]
    assert narrow[5] == 0
    assert (np.delete(narrow, 5) > 0).any()
    size = sum(values.size for values in deaf.values())
    smaller = prune_speaker.pruned(deaf, worth, int(0.8 * size))
    assert 0.6 * size < sum(values.size for values in smaller.values()) <= 0.8 * size
    assert smaller["block2.1.narrow.weight"].shape[1] < 8
    frames, length = pool.batch(pool.clean_rows()[:6])
    cosines = []
    for row, count in zip(frames, length):
        whole, less = (speaker_net.embed(each, row[:count]) for each in (deaf, smaller))
        cosines.append(whole @ less / np.linalg.norm(whole) / np.linalg.norm(less))
    assert np.mean(cosines) > 0.8


def test_a_channel_that_never_changes_can_go_without_a_trace(pool: Pool, weights: Weights) -> None:
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
    frames, length = pool.batch(pool.clean_rows()[:1])
    # At a row's ends the local layer looks at nothing, where the bias now says what the channel would have
    whole, less = (speaker_net.embed(each, frames[0, : length[0]]) for each in (still, smaller))
    assert whole @ less / np.linalg.norm(whole) / np.linalg.norm(less) > 0.999


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    pool: Pool, weights: Weights, heard: train_speaker.Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(train_speaker, "CHECKPOINT_STEPS", 1)
    whole = train_speaker.train(pool, heard, weights, 0, 3, tmp_path / "whole.pt")

    draw, drawn = train_speaker.Episodes.draw, []

    def interrupted(episodes: Any, rng: np.random.Generator) -> train_speaker.Episode:
        drawn.append(1)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(episodes, rng)

    checkpoint = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(train_speaker.Episodes, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_speaker.train(pool, heard, weights, 0, 3, checkpoint)
    resumed = train_speaker.train(pool, heard, weights, 0, 3, checkpoint)
    assert len(drawn) == 4, "two steps, the interrupted one, and the last"
    for name, values in whole.items():
        np.testing.assert_allclose(resumed[name], values, atol=1e-6, err_msg=name)
    changed = {name for name in weights if not np.array_equal(whole[name], weights[name])}
    assert changed
    assert not any(name.startswith(("front", "delay")) for name in changed)
    with pytest.raises(InputError, match="delete it"):
        train_speaker.train(pool, heard, weights, 1, 3, checkpoint)


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
