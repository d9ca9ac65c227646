"""Satellites that hear one utterance: only the one that heard it best tells of it, once the others had their time.

It is asked for by `wyoming.together_s`. A round begins with the first satellite that hears a wake word. It ends after
that time, or as soon as all that send audio have heard the word. Then each person who is named has one event: that of
the best score. Rejections and near-misses count only where nobody is named. The clock is the event loop's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from ...event import Event

_LOG = logging.getLogger(__name__)


class Satellite(Protocol):
    """A client, as far as others may hear what it hears."""

    host: str
    trusted: bool

    @property
    def listens(self) -> bool:
        """Whether it sends audio now in which a wake word may come."""


class Heard:
    """What a satellite heard, until it is known whether it tells of it."""

    def __init__(self, satellite: Satellite, event: Event) -> None:
        self.satellite, self.event = satellite, event
        self.decided = asyncio.Event()
        self._won: bool | None = None
        self._waiting: list[Callable[[], None]] = []

    def then(self, tell: Callable[[], None]) -> None:
        """Calls it where this one tells of it: now, or once that is known."""
        if self._won is None:
            self._waiting.append(tell)
        elif self._won:
            tell()

    def decide(self, won: bool) -> None:
        """It is known."""
        self._won = won
        self.decided.set()
        waiting, self._waiting = self._waiting, []
        for tell in waiting if won else ():
            tell()

    @property
    def rank(self) -> tuple[bool, bool, bool, float, float]:
        """More is better; who is not trusted takes no wake from who is."""
        event = self.event
        score = -1.0 if event.speaker_score is None else event.speaker_score
        known = event.person is not None
        return event.type == "detection", self.satellite.trusted, known, score, event.keyword_score


class Together:
    """All rounds; everything runs in the loop of the sink.

    Args:
        wait_s: so long a round waits for others.
        satellites: all that are connected.
    """

    def __init__(self, wait_s: float, satellites: Callable[[], list[Satellite]]) -> None:
        self._wait_s, self._satellites = wait_s, satellites
        self._rounds: dict[str, list[Heard]] = {}  # by wake word
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def hear(self, heard: Heard) -> None:
        """Something that perhaps others hear, too; it is decided at once where no other sends audio."""
        keyword = heard.event.keyword
        found = self._rounds.setdefault(keyword, [])
        found.append(heard)
        if keyword not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[keyword] = loop.call_later(self._wait_s, self._decide, keyword)
        have_heard = [one.satellite for one in found]
        trusted = any(one.trusted for one in have_heard)  # they do not wait for others
        awaited = [one for one in self._satellites() if one.listens and one.trusted >= trusted]
        if all(one in have_heard for one in awaited):
            self._decide(keyword)

    def finish(self) -> None:
        """Nobody else is waited for."""
        for keyword in list(self._rounds):
            self._decide(keyword)

    def _decide(self, keyword: str) -> None:
        self._timers.pop(keyword).cancel()
        found = self._rounds.pop(keyword)
        winners = chosen(found)
        for heard in found:
            won = heard in winners
            if not won:
                _LOG.info("wyoming: %s heard what %s heard better", heard.satellite.host, winners[0].satellite.host)
            heard.decide(won)


def chosen(found: list[Heard]) -> list[Heard]:
    """Of what was heard of one utterance what is told: the best of each person, or else the best of nobody."""
    winners: list[Heard] = []
    for heard in sorted(found, key=lambda one: one.rank, reverse=True):
        persons = {one.event.person for one in winners}
        if not winners or (heard.event.person not in (*persons, None) and heard.event.type == "detection"):
            winners.append(heard)
    return winners
