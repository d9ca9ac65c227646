"""Several channels: dead, turned over, a loudspeaker's own sound among them, or one that somebody names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import Read, Takes, cut, cut_points
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.engine.audio.channels import LiveMix, Mix, _groups, choose
from earmark.engine.audio.files import FileSource, read_audio
from earmark.engine.audio.opening import open_source
from earmark.engine.audio.samples import AudioFormat, Converter, Float32, Int16
from earmark.engine.errors import AudioError

RATE_HZ = 16_000
SLOW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def voice(takes: Takes, read: Read) -> Int16:
    return read(takes("slt", "okay_nabu", "enroll")[0])


@pytest.fixture(scope="session")
def music() -> Int16:
    """What a loudspeaker plays: chords, much louder than the voice."""
    at = np.arange(4 * RATE_HZ) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * hz * at + hz) for hz in (220, 277, 330, 440, 880))
    return np.asarray(5000 * tones * (1 + 0.5 * np.sin(2 * np.pi * 2 * at))).astype(np.int16)


def saved(path: Path, *channels: Int16) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), RATE_HZ)
    return path


def said(caplog: pytest.LogCaptureFixture) -> str:
    text = caplog.text
    caplog.clear()
    return text


def alike(one: Int16, other: Int16) -> float:
    return float(np.corrcoef(one, other)[0, 1])


# --- recordings


@SLOW
@given(kinds=st.lists(st.sampled_from("+-0"), min_size=2, max_size=8).filter(lambda kinds: set(kinds) != {"0"}))
def test_any_dead_or_inverted_channels_leave_the_voice(tmp_path: Path, voice: Int16, kinds: list[str]) -> None:
    """As loud as it is, and one way round."""
    channels = [{"+": voice, "-": (-voice).astype(np.int16), "0": np.zeros_like(voice)}[kind] for kind in kinds]
    found = read_audio(saved(tmp_path / "a.wav", *channels))
    np.testing.assert_allclose(found * np.sign(alike(found, voice)), voice, atol=1)


@pytest.mark.parametrize("offset", [0, 1500])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_dead_channel_is_left_out_and_named(
    tmp_path: Path,
    voice: Int16,
    rng: np.random.Generator,
    caplog: pytest.LogCaptureFixture,
    noise: float,
    offset: int,
) -> None:
    dead = (offset + noise * rng.standard_normal(len(voice))).astype(np.int16)
    np.testing.assert_array_equal(read_audio(saved(tmp_path / "a.wav", dead, voice)), voice)
    assert said(caplog).count("channel 0 is dead and left out") == 1


def test_channels_that_cancel_are_turned_and_named(
    tmp_path: Path, voice: Int16, caplog: pytest.LogCaptureFixture
) -> None:
    read_audio(saved(tmp_path / "a.wav", voice, (-voice).astype(np.int16)))
    assert "channel 1 is the other way round than channel 0" in said(caplog)


@pytest.mark.parametrize("microphones", [2, 4, 7])
@pytest.mark.parametrize("place", [0, -1])
def test_the_reference_channel_of_an_array_is_left_out_and_named(
    tmp_path: Path,
    voice: Int16,
    music: Int16,
    rng: np.random.Generator,
    caplog: pytest.LogCaptureFixture,
    microphones: int,
    place: int,
) -> None:
    """The microphones hear the voice a little later each, and an echo of the loudspeaker."""
    echo = 0.05 * np.roll(music[: len(voice)], 300)
    heard = [np.roll(voice, number) + echo + 5 * rng.standard_normal(len(voice)) for number in range(microphones)]
    channels = [channel.astype(np.int16) for channel in heard]
    channels.insert(place % (microphones + 1), music[: len(voice)])
    found = read_audio(saved(tmp_path / "a.wav", *channels))
    assert alike(found, voice) > 0.85
    assert f"channel {place % (microphones + 1)} is another sound than channels" in said(caplog)


def test_two_channels_with_nothing_in_common_are_named(
    tmp_path: Path, voice: Int16, music: Int16, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path / "a.wav", voice, music[: len(voice)])
    read_audio(path)
    assert "channels 0 and 1 have nothing in common" in said(caplog)
    np.testing.assert_array_equal(read_audio(path, channel=0), voice)
    assert said(caplog) == ""


def test_stereo_is_averaged_without_a_word(tmp_path: Path, voice: Int16, caplog: pytest.LogCaptureFixture) -> None:
    right = np.roll(voice // 2, 3).astype(np.int16)
    found = read_audio(saved(tmp_path / "a.wav", voice, right))
    np.testing.assert_allclose(found, (voice.astype(int) + right) / 2, atol=0.5)
    assert said(caplog) == ""


@pytest.mark.parametrize("level", [0, 1, 20])
def test_silence_on_all_channels_stays_silence(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    channels = [(level * rng.standard_normal(RATE_HZ)).astype(np.int16) for _ in range(2)]
    assert np.abs(read_audio(saved(tmp_path / "a.wav", *channels))).max() <= 5 * level
    assert said(caplog) == ""


def test_a_channel_is_chosen_by_its_number(tmp_path: Path, voice: Int16, music: Int16) -> None:
    path = saved(tmp_path / "a.wav", music[: len(voice)], voice, np.zeros_like(voice))
    for number, expected in enumerate((music[: len(voice)], voice, np.zeros_like(voice))):
        np.testing.assert_array_equal(read_audio(path, channel=number), expected)
        with open_source(path, channel=number) as source:
            np.testing.assert_array_equal(np.concatenate([block.samples for block in source]), expected)


@pytest.mark.parametrize("number", [3, -1])
def test_a_channel_that_is_not_there_is_refused(tmp_path: Path, voice: Int16, number: int) -> None:
    path = saved(tmp_path / "a.wav", voice, voice, voice)
    with pytest.raises(AudioError, match=f"a.wav: there is no channel {number}: it has 3 channels, 0 to 2"):
        FileSource(path, channel=number)
    with pytest.raises(AudioError, match="there is no channel 1: it has 1 channel, number 0"):
        open_source(voice, channel=1)


@SLOW
@given(block=st.integers(1, 60_000), rate_hz=st.sampled_from([16_000, 44_100]))
def test_blocks_of_any_size_give_the_same_mix(tmp_path: Path, voice: Int16, block: int, rate_hz: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([voice, -voice, np.roll(voice, 2)], axis=1).astype(np.int16), rate_hz)
    block = max(block, 50)
    with FileSource(path, block) as source:
        found = np.concatenate([piece.samples for piece in source])
    np.testing.assert_array_equal(found, read_audio(path))


# --- live


def as_floats(*channels: Int16) -> Float32:
    frames: Float32 = (np.stack(channels, axis=1) / 32_768).astype(np.float32)
    return frames


@given(points=cut_points(20_000))
@settings(max_examples=40)
def test_a_stream_cut_anywhere_gives_the_same_mix(points: list[int]) -> None:
    rng = np.random.default_rng(5)
    wave = np.cumsum(rng.standard_normal(20_000)) * 20
    frames = as_floats(wave.astype(np.int16), -wave.astype(np.int16), rng.integers(-9, 9, 20_000).astype(np.int16))
    audio_format = AudioFormat(RATE_HZ, 3)
    whole = LiveMix(audio_format, str)(frames)
    mix = LiveMix(audio_format, str)
    np.testing.assert_array_equal(np.concatenate([mix(piece) for piece in cut(frames, points)]), whole)


def test_a_live_stream_in_antiphase_is_heard_after_a_tenth_of_a_second(voice: Int16) -> None:
    loud = voice[6000:]  # the word
    remarks: list[str] = []
    converter = Converter(AudioFormat(RATE_HZ, 2), LiveMix(AudioFormat(RATE_HZ, 2), remarks.append))
    found = np.concatenate(
        [
            converter.push(piece)
            for piece in cut(as_floats(loud, (-loud).astype(np.int16)), [*range(0, len(loud), 320)])
        ]
    )
    np.testing.assert_array_equal(found[1600:], loud[1600:])
    assert len(remarks) == 1
    assert remarks[0].startswith("channel 1 is the other way round")


def test_half_a_second_is_too_little_to_say_something(voice: Int16) -> None:
    loud = np.resize(voice[6000:], 2 * RATE_HZ)
    both = loud.copy()
    both[:8000] *= -1
    remarks: list[str] = []
    LiveMix(AudioFormat(RATE_HZ, 2), remarks.append)(as_floats(loud, both))
    assert remarks == []


def test_what_a_live_stream_was_long_ago_is_forgotten(voice: Int16) -> None:
    """A channel that was plugged in the other way round meanwhile."""
    loud = np.resize(voice[6000:], 40 * RATE_HZ)
    mix = LiveMix(AudioFormat(RATE_HZ, 2), str)
    mix(as_floats(loud, loud))
    found = mix(as_floats(loud, (-loud).astype(np.int16)))
    assert np.abs(found[-5 * RATE_HZ :]).max() > 0.02


# --- the decision


def covariance(*channels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cov(np.stack(channels))


def kept(mix: Mix) -> list[int]:
    return [int(number) for number in np.sign(mix.weights)]


def test_two_references_that_play_the_same_are_both_left_out(rng: np.random.Generator) -> None:
    mine, theirs = rng.standard_normal((2, 5000))
    noise = [0.3 * rng.standard_normal(5000) for _ in range(2)]
    assert kept(choose(covariance(mine + noise[0], mine + noise[1], theirs, theirs))) == [1, 1, 0, 0]
    assert kept(choose(covariance(theirs, mine + noise[0], mine + noise[1], mine))) == [0, 1, 1, 1]


def test_a_quiet_microphone_is_not_dead_beside_a_loud_reference(rng: np.random.Generator) -> None:
    mine, theirs = 0.002 * rng.standard_normal(5000), 0.3 * rng.standard_normal(5000)
    mix = choose(covariance(mine, theirs))
    assert kept(mix) == [1, 1]
    assert "nothing in common" in mix.remarks[0]


@given(st.integers(1, 9).flatmap(lambda n: st.lists(st.booleans(), min_size=n * n, max_size=n * n)), st.data())
def test_groups_are_those_that_a_chain_of_likeness_joins(pairs: list[bool], data: st.DataObject) -> None:
    channels = round(len(pairs) ** 0.5)
    joined = np.array(pairs).reshape(channels, channels)
    joined |= joined.T | np.eye(channels, dtype=bool)
    alive = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=channels, max_size=channels)))
    reached = joined[np.ix_(alive, alive)]
    for _ in range(channels):
        reached = reached @ reached
    wanted = {tuple(alive[row].tolist()) for row in reached}
    assert {tuple(group) for group in _groups(alive, joined * 0.9)} == wanted


def test_a_file_of_a_thousand_channels_holds_nobody_up() -> None:
    """Each is like the next one alone: the longest chain there is, which took minutes."""
    channels = 1024
    near = np.exp(-0.5 * np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))))
    assert kept(choose(near * 0.01)) == [1] * channels


def test_channels_that_are_all_zero_are_averaged() -> None:
    mix = choose(np.zeros((3, 3)))
    assert kept(mix) == [1, 1, 1]
    assert mix.remarks == ()
