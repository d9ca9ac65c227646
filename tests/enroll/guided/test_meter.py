"""The meter: where the level is, where speech should be, and that it fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from earmark.enroll.guided.meter import GOOD_DBFS, SILENCE_DBFS, WORDS, meter, word_of
from earmark.enroll.layout import LEAST_COLUMNS, cells

LEVELS = st.floats(-120, 0)
COLUMNS = st.integers(LEAST_COLUMNS, 120)
LABELS = st.sampled_from(["level", "room", "ready", "listening", "others"])
LEFT = st.sampled_from(["", "5 …", "1 …"])


@given(LABELS, LEVELS, LEFT, COLUMNS)
def test_the_line_is_shorter_than_the_terminal_and_marks_the_zone(
    label: str, dbfs: float, left: str, columns: int
) -> None:
    shown = meter(label, dbfs, left, columns)
    assert cells(shown.line) < columns, "one that fills it would be two lines in some terminals"
    bar = shown.bar + shown.rest
    assert bar.count("[") == bar.count("]") == 1
    assert bar.index("[") + 1 < bar.index("]"), "there is room in the zone"
    assert "·" not in shown.bar
    assert "█" not in shown.rest
    assert shown.line.endswith(left or word_of(dbfs))


@given(LEVELS, COLUMNS)
def test_a_bar_touches_the_zone_only_where_it_is_good(dbfs: float, columns: int) -> None:
    shown = meter("level", dbfs, "", columns)
    bar = shown.bar + shown.rest
    assert ("█[" in bar) == (word_of(dbfs) in ("good", "too loud"))
    assert ("[█" in bar) == (word_of(dbfs) in ("good", "too loud"))
    assert ("]█" in bar) == (word_of(dbfs) == "too loud")


@given(LEVELS, LEFT, COLUMNS)
def test_where_nobody_is_to_speak_there_is_no_zone_and_no_word(dbfs: float, left: str, columns: int) -> None:
    shown = meter("room", dbfs, left, columns, zone=False)
    assert not {"[", "]"} & {*(shown.bar + shown.rest)}
    assert shown.behind == f"▏{left}"
    assert not shown.is_good
    assert not shown.is_loud
    assert len(shown.line) - len(left) == len(meter("room", dbfs, left, columns).line) - len(left or word_of(dbfs))


@given(COLUMNS)
def test_the_zone_stays_where_it_is_from_line_to_line(columns: int) -> None:
    lines = [meter(label, -20.0, "", columns).line for label in ("level", "listening", "others")]
    assert len({(line.index("["), line.index("]")) for line in lines}) == 1


@given(LEVELS, LEVELS, COLUMNS)
def test_who_is_louder_has_the_longer_bar(one: float, other: float, columns: int) -> None:
    softer, louder = sorted((one, other))
    bars = [meter("level", dbfs, "", columns).bar.count("█") for dbfs in (softer, louder)]
    assert bars[0] <= bars[1]


@given(LEVELS)
def test_the_word_is_good_just_where_the_bar_ends_in_the_zone(dbfs: float) -> None:
    low, high = GOOD_DBFS
    assert (word_of(dbfs) == "good") == (low <= dbfs <= high) == meter("level", dbfs, "", 80).is_good
    assert meter("level", dbfs, "", 80).is_loud == (dbfs > high)
    if low + 2 < dbfs < high - 2:  # farther from a limit than a cell is wide
        shown = meter("level", dbfs, "", 80)
        assert "[" in shown.bar
        assert "]" in shown.rest


def test_each_word_has_its_limit() -> None:
    low, high = GOOD_DBFS
    steps = (SILENCE_DBFS, low, high)
    assert [word_of(step - 0.01) for step in steps] == list(WORDS[:3])
    assert [word_of(step + 0.01) for step in steps] == list(WORDS[1:])
