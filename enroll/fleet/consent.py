"""Who may take part: nobody, unless somebody said so of a person by name."""

from __future__ import annotations

import json
from pathlib import Path

from earmark.engine.errors import FleetError, text_of
from earmark.engine.people.store import PersonStore
from earmark.engine.storage.atomic import locked, make_folder, read_limited, replace_synced

MOST_BYTES = 1 << 16


class Consent:
    """The names in a file of its owner's."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> list[str]:
        """In alphabetical order.

        Raises:
            FleetError: the file is damaged; then nobody has consented.
        """
        try:
            names = json.loads(read_limited(self._file, MOST_BYTES))["names"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("names must be a list of texts")
            return sorted(names)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FleetError(
                f"{self._file}: cannot be read: {text_of(error)}: nobody takes part; remove it, and consent again"
            ) from error

    def change(self, name: str, may: bool, store: PersonStore) -> list[str]:
        """Takes a person in or out; returns who may take part then.

        Raises:
            PersonUnknown: nobody of that name is in the store, and it is to be taken in.
        """
        if may:
            store.keywords(name)
        make_folder(self._file.parent)
        with locked(self._file.with_suffix(".lock")):
            names = {*self.names(), name} if may else {*self.names()} - {name}
            replace_synced(self._file, json.dumps({"names": sorted(names)}, ensure_ascii=False).encode() + b"\n")
        return sorted(names)

    def of(self, store: PersonStore) -> list[str]:
        """Who may, and is enrolled; whoever was erased has to consent again.

        Raises:
            FleetError: the file is damaged.
        """
        names, enrolled = self.names(), set(store.names())
        for name in names:
            if name not in enrolled:
                self.change(name, False, store)
        return [name for name in names if name in enrolled]
