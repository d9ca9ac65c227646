"""`earmark learn list | undo | forget`: what was learned and what waits to be. Each returns an exit code."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import InputError, PersonError, did_you_mean
from ..history.queue import LearningQueue, QueuedWake
from ..history.updates import take_back
from ..people.store import PersonStore
from .arguments import open_store


def show_all(arguments: argparse.Namespace) -> int:
    """What each person learned, what waits, and how many strangers' wakes are kept."""
    store = open_store(arguments)
    heard = [one for one in LearningQueue(store).read() if arguments.name in (None, one.label or one.person)]
    shown = [*_learned(store, arguments.name), *_waiting(heard)]
    for facts in shown:
        print(json.dumps(facts, ensure_ascii=False) if arguments.json else _line(facts))
    strangers = sum(not one.is_own for one in heard)
    if not arguments.json:
        if not shown:
            print("nothing was learned, and nothing waits to be")
        print(f"wakes of strangers that are kept to tell strangers by: {strangers}")
    return 0


def undo(arguments: argparse.Namespace) -> int:
    """Takes the last update back, or with --all everything since the enrolment; exactly, and for good."""
    store = open_store(arguments)
    words = store.keywords(arguments.name)
    keywords = [key for key in words if arguments.keyword_of in (None, key)]
    if not keywords:
        near = did_you_mean(arguments.keyword_of, words) or ":"
        raise InputError(f"{arguments.name!r} is not enrolled for {arguments.keyword_of!r}{near} {', '.join(words)}")
    learned = [key for key in keywords if store.load(arguments.name, key).learned]
    if not learned:
        raise InputError(f"{arguments.name!r} has learned nothing: `earmark learn list` shows who has")
    if len(learned) > 1:
        raise InputError(f"{arguments.name!r} has learned for {', '.join(learned)}: say for which, with --for")
    version, gone = take_back(store, arguments.name, learned[0], arguments.all)
    report = {"name": arguments.name, "keyword": learned[0], "version": version, "taken_back": gone}
    text = f"{arguments.name} ({learned[0]}): {len(gone)} taken back, version {version} counts again"
    print(json.dumps(report, ensure_ascii=False) if arguments.json else text)
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Erases what waits to be learned: of one person, or all of it, strangers too."""
    if (arguments.name is None) == (not arguments.all):
        raise InputError("say whose: `earmark learn forget NAME`, or `earmark learn forget --all`")
    store = open_store(arguments)
    count = LearningQueue(store).forget(arguments.name)
    if not count and arguments.name is not None:
        store.keywords(arguments.name)  # who is not there was perhaps mistyped
    print(json.dumps({"forgotten": count}) if arguments.json else f"{count} erased")
    return 0


def _learned(store: PersonStore, name: str | None) -> Iterator[dict[str, Any]]:
    for person in store.names() if name is None else [name]:
        try:
            for keyword in store.keywords(person):
                for facts in store.load(person, keyword).learned:
                    yield {"state": "learned", "name": person, "for": keyword, **facts}
        except PersonError as error:
            if name is not None:
                raise
            print(f"earmark: {person} is left out: {error}", file=sys.stderr)


def _waiting(heard: list[QueuedWake]) -> Iterator[dict[str, Any]]:
    for one in heard:
        yield {"state": "waiting" if one.is_own else "stranger", "name": one.label or one.person, **one.facts()}


def _line(facts: dict[str, Any]) -> str:
    at = datetime.datetime.fromtimestamp(float(facts["at_s"])).astimezone()
    score = "" if facts["score"] is None else f"  voice {facts['score']:.2f}"
    label = f"  = {facts['label']}" if facts["label"] else ""
    return (
        f"{facts['state']:8}  {at:%Y-%m-%d %H:%M:%S}  {facts['name'] or 'nobody known'}  {facts['keyword']}"
        f"{score}  {facts['source']}{label}"
    )
