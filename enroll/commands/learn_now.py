"""`earmark learn now`: what the daemon heard, trained in; a short process that runs beside it, or when told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earmark.engine.commands.arguments import open_store
from earmark.engine.history.journal import open_journal
from earmark.engine.networks.card import MODELS_DIR

from ..enrolment import Enroller
from ..learning.update import Update, Updater

NICE = 10  # the detector beside it must not notice


def now(arguments: argparse.Namespace) -> int:
    """One update of everybody for whom there is something to learn."""
    with contextlib.suppress(OSError):  # a service may not be allowed to
        os.nice(NICE)
    settings = arguments.loaded.settings
    store = open_store(arguments)
    folder = Path(settings.people.models) if settings.people.models else MODELS_DIR
    updater = Updater(store, Enroller.load(folder), open_journal(settings.journal))
    for update in updater.run(time.time(), arguments.dry_run):
        lines = _lines(update, arguments.dry_run)
        print(json.dumps(update.to_json(), ensure_ascii=False) if arguments.json else "\n".join(lines))
    return 0


def _lines(update: Update, dry_run: bool) -> Iterator[str]:
    who = f"{update.name} ({update.keyword})"
    for facts in update.added:
        yield f"{who}: learned {facts['id']}, voice {_score(facts)}"
    for facts, reason in update.refused:
        yield f"{who}: not learned: {facts['id']}, voice {_score(facts)}: {reason}"
    for facts in update.dropped:
        yield f"{who}: no longer in it: {facts['id']}: it was said to be {facts['label']}"
    what = (
        "nothing was saved" if dry_run else "nothing new" if update.version is None else f"version {update.version}"
    )
    yield f"{who}: {what}; {update.waiting} of the own wakes wait, {update.impostors} of strangers are known"


def _score(facts: Mapping[str, Any]) -> str:
    return "-" if facts["score"] is None else f"{facts['score']:.2f}"
