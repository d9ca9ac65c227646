"""What came of an enrolment, for people: one sentence that says what to expect; the figures for who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from earmark.engine.commands.people_commands import kinds
from earmark.engine.networks.trained.kinds import HEAD
from earmark.engine.people.voiceprint import Voiceprint

from .layout import COMMAND, told, wrapped
from .takes import words
from .training import achieved, calibrate, expected
from .training.alike import Alike

VERDICTS = (
    (95, "That is good."),
    (90, "That is enough for most: now and then it has to be said twice."),
    (0, "That is little: it often has to be said twice."),
)
"""The least times in 100 -> what to think of it; with five takes people get 95 (docs/research/channels.md)."""
WELL_TAKES = 5  # from so many on more takes were not measured (docs/research/accuracy.md)


def summary(
    person: Voiceprint,
    version: int,
    columns: int | None = None,
    verbose: bool = False,
    is_you: bool = False,
    again: str = "",
    people: int = 1,
) -> list[str]:
    """Lines: what to expect, what was made, and with `verbose` the table behind it.

    Args:
        person: as it was saved.
        version: that it was saved as.
        columns: no line is wider, but for commands; None: they may have any length.
        verbose: the figures, too.
        is_you: who reads is the person.
        again: the command that enrols the person once more; empty: without its options.
        people: so many are enrolled for the wake word, this one with them.
    """
    again = again or _command(person.name)
    lines = []
    expectations = (promise(person, is_you, people), _meaning(person, is_you, people), *_home(person, is_you, people))
    for paragraph in (*expectations, *_reservations(person, is_you, again)):
        lines += told(paragraph, columns)
    takes = "1 take" if len(person.takes) == 1 else f"{len(person.takes)} takes"
    which = f" (version {version}: it counts instead of the one before)" if version > 1 else ""
    lines += wrapped(f"{person.name}: enrolled for {person.keyword} from {takes}{which}", columns)
    return lines + (_figures(person, person.report, columns, people) if verbose else [])


def promise(person: Voiceprint, is_you: bool = False, people: int = 1) -> str:
    """The sentence: how often the person will be heard, and how often a stranger gets in.

    `people` are enrolled for the wake word: of all of them together a stranger gets in so often.
    """
    who = "You" if is_you else person.name
    heard, once_in = _heard_in_100(person, people), f"once in {_tries_for_one(person)}"
    return f"{who} will be heard about {heard} times in 100; a stranger gets in about {once_in}."


def warnings(person: Voiceprint, confused: Sequence[Alike], verbose: bool = False, again: str = "") -> list[str]:
    """A paragraph for each person who sounds too much like this one, with commands in lines of their own."""
    again = again or _command(person.name)
    return [
        f"warning: it cannot tell {person.name} apart from {other.name}: one may be taken for the other"
        + (
            f" ({other.theirs} of {other.theirs_of} takes of {other.name}, {other.own} of {other.own_of} the other "
            "way round)"
            if verbose
            else ""
        )
        + ". Enrol both again. Where it asks for somebody else, let the other one speak:\n"
        + f"{COMMAND}{again}\n{COMMAND}{_instead(again, person.name, other.name)}\n"
        + f"Or let fewer strangers in:\n{COMMAND}{again} --far 0.001"
        for other in confused
    ]


def _command(name: str) -> str:
    return f"earmark enroll {words.quoted(name)}"


def _instead(again: str, name: str, other: str) -> str:
    """The same command for somebody else."""
    return again.replace(_command(name), _command(other), 1)


def _heard_in_100(person: Voiceprint, people: int = 1) -> int:
    return _in_100(expected.heard_share(person.report, len(person.takes), people))


def _home(person: Voiceprint, is_you: bool, people: int) -> list[str]:
    """What it costs that others are enrolled, too; nothing where nobody is."""
    alone = _heard_in_100(person)
    if _heard_in_100(person, people) == alone:
        return []
    who = "you" if is_you else person.name
    return [
        f"{people} people are enrolled for {person.keyword}: a stranger must not pass as any of them, so each has to "
        f"sound more alike. Alone {who} would be heard {alone} times."
    ]


def _meaning(person: Voiceprint, is_you: bool, people: int) -> str:
    """The sentence once more, as counts of what is said, and whether that is good."""
    heard = _heard_in_100(person, people)
    one = "somebody who is enrolled" if people > 1 else "you" if is_you else person.name
    who, says = ("you", "say") if is_you else (person.name, "says")
    verdict = next(text for least, text in VERDICTS if heard >= least)
    return (
        f"That means: of 100 times that {who} {says} the wake word, {heard} are heard; of {_tries_for_one(person)} "
        f"times that a stranger says it, one is taken for {one}. {verdict}"
    )


def _in_100(share: float) -> int:
    """Never 100: nobody is heard always; never 0, for then it would have been refused."""
    return max(min(round(100 * share), 99), 1)


def _tries_for_one(person: Voiceprint) -> int:
    """Of how many tries of strangers one gets in, to two digits."""
    far: float = person.report["wanted_far"]
    tries = 1 / far
    digits: int = 10 ** max(len(str(int(tries))) - 2, 0)
    return round(tries / digits) * digits


def _reservations(person: Voiceprint, is_you: bool, again: str) -> list[str]:
    report, takes = person.report, len(person.takes)
    who = "you" if is_you else person.name
    said = [f"In noise, or with a cold, {who} will be heard less often."]
    rejected = report["expected_frr"]["rejected"]
    if rejected:
        said.append(
            f"{rejected} of the {takes} takes {'was' if rejected == 1 else 'were'} unlike the rest. It gets better "
            f"in a quiet moment with:\n{COMMAND}{again}"
        )
    elif takes < WELL_TAKES:
        said.append(f"{WELL_TAKES} takes make it better.")
    said += _against_the_phrase(person)
    let_in = report.get("others", {}).get("let_in", 0)
    if let_in:
        said.append(
            f"Some of what the others said would still be taken for {who}. Record more of them, or let fewer "
            f"strangers in:\n{COMMAND}{again} --far 0.001"
        )
    return said


def _against_the_phrase(person: Voiceprint) -> list[str]:
    """What is wrong with a phrase of one's own, and what to choose instead."""
    told = []
    longer = "Choose a longer one: three syllables or more, that nobody says all day."
    for reason in person.report.get("phrase", {}).get("against", []):
        if reason == "short":
            told.append(f"This phrase is short, so other words are easily taken for it. {longer}")
        elif reason == "common":
            told.append(f"This phrase is like what is said all day, and will be taken for heard too often. {longer}")
        else:
            told.append(
                f"This phrase is like the wake word {reason}. Enrol for that, or choose another:\n"
                f"{COMMAND}earmark enroll {words.quoted(person.name)} --keyword {reason}"
            )
    return told


def _figures(person: Voiceprint, report: Mapping[str, Any], columns: int | None, people: int) -> list[str]:
    name = "the head" if person.trainer == HEAD else person.trainer
    compared = len(report["achieved"]) > 1
    why = (
        "* is used, and was better on the takes left out"
        if compared
        else f"{name} is trained from {calibrate.MIN_TRAINED_TAKES} takes on"
    )
    lines = wrapped(f"for {100 * report['wanted_far']:g} % of strangers; {why}", columns, "  ")
    lines += achieved.lines(report["achieved"], person.kind, kinds(person.trainer), columns)
    own = report["leave_one_out"].get(person.kind, {}).get("own", [])
    if own:
        scores = ", ".join(f"{score:.2f}" for score in own)
        lines += wrapped(f"own takes, each left out in turn: {scores}", columns, "  ")
        lines += wrapped(
            "in brackets: the range of your rejected tries, with 95 % confidence; so few takes cannot say more. "
            f"The {_heard_in_100(person, people)} in 100 are what people got whose takes agreed as well",
            columns,
            "  ",
        )
        lines += wrapped(
            "the strangers here were not recorded at your microphone, where more get in: that is allowed for",
            columns,
            "  ",
        )
    others = report.get("others")
    if others:
        trained = (
            f"trained against {others['trained']}" if others["trained"] else "the plain cosine learns nothing of them"
        )
        lines += wrapped(
            f"others     {others['crops']} crops of {others['recordings']} recordings: {trained}; "
            f"{others['let_in']} would be let in",
            columns,
            "  ",
        )
    return lines
