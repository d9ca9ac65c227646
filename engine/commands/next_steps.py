"""After each step the next one: what a command says beside what came of it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence

from ..errors import EnrolmentRefused
from ..networks.card import builtin_keywords
from ..people.loading import not_heard
from ..people.store import ANY_PHRASE, PersonStore
from ..phrases.model import is_phrase
from ..settings.reading import COMMAND_LINE
from .arguments import is_store_named, store_option

NO_WAKE = (
    "nothing wakes by what is enrolled with --any-phrase, which is there to measure voices. To be heard, enrol with "
    "--phrase and a wake word of your own, or with --keyword: {words}"
)


def before_enrolling(arguments: argparse.Namespace, store: PersonStore, words: Sequence[str]) -> Iterator[str]:
    """What to know first: what becomes of an earlier enrolment, and that nothing wakes by any phrase."""
    name = arguments.name
    known = store.keywords(name) if name in store.names() else []
    if ANY_PHRASE in words:
        yield NO_WAKE.format(words=", ".join(builtin_keywords()))
    for word in words:
        if word not in known:
            continue
        version = store.versions(name, word)[-1]
        yield (
            f"{name} is enrolled for {word} already, in version {version}: the new version counts instead, made of "
            f"the new takes alone; `earmark people rollback {_quoted(name)}{store_option(arguments)}` goes back"
        )
    others = [word for word in known if word not in words]
    if others:
        yield f"{name} stays enrolled for {', '.join(others)}"


def after_enrolling(arguments: argparse.Namespace, name: str, word: str) -> str:
    """What to do with a new voiceprint."""
    if word == ANY_PHRASE:
        return f"{name} can wake nothing: {NO_WAKE.format(words=', '.join(builtin_keywords()))}"
    words = keyword_options(arguments, word)
    models = f" --models {_quoted(arguments.models)}" if getattr(arguments, "models", None) else ""
    device, loaded = getattr(arguments, "device", None), arguments.loaded
    if device and (device != loaded.settings.audio.device or loaded.origins.get("audio.device") == COMMAND_LINE):
        words += f" --device {_quoted(device)}"
    return f"{name} can now wake it. Try: `earmark listen{words}{store_option(arguments)}{models}`"


def after_talking(arguments: argparse.Namespace, name: str, pieces: int) -> str:
    """What came of free speech, and what to do with it."""
    known = f"{name}: {pieces} pieces of free speech are known beside the wake word"
    if arguments.loaded.settings.wake.confirm != "off" or arguments.loaded.settings.wake.confirm_of:
        return f"{known}; a command after it is compared with them"
    listen = f"earmark listen{store_option(arguments)} --confirm label"
    return f'{known}. To hear whose command follows one: `{listen}`, or wake.confirm = "label" in the settings'


def keyword_options(arguments: argparse.Namespace, word: str) -> str:
    """What the next command must say of the wake words, a space before each; nothing of what the settings say."""
    if is_phrase(word):  # they are always listened to
        return ""
    loaded = arguments.loaded
    if loaded.origins.get("wake.keywords") == COMMAND_LINE:
        named = list(arguments.keyword)
    else:
        named = [] if word in loaded.settings.wake.keywords else [word]
    return "".join(f" --keyword {_quoted(text)}" for text in named)


def after_a_refusal(refusal: EnrolmentRefused, words: Sequence[str]) -> EnrolmentRefused:
    """The same refusal; where the wake word was not heard it names the others."""
    others = [word for word in builtin_keywords() if word not in words]
    if not others or not any(fault.reason == "keyword_not_heard" for fault in refusal.faults):
        return refusal
    return EnrolmentRefused(f"{refusal}\n  other wake words: --keyword {', '.join(others)}", refusal.faults)


def after_the_doctor(arguments: argparse.Namespace, store: PersonStore) -> str:
    """What to do when all is well."""
    remarks = not_heard(store, arguments.loaded.settings.wake.keywords, is_store_named(arguments))
    return "next: " + (remarks[0] if remarks else f"`earmark listen{store_option(arguments)}`")


def _quoted(text: str) -> str:
    return shlex.quote(str(text))
