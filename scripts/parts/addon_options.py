"""The options of Home Assistant's add-on, as its Supervisor writes them: `addon_options.py CONFIG.YAML JSON`.

Those that config.yaml has, and over them those of JSON. Of YAML it reads what the add-on's files have: mappings by
indentation, lists in brackets, texts, numbers and truth; no module is needed for it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def scalar(text: str) -> Any:
    """A value on one line."""
    if text.startswith("["):
        return [scalar(part.strip()) for part in re.findall(r'"[^"]*"|[^,\[\]]+', text)]
    if text.startswith('"'):
        return json.loads(text)
    if text in ("true", "false"):
        return text == "true"
    return json.loads(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def read(text: str) -> dict[str, Any]:
    """A file.

    Raises:
        ValueError: a line is none of those that are known here.
    """
    whole: dict[str, Any] = {}
    inside = [(-1, whole)]  # indentation and mapping, from the outside
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = re.fullmatch(r"( *)(\w+):(?: (.+))?", line)
        if found is None:
            raise ValueError(f"line {number}: {line!r} is no `key: value`")
        depth = len(found[1])
        while inside[-1][0] >= depth:
            inside.pop()
        if found[3] is None:
            inside[-1][1][found[2]] = {}
            inside.append((depth, inside[-1][1][found[2]]))
        else:
            inside[-1][1][found[2]] = scalar(found[3])
    return whole


if __name__ == "__main__":
    config = read(Path(sys.argv[1]).read_text("utf-8"))
    print(json.dumps({**config["options"], **json.loads(sys.argv[2])}))
