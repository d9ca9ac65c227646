"""Why a guided enrolment was given up, in words, and what to try next."""

from __future__ import annotations

from ..layout import COMMAND
from ..takes import words
from .session import Session

WHY = {
    "silent_microphone": "Nothing at all comes from the microphone.",
    "too_few_takes": "Too few takes were good.",
    "nothing_said": "Nobody was heard, again and again.",
    "keyword_not_heard": "What was said did not sound like {word}, again and again.",
    "clipped": "It was too loud for the microphone, again and again.",
    "too_quiet": "It was too quiet, again and again.",
    "too_noisy": "It was hard to hear above the noise, again and again.",
    "cut_off": "A part of the word was missing, again and again.",
    "too_long": "More than {word} was heard, again and again.",
    "another_phrase": "It was not {word} as before, again and again.",
    "same_take_twice": "The very same sound was heard, again and again.",
    "other_voice": "Two people seem to have spoken.",
}
"""`Session.why` in words."""
OTHERS = {"silent_microphone": words.SILENT_MICROPHONE, "too_few_takes": words.TOO_FEW_TAKES}


def refusal(name: str, word: str, other: str, session: Session, kept: str = "") -> str:
    """Lines: what became of it, why, and what to try next, each command in a line of its own.

    Args:
        name: of the person.
        word: the wake word as it is shown.
        other: name of another wake word, to be tried; empty: there is none.
        session: it is given up.
        kept: what is kept of it, in a sentence; empty: nothing.
    """
    lines = [f"{name} was not enrolled. {words.spoken(WHY[session.why], word, name)}"]
    lines += [kept] if kept else []
    lines.append("What you can try:")
    told = OTHERS[session.why] if session.why in OTHERS else words.WORDS[session.why]
    for tip in told.tips:
        if "{other}" in tip.command and not other:
            continue
        lines.append(f"  - {words.spoken(tip.text, word, name)}")
        if tip.command:
            lines.append(COMMAND + words.spoken(tip.command, word, words.quoted(name), other))
    return "\n".join(lines)
