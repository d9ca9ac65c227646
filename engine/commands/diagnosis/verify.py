"""`earmark people verify`: whether the store is as it should be, and to take it as it is."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ...errors import StoreTampered
from ...history import verification
from ..arguments import open_store


def verify(arguments: argparse.Namespace) -> int:
    """Reads every file, and compares a sealed store with its index.

    Raises:
        StoreTampered: something is not as it should be.
    """
    store = open_store(arguments)
    found = verification.accept(store) if arguments.accept else verification.verify(store)
    for difference in found.differences:
        print(json.dumps(asdict(difference), ensure_ascii=False) if arguments.json else _line(difference))
    if found.differences:
        raise StoreTampered(
            f"{store.folder}: {len(found.differences)} things are not as they should be; docs/people.md says what "
            "each means, and what to do"
        )
    vault = store.vault()
    signs_with = vault.sign(b"")[0] if vault is not None else None
    facts = {**asdict(found), "store": str(store.folder), "signs_with": signs_with}
    text = f"{store.folder}: {found.versions} versions of {found.people} people, {found.waiting} waiting: all whole"
    if vault is None:
        text += "; it is not encrypted, so nobody can say whether somebody exchanged it"
    elif found.counter is None:
        text += "; an older earmark sealed it, and its index is made by the next change"
    else:
        text += f", and as the key left them; change number {found.counter}; it signs with {signs_with}"
    print(json.dumps(facts, ensure_ascii=False) if arguments.json else text)
    return 0


def _line(difference: verification.Difference) -> str:
    return f"{difference.place}: {difference.what}"
