"""What systemd is told, and what of ours goes into the system's journal, names nobody unless `log.names` is true.

The store of the people is for its owner alone (0700). The system's journal is kept for weeks, is copied by whatever
collects logs, and can be read by groups as `adm`; a unit's status can be read by everybody.

Names are taken out twice: where a text is made (events, status, who is known), and once more on the way out, of all
that is written, for a message may quote a folder, a setting or an exception.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from ..errors import InputError, PersonError
from ..event import Event
from ..settings.schema import Settings
from ..storage.names import folder_name, folders_in, name_of
from ..storage.user_folders import people_folder

PERSON = "(person)"
"""What stands for any name."""


class Names:
    """Whose names are hidden; whoever was known once stays hidden while the process runs.

    Args:
        settings: in force; `log.names` says whether anything is hidden.
    """

    def __init__(self, settings: Settings) -> None:
        self._written: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.hidden = not settings.log.names
        self.meet(settings)

    def meet(self, settings: Settings) -> None:
        """Whoever is in the settings, and has come into the store: before anything is read of them."""
        found = [*settings.people.sensitivity_of]
        with contextlib.suppress(PersonError):  # who reads the people says so
            found += [name_of(path.name) for path in folders_in(Path(settings.people.store or people_folder()))]
        self.add(found)

    def add(self, names: Iterable[str]) -> None:
        """These too."""
        written = {form for name in names for form in _forms(name) if form}
        if not written <= self._written:
            self._written |= written
            longest_first = sorted(self._written, key=len, reverse=True)  # "Anna Maria" before "Anna"
            self._pattern = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, longest_first))})(?![^\W_])")

    def hide(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(PERSON, text) if self.hidden and self._pattern else text

    def of(self, event: Event) -> Event:
        """The event without who it was."""
        if not self.hidden:
            return event
        command = event.command
        if command is not None and command.woken_by is not None:
            command = replace(command, woken_by=PERSON)
        return replace(event, person=None if event.person is None else PERSON, command=command)

    def counted(self, names: list[str]) -> str:
        """Who is known, or how many."""
        if not names:
            return "nobody"
        return f"{len(names)} {'person' if len(names) == 1 else 'people'}" if self.hidden else ", ".join(names)


class Unnamed:
    """A text stream that writes no hidden name; everything else is that of the stream behind it.

    Args:
        stream: as standard error.
        names: who is not named.
    """

    def __init__(self, stream: TextIO, names: Names) -> None:
        self._stream, self._names = stream, names

    def write(self, text: str) -> int:
        """Writes it, and returns how many characters that were before."""
        self._stream.write(self._names.hide(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes them one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_journal(stream: Any, environment: Mapping[str, str]) -> bool:
    """Whether the system's journal keeps what is written there, as systemd.exec(5) tells it.

    `$JOURNAL_STREAM` has device and inode of one of the two streams; the other one is a socket then, too.
    """
    if not environment.get("JOURNAL_STREAM"):
        return False
    try:
        return stat.S_ISSOCK(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):  # none, closed, or nothing of the system
        return False


def _forms(name: str) -> set[str]:
    """A name composed and not, in JSON, as Python quotes it, and as its folder is called."""
    forms = set()
    for text in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
        forms |= {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
    with contextlib.suppress(InputError):  # of the settings: nobody can be called so
        forms.add(folder_name(name))
    return forms
