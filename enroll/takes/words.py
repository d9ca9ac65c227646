"""What is wrong with a take, in the words of people: at the microphone, of a recording, and what to try next.

No figure and no code is in them: those are the fault's own, for `--json` and `-v`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

WAKE_WORD, PERSON = "the wake word", "the person"
"""What a text says where nobody knows which wake word, or who."""


@dataclass(frozen=True)
class Tip:
    """Something to try; `{word}`, `{name}` and `{other}` stand for the wake word, the person, another wake word."""

    text: str
    command: str = ""
    """To be typed; empty: none."""


@dataclass(frozen=True)
class Words:
    """One reason in words, with the same marks."""

    live: str
    """After a take at the microphone: what it was, and what to do now."""
    file: str
    """Of a recording, behind its name: what it is, and what to do."""
    tips: tuple[Tip, ...]
    """If it happens again and again."""


_WHERE = "in the sound settings of this machine, or with alsamixer (press F4, then the arrow keys)"
TURN_UP = f"turn the level of the microphone up: {_WHERE}"
TURN_DOWN = f"turn the level of the microphone down: {_WHERE}"
_TURN_UP = Tip(TURN_UP[0].upper() + TURN_UP[1:] + ".")
_OTHER_DEVICE = Tip("Look which microphones there are.", "earmark devices")
_ALONE = Tip("Let nobody speak but {name}, from the first take to the last.", "earmark enroll {name}")

WORDS = {
    "unreadable": Words("It cannot be read.", "", ()),  # why it is not says what to do
    "nothing_said": Words(
        'Nobody was heard. Wait for "now", then speak.',
        "nobody speaks in it; record it again, and speak after it has begun",
        (
            Tip("Look whether the microphone is switched on: many have a switch, or a light that says so."),
            _TURN_UP,
            _OTHER_DEVICE,
        ),
    ),
    "keyword_not_heard": Words(
        "That was not {word}, or not clearly. Say it once, in one go.",
        "it is not {word}, or not clearly; say it once, in one go, or choose another wake word with --keyword",
        (
            Tip("Come to arm's length of the microphone, and speak as to somebody who stands there."),
            Tip("Try another wake word.", "earmark enroll {name} --keyword {other}"),
            Tip("See whether everything works.", "earmark doctor"),
        ),
    ),
    "clipped": Words(
        "That was too loud for the microphone. Step back, or speak less loudly.",
        "it is too loud for the microphone; step back, or turn the level of the microphone down",
        (Tip(TURN_DOWN[0].upper() + TURN_DOWN[1:] + "."),),
    ),
    "too_quiet": Words(
        "That was too quiet. Come closer, or speak a little louder.",
        "it is too quiet; come closer, or turn the level of the microphone up",
        (_TURN_UP, _OTHER_DEVICE),
    ),
    "too_noisy": Words(
        "It was hard to hear above the noise. Come closer, speak a little louder, or turn off what makes the noise.",
        "there is too much noise in it; turn off what makes it, or come closer",
        (Tip("Put the microphone farther from what makes the noise, and nearer to where you speak."), _TURN_UP),
    ),
    "cut_off": Words(
        'A part of it is missing. Begin after "now", and stay silent for a second behind it.',
        "a part of the word is missing; begin after the recording has begun, and end before it ends",
        (Tip('Wait until "now" is there, and let nobody speak behind {word}.'),),
    ),
    "too_long": Words(
        "That was more than {word}. Say only that.",
        "there is more than {word} in it; say only that",
        (Tip("Say nothing before {word} and nothing behind it. A television counts as well: turn it off."),),
    ),
    "another_phrase": Words(
        "That was not {word} as before. Say it once, in the same words.",
        "it is not {word} as in most of the others; say the same words in each",
        (Tip("Say {word} each time in the same words, and leave none out."),),
    ),
    "same_take_twice": Words(
        "That was the very same sound as before. Say it again yourself.",
        "it is the same recording as another one; say it again instead of copying it",
        (Tip("Say it with your own voice: a recording that is played twice counts once."),),
    ),
    "other_voice": Words(
        "That sounded like somebody else. If it was {name}: say it in your usual voice, as in the takes before, "
        "and do not whisper. Nobody else may speak now.",
        "it sounds like somebody else than most of the others; only {name} may speak in them",
        (_ALONE,),
    ),
    "sounds_like_owner": Words(
        "That sounded like {name}. Record only other people now, or the television.",
        "it sounds like {name}; of the others, record only other people or the television",
        (),
    ),
}
"""Reason of a fault -> its words."""

SILENT_MICROPHONE = Words(
    "Nothing at all comes from the microphone. It may be muted or switched off: look for a switch or a light on it, "
    "or for its level in the sound settings.",
    "",
    (Tip("See whether the microphone has a switch, and is plugged in."), _TURN_UP, _OTHER_DEVICE),
)
TOO_FEW_TAKES = Words("", "", (Tip("Begin again when you have a minute.", "earmark enroll {name}"),))


def quoted(name: str) -> str:
    """A name as it is typed in a shell."""
    return shlex.quote(name)


def spoken(text: str, word: str = WAKE_WORD, name: str = PERSON, other: str = "") -> str:
    """A text with what its marks stand for; names may have braces in them."""
    meant = {"word": word, "name": name, "other": other}
    return re.sub(r"\{(word|name|other)\}", lambda mark: meant[mark[1]], text)
