"""Names that look alike are said; nobody is kept from a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_store import earmark, save_cosine
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.storage import alike_names
from earmark.engine.storage.alike_names import skeleton, warnings


def test_each_letter_stands_for_one_that_is_drawn_alike() -> None:
    assert len(alike_names._DRAWN) == len(alike_names._AS) == len(set(alike_names._DRAWN))
    assert alike_names._AS.isascii()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("аnna", "anna"),  # Cyrillic а
        ("ANNA", "anna"),
        ("anna", "änna"),
        ("ａｎｎａ", "anna"),
        ("0scar", "Oscar"),
        ("BiII", "Bill"),
        ("анна", "aнна"),
        ("οscar", "oscar"),  # Greek ο
        ("an na", "anna"),
        ("ɑnnɑ", "anna"),  # Latin alpha
        ("ᴀɴɴᴀ", "anna"),  # small capitals
        ("jınȷa", "jinja"),
        ("anna\u034f", "anna"),
    ],
)
def test_a_name_that_looks_like_somebodys_is_said(name: str, other: str) -> None:
    assert any(f"{name!r} looks like {other!r}" in said for said in warnings(name, ["zoe", other]))


@pytest.mark.parametrize(
    "name", ["anna", "Zoë", "Анна", "Ольга", "Ελένη", "安娜", "O'Brien", "José María", "anna2", "Łukasz"]
)
def test_an_honest_name_is_not(name: str) -> None:
    assert list(warnings(name, [name, "berta", "Kim"])) == []


def test_letters_of_several_alphabets_are_said_whoever_is_there() -> None:
    (said,) = warnings("Bоb", [])
    assert "its о is CYRILLIC SMALL LETTER O" in said
    assert list(warnings("Анна-Maria"[:4], [])) == []


@given(st.text(), st.text())
def test_any_two_names_can_be_compared(name: str, other: str) -> None:
    said = [text for text in warnings(name, [other]) if "looks like" in text]
    assert bool(said) == (name != other and skeleton(name) == skeleton(other))


def test_it_is_said_where_a_name_is_given(tmp_path: Path) -> None:
    store = tmp_path / "people"
    save_cosine(store)
    save_cosine(store, "berta")
    run = earmark("people", "rename", "berta", "аnna", "--store", store)
    assert "earmark: 'аnna' looks like 'anna', who is somebody else in this store" in run.err
    run = earmark("people", "rename", "аnna", "Anna2", "--store", store)
    assert "looks like" not in run.err
    run = earmark("enroll", "annа", "--store", store, "--from", tmp_path / "missing.wav", code=3)
    assert "'annа' looks like 'anna'" in run.err
