"""Commands of a person who joins. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.engine import wakes_commands
from earmark.engine.card import load_manifest
from earmark.engine.console import make_detector, models, networks, open_store
from earmark.engine.detector import Event
from earmark.engine.errors import EnrolmentRefused, InputError, PersonError
from earmark.engine.files import read_audio
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.person import PersonStore, Voiceprint, folder_name
from earmark.engine.verifier import Verifier

from .conditions import Conditions, read_noises
from .enrolment import Enroller, Enrolment, Options, read_recordings
from .evaluate import Setup, read_trials
from .evaluate import evaluate as run_evaluation
from .household import Alike, alike
from .progress import progress


def enroll(arguments: argparse.Namespace) -> int:
    """Learns a voice from recordings, once for each wake word; asks nothing."""
    folder_name(arguments.name)  # refuses a bad name before the work
    enroller = Enroller.load(models(arguments))
    keywords: list[KeywordNetwork | None] = [None] if arguments.any_phrase else [*networks(arguments)]
    recordings, unreadable = read_recordings(arguments.files)
    others, unreadable_others = read_recordings(arguments.others)
    options = Options(seed=arguments.seed, far=arguments.far, min_takes=arguments.min_takes)
    store = open_store(arguments)
    for keyword in keywords:
        try:
            if arguments.others and not others:
                listed = "".join(f"\n  {fault}" for fault in unreadable_others)
                raise EnrolmentRefused(f"none of the others can be read{listed}", unreadable_others)
            with progress(arguments.json, options.plan.steps) as shown:
                enrolment = enroller.enrol(
                    arguments.name,
                    recordings,
                    keyword,
                    options,
                    shown.stage,
                    shown.step,
                    faults=[*unreadable, *unreadable_others],
                    others=others,
                )
        except EnrolmentRefused as refusal:
            if arguments.json:
                faults = [vars(fault) for fault in refusal.faults]
                print(json.dumps({"type": "refused", "name": arguments.name, "faults": faults}, ensure_ascii=False))
            raise
        verifier = Verifier([], enroller.speaker, enroller.head)
        confused = list(alike(enrolment.voiceprint, _others(store, enrolment.voiceprint), verifier))
        version = store.save(enrolment.voiceprint)
        _print_enrolment(enrolment, confused, int(version.name), arguments.json)
    return 0


def _others(store: PersonStore, person: Voiceprint) -> Iterator[Voiceprint]:
    """Everybody else of the store who is enrolled for the same wake word and can be read."""
    for name in store.names():
        if name != person.name and person.keyword in store.keywords(name):
            try:
                yield store.load(name, person.keyword)
            except PersonError as error:
                print(f"earmark: not compared with {name}: {error}", file=sys.stderr)


def evaluate(arguments: argparse.Namespace) -> int:
    """Measures error rates on a trial list, through the real enrolment."""
    trials = read_trials(Path(arguments.trials))
    keyword = None if arguments.any_phrase else _one_network(arguments)
    setup = Setup(
        Enroller.load(models(arguments)),
        keyword,
        Options(far=arguments.far, min_takes=1),
        arguments.takes,
        Conditions(
            room_rt60_s=arguments.room,
            noises=read_noises(Path(arguments.noise)) if arguments.noise else (),
            snr_db=arguments.snr_db,
            telephone=arguments.telephone,
            gain_db=arguments.gain_db,
        ),
    )
    with progress(arguments.json == "-", 0) as shown:
        results = run_evaluation(trials, replace(setup, on_progress=shown.stage))
    if trials.negatives and keyword is None:
        print("earmark: negative rows need --keyword: without one nothing can wake falsely", file=sys.stderr)
    for line in (*results.refused, *results.unreadable):
        print(f"earmark: left out: {line}", file=sys.stderr)
    if arguments.plot:
        from .plots import det  # matplotlib is in an extra, and slow

        det(results.systems, arguments.plot)
    values = results.to_json()
    text = json.dumps(values, indent=None if arguments.json == "-" else 1, ensure_ascii=False)
    if arguments.json and arguments.json != "-":
        _write_text(Path(arguments.json), text + "\n")
    print(text if arguments.json == "-" else _table(values))
    return 0


def _write_text(path: Path, text: str) -> None:
    """All of it or nothing: whoever reads the file meanwhile sees the old one."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _one_network(arguments: argparse.Namespace) -> KeywordNetwork:
    found = networks(arguments)
    if len(found) != 1:
        raise InputError(f"{len(found)} wake words are named: a trial list is measured with one --keyword")
    return found[0]


def _table(values: dict[str, Any]) -> str:
    """The rates in %, with their 95 % intervals, for people."""
    columns = {
        "eer": "EER",
        "frr_at_far_0.01": "FRR at 1 % FAR",
        "frr_at_far_0.001": "FRR at 0.1 % FAR",
        "frr_at_enrolled": "FRR enrolled",
        "far_at_enrolled": "FAR enrolled",
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
    return "\n".join(lines)


def plot(arguments: argparse.Namespace) -> int:
    """Draws the timeline of a recording."""
    from .plots import timeline  # matplotlib is in an extra, and slow

    timeline(read_audio(arguments.file), networks(arguments), make_detector(arguments), arguments.out)
    if arguments.json:
        print(json.dumps({"picture": arguments.out}))
    else:
        print(arguments.out)
    return 0


def show_wake(arguments: argparse.Namespace) -> int:
    """`earmark wakes show N --plot`: everything about an entry of the journal, and its picture.

    The keyword network hears the clip from a fresh state, as if nothing had been said before it.
    """
    from .plots import picture  # matplotlib is in an extra, and slow

    entry, samples = wakes_commands.find(arguments)
    names = wakes_commands.settings_of(arguments).wake.keywords
    manifests = {manifest.name: manifest for manifest in map(load_manifest, names)}
    word = entry.event["keyword"]
    manifest = manifests.get(word) or load_manifest(word)
    scores = {key: entry.event[key] for key in ("keyword_score", "person", "speaker_score", "reason")}
    event = Event(type=entry.event["type"], keyword=word, sample=entry.word_end, **scores)
    picture(samples, [KeywordNetwork(manifest)], [event], arguments.plot)
    return wakes_commands.show(arguments)


def _print_enrolment(enrolment: Enrolment, confused: list[Alike], version: int, as_json: bool) -> None:
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
        "alike": [vars(other) for other in confused],
        "report": dict(report),
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for fault in enrolment.faults:
        print(f"not used: {fault}", file=sys.stderr)
    own = report["leave_one_out"].get(person.kind, {}).get("own", [])
    expected = report["expected_frr"]
    print(f"{person.name}: enrolled for {person.keyword} from {len(person.takes)} takes (version {version})")
    print(f"  score      {'plain cosine' if person.kind == 'cosine' else 'cosine and trained head'}")
    print(f"  threshold  {person.threshold:.2f}, for {100 * report['wanted_far']:g} % of strangers")
    if own:
        print(f"  own takes, each left out in turn  {'  '.join(f'{score:.2f}' for score in own)}")
        low, high = expected["ci95"]
        print(
            f"  of which would be rejected        {expected['rejected']} of {expected['of']} "
            f"(from then on {100 * low:.0f} to {100 * high:.0f} %, 95 % interval)"
        )
    others = report.get("others")
    if others:
        trained = (
            f"trained against {others['trained']}" if others["trained"] else "the plain cosine learns nothing of them"
        )
        print(
            f"  others     {others['crops']} crops of {others['recordings']} recordings: {trained}; "
            f"{others['let_in']} would be let in"
        )
    for other in confused:
        print(
            f"warning: {person.name} and {other.name} sound alike: {other.theirs} of {other.theirs_of} takes of "
            f"{other.name} pass as {person.name}, {other.own} of {other.own_of} the other way round; enrol both "
            "again with more takes, or with --far 0.001",
            file=sys.stderr,
        )
