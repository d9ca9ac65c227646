"""Enrolment in one call, for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Union

import numpy as np

from earmark.engine.audio.opening import open_source
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.networks.card import MODELS_DIR, KeywordManifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.loading import check_networks
from earmark.engine.people.store import Voiceprint
from earmark.engine.phrases.model import keyword_of
from earmark.engine.storage.names import check_new_name

from . import free_speech
from .enrolment import Enroller, Enrolment, Options, Recording
from .phrase.learn import PhraseTools
from .phrase.own import OwnPhrase
from .recordings import AnyRecording, RecordedFile, read_recordings
from .takes.quality import Fault

Take = Union[str, "os.PathLike[str]", Recording, RecordedFile, Int16, Float32]
"""A path, a recording, or an array."""


def enrol(
    name: str,
    recordings: Take | Sequence[Take],
    keyword: KeywordNetwork | KeywordManifest | str | os.PathLike[str] | None = "okay_nabu",
    *,
    phrase: str | None = None,
    talk: Take | Sequence[Take] = (),
    others: Take | Sequence[Take] = (),
    options: Options | None = None,
    rate_hz: int = RATE_HZ,
    floats: bool = False,
    channel: int | None = None,
    models: str | os.PathLike[str] = MODELS_DIR,
) -> Enrolment:
    """Learns a voice from recordings of the wake word; nothing is written until `Enrolment.save`.

    >>> from glob import glob
    >>> files = sorted(glob("tests/audio/slt_okay_nabu_enroll_*.flac"))
    >>> enrolment = earmark.enrol("slt", files)
    >>> len(enrolment.voiceprint.takes), enrolment.faults
    (5, [])

    Args:
        name: of the person.
        recordings: five or more of the wake word, three at least: paths of audio files, or arrays (n,) of int16 at
            16 kHz. One file may hold several takes.
        keyword: the wake word: the name of a built-in one, the path of a manifest, or a network; None: any phrase,
            one a recording.
        phrase: a wake word of the person's own as it is spoken, instead of `keyword`; one take a recording.
        talk: anything else that the person says, half a minute is best: a phrase is told from it.
        others: other people at the same microphone, saying the wake word or anything else: the voice is trained
            against theirs too. Nothing of them is kept but the trained head.
        options: the wanted share of strangers, the least number of takes, the seed.
        rate_hz: of arrays; files say it themselves.
        floats: arrays hold floats in -1…1.
        channel: of files, only this one, from 0; None: those that hold the voice.
        models: folder of speaker network, head and cohort; by default those that earmark carries.

    Raises:
        EnrolmentRefused: too few good takes; the message says of each recording why, `faults` the same in parts.
        AudioError: an array is no audio.
        KeywordError: the wake word is unknown, or its network cannot be used.
        InputError: the name cannot be used.
        ModelError: the networks cannot be used.
    """
    check_new_name(name)  # refuses a bad name before the work
    own = None if phrase is None else _own(phrase, _read(talk, rate_hz, floats, channel)[0])
    keyword = None if own is not None else keyword
    if keyword is not None and not isinstance(keyword, KeywordNetwork):
        keyword = KeywordNetwork(keyword)
    takes, unreadable = _read(recordings, rate_hz, floats, channel)
    strangers, unreadable_others = _read(others, rate_hz, floats, channel)
    faults = [*unreadable, *unreadable_others]
    if unreadable_others and not strangers:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise EnrolmentRefused(f"{name!r} was not enrolled: none of the others can be read{listed}", faults)
    enroller = Enroller.load(Path(models))
    return enroller.enrol(name, takes, keyword, options, faults=faults, others=strangers, phrase=own)


def _own(phrase: str, talk: Sequence[AnyRecording]) -> OwnPhrase:
    keyword_of(phrase)  # refuses what is none before the work
    return OwnPhrase(phrase, PhraseTools.load(), [piece for recording in talk for piece in recording.pieces()])


def enrol_speech(
    person: Voiceprint,
    recordings: Take | Sequence[Take],
    *,
    options: Options | None = None,
    rate_hz: int = RATE_HZ,
    floats: bool = False,
    channel: int | None = None,
    models: str | os.PathLike[str] = MODELS_DIR,
) -> Enrolment:
    """Learns how somebody speaks who is enrolled, from anything they say; nothing is written until `Enrolment.save`.

    A detector with `confirm` compares commands with it.

    Args:
        person: as `enrol` made it, or the store has it; with the networks of `models`.
        recordings: of the person alone; half a minute together is best. As those of `enrol`.
        options: the seed.
        rate_hz: of arrays; files say it themselves.
        floats: arrays hold floats in -1…1.
        channel: of files, only this one, from 0; None: those that hold the voice.
        models: folder of speaker network, head and cohort; by default those that earmark carries.

    Raises:
        EnrolmentRefused: too little is said, or much of it by somebody else.
        PersonMismatch: the person was enrolled with other networks.
        AudioError: an array is no audio.
        ModelError: the networks cannot be used.
    """
    said, unreadable = _read(recordings, rate_hz, floats, channel)
    enroller = Enroller.load(Path(models))
    check_networks(person, person.binding.keyword, enroller.speaker.card, enroller.head.card)
    made = free_speech.enrol_speech(enroller, person, said, options)
    return replace(made, faults=[*unreadable, *made.faults])


def _read(
    takes: Take | Sequence[Take], rate_hz: int, floats: bool, channel: int | None
) -> tuple[list[AnyRecording], list[Fault]]:
    """Recordings of what is given, and the faults of files that cannot be read."""
    several = takes if isinstance(takes, (list, tuple)) else [takes]
    recordings: list[AnyRecording] = []
    faults: list[Fault] = []
    for number, take in enumerate(several, start=1):
        if isinstance(take, (Recording, RecordedFile)):
            recordings.append(take)
        elif isinstance(take, (str, os.PathLike)):
            read, unreadable = read_recordings([os.fspath(take)], channel)
            recordings += read
            faults += unreadable
        else:
            try:
                source = open_source(take, rate_hz, floats)
            except AudioError as error:
                raise AudioError(f"recording {number}: {error}") from error
            blocks = [block.samples for block in source]
            recordings.append(Recording(f"array {number}", np.concatenate([np.zeros(0, np.int16), *blocks])))
    return recordings, faults
