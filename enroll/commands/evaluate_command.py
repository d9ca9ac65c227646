"""`earmark evaluate`: error rates on a trial list, for people and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.engine.commands.arguments import models, networks
from earmark.engine.errors import InputError
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.storage.targets import require_writable, write

from ..enrolment import Enroller
from ..evaluation.channels import require_microphone
from ..evaluation.conditions import ANY_MICROPHONE, Conditions, read_noises
from ..evaluation.evaluate import Results, Setup, read_trials
from ..evaluation.evaluate import evaluate as run_evaluation
from ..evaluation.workers import Threads, Workers, processors
from ..guided.progress import progress
from ..options import as_they_are

STDOUT = "-"
LEFT_OUT = 2
"""Exit code where rows could not be read: that of bad input."""


def evaluate(arguments: argparse.Namespace) -> int:
    """Measures error rates on a trial list, through the real enrolment; exit 2 where rows could not be read."""
    return evaluate_with(arguments, Threads(arguments.threads or processors()))


def setup_of(arguments: argparse.Namespace) -> Setup:
    """How to measure, by the options; networks and noise are read."""
    return Setup(
        Enroller.load(models(arguments)),
        None if arguments.any_phrase else _one_network(arguments),
        replace(as_they_are(arguments.far), trainer=arguments.trainer),
        arguments.takes,
        _conditions(arguments),
        Conditions(telephone=arguments.takes_telephone) if arguments.takes_telephone else None,
        arguments.channel,
        kept=Path(arguments.keep) if arguments.keep else None,
    )


def evaluate_with(arguments: argparse.Namespace, workers: Workers) -> int:
    """The same by whoever does the work (scripts/studies/shards.py)."""
    _require_targets(arguments)
    trials = read_trials(Path(arguments.trials))
    _say("named twice", trials.repeated)
    setup = setup_of(arguments)
    with progress(arguments.json == STDOUT, 0) as shown:
        results = run_evaluation(trials, replace(setup, on_progress=shown.stage), workers)
    values = results.to_json(arguments.per_person)
    text = json.dumps(values, indent=None if arguments.json == STDOUT else 1, ensure_ascii=False)
    if arguments.json and arguments.json != STDOUT:
        write(arguments.json, (text + "\n").encode())
    print(text if arguments.json == STDOUT else table(values), flush=True)
    if arguments.plot:
        from ..evaluation.plots import det  # matplotlib is in an extra, and slow

        det(results.systems, arguments.plot)
    if trials.negatives and setup.keyword is None:
        print("earmark: negative rows need --keyword: without one nothing can wake falsely", file=sys.stderr)
    return _said(results)


def _conditions(arguments: argparse.Namespace) -> Conditions:
    """Of the test rows.

    Raises:
        InputError: there is no such microphone, or no recording in a folder.
    """
    if arguments.microphone not in (None, ANY_MICROPHONE):
        require_microphone(arguments.microphone)
    return Conditions(
        first_part=arguments.first_part,
        room_rt60_s=arguments.room,
        direct_to_reverberant_db=arguments.direct_db,
        noises=read_noises(Path(arguments.noise)) if arguments.noise else (),
        snr_db=arguments.snr_db,
        voices=read_noises(Path(arguments.talker), "speech") if arguments.talker else (),
        talkers=arguments.talkers,
        microphone=arguments.microphone,
        clipped_db=arguments.clip_db,
        telephone=arguments.telephone,
        gain_db=arguments.gain_db,
    )


def _require_targets(arguments: argparse.Namespace) -> None:
    """Raises InputError where a result could not be written when the work is done."""
    if arguments.json and arguments.json != STDOUT:
        require_writable(arguments.json)
    if arguments.plot:
        from ..evaluation.plots import require_picture  # matplotlib is in an extra, and slow

        require_picture(arguments.plot)
        if arguments.json and Path(arguments.json).absolute() == Path(arguments.plot).absolute():
            raise InputError(f"--json {arguments.json} and --plot name the same file: name two")


def _said(results: Results) -> int:
    """Says what was left out, in order of the roles; the exit code."""
    _say("not enrolled", results.refused)
    _say("not used", results.not_used)
    for role, lines in results.unreadable.items():
        _say(f"left out ({role})", lines)
    count = sum(map(len, results.unreadable.values()))
    if not count:
        return 0
    print(
        f"earmark: {count} {'row' if count == 1 else 'rows'} could not be read and count for nothing above: mend or "
        "remove them",
        file=sys.stderr,
    )
    return LEFT_OUT


def _say(what: str, lines: list[str]) -> None:
    for line in lines:
        print(f"earmark: {what}: {line}", file=sys.stderr)


def _one_network(arguments: argparse.Namespace) -> KeywordNetwork:
    found = networks(arguments)
    if len(found) != 1:
        raise InputError(f"{len(found)} wake words are named: a trial list is measured with one --keyword")
    return found[0]


def table(values: dict[str, Any]) -> str:
    """The rates in %, with their 95 % intervals, and those of each person where they are in it."""
    columns = {
        "eer": "EER",
        "frr_at_far_0.01": "FRR at 1 % FAR",
        "frr_at_far_0.001": "FRR at 0.1 % FAR",
        "frr_at_enrolled": "FRR enrolled",
        "far_at_enrolled": "FAR enrolled",
        "frr_at_enrolled_macro": "FRR, person by person",
        "far_at_enrolled_macro": "FAR, person by person",
    }
    counts = values["trials"]
    lines = [f"{counts['target']} own trials, {counts['impostor']} of strangers; % with 95 % intervals over speakers"]
    lines.append("".join(f"{title:>22}" for title in ("", *columns.values())))
    for name, rates in values["systems"].items():
        cells = [
            f"{100 * rates[key]:.2f} [{100 * rates['ci95'][key][0]:.1f}, {100 * rates['ci95'][key][1]:.1f}]"
            for key in columns
        ]
        lines.append(f"{name:>22}" + "".join(f"{cell:>22}" for cell in cells))
    if values["false_accepts_per_hour"] is not None:
        lines.append(f"false accepts per hour: {values['false_accepts_per_hour']:.2f}")
    for person in values.get("people", ()):
        own, strangers = person["own"], person["strangers"]
        lines.append(
            f"{person['phrase']}/{person['name']}: {own['rejected']} of {own['tries']} own tries rejected, "
            f"{strangers['accepted']} of {strangers['tries']} of strangers let in; threshold "
            f"{person['threshold']:.2f}"
        )
    return "\n".join(lines)
