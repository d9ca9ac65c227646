"""`earmark enroll` at a microphone: one guided conversation for each wake word."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.loading import binding_of
from earmark.engine.people.store import ANY_PHRASE, PersonStore

from ..enrolment import Enroller, Enrolment, Options
from ..guided.conversation import Guide
from ..guided.greeting import greet
from ..guided.kept import KeptSession
from ..guided.microphones import MicrophoneOfSession
from ..guided.screen import Screen
from ..phrase.own import OwnPhrase


def guided(
    arguments: argparse.Namespace,
    enroller: Enroller,
    keywords: list[KeywordNetwork | None],
    options: Options,
    store: PersonStore,
    screen: Screen,
    own: OwnPhrase | None = None,
) -> Iterator[tuple[Enrolment, Callable[[], None]]]:
    """One enrolment for each wake word, and what erases its kept session once it is saved."""
    from earmark.engine.audio.microphone import MicrophoneSource  # needs a system library that `--from` does without
    from earmark.engine.networks.card import builtin_keywords

    channel = arguments.loaded.settings.audio.channel if arguments.channel is None else arguments.channel
    open_source = functools.partial(MicrophoneSource, channel=None if channel < 0 else channel)
    is_kept = own is None and not store.encrypted
    greet(screen, arguments.name, keywords, is_kept, own)
    with MicrophoneOfSession(screen, arguments.device, open_source) as microphone:
        for keyword in keywords:
            phrase = keyword.manifest.name if keyword else ANY_PHRASE
            sha256 = keyword.manifest.model_sha256 if keyword else ""
            bound = {**asdict(binding_of(sha256, enroller.speaker.card, enroller.head.card)), "seed": options.seed}
            kept = None if not is_kept else KeptSession(store.folder, arguments.name, phrase, bound)
            guide = Guide(
                arguments.name,
                enroller,
                keyword,
                options,
                screen,
                microphone,
                kept,
                Path(arguments.keep_audio) if arguments.keep_audio else None,
                arguments.json,
                next((word for word in builtin_keywords() if word != phrase), ""),
                own,
            )
            enrolment = guide.run()
            # the next step is to listen to it
            arguments.device = None if microphone.is_default else microphone.device
            yield enrolment, kept.erase if kept else _nothing


def _nothing() -> None:
    """Nothing was kept."""
