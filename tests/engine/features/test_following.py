"""What is said after a wake word, cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Read, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.features.following import (
    AWAITED_TILES,
    END_TILES,
    MOST_TILES,
    PIECE_TILES,
    SHORT_TILES,
    TILE_SAMPLES,
    Follower,
    Piece,
    pieces_of,
)

QUIET, LOUD = 30, 3000


def noise(seconds: float, level: int, seed: int = 0) -> Int16:
    rng = np.random.default_rng([seed, level, int(1000 * seconds)])
    return rng.integers(-level, level + 1, round(seconds * RATE_HZ)).astype(np.int16)


BEFORE = np.concatenate([noise(1.4, QUIET), noise(0.6, LOUD)])


def talk(*seconds: float) -> Int16:
    """Speech and pauses by turns."""
    parts = [noise(length, QUIET if number % 2 else LOUD, number) for number, length in enumerate(seconds)]
    return np.concatenate(parts)


def followed(samples: Int16, points: tuple[int, ...] | list[int] = ()) -> tuple[list[Piece], Follower]:
    follower = Follower(BEFORE)
    pieces = [piece for part in cut(samples, list(points)) for piece in follower.push(part)]
    return pieces, follower


def facts(pieces: list[Piece]) -> list[tuple[bytes, int, int, int]]:
    return [(piece.samples.tobytes(), piece.end, piece.whole_at, piece.speech_samples) for piece in pieces]


STREAM = talk(1.9, 0.4, 0.7, 0.2, 0.5, 1.5, 0.4)


@settings(max_examples=40)
@given(cut_points(len(STREAM)))
def test_any_cut_gives_the_same_pieces(points: list[int]) -> None:
    whole, at_once = followed(STREAM)
    parts, cut_up = followed(STREAM, points)
    assert len(whole) == 3
    assert facts(parts) == facts(whole)
    assert (cut_up.samples, cut_up.ended) == (at_once.samples, at_once.ended) == (at_once.samples, True)


def syllables(samples: Int16) -> Int16:
    """As speech is: softer for 60 ms four times a second, by 16 dB."""
    soft = np.arange(len(samples)) % (RATE_HZ // 4) < 6 * RATE_HZ // 100
    return np.where(soft & (np.abs(samples) > QUIET), samples // 6, samples).astype(np.int16)


UNPREPARED = np.concatenate([noise(0.2, QUIET), syllables(STREAM)])


def unprepared(samples: Int16, points: list[int]) -> list[Piece]:
    """As it comes, where nothing was heard before."""
    follower = Follower(None, ends=False)
    return [piece for part in cut(samples, points) for piece in follower.push(part)] + follower.finish()


@settings(max_examples=40)
@given(cut_points(len(UNPREPARED)))
def test_where_nothing_was_heard_before_any_cut_gives_the_same_pieces(points: list[int]) -> None:
    whole = unprepared(UNPREPARED, [])
    assert [round(piece.speech_samples / RATE_HZ, 1) for piece in whole] == [1.3, 0.6, 1.1]
    assert facts(unprepared(UNPREPARED, points)) == facts(whole)


def test_where_nothing_was_heard_before_a_piece_is_whole_soon_after_it() -> None:
    """A satellite ends a command after 0.7 s of quiet: nothing is left to be heard then."""
    follower = Follower(None, ends=False)
    samples = np.concatenate([noise(0.3, QUIET), talk(1.0, 0.7)])
    pieces = [piece for part in np.split(samples, 20) for piece in follower.push(part)]
    assert [round(piece.speech_samples / RATE_HZ, 1) for piece in pieces] == [1.0]
    assert follower.finish() == []


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_where_nothing_was_heard_before_it_learns_at_any_level(factor: int) -> None:
    samples = (np.concatenate([noise(3.0, QUIET), UNPREPARED]) // factor).astype(np.int16)
    assert len(unprepared(samples, [])) == 3
    assert unprepared(np.zeros(RATE_HZ, np.int16), []) == unprepared(np.zeros(100, np.int16), []) == []


def test_a_piece_is_as_long_as_the_network_hears_at_once_and_a_pause_ends_one() -> None:
    pieces, _ = followed(talk(2.0, 0.4, 0.6, 0.9))
    tiles = [len(piece.samples) // TILE_SAMPLES for piece in pieces]
    assert tiles[0] == PIECE_TILES
    assert [round(piece.end / RATE_HZ, 1) for piece in pieces] == [1.3, 2.0, 3.0]
    assert all(piece.whole_at >= piece.end for piece in pieces)
    assert [round(piece.speech_samples / RATE_HZ, 1) for piece in pieces] == [1.3, 0.7, 0.6]


@pytest.mark.parametrize(
    ("what", "samples", "ended_s"),
    [
        ("quiet after speech", talk(1.0, 3.0), 1.0 + END_TILES / 50),
        ("nobody says anything", noise(5.0, QUIET), AWAITED_TILES / 50),
        ("speech without an end", talk(9.0), MOST_TILES / 50),
        (
            "the end of the wake word, a beep that is waited for, speech",
            talk(0.2, 1.5, 1.0, 2.0),
            2.7 + END_TILES / 50,
        ),
        ("speech that begins late", np.concatenate([noise(2.5, QUIET), talk(1.0, 2.0)]), 3.5 + END_TILES / 50),
    ],
)
def test_it_ends(what: str, samples: Int16, ended_s: float) -> None:
    _, follower = followed(samples)
    assert follower.ended, what
    assert follower.samples / RATE_HZ == pytest.approx(ended_s, abs=0.021)
    assert follower.push(talk(2.0)) == []


def test_less_than_half_a_second_of_speech_is_no_piece() -> None:
    for tiles, count in ((SHORT_TILES - 2, 0), (SHORT_TILES + 1, 1)):
        pieces, _ = followed(talk(tiles / 50, 1.0))
        assert len(pieces) == count


def test_a_pause_that_is_shorter_than_the_end_goes_on_and_is_left_out() -> None:
    pieces, follower = followed(talk(0.6, 0.7, 0.6, 0.7, 0.6, 1.0))
    assert len(pieces) == 3
    assert follower.ended
    assert sum(piece.speech_samples for piece in pieces) / RATE_HZ == pytest.approx(1.8, abs=0.03)
    assert all(len(piece.samples) < 0.85 * RATE_HZ for piece in pieces)  # with 100 ms behind, and 40 before


def test_the_end_of_the_stream_gives_what_there_is() -> None:
    pieces, follower = followed(talk(0.8))
    assert (pieces, follower.ended) == ([], False)
    assert [round(piece.speech_samples / RATE_HZ, 1) for piece in follower.finish()] == [0.8]
    assert follower.finish() == []


@settings(max_examples=20)
@given(st.sampled_from([1, 2, 8]), st.integers(0, 3))
def test_what_is_loud_follows_the_sound_before(factor: int, shift: int) -> None:
    """The same at any level, in any noise that is as far below."""
    follower = Follower((BEFORE // factor).astype(np.int16))
    pieces = follower.push((np.roll(STREAM, shift) // factor).astype(np.int16))
    assert len(pieces) == 3


def test_sentences_are_found_whole_in_a_recording(read: Read, audio_dir: object) -> None:
    from pathlib import Path

    found = [
        pieces_of(read(path))
        for path in sorted(Path(str(audio_dir)).glob("*_other_1.flac"))
        if "turn_the" in path.name
    ]
    assert len(found) >= 4
    for pieces in found:
        assert pieces
        assert all(len(piece.samples) >= SHORT_TILES * TILE_SAMPLES for piece in pieces)
    assert pieces_of(np.zeros(100, np.int16)) == pieces_of(np.zeros(16000, np.int16)) == []
