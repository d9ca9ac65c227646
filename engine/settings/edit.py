"""Where in a settings file a person is named: the file is its owner's, with comments and an order of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..storage.edited import edited_text
from .reading import parsed, toml, toml_text


def renamed_line(file: Path, name: str, new_name: str) -> tuple[int, str] | None:
    """The line that has the sensitivity of a person: its number, and how it reads with another name.

    Whatever way it is written: of all that could be the name, it is what makes the same settings of the other name.

    Returns:
        None: there is no such single line.

    Raises:
        SettingsError: the file cannot be read.
    """
    wanted = parsed(file)
    old: dict[str, Any] = wanted.get("people", {}).get("sensitivity_of", {})
    wanted["people"]["sensitivity_of"] = {new_name if key == name else key: value for key, value in old.items()}
    lines = edited_text(file).split("\n")
    for spelt in dict.fromkeys((toml_text(name), f"'{name}'", name)):
        for number, line in enumerate(lines):
            start = line.find(spelt)
            while start >= 0:
                changed = line[:start] + toml_text(new_name) + line[start + len(spelt) :]
                try:
                    same = toml("\n".join([*lines[:number], changed, *lines[number + 1 :]])) == wanted
                except ValueError:  # it was something else
                    same = False
                if same:
                    return number + 1, changed.strip()
                start = line.find(spelt, start + 1)
    return None
