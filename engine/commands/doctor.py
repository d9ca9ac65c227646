"""`earmark doctor`: everything that can be wrong with an installation, tried out, with the remedy."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from ..audio.devices import no_microphone
from ..audio.samples import RATE_HZ
from ..errors import DeviceError, EarmarkError, ModelError, PersonError, text_of
from ..features.frontend import Frontend
from ..networks import runtime
from ..networks.admission import admit
from ..networks.card import Card, builtin_keywords, load_card, load_manifest, read_model
from ..networks.head import SpeakerHead
from ..networks.keyword import KeywordNetwork
from ..networks.speaker import SpeakerNetwork
from ..people.loading import check_networks
from ..people.store import PersonStore, Voiceprint
from . import next_steps
from .arguments import open_store
from .diagnosis import sound
from .diagnosis.proof import prove
from .diagnosis.report import write_bundle

_PACKAGES = ("earmark", "numpy", "pymicro-features", "pymicro-wakeword", "sounddevice", "soundfile", "soxr")
OK, WARNING, FAILED = "ok", "warning", "FAILED"
Device = tuple[Optional[str], Optional[int]]
"""Name and channel of a microphone; None: the default one, those that hold the voice."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    check: str
    state: str
    """ok | warning | FAILED."""
    detail: str


def doctor(arguments: argparse.Namespace) -> int:
    """Tries everything and prints what it found; exit 1 where something is wrong."""
    failed, said, store = 0, [], open_store(arguments)
    for finding in findings(store, arguments.microphone, arguments.loudspeaker, _device(arguments)):
        failed += finding.state == FAILED
        said.append(f"{finding.state:8} {finding.check}: {finding.detail}")
        if arguments.json:
            print(json.dumps(asdict(finding), ensure_ascii=False), flush=True)
        else:
            print(said[-1], flush=True)
    if arguments.bundle:
        write_bundle(Path(arguments.bundle), said, arguments.loaded, store)
        print(f"earmark: {arguments.bundle}: written, without voices and names; look through it", file=sys.stderr)
    if failed and not arguments.json:
        print(f"earmark: {failed} of the checks failed", file=sys.stderr)
    if not failed and not arguments.json:
        print(next_steps.after_the_doctor(arguments, store))
    return 1 if failed else 0


def findings(
    store: PersonStore, microphone: bool = False, loudspeaker: bool = False, device: Device = (None, None)
) -> Iterator[Finding]:
    """All checks in order; one that fails does not keep the others from running.

    Args:
        store: the people.
        microphone: record as well; where nothing can be recorded, that fails and is no warning.
        loudspeaker: the same with playing.
        device: the microphone of the settings, and its channel.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    yield Finding("versions", OK, f"Python {platform.python_version()}, {runtime.version()}, {versions}")
    yield _try("speaker network", _check_speaker)
    yield _try("head", _check_head)
    yield _try("cohort", _check_cohort)
    for name in _try_names():
        yield _try(f"keyword network {name}", functools.partial(_check_keyword, name))
    yield _try("the whole path", prove)
    yield _try("microphones", _check_devices, at_worst=FAILED if microphone else WARNING)
    if microphone:
        yield _try("recording", lambda: sound.record(*device))
    if loudspeaker:
        yield _try("playing", sound.play_tone)
    yield _try("person store", lambda: _check_store(store))


def _device(arguments: argparse.Namespace) -> Device:
    audio = arguments.loaded.settings.audio
    return audio.device or None, None if audio.channel < 0 else audio.channel


def _try(check: str, run: Callable[[], str], at_worst: str = FAILED) -> Finding:
    try:
        return Finding(check, OK, run())
    except DeviceError as error:
        return Finding(check, at_worst, str(error))
    except EarmarkError as error:
        return Finding(check, FAILED, str(error))


def _try_names() -> list[str]:
    try:
        return list(builtin_keywords())
    except EarmarkError:
        return ["okay_nabu"]  # whose check then says what is missing


def _check_speaker() -> str:
    network = SpeakerNetwork(delegate="auto")
    tone = (8000 * np.sin(np.arange(RATE_HZ) * 2 * np.pi * 200 / RATE_HZ)).astype(np.int16)
    first, again = network.embed(tone), network.embed(tone)
    if first.shape != (network.embedding_size,) or not np.array_equal(first, again):
        raise ModelError(f"{network.card.file}: the same sound gives two embeddings: install earmark again")
    return _describe(network.card)


def _check_head() -> str:
    """Runs every signature with the shapes that the card states."""
    card = load_card("head")
    interpreter = runtime.open_model(admit(read_model(card), card.sha256, card.file, "head"))
    for name, signature in card.signatures.items():
        inputs = {key: np.zeros(tensor["shape"], tensor["dtype"]) for key, tensor in signature["inputs"].items()}
        try:
            outputs = interpreter.get_signature_runner(name)(**inputs)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{card.file}: signature {name} fails: {text_of(error)}: install earmark again"
            ) from error
        for key, tensor in signature["outputs"].items():
            if key not in outputs or list(outputs[key].shape) != tensor["shape"]:
                raise ModelError(f"{card.file}: signature {name} lacks {key}{tensor['shape']}: install earmark again")
    SpeakerHead()
    return f"{_describe(card)}, signatures {', '.join(card.signatures)}"


def _check_cohort() -> str:
    card = load_card("cohort")
    read_model(card)
    return _describe(card)


def _check_keyword(name: str) -> str:
    network = KeywordNetwork(load_manifest(name))
    probabilities = network.push(Frontend().push(np.zeros(RATE_HZ, np.int16)))
    if probabilities.max() > network.manifest.probability_cutoff:
        raise ModelError(f"{network.manifest.model_path}: fires on silence: install pymicro-wakeword again")
    return f"sha256 {network.manifest.model_sha256[:12]}…, cutoff {network.manifest.probability_cutoff:.2f}"


def _check_devices() -> str:
    from ..audio.microphone import input_devices  # needs a system library; that it is missing is a finding

    found = input_devices()
    if not found:
        raise DeviceError(f"{no_microphone()}; `earmark listen -` works without")
    return ", ".join(device["name"] for device in found)


def _check_store(store: PersonStore) -> str:
    names = store.names()
    faults: list[EarmarkError] = [*store.seal.missing()] if store.encrypted else []
    for name in names:
        try:
            for keyword in store.keywords(name):
                _check_person(store.load(name, keyword))
        except PersonError as error:
            faults.append(error)
    if faults:
        told = "; ".join(map(str, faults))
        raise PersonError(f"{len(faults)} of {len(names)} people cannot be used, and are left out: {told}")
    left = store.leftovers()
    notes = (", encrypted" if store.encrypted else "") + (
        f", {left} unfinished changes: `earmark people tidy`" if left else ""
    )
    return f"{store.folder}: {len(names)} people{notes}"


def _check_person(voiceprint: Voiceprint) -> None:
    known = voiceprint.keyword in builtin_keywords()
    sha256 = load_manifest(voiceprint.keyword).model_sha256 if known else voiceprint.binding.keyword
    check_networks(voiceprint, sha256, load_card("speaker"), load_card("head"))


def _describe(card: Card) -> str:
    return f"sha256 {card.sha256[:12]}…, {card.size_bytes / 1000:.0f} kB"
