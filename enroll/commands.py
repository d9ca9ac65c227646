"""Commands of a person who joins. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from earmark.engine.console import make_detector, networks
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.files import read_audio
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.person import PersonStore, folder_name

from .enrolment import Enroller, Enrolment, Options, Recording
from .progress import progress
from .quality import Fault


def enroll(arguments: argparse.Namespace) -> int:
    """Learns a voice from recordings, once for each wake word; asks nothing."""
    folder_name(arguments.name)  # refuses a bad name before the work
    enroller = Enroller.shipped()
    keywords: list[KeywordNetwork | None] = [None] if arguments.any_phrase else [*networks(arguments)]
    recordings, unreadable = _read(arguments.files)
    options = Options(seed=arguments.seed, far=arguments.far, min_takes=arguments.min_takes)
    store = PersonStore(arguments.store)
    for keyword in keywords:
        try:
            with progress(arguments.json, options.plan.steps) as shown:
                enrolment = enroller.enrol(
                    arguments.name, recordings, keyword, options, shown.stage, shown.step, faults=unreadable
                )
        except EnrolmentRefused as refusal:
            if arguments.json:
                faults = [vars(fault) for fault in refusal.faults]
                print(json.dumps({"type": "refused", "name": arguments.name, "faults": faults}, ensure_ascii=False))
            raise
        version = store.save(enrolment.voiceprint)
        _print_enrolment(enrolment, int(version.name), arguments.json)
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """Draws the timeline of a recording."""
    from .plots import timeline  # matplotlib is in an extra, and slow

    timeline(read_audio(arguments.file), networks(arguments), make_detector(arguments), arguments.out)
    if arguments.json:
        print(json.dumps({"picture": arguments.out}))
    else:
        print(arguments.out)
    return 0


def _read(files: list[str]) -> tuple[list[Recording], list[Fault]]:
    """The recordings, and the faults of those that cannot be read."""
    recordings, faults = [], []
    for file in files:
        try:
            recordings.append(Recording.read(file))
        except AudioError as error:
            faults.append(Fault(file, "unreadable", str(error).removeprefix(f"{file}: ")))
    return recordings, faults


def _print_enrolment(enrolment: Enrolment, version: int, as_json: bool) -> None:
    person, report = enrolment.voiceprint, enrolment.voiceprint.report
    facts: dict[str, Any] = {
        "type": "enrolled",
        "name": person.name,
        "keyword": person.keyword,
        "version": version,
        "kind": person.kind,
        "threshold": round(person.threshold, 4),
        "takes": len(person.takes),
        "faults": [vars(fault) for fault in enrolment.faults],
        "report": dict(report),
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for fault in enrolment.faults:
        print(f"not used: {fault}", file=sys.stderr)
    own = report["leave_one_out"].get(person.kind, {}).get("own", [])
    print(f"{person.name}: enrolled for {person.keyword} from {len(person.takes)} takes (version {version})")
    print(f"  score      {'plain cosine' if person.kind == 'cosine' else 'cosine and trained head'}")
    print(f"  threshold  {person.threshold:.2f}, for {100 * report['wanted_far']:g} % of strangers")
    if own:
        print(f"  own takes, each left out in turn  {'  '.join(f'{score:.2f}' for score in own)}")
    print(f"  strangers, on average             {report['impostor_mean']:.2f}")
