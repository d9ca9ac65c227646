"""One enrolment that is led from a browser: a process of its own, for it needs the networks and what trains.

It is the conversation of `guided/`, told by objects of JSON on standard output, a line each, and answered on standard
input. What it hears comes from the daemon's microphone, by the daemon's socket, or from the browser, by standard
input. `python -m earmark.enroll.web.guide '{"name": …}'`: `house.Wanted` has what there is to say.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.sources import Source
from earmark.engine.errors import EarmarkError, EnrolmentRefused, InputError
from earmark.engine.networks.card import MODELS_DIR, load_manifest
from earmark.engine.networks.head import TrainLoss
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people import operations
from earmark.engine.people.keys import secret_from
from earmark.engine.people.loading import binding_of
from earmark.engine.people.store import ANY_PHRASE, PersonStore, Voiceprint
from earmark.engine.storage.names import check_new_name
from earmark.engine.verifier import Verifier

from ..enrolment import Enroller, Enrolment, Options
from ..guided import tasks
from ..guided.conversation import BROKEN_OFF, LOUD_ROOM_DBFS, Guide
from ..guided.kept import KeptSession
from ..guided.listening import Listening
from ..guided.meter import word_of
from ..guided.progress import Shown
from ..guided.screen import Answers, Screen
from ..guided.session import Session
from ..summary import VERDICTS
from ..takes import words
from ..takes.hearing import Hearing
from ..takes.quality import Fault
from ..training.alike import alike
from ..training.expected import heard_share
from .hearing import BrowserSource, DaemonSource, Lines
from .house import Wanted

BINS = 40  # of the picture
Tell = Callable[..., None]


class Page(Screen):
    """The browser as a screen: what is told has a kind, and the page has the words."""

    moves = True

    def __init__(self, lines: Lines, tell: Tell) -> None:
        super().__init__(Answers())
        self._lines, self.tell = lines, tell

    def say(self, text: str, style: str = "", indent: str = "") -> None:  # noqa: ARG002  the page has words of its own
        """That it is time to speak is all that is said in words here."""
        if text == "now":
            self.tell("now")

    def meter(self, label: str, dbfs: float, left: str = "", zone: bool = True) -> None:
        """The level, and what it is where somebody is to speak."""
        seconds = int(left.split()[0]) if left else None
        self.tell("level", label=label, dbfs=round(dbfs, 1), word=word_of(dbfs) if zone else None, left=seconds)

    def ask(self, question: str) -> str:
        """Asks what is called so; `yes` or `no`."""
        self.tell("ask", what=question)
        while (found := self._lines.answer()) is None:
            self._lines.look(10.0)
        return found

    def typed(self) -> str | None:
        """That somebody has pressed the button."""
        return self._lines.answer()

    def is_yes(self, question: str, **facts: object) -> bool:
        """Whether the answer is yes."""
        if facts:
            self.tell("facts", **facts)
        return self.ask(question) == "yes"


@dataclass
class Ear:
    """The one microphone of a session."""

    listening: Listening
    page: Page

    def is_right(self) -> bool:
        """Whether it goes on with it."""
        return self.page.is_yes("microphone")

    def choose_another(self) -> None:
        """Another one is chosen before a session begins.

        Raises:
            InputError: always.
        """
        raise InputError("choose another microphone, and begin again")


class Training(Shown):
    """Tells the page how far it is."""

    def __init__(self, tell: Tell, steps: int) -> None:
        self._tell, self._steps = tell, steps

    def stage(self, name: str, done: int, total: int) -> None:
        """A part of it."""
        self._tell("learning", stage=name, done=done, of=total)

    def step(self, number: int, loss: TrainLoss) -> None:  # noqa: ARG002
        """A tenth of the training, or so."""
        if number % 10 == 0 or number == self._steps:
            self._tell("learning", stage="training", done=number, of=self._steps)


@dataclass(frozen=True)
class PageGuide(Guide):
    """The conversation, in what a page shows."""

    @property
    def page(self) -> Page:
        """As what it is."""
        assert isinstance(self.screen, Page)
        return self.screen

    def _learning(self) -> Shown:
        self.page.tell("learning", stage="begin", done=0, of=1)
        return Training(self.page.tell, self.options.plan.steps)

    def _goes_on(self, takes: int) -> bool:
        return self.page.is_yes("go_on", takes=takes)

    def _broken_off(self, session: Session, error: BaseException) -> None:
        why = next(key.__name__ for key in BROKEN_OFF if isinstance(error, key))
        self.page.tell("broken_off", why=why, text=str(error), kept=len(session.takes) if self.kept else 0)

    def _say_room(self) -> None:
        self.page.tell("room")

    def _say_spoken(self) -> None:
        self.page.tell("verdict", good=False, reason="spoken")

    def _say_silent(self) -> None:
        self.page.tell("verdict", good=False, reason="silent")

    def _is_room_good(self, level_dbfs: float) -> bool:
        is_quiet = level_dbfs < LOUD_ROOM_DBFS
        self.page.tell("verdict", good=is_quiet, reason="quiet" if is_quiet else "loud")
        return is_quiet or self.page.is_yes("loud_room")

    def _say_task(self, session: Session) -> tasks.Task:
        task = tasks.task(session, self.phrase, self.page.beeps)
        self.page.tell(
            "take",
            number=len(session.takes) + 1,
            of=session.wanted,
            how=session.how,
            again=session.tries,
            left=session.tries_left,
            seconds=task.countdown_s,
        )
        return task

    def _say_fault(self, fault: Fault, is_earlier: bool = False, tip: int = -1) -> None:
        told = words.WORDS[fault.reason]
        tips = [one.text for one in told.tips if not one.command]
        more = words.spoken(tips[tip], self.phrase, self.name) if 0 <= tip < len(tips) else ""
        text = words.spoken(told.live, self.phrase, self.name)
        self.page.tell(
            "verdict", good=False, reason="earlier" if is_earlier else fault.reason, text=text, tip=more or fault.hint
        )

    def _say_good(self, hearing: Hearing, newest: int, number: int, of: int) -> None:
        take = hearing.heard[newest].take
        self.page.tell(
            "verdict", good=True, reason="take", number=number, of=of, snr_db=round(min(take.worst_snr_db, 99.0))
        )

    def _anybody_else(self, session: Session) -> bool:
        return self.page.is_yes("one_more" if session.others else "others")

    def _say_other(self) -> None:
        self.page.tell("other")

    def _say_heard(self, pieces: int) -> None:
        self.page.tell("verdict", good=True, reason="others", pieces=pieces)


def enrol(wanted: Wanted, lines: Lines, tell: Tell) -> None:
    """Leads somebody through one enrolment, and saves it.

    Raises:
        EarmarkError: it was refused, broken off or cannot be saved; nothing has changed but the kept session.
    """
    check_new_name(wanted.name)
    store = PersonStore(wanted.store, secret_from(wanted.key_file or None))
    is_more = operations.is_enrolled(store, wanted.name)
    enroller = Enroller.load(Path(wanted.models) if wanted.models else MODELS_DIR)
    keyword = None if wanted.keyword == ANY_PHRASE else KeywordNetwork(load_manifest(wanted.keyword))
    options = Options(far=wanted.far)
    sha256 = keyword.manifest.model_sha256 if keyword else ""
    bound = {
        **dataclasses.asdict(binding_of(sha256, enroller.speaker.card, enroller.head.card)),
        "seed": options.seed,
    }
    kept = None if store.encrypted else KeptSession(store.folder, wanted.name, wanted.keyword, bound)
    page = Page(lines, tell)
    source: Source = DaemonSource(wanted.sockets, lines) if wanted.sockets else BrowserSource(lines)
    with source:
        ear: Any = Ear(Listening(source, page), page)
        tell("begin", name=wanted.name, phrase=keyword.manifest.wake_word if keyword else "")
        enrolment = PageGuide(wanted.name, enroller, keyword, options, page, ear, kept).run()
    check = partial(operations.require_enrolled, store, wanted.name) if is_more else None
    verifier = Verifier([], enroller.speaker, enroller.head)
    others = list(_others(store, enrolment.voiceprint))
    confused = [other.name for other in alike(enrolment.voiceprint, others, verifier)]
    store.save(enrolment.voiceprint, check=check)
    if kept:
        kept.erase()
    tell("done", **result(enrolment, 1 + len(others)), alike=confused)


def result(enrolment: Enrolment, people: int) -> dict[str, Any]:
    """What to expect, and its picture: scores of own takes and of strangers, and the threshold; no voiceprint."""
    person = enrolment.voiceprint
    heard = max(min(round(100 * heard_share(person.report, len(person.takes), people)), 99), 1)
    one = enrolment.achieved[person.kind]
    counts, edges = np.histogram(one.cohort, BINS, (-0.2, 1.0))
    return {
        "name": person.name,
        "heard": heard,
        "missed": 100 - heard,
        "one_in": round(1 / person.report["wanted_far"]),
        "verdict": next(number for number, (least, _) in enumerate(VERDICTS) if heard >= least),
        "picture": {
            "from": float(edges[0]),
            "to": float(edges[-1]),
            "strangers": counts.tolist(),
            "own": [round(float(score), 3) for score in one.own],
            "threshold": round(one.threshold, 3),
        },
    }


def _others(store: PersonStore, person: Voiceprint) -> Iterator[Voiceprint]:
    for name in store.names():
        if name != person.name and person.keyword in store.keywords(name):
            other = store.load(name, person.keyword)
            if other.binding == person.binding:
                yield other


def main(argv: list[str]) -> int:
    """Runs one enrolment; the exit code."""

    def tell(kind: str, **facts: object) -> None:
        sys.stdout.write(json.dumps({"type": kind, **facts}, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    try:
        enrol(Wanted(**json.loads(argv[1])), Lines(), tell)
    except EnrolmentRefused as error:
        tell("refused", text=str(error), reasons=[fault.reason for fault in error.faults][-6:])
        return error.exit_code
    except EarmarkError as error:
        tell("error", text=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main(sys.argv))
