"""The recipe of the speaker network's weights: its pool of speech, and its network against the one in numpy."""

from __future__ import annotations

import csv
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Read, Takes

from earmark.engine import mel
from earmark.engine.audio import Int16, to_float
from earmark.engine.errors import AudioError, InputError
from earmark.engine.speaker import MAX_SPEECH_SAMPLES, locate_speech
from earmark.models import speaker_net, speech_pool, train_speaker
from earmark.models.fold import FOLDS, fold_of
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
    clean = mel.power_mel(mel.to_level(to_float(samples[start:end])))[:LONGEST_FRAMES]
    frames, length = pool.batch(pool.clean_rows()[:1])
    assert length.tolist() == [len(clean)]
    np.testing.assert_allclose(frames[0], clean, rtol=2e-3, atol=1e-6)


def test_a_row_is_a_spectrum_that_the_network_takes(pool: Pool) -> None:
    assert pool.frames.dtype == np.float16
    for row in rows_of(pool):
        assert 10 < len(row) <= LONGEST_FRAMES
        assert row.shape[1] == mel.MELS
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


def test_variations_keep_the_shape_and_about_the_level(pool: Pool, rng: np.random.Generator) -> None:
    frames, length = pool.batch(np.arange(40))
    varied = train_speaker.varied(frames, rng)
    assert (varied.shape, varied.dtype.name) == (frames.shape, "float32")
    change = np.log(varied.sum(axis=(1, 2)) / frames.sum(axis=(1, 2)))
    assert 0.05 < change.std() < 0.2
    assert np.abs(change).max() < 0.5
    assert all(not row[count:].any() for row, count in zip(varied, length))


def test_every_set_names_its_licence() -> None:
    assert all(any(word in text for word in ("CC BY", "MIT", "Apache-2.0")) for text in SETS.values())


@pytest.fixture
def weights(rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """As random as a network's are before training, but with an attention that attends."""
    shapes = {**speaker_net.SHAPES, **speaker_net.STUDENT_SHAPES}
    return {name: rng.normal(0, 0.08, shape).astype(np.float32) for name, shape in shapes.items()}


def test_torchs_student_and_teacher_are_numpys(pool: Pool, weights: dict[str, npt.NDArray[np.float32]]) -> None:
    torch: Any = pytest.importorskip("torch")
    frames, length = pool.batch(pool.clean_rows()[:3])
    frames = frames * 100  # else random weights hear next to nothing
    net = train_speaker.network(weights)
    tensors = torch.from_numpy(frames), torch.from_numpy(length)
    with torch.no_grad():
        student = train_speaker.embed(net, *tensors).numpy()
        teacher = train_speaker.embed_as_teacher(net, *tensors).numpy()
    for row, count, of_student, of_teacher in zip(frames, length, student, teacher):
        np.testing.assert_allclose(of_student, speaker_net.student(weights, row[:count]), atol=1e-4)
        np.testing.assert_allclose(of_teacher, speaker_net.teacher(weights, row[:count]), atol=1e-4)
    assert (student[0] @ student[1]) < 0.9999


def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    pool: Pool, weights: dict[str, npt.NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(train_speaker, "CHECKPOINT_STEPS", 1)
    start = train_speaker.student_start({name: weights[name] for name in speaker_net.SHAPES})
    targets = train_speaker.teach(pool, start)
    whole = train_speaker.train(pool, targets, start, 0, 3, tmp_path / "whole.pt")

    draw, drawn = train_speaker.Episodes.draw, []

    def interrupted(episodes: Any, rng: np.random.Generator) -> train_speaker.Episode:
        drawn.append(1)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(episodes, rng)

    checkpoint = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(train_speaker.Episodes, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_speaker.train(pool, targets, start, 0, 3, checkpoint)
    resumed = train_speaker.train(pool, targets, start, 0, 3, checkpoint)
    assert len(drawn) == 4, "two steps, the interrupted one, and the last"
    for name, values in whole.items():
        np.testing.assert_allclose(resumed[name], values, atol=1e-6, err_msg=name)
    assert any(not np.array_equal(whole[name], start[name]) for name in start)
    with pytest.raises(InputError, match="delete it"):
        train_speaker.train(pool, targets, start, 1, 3, checkpoint)


def test_the_student_starts_as_the_teacher(weights: dict[str, npt.NDArray[np.float32]], pool: Pool) -> None:
    """Its first half says what the teacher's does; its second takes the mean of the states in the same way."""
    start = train_speaker.student_start({name: weights[name] for name in speaker_net.SHAPES})
    frames, _ = pool.batch(pool.clean_rows()[:1])
    student, teacher = speaker_net.student(start, frames[0]), speaker_net.teacher(start, frames[0])
    np.testing.assert_allclose(student[:256], teacher[:256], atol=1e-6)
    assert {name: values.shape for name, values in start.items()} == {
        **speaker_net.SHAPES,
        **speaker_net.STUDENT_SHAPES,
    }
