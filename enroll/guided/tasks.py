"""What a person is asked to do for each take, and how long there is to read it and to get there."""

from __future__ import annotations

from dataclasses import dataclass

from ..takes.endpoint import MAX_SAMPLES
from .session import HOW, Session

READ_S = 5  # three short lines, also in a language that is not one's own
GO_S = 10  # the same, and two big steps
# Who sees nothing and hears no beep begins to count when the lines are read, 1 to 4 s after they came, and counts ten
# in 9 to 12 s. So he speaks 10 to 16 s after they came: after "now", and 2 s before the longest take is over.
COUNT_TO = "ten"
GO_MAX_SAMPLES = MAX_SAMPLES * 8 // 5

DO = {
    "as_usual": 'after "now", say {word} as you usually do.',
    "two_metres": "go two metres away: two big steps. Then say {word} from there, no louder than usual.",
    "softly": 'come back to where you were. After "now", say {word} softly: quieter than usual, but do not whisper.',
    "aside": 'at "now", turn your head to the left or to the right, and say {word}.',
}
"""How a take is said -> what to do."""
DO_AGAIN = {
    "as_usual": DO["as_usual"],
    "two_metres": "stay two metres away. Say {word} from there, no louder than usual.",
    "softly": 'after "now", say {word} softly: quieter than usual, but do not whisper.',
    "aside": DO["aside"],
}
"""The same, of a take that is asked for again."""
COME_BACK = 'come back to the microphone. After "now", say {word} as you usually do.'
BY_THE_BEEP = "You have {seconds} seconds, then it beeps. If you hear no beep, count slowly to {count}, then speak."
BY_COUNTING = 'You have {seconds} seconds. If you cannot see "now" from there, count slowly to {count}, then speak.'
FIRST = (
    "Now your voice. A take is one recording of {word}. Each take counts down by itself: speak {time}, and "
    "press nothing."
)
"""Before the first take."""


@dataclass(frozen=True)
class Task:
    """One take, as it is asked for."""

    text: str
    """What to do."""
    timing: str
    """When to speak, for whoever does not see the screen; empty: it is in `text`."""
    countdown_s: int
    max_samples: int
    """The longest that is listened."""


def first(word: str, beeps: bool) -> str:
    """What a take is, once."""
    return FIRST.format(word=word, time='after the beep and "now"' if beeps else 'when "now" comes')


def task(session: Session, word: str, beeps: bool) -> Task:
    """What to do for the next take.

    Args:
        session: it waits for a take.
        word: the wake word as it is shown.
        beeps: a beep is heard at "now".
    """
    number, how, is_new = len(session.takes) + 1, session.how, session.tries == 0
    wanted = HOW[(number - 1) % len(HOW)]
    left = session.tries_left
    again = "" if is_new else f", once more ({'the last try' if left == 1 else f'{left} tries left'})"
    do = (DO if is_new else DO_AGAIN)[how]
    if how != wanted == "two_metres":
        do = COME_BACK
    goes = wanted == "two_metres" or (is_new and how == "softly")
    seconds = GO_S if goes else READ_S
    timing = ""
    if how == "two_metres":
        timing = (BY_THE_BEEP if beeps else BY_COUNTING).format(seconds=seconds, count=COUNT_TO)
    text = f"Take {number} of {session.wanted}{again}: {do}".replace("{word}", word)
    return Task(text, timing, seconds, GO_MAX_SAMPLES if timing else MAX_SAMPLES)
