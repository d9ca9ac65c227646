"""Long enumerations that the runs under two runtimes share."""

from __future__ import annotations

import pytest
import turns
from hypothesis import given
from hypothesis import strategies as st


@given(cases=st.lists(st.integers(), max_size=30), runs=st.integers(1, 4))
def test_together_they_try_every_case_once(cases: list[int], runs: int) -> None:
    with pytest.MonkeyPatch.context() as changed:
        tried = []
        for turn in range(1, runs + 1):
            changed.setenv(turns.VARIABLE, f"{turn}/{runs}")
            tried += turns.mine(cases)
            assert turns.is_shared() == (runs > 1)
        changed.delenv(turns.VARIABLE)
        assert sorted(tried) == sorted(cases)
        assert turns.mine(cases) == cases


@pytest.mark.parametrize("said", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_turn_is_said(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(turns.VARIABLE, said)
    with pytest.raises(ValueError, match="as in 1/2"):
        turns.mine([1])
