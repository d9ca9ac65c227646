"""What the commands share: networks, people and a detector, from the parsed arguments."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from ..detector import Detector
from ..networks.card import MODELS_DIR
from ..networks.keyword import KeywordNetwork, load_networks
from ..people.keys import secret_from
from ..people.loading import not_heard, require_store
from ..people.store import PersonStore
from ..settings.reading import COMMAND_LINE
from ..storage.alike_names import warnings
from ..verifier import Verifier
from .service.which_store import say_two_stores

_LOG = logging.getLogger(__name__)


def networks(arguments: argparse.Namespace) -> list[KeywordNetwork]:
    """The keyword networks that `--keyword` names, each once.

    Raises:
        KeywordError: one is unknown, or its manifest or network is not usable.
    """
    return load_networks(arguments.keyword)


def models(arguments: argparse.Namespace) -> Path:
    """The folder of speaker network, head and cohort: that of `--models`, or the one that earmark carries."""
    return Path(arguments.models) if arguments.models else MODELS_DIR


def open_store(arguments: argparse.Namespace, may_be_new: bool = False) -> PersonStore:
    """The people that `--store` and `--key-file` name; a terminal is asked for the passphrase when it is needed.

    Where nobody names a store, and this machine's service has another one, that is said.

    Args:
        arguments: of the command.
        may_be_new: whether the command makes a store where there is none.

    Raises:
        PersonError: there is no such store, and the command line names it: it is mistyped.
    """
    say_two_stores(arguments)
    store = PersonStore(arguments.store, secret_from(arguments.key_file, ask=True))
    if is_store_named(arguments) and not may_be_new:
        require_store(store.folder, f"`earmark enroll NAME --store {shlex.quote(str(store.folder))}` makes one")
    return store


def is_store_named(arguments: argparse.Namespace) -> bool:
    """Whether `--store`, or `--set people.store`, says where the people are."""
    return bool(arguments.loaded.origins.get("people.store") == COMMAND_LINE)


def store_option(arguments: argparse.Namespace) -> str:
    """What the next command must say of the store, with a space before it; mostly nothing."""
    return f" --store {shlex.quote(str(arguments.store))}" if is_store_named(arguments) else ""


def say_alike(name: str, store: PersonStore, but: str | None = None) -> None:
    """Says on standard error what somebody should know who gives this name to a person; nobody is kept from it.

    Args:
        name: that is given.
        store: of the people.
        but: who has been called otherwise, and will not be.
    """
    for warning in warnings(name, (other for other in store.names() if other != but)):
        print(f"earmark: {warning}", file=sys.stderr)


def make_detector(arguments: argparse.Namespace) -> Detector:
    """A detector as `--keyword`, `--store` and `--mode` say.

    Raises:
        EarmarkError: a wake word, a model or a person cannot be used.
    """
    keywords = networks(arguments)
    manifests = [network.manifest for network in keywords]
    store = open_store(arguments)
    delegate: Any = arguments.loaded.settings.people.speaker_delegate
    verifier = Verifier.load(store, manifests, models(arguments), delegate)
    for remark in not_heard(store, [manifest.name for manifest in manifests], is_store_named(arguments)):
        _LOG.warning("%s", remark)
    return Detector(keywords, verifier, arguments.loaded.settings.policy())
