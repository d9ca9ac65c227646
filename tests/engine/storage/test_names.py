"""Names that mean something else are nobody's, however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_store import save_cosine
from hypothesis import given
from hypothesis import strategies as st

from earmark import cli
from earmark.engine.commands.wakes_commands import ME
from earmark.engine.errors import InputError
from earmark.engine.history.labels import NOISE, NOT_ME
from earmark.engine.people import operations
from earmark.engine.people.store import PersonStore
from earmark.engine.storage.names import TAKEN, check_new_name

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
    for line in (
        ["enroll", "Unknown", "--from", "none.wav"],
        ["enroll", "Unknown"],
        ["people", "rename", "anna", "Unknown"],
        ["people", "import", bundle, "--as", "Unknown", "--unjudged"],
    ):
        assert cli.main([*line, *store]) == 2
        assert "nobody can be called 'Unknown'" in capsys.readouterr().err
    people = PersonStore(tmp_path / "people")
    assert people.names() == ["anna"]
    with pytest.raises(InputError, match="nobody can be called 'noise'"):
        operations.rename(people, "anna", "noise")
    with pytest.raises(InputError, match="nobody can be called 'noise'"):
        operations.insert(people, "noise", people.tree("anna"))


def test_who_is_called_so_already_can_be_seen_renamed_and_erased(tmp_path: Path) -> None:
    save_cosine(tmp_path / "people", "me")
    store = ["--store", str(tmp_path / "people")]
    assert cli.main(["people", "show", "me", *store]) == 0
    assert cli.main(["people", "rename", "me", "anna", *store]) == 0
    assert PersonStore(tmp_path / "people").names() == ["anna"]
    save_cosine(tmp_path / "people", "me")
    assert cli.main(["people", "remove", "me", *store]) == 0
