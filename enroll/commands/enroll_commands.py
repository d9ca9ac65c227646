"""Commands of a person who joins. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from earmark.engine.audio.files import read_audio
from earmark.engine.commands import next_steps, wakes_commands
from earmark.engine.commands.arguments import make_detector, models, networks, open_store, say_alike, store_option
from earmark.engine.commands.service.which_store import require_heard
from earmark.engine.errors import EnrolmentRefused, InputError, PersonError
from earmark.engine.event import Event
from earmark.engine.networks.card import load_card, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people import operations
from earmark.engine.people.loading import check_networks
from earmark.engine.people.store import ANY_PHRASE, FREE_SPEECH, PersonStore, Voiceprint
from earmark.engine.phrases.model import is_phrase, keyword_of
from earmark.engine.storage.names import check_new_name

from ..enrolment import Enroller, Enrolment, Options
from ..free_speech import enrol_speech
from ..guided.progress import progress
from ..layout import columns_of, told
from ..phrase.learn import PhraseTools
from ..phrase.own import OwnPhrase
from ..recordings import AnyRecording, read_recordings
from ..summary import summary, warnings
from ..takes.quality import Fault
from ..takes.rules import Limits
from ..training.alike import Alike, alike


def enroll(arguments: argparse.Namespace) -> int:
    """Learns a voice, once for each wake word: from recordings, asking nothing, or in a conversation."""
    check_new_name(arguments.name)  # refuses a bad name before the work
    require_heard(arguments)
    store = open_store(arguments, may_be_new=True)
    say_alike(arguments.name, store)
    enroller = Enroller.load(models(arguments))
    own = None if arguments.phrase is None else _own_phrase(arguments)
    is_any = arguments.any_phrase or own is not None
    keywords: list[KeywordNetwork | None] = [None] if is_any else [*networks(arguments)]
    options = Options(
        seed=arguments.seed,
        far=arguments.far,
        min_takes=arguments.min_takes,
        limits=Limits(sensitivity=arguments.sensitivity),
        trainer=arguments.trainer,
    )
    unheard = ANY_PHRASE if own is None else own.keyword
    words = [network.manifest.name if network else unheard for network in keywords]
    if arguments.talk is not None and not arguments.files and _known_for(store, arguments.name, words):
        return _talk(arguments, enroller, store, words, options)
    for note in () if arguments.json else next_steps.before_enrolling(arguments, store, words):
        _tell(f"earmark: {note}")
    made = (_from_files if arguments.files else _guided)(arguments, enroller, keywords, options, store, own)
    is_more = operations.is_enrolled(store, arguments.name)  # more of somebody; who is erased meanwhile stays so
    try:
        for enrolment, saved in made:
            verifier = enroller.verifier
            known = list(_others(store, enrolment.voiceprint, models(arguments)))
            confused = list(alike(enrolment.voiceprint, known, verifier))
            check = partial(operations.require_enrolled, store, arguments.name) if is_more else None
            version = store.save(enrolment.voiceprint, check=check)
            is_more = True
            saved()
            together = {other.name for other in known} if _shares_far(arguments) else ()
            _print_enrolment(enrolment, confused, int(version.name), 1 + len(together), arguments)
            if not arguments.json:
                step = next_steps.after_enrolling(arguments, enrolment.voiceprint.name, enrolment.voiceprint.keyword)
                print("\n".join(told(step, columns_of(sys.stdout))))
            if arguments.plot:
                from ..evaluation.plots import scores  # matplotlib is in an extra, and slow

                people = {
                    other.name: verifier.score(enrolment.voiceprint, other.takes)
                    for other in known
                    if other.binding == enrolment.voiceprint.binding
                }
                scores(enrolment.achieved, enrolment.voiceprint, people, arguments.plot)
    except EnrolmentRefused as refusal:
        return _refused(arguments, next_steps.after_a_refusal(refusal, words) if arguments.files else refusal)
    return _talk(arguments, enroller, store, words, options) if arguments.talk is not None else 0


def _refused(arguments: argparse.Namespace, refusal: EnrolmentRefused) -> int:
    """Says why; the exit code."""
    if arguments.json:
        faults = [vars(fault) for fault in refusal.faults]
        print(json.dumps({"type": "refused", "name": arguments.name, "faults": faults}, ensure_ascii=False))
    _tell(str(refusal))
    for fault in refusal.faults if arguments.verbose else ():
        _tell(f"  {fault.file}: {fault.figures()}")
    return refusal.exit_code


def _known_for(store: PersonStore, name: str, words: Sequence[str]) -> list[str]:
    """For which of these words somebody is enrolled."""
    return [word for word in words if name in store.names() and word in store.keywords(name)]


def _talk(
    arguments: argparse.Namespace, enroller: Enroller, store: PersonStore, words: Sequence[str], options: Options
) -> int:
    """Learns how somebody speaks who is enrolled: what commands are compared with."""
    name = arguments.name
    recordings, unreadable = _talk_of(arguments)
    try:
        if not recordings:
            listed = "".join(f"\n  {fault}" for fault in unreadable)
            raise EnrolmentRefused(f"none of the free speech can be read{listed}", unreadable)
        person = store.load(name, _known_for(store, name, words)[0])
        check_networks(person, person.binding.keyword, enroller.speaker.card, enroller.head.card)
        with progress(arguments.json, options.plan.steps, arguments.plain, arguments.verbose) as shown:
            made = enrol_speech(enroller, person, recordings, options, shown)
        version = store.save(made.voiceprint, check=partial(operations.require_enrolled, store, name))
    except EnrolmentRefused as refusal:
        return _refused(arguments, refusal)
    pieces = len(made.voiceprint.takes) - person.enrolled_takes
    if arguments.json:
        facts = {"name": name, "keyword": FREE_SPEECH, "version": int(version.name), "pieces": pieces}
        faults = [vars(fault) for fault in [*unreadable, *made.faults]]
        print(json.dumps({"type": "enrolled", **facts, "faults": faults}, ensure_ascii=False))
        return 0
    for fault in [*unreadable, *made.faults]:
        _tell(f"not used: {fault.told(name=name)}")
    for line in told(next_steps.after_talking(arguments, name, pieces), columns_of(sys.stdout)):
        print(line)
    return 0


def _talk_of(arguments: argparse.Namespace) -> tuple[Sequence[AnyRecording], list[Fault]]:
    """The files that are named, or what is said now."""
    if arguments.talk:
        return read_recordings(arguments.talk, arguments.channel)
    from ..guided.screen import open_screen  # rich is in an extra
    from ..guided.talking import talk_at_the_microphone

    screen = open_screen(arguments.plain, arguments.verbose, not arguments.no_beep)
    return [talk_at_the_microphone(arguments, screen)], []


def _shares_far(arguments: argparse.Namespace) -> bool:
    """Whether the wanted FAR is one of all people together, so that each one more raises the thresholds."""
    return bool(arguments.loaded.settings.people.far_of == "home")


Made = Iterator[tuple[Enrolment, Callable[[], None]]]
"""Enrolments, each with what is to be done when it is saved."""


def _from_files(
    arguments: argparse.Namespace,
    enroller: Enroller,
    keywords: list[KeywordNetwork | None],
    options: Options,
    _: PersonStore,
    own: OwnPhrase | None,
) -> Made:
    recordings, unreadable = read_recordings(arguments.files, arguments.channel)
    others, unreadable_others = read_recordings(arguments.others, arguments.channel)
    if arguments.others and not others:
        listed = "".join(f"\n  {fault}" for fault in unreadable_others)
        raise EnrolmentRefused(f"none of the others can be read{listed}", unreadable_others)
    for keyword in keywords:
        with progress(arguments.json, options.plan.steps, arguments.plain, arguments.verbose) as shown:
            enrolment = enroller.enrol(
                arguments.name,
                recordings,
                keyword,
                options,
                others=others,
                faults=[*unreadable, *unreadable_others],
                watcher=shown,
                phrase=own,
            )
        yield enrolment, _nothing_more


def _guided(
    arguments: argparse.Namespace,
    enroller: Enroller,
    keywords: list[KeywordNetwork | None],
    options: Options,
    store: PersonStore,
    own: OwnPhrase | None,
) -> Made:
    if arguments.others:
        raise InputError("--others belongs to --from: the guided session asks for others itself")
    from ..guided.screen import open_screen  # rich is in an extra
    from .guided_enrolment import guided

    yield from guided(
        arguments,
        enroller,
        keywords,
        options,
        store,
        open_screen(arguments.plain, arguments.verbose, not arguments.no_beep),
        own,
    )


def _own_phrase(arguments: argparse.Namespace) -> OwnPhrase:
    """The phrase, what learns it, and the free speech that it is told from."""
    keyword_of(arguments.phrase)  # refuses what is none before the work
    recordings, _ = read_recordings(arguments.talk or (), arguments.channel)  # `_talk` says what cannot be read
    talk = [piece for recording in recordings for piece in recording.pieces()]
    return OwnPhrase(arguments.phrase, PhraseTools.load(), talk)


def _nothing_more() -> None:
    """Files leave nothing to tidy up."""


def _others(store: PersonStore, person: Voiceprint, folder: Path) -> Iterator[Voiceprint]:
    """Everybody else of the store who is enrolled for the same wake word and can be read."""
    for name in store.names():
        if name != person.name and person.keyword in store.keywords(name):
            try:
                other = store.load(name, person.keyword)
                if other.binding == person.binding:
                    check_networks(
                        other, other.binding.keyword, load_card("speaker", folder), load_card("head", folder)
                    )
                    yield other
            except PersonError as error:
                print(f"earmark: not compared with {name}: {error}", file=sys.stderr)


def plot(arguments: argparse.Namespace) -> int:
    """Draws the timeline of a recording."""
    from ..evaluation.plots import timeline  # matplotlib is in an extra, and slow

    detector = make_detector(arguments)
    samples = read_audio(arguments.file, arguments.channel)
    timeline(samples, networks(arguments), detector, arguments.out)
    if arguments.json:
        print(json.dumps({"picture": arguments.out}))
    else:
        print(arguments.out)
    return 0


def show_wake(arguments: argparse.Namespace) -> int:
    """`earmark wakes show N --plot`: everything about an entry of the journal, and its picture.

    The keyword network hears the clip from a fresh state, as if nothing had been said before it.
    """
    from ..evaluation.plots import picture  # matplotlib is in an extra, and slow

    entry, samples = wakes_commands.find(arguments)
    names = wakes_commands.settings_of(arguments).wake.keywords
    manifests = {manifest.name: manifest for manifest in map(load_manifest, names)}
    word = entry.event["keyword"]
    heard = [] if is_phrase(word) else [KeywordNetwork(manifests.get(word) or load_manifest(word))]
    scores = {key: entry.event[key] for key in ("keyword_score", "person", "speaker_score", "reason")}
    event = Event(type=entry.event["type"], keyword=word, sample=entry.word_end, **scores)
    picture(samples, heard, [event], arguments.plot)
    return wakes_commands.show(arguments)


def _print_enrolment(
    enrolment: Enrolment, confused: list[Alike], version: int, people: int, arguments: argparse.Namespace
) -> None:
    person, report = enrolment.voiceprint, enrolment.voiceprint.report
    facts: dict[str, Any] = {
        "type": "enrolled",
        "name": person.name,
        "keyword": person.keyword,
        "version": version,
        "kind": person.kind,
        "trainer": person.trainer,
        "threshold": round(person.threshold, 4),
        "takes": len(person.takes),
        "faults": [vars(fault) for fault in enrolment.faults],
        "alike": [vars(other) for other in confused],
        "report": dict(report),
    }
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for fault in enrolment.faults if arguments.files else ():  # a conversation has told them already
        _tell(f"not used: {fault.told(name=person.name)}")
        if arguments.verbose:
            _tell(f"  {fault.figures()}")
    again = _again(arguments, person)
    is_you = not arguments.files
    for line in summary(person, version, columns_of(sys.stdout), arguments.verbose, is_you, again, people):
        print(line)
    for paragraph in warnings(person, confused, arguments.verbose, again):
        _tell(paragraph)


def _again(arguments: argparse.Namespace, person: Voiceprint) -> str:
    """What enrols the person once more, for the same wake word, in the same place."""
    if person.phrase is not None:
        words = f" --phrase {shlex.quote(person.phrase.text)}"
    else:
        is_any = person.keyword == ANY_PHRASE
        words = " --any-phrase" if is_any else next_steps.keyword_options(arguments, person.keyword)
    return f"earmark enroll {shlex.quote(person.name)}{words}{store_option(arguments)}"


def _tell(text: str) -> None:
    """On standard error, as wide as that is."""
    for line in told(text, columns_of(sys.stderr)):
        print(line, file=sys.stderr)
