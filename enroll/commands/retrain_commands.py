"""`earmark people retrain` and `merge`. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from earmark.engine.commands.arguments import models, open_store
from earmark.engine.commands.people_commands import also_text, journal_of, tell_settings
from earmark.engine.errors import InputError, PersonError
from earmark.engine.networks.card import builtin_keywords, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork

from ..enrolment import Enroller
from ..guided.progress import progress
from ..learning.retrain import Remade, merge, remade
from ..training.train import TrainPlan


def retrain(arguments: argparse.Namespace) -> int:
    """New voiceprints from what was kept; all are made before the first is saved."""
    store = open_store(arguments)
    enroller, networks = Enroller.load(models(arguments)), _Networks(arguments.keyword)
    made = []
    left_out = 0
    for name in arguments.names or store.names():
        try:
            for keyword in store.keywords(name):
                with progress(arguments.json, TrainPlan().steps) as shown:
                    made.append(remade(store, name, keyword, enroller, networks, shown))
        except PersonError as error:  # nobody has asked for this one by name
            if arguments.names:
                raise
            left_out += 1
            print(f"earmark: {name} is left out: {error}", file=sys.stderr)
    for new in made:
        try:
            _print_remade(new, new.save(store), arguments.json)
        except PersonError as error:  # who was erased or changed meanwhile stays so; the others are saved
            left_out += 1
            print(f"earmark: {error}", file=sys.stderr)
    if left_out:
        print(f"earmark: {left_out} could not be made anew", file=sys.stderr)
    return PersonError.exit_code if left_out else 0


def merge_people(arguments: argparse.Namespace) -> int:
    """One person of two names."""
    store, name, other = open_store(arguments), arguments.name, arguments.other
    enroller, networks = Enroller.load(models(arguments)), _Networks(arguments.keyword)
    with progress(arguments.json, TrainPlan().steps) as shown:
        journal = journal_of(arguments, store)
        made, also = merge(store, name, other, enroller, networks, arguments.force, shown, journal)
    for new in made:
        _print_remade(new, store.versions(name, new.voiceprint.keyword)[-1], arguments.json)
    words = store.keywords(name)
    if arguments.json:
        report: dict[str, Any] = {"merged": other, "name": name, "keywords": words}
        report.update(waiting=len(also.waiting), wakes=len(also.wakes))
        print(json.dumps(report, ensure_ascii=False))
    else:
        print(f"{other} is {name} now ({', '.join(words)}){also_text(also)}; {other} is erased")
    tell_settings(arguments, other, name)
    return 0


class _Networks:
    """The keyword networks by name: those of `--keyword`, else built-in ones; each is opened once."""

    def __init__(self, named: list[str]) -> None:
        self._manifests = {manifest.name: manifest for manifest in map(load_manifest, named)}
        self._opened: dict[str, KeywordNetwork] = {}

    def __call__(self, keyword: str) -> KeywordNetwork:
        if keyword not in self._opened:
            if keyword not in self._manifests and keyword not in builtin_keywords():
                raise InputError(f"the wake word {keyword!r} is not a built-in one: name its manifest with --keyword")
            self._opened[keyword] = KeywordNetwork(self._manifests.get(keyword) or load_manifest(keyword))
        return self._opened[keyword]


def _print_remade(new: Remade, version: int, as_json: bool) -> None:
    person = new.voiceprint
    facts: dict[str, Any] = {
        "type": "retrained",
        "name": person.name,
        "keyword": person.keyword,
        "version": version,
        "from": new.source,
        "kind": person.kind,
        "trainer": person.trainer,
        "threshold": round(person.threshold, 4),
        "takes": len(person.takes),
        "expected_frr": person.report["expected_frr"],
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    expected = person.report["expected_frr"]
    print(
        f"{person.name} ({person.keyword}): version {version} from {len(person.takes)} takes' {new.source}, "
        f"{person.kind}, threshold {person.threshold:.2f}; of the takes, each left out in turn, "
        f"{expected['rejected']} of {expected['of']} would be rejected"
    )
