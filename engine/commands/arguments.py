"""What the commands share: networks, people and a detector, from the parsed arguments."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..detector import Detector
from ..networks.card import MODELS_DIR
from ..networks.keyword import KeywordNetwork, load_networks
from ..people.keys import secret_from
from ..people.store import PersonStore
from ..storage.alike_names import warnings
from ..verifier import Verifier
from .service.which_store import say_two_stores


def networks(arguments: argparse.Namespace) -> list[KeywordNetwork]:
    """The keyword networks that `--keyword` names, each once.

    Raises:
        KeywordError: one is unknown, or its manifest or network is not usable.
    """
    return load_networks(arguments.keyword)


def models(arguments: argparse.Namespace) -> Path:
    """The folder of speaker network, head and cohort: that of `--models`, or the one that earmark carries."""
    return Path(arguments.models) if arguments.models else MODELS_DIR


def open_store(arguments: argparse.Namespace) -> PersonStore:
    """The people that `--store` and `--key-file` name; a terminal is asked for the passphrase when it is needed.

    Where nobody names a store, and this machine's service has another one, that is said.
    """
    say_two_stores(arguments)
    return PersonStore(arguments.store, secret_from(arguments.key_file, ask=True))


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
    verifier = Verifier.load(open_store(arguments), manifests, models(arguments))
    return Detector(keywords, verifier, arguments.loaded.settings.policy())
