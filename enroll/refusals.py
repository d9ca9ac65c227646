"""Why nobody was enrolled, for the person who spoke."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import EnrolmentRefused
from earmark.engine.networks.keyword import KeywordNetwork

from .takes import voices
from .takes.quality import Fault


def require_one_voice(name: str, embeddings: Float32, files: Sequence[str], faults: Sequence[Fault]) -> None:
    """Raises EnrolmentRefused where (n, d) takes, found in these files, are of two people: who is meant?"""
    groups = voices.two_groups(embeddings) if len(embeddings) else None
    if groups is None:
        return
    smaller, larger = (", ".join(dict.fromkeys(files[number] for number in group)) for group in groups)
    two = [
        Fault(files[number], "other_voice", f"it sounds like {smaller} and not like {larger}") for number in groups[0]
    ]
    raise EnrolmentRefused(
        f"{name!r} was not enrolled: two people seem to have spoken: one in {smaller}, another in {larger}: give "
        "takes of one person, of one day and one microphone",
        [*faults, *two],
    )


def refusal(name: str, good: int, wanted: int, faults: Sequence[Fault], keyword: KeywordNetwork | None) -> str:
    """That there are too few good takes, and what was wrong with the others."""
    word = f'"{keyword.manifest.wake_word}"' if keyword else "the phrase"
    reasons = "".join(f"\n  {fault.told(word, name)}" for fault in faults)
    return f"{name!r} was not enrolled: {good} good takes, at least {wanted} are needed (five are better){reasons}"
