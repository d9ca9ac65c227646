"""Names that mean something else are nobody's, however they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers_store import save_cosine
from hypothesis import given
from hypothesis import strategies as st

import earmark
from earmark import cli
from earmark.engine.commands.wakes_commands import ME
from earmark.engine.errors import InputError
from earmark.engine.history.labels import NOISE, NOT_ME
from earmark.engine.people import operations
from earmark.engine.people.store import PersonStore
from earmark.engine.storage.alike_names import skeleton
from earmark.engine.storage.names import INVISIBLE, TAKEN, check_new_name

WIDE = str.maketrans({letter: chr(ord(letter) + 0xFEE0) for letter in "abcdefghijklmnopqrstuvwxyz"})
CYRILLIC = str.maketrans("aeokm", "аеокм")
GREEK = str.maketrans("aoun", "αουν")


def disguised() -> st.SearchStrategy[str]:
    """A taken name in another case, width, script, with other spaces and other marks between its words."""
    looks = st.sampled_from([str, str.upper, str.title, lambda t: t.translate(WIDE), lambda t: t.translate(CYRILLIC)])
    between = st.sampled_from([" ", "-", "_", "", ".", "  ", "\u2010"])
    ends = st.sampled_from(["", ".", "!", "_"])
    return st.builds(
        lambda name, look, gap, end: look(name.replace("-", " ")).replace(" ", gap) + end,
        st.sampled_from(sorted(TAKEN)),
        looks,
        between,
        ends,
    )


@given(disguised())
def test_a_label_or_a_state_is_nobodys_name(name: str) -> None:
    with pytest.raises(InputError, match=r"nobody can be called .* choose another name"):
        check_new_name(name)


@pytest.mark.parametrize("name", ["anna", "Mé", "Noémie", "Meg", "Nona", "Zoë O'Slt / 2", "no one else", "На"])
def test_who_is_called_something_like_it_may_be(name: str) -> None:
    check_new_name(name)


def test_every_label_is_taken() -> None:
    assert {ME, NOT_ME, NOISE} <= set(TAKEN)


def test_enrolment_rename_and_import_refuse_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_cosine(tmp_path / "people")
    store = ["--store", str(tmp_path / "people")]
    bundle = str(tmp_path / "anna.tar")
    assert cli.main(["people", "export", "anna", "--to", bundle, *store]) == 0
    for name, why in (
        ("Unknown", "nobody can be called 'Unknown'"),
        ("anna\u115f", "has U+115F (HANGUL CHOSEONG FILLER)"),
    ):
        for line in (
            ["enroll", name, "--from", "none.wav"],
            ["enroll", name],
            ["people", "rename", "anna", name],
            ["people", "import", bundle, "--as", name, "--unjudged"],
        ):
            assert cli.main([*line, *store]) == 2
            assert why in capsys.readouterr().err
        with pytest.raises(InputError, match=re.escape(why)):
            earmark.enrol(name, [])
    people = PersonStore(tmp_path / "people")
    assert people.names() == ["anna"]
    with pytest.raises(InputError, match="nobody can be called 'noise'"):
        operations.rename(people, "anna", "noise")
    with pytest.raises(InputError, match="nobody can be called 'noise'"):
        operations.insert(people, "noise", people.tree("anna"))


def test_no_new_name_has_a_part_that_nobody_sees() -> None:
    """Every code point of the table; what Python calls printable is refused by it alone, as a part and as a whole."""
    unseen = [chr(point) for first, last in INVISIBLE for point in range(first, last + 1)]
    assert len(unseen) == len(set(unseen)) == 4_177
    printable = [letter for letter in unseen if letter.isprintable()]
    assert set("\u034f\u115f\u1160\u17b4\u180b\u180f\u2800\u3164\ufe00\ufe0f\uffa0\U000e0100") <= set(printable)
    for letter in unseen:
        for name in (letter, f"anna{letter}", f"an{letter}na") if letter in printable else (f"an{letter}na",):
            with pytest.raises(InputError):
                check_new_name(name)
        assert skeleton(f"an{letter}na") == skeleton("anna")
    for letter in printable:
        with pytest.raises(InputError, match=rf"has U\+{ord(letter):04X} .* which nobody sees: leave it out"):
            check_new_name(letter)


@pytest.mark.parametrize("name", ["anna\u034f", "\u3164", "\u2800\u115f"])
def test_who_has_an_invisible_name_already_can_be_listed_renamed_and_erased(tmp_path: Path, name: str) -> None:
    for last in (["rename", name, "berta"], ["remove", name]):
        save_cosine(tmp_path / "people", name)
        people = PersonStore(tmp_path / "people")
        assert name in people.names()
        assert people.load(name, people.keywords(name)[0]).name == name
        for line in (["list"], ["show", name], last):
            assert cli.main(["people", *line, "--store", str(tmp_path / "people")]) == 0
        assert name not in people.names()


def test_who_is_called_so_already_can_be_seen_renamed_and_erased(tmp_path: Path) -> None:
    save_cosine(tmp_path / "people", "me")
    store = ["--store", str(tmp_path / "people")]
    assert cli.main(["people", "show", "me", *store]) == 0
    assert cli.main(["people", "rename", "me", "anna", *store]) == 0
    assert PersonStore(tmp_path / "people").names() == ["anna"]
    save_cosine(tmp_path / "people", "me")
    assert cli.main(["people", "remove", "me", *store]) == 0
