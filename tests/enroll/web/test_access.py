"""Codes and sessions: what is good, for how long, and what of them lies on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.enroll.web.access import (
    ALPHABET,
    CODE_S,
    MOST_SESSIONS,
    SESSION_S,
    Sessions,
    new_code,
    take_code,
    web_folder,
)


def test_a_code_is_good_once_and_for_ten_minutes(tmp_path: Path) -> None:
    code = new_code(tmp_path / "web", now_s=1000.0)
    assert not take_code(tmp_path / "web", code, 1001.0 + CODE_S)
    assert take_code(tmp_path / "web", f" {code.lower().replace('-', ' ')} ", 999.0 + CODE_S)
    assert not take_code(tmp_path / "web", code, 1000.0)


def test_a_new_code_is_instead_of_the_one_before_and_no_disk_has_it(tmp_path: Path) -> None:
    old, code = new_code(tmp_path, 0.0), new_code(tmp_path, 0.0)
    letters = code.replace("-", "")
    assert letters not in (tmp_path / "code.json").read_text()
    assert (tmp_path / "code.json").stat().st_mode & 0o777 == 0o600
    assert not take_code(tmp_path, old, 0.0)
    assert take_code(tmp_path, code, 0.0)


@given(st.text(max_size=12))
def test_no_other_text_is_a_code(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("web")
    code = new_code(folder, 0.0).replace("-", "")
    assert take_code(folder, text, 0.0) == ("".join(filter(str.isalnum, text.upper())) == code)


@pytest.mark.parametrize("content", ["", "[]", "5", '{"sha256": 5, "until_s": "x"}', "\xff"])
def test_a_damaged_file_of_codes_lets_nobody_in(tmp_path: Path, content: str) -> None:
    (tmp_path / "code.json").write_text(content, "latin-1")
    assert not take_code(tmp_path, "AAAA-AAAA", 0.0)


def test_no_letter_of_a_code_is_read_as_another_one() -> None:
    assert set("01ILOU").isdisjoint(ALPHABET)
    assert len(set(ALPHABET)) == len(ALPHABET) == 30


def test_a_session_outlives_the_process_and_its_token_is_on_no_disk(tmp_path: Path) -> None:
    now = [1000.0]
    token, session = Sessions(tmp_path, lambda: now[0]).begin("192.168.1.5")
    assert token not in (tmp_path / "sessions.json").read_text()
    again = Sessions(tmp_path, lambda: now[0])
    assert again.of(token) == session
    assert again.of("") is None
    assert again.of(token + "x") is None
    now[0] += SESSION_S - 1
    assert again.of(token)
    now[0] += SESSION_S - 1
    assert again.of(token), "it is used"
    now[0] += SESSION_S + 1
    assert again.of(token) is None


def test_who_logs_out_is_out_after_a_restart_too(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    token, _ = sessions.begin("a")
    sessions.end(token)
    assert sessions.of(token) is None
    assert Sessions(tmp_path).of(token) is None


def test_of_too_many_sessions_the_one_that_was_away_for_longest_ends() -> None:
    now = [0.0]
    sessions = Sessions(None, lambda: now[0])
    tokens = []
    for _ in range(MOST_SESSIONS + 1):
        now[0] += 1
        tokens.append(sessions.begin("a")[0])
    assert [sessions.of(token) is None for token in tokens] == [True] + [False] * MOST_SESSIONS


@pytest.mark.parametrize("content", ["", "[]", '{"a": 5}', '{"a": {"csrf": "x"}}'])
def test_a_damaged_file_of_sessions_logs_everybody_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessions.json").write_text(content)
    assert Sessions(tmp_path).of("a") is None


def test_the_folder_is_beside_what_is_remembered_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert web_folder(Path("people")) == tmp_path / "earmark" / "web"
    assert web_folder(Path("/var/lib/earmark/people")) == Path("/var/lib/earmark/web")
