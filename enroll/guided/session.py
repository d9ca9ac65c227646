"""The conversation of an enrolment as a state machine without I/O: what to ask next, and when it is enough.

::

    ROOM ──room heard──▶ TAKES ──the last good take──▶ MORE_PEOPLE? ──yes──▶ OTHER ──heard──▶ MORE_PEOPLE?
      │ ▲                  │ ▲ a take again                 │ no
      │ │                  │ └─┘                            ▼
      │ └─no── MICROPHONE? ◀ nobody spoke, twice           ENOUGH
      │ nothing ▲ │yes: where it was
      └─────────┘ └──▶ GIVEN_UP: too many in a row

A `Session` is one state and never changes; `advance` gives the next one. It holds no audio and no embeddings, only
what was said of each take. Who drives it (files: `enrolment.py`, a terminal: `conversation.py`) listens, judges and
tells it.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Union

from ..takes.quality import Fault

WANTED_TAKES = 5  # what the accuracy is measured with (docs/research/accuracy.md)
PATIENCE = 6  # bad takes in a row after which asking for another one helps nobody
MAX_OTHERS = 3  # of the home: more were not measured (docs/research/others.md)
ROOM_TRIES = 3
NOBODY_TRIES = 2  # takes in a row in which nobody spoke: one is late, two are perhaps the wrong microphone

SAID_AS_USUAL_AFTER = frozenset({"too_quiet", "too_noisy", "keyword_not_heard", "clipped", "other_voice"})
"""Reasons whose advice (louder, nearer, clearly, in your usual voice) says the opposite of a variation."""
VARIED_TRIES = 2  # after so many in vain a take is said as usual, whatever was wrong

HOW = ("as_usual", "two_metres", "softly", "aside", "as_usual")
"""How each take is to be said: a threshold from five takes said alike is one for that place and tone only."""


class Phase(enum.Enum):
    """What the session waits for."""

    ROOM = "room"
    """Two seconds in which nobody speaks."""
    TAKES = "takes"
    """The wake word once more, or the next file."""
    MICROPHONE = "microphone"
    """An answer: is it the right microphone? It hears nobody."""
    MORE_PEOPLE = "more_people"
    """An answer: is somebody else, or the television, there to be heard?"""
    OTHER = "other"
    """Somebody else at the same microphone."""
    ENOUGH = "enough"
    """Nothing: a voiceprint can be made."""
    GIVEN_UP = "given_up"
    """Nothing: it would not work, and `Session.why` says why."""


@dataclass(frozen=True)
class RoomHeard:
    """The room while nobody spoke."""

    dbfs: float | None
    """RMS level; None: nothing but zeros came, as from a muted microphone."""


@dataclass(frozen=True)
class TakeHeard:
    """A recording of the wake word, judged."""

    takes: tuple[int, ...]
    """Numbers of the good takes there are now: of the earlier ones too, which a later one may prove to be odd."""
    faults: tuple[Fault, ...] = ()
    """Of what is not used: of the new recording and of takes that were good until now."""


@dataclass(frozen=True)
class Answered:
    """Yes or no."""

    yes: bool


@dataclass(frozen=True)
class OtherHeard:
    """A recording of somebody else, judged."""

    file: str
    fault: Fault | None = None
    """Why it is not used."""


@dataclass(frozen=True)
class Ended:
    """There are no more recordings."""


Event = Union[RoomHeard, TakeHeard, Answered, OtherHeard, Ended]


@dataclass(frozen=True)
class Session:
    """One state of the conversation."""

    phase: Phase = Phase.ROOM
    wanted: int | None = WANTED_TAKES
    """So many good takes are enough; None: as many as come before `Ended`."""
    min_takes: int = 3
    """Fewer are refused at `Ended`."""
    room_dbfs: float | None = None
    takes: tuple[int, ...] = ()
    """Numbers of the good ones, in order."""
    faults: tuple[Fault, ...] = ()
    """Of everything that is not used, in order."""
    others: tuple[str, ...] = ()
    tries: int = 0
    """Failures in a row in this phase."""
    nobody: int = 0
    """Takes in a row in which nobody spoke, since that was asked about."""
    why: str = ""
    """Reason of `GIVEN_UP`: `too_few_takes`, `silent_microphone`, or that of most of the bad takes."""

    @property
    def how(self) -> str:
        """How the next take is to be said; one of `HOW`."""
        of_this_take = {fault.reason for fault in self.faults[-self.tries :]} if self.tries else set()
        if self.tries >= VARIED_TRIES or not SAID_AS_USUAL_AFTER.isdisjoint(of_this_take):
            return "as_usual"
        return HOW[len(self.takes) % len(HOW)]

    @property
    def tries_left(self) -> int:
        """How many bad takes in a row it would be given up after, from now on."""
        return PATIENCE - self.tries

    @property
    def over(self) -> bool:
        """Whether nothing is left to ask."""
        return self.phase in (Phase.ENOUGH, Phase.GIVEN_UP)


def for_files(min_takes: int) -> Session:
    """A session that takes what comes: no room to measure, nobody to ask."""
    return Session(Phase.TAKES, wanted=None, min_takes=min_takes)


def advance(session: Session, event: Event) -> Session:
    """The state after an event.

    Raises:
        ValueError: the session does not wait for such an event: a fault of who drives it.
    """
    if (session.phase, type(event)) not in _MOVES:
        raise ValueError(f"{type(event).__name__} in {session.phase}: it must be one of its own events")
    return _MOVES[session.phase, type(event)](session, event)


def _room(session: Session, event: RoomHeard) -> Session:
    if event.dbfs is not None:
        return replace(session, phase=Phase.TAKES, room_dbfs=event.dbfs, tries=0)
    session = replace(session, tries=session.tries + 1)
    if session.tries >= ROOM_TRIES:
        return _given_up(session, "silent_microphone")
    return replace(session, phase=Phase.MICROPHONE)


def _take(session: Session, event: TakeHeard) -> Session:
    tries = 0 if len(event.takes) > len(session.takes) else session.tries + 1
    reasons = {fault.reason for fault in event.faults}
    session = replace(session, takes=event.takes, faults=(*session.faults, *event.faults), tries=tries)
    if session.wanted is None:
        return session
    if len(session.takes) >= session.wanted:
        return replace(session, phase=Phase.MORE_PEOPLE, tries=0, nobody=0)
    if tries >= PATIENCE:
        counted = Counter(fault.reason for fault in session.faults[-PATIENCE:]).most_common(1)
        return _given_up(session, counted[0][0] if counted else "too_few_takes")
    nobody = session.nobody + 1 if reasons == {"nothing_said"} else 0
    if nobody >= NOBODY_TRIES:
        return replace(session, phase=Phase.MICROPHONE, nobody=0)
    return replace(session, nobody=nobody)


def _right_microphone(session: Session, event: Answered) -> Session:
    """On with it; or all anew, for takes of two microphones are not alike."""
    if not event.yes:
        return Session(wanted=session.wanted, min_takes=session.min_takes)
    return replace(session, phase=Phase.ROOM if session.room_dbfs is None else Phase.TAKES)


def _end_of_takes(session: Session, _: Ended) -> Session:
    if len(session.takes) < session.min_takes:
        return _given_up(session, "too_few_takes")
    return replace(session, phase=Phase.ENOUGH)


def _answer(session: Session, event: Answered) -> Session:
    return replace(session, phase=Phase.OTHER if event.yes else Phase.ENOUGH)


def _other(session: Session, event: OtherHeard) -> Session:
    """After a fault the question comes again, so that nobody is caught here."""
    if event.fault:
        return replace(session, phase=Phase.MORE_PEOPLE, faults=(*session.faults, event.fault))
    others = (*session.others, event.file)
    phase = Phase.MORE_PEOPLE if len(others) < MAX_OTHERS else Phase.ENOUGH
    return replace(session, phase=phase, others=others)


def _given_up(session: Session, why: str) -> Session:
    return replace(session, phase=Phase.GIVEN_UP, why=why)


_MOVES: Mapping[tuple[Phase, type], Callable[[Session, Any], Session]] = {
    (Phase.ROOM, RoomHeard): _room,
    (Phase.TAKES, TakeHeard): _take,
    (Phase.TAKES, Ended): _end_of_takes,
    (Phase.MICROPHONE, Answered): _right_microphone,
    (Phase.MORE_PEOPLE, Answered): _answer,
    (Phase.MORE_PEOPLE, Ended): lambda session, _: replace(session, phase=Phase.ENOUGH),
    (Phase.OTHER, OtherHeard): _other,
    (Phase.OTHER, Ended): lambda session, _: replace(session, phase=Phase.ENOUGH),
}
