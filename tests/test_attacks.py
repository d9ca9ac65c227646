"""Each attack on the list, a few cases of it: nothing is broken. scripts/studies/attacks.py tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attacking import Attack, attack, listed, tried


@pytest.mark.parametrize("one", [one for one in listed() if one.few], ids=lambda one: f"{one.attacker}: {one.name}")
def test_nothing_is_broken(one: Attack, tmp_path: Path) -> None:
    result = tried(one, tmp_path, one.few)
    assert result.told == []
    assert result.cases >= 1


def test_what_an_attack_breaks_is_counted_and_so_is_what_it_lets_through(tmp_path: Path) -> None:
    def run(_work: Path, cases: int) -> Iterator[str]:
        yield from ["", "the door was open"][:cases]
        raise OSError("nobody meant that")

    result = tried(Attack("bundle author", "a test", run, 2, 2), tmp_path, 2)
    assert (result.cases, result.broken) == (3, 2)
    assert result.told == ["the door was open", "OSError: nobody meant that"]


@pytest.mark.parametrize(("attacker", "name"), [("a ghost", "a new name"), ("bundle author", "twice")])
def test_an_attack_needs_a_known_attacker_and_a_name_of_its_own(
    attacker: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attacking.ATTACKS", [Attack("bundle author", "twice", lambda _work, _cases: iter(()), 1, 1)])
    with pytest.raises(ValueError, match="must be one of"):
        attack(attacker, name, 1, 1)
