"""What a Containerfile says, for who has no container engine: `containerfile.py FILE WHAT [NAME=VALUE …]`.

WHAT is `run` (the lines of RUN), `env` (NAME=VALUE, one a line), `user`, `entrypoint`, `cmd` or `healthcheck` (a word
a line). NAME=VALUE are build arguments.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path


def instructions(text: str, arguments: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Name and rest of each, in order, with the values of build arguments put in."""
    known: dict[str, str] = {}
    found = []
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "ARG":
            key, _, default = rest.partition("=")
            known[key] = (arguments or {}).get(key, default)
        elif name:
            found.append((name, re.sub(r"\$\{(\w+)\}", lambda match: known[match[1]], rest.strip())))
    return found


def words(what: str, text: str, arguments: dict[str, str] | None = None) -> list[str]:
    """What stands there, as the program's own description has it.

    Raises:
        ValueError: there is no such instruction.
    """
    found = [rest for name, rest in instructions(text, arguments) if name == what.upper()]
    if not found:
        raise ValueError(f"no {what.upper()}")
    if what == "run":
        return found
    if what == "env":
        return [word for rest in found for word in shlex.split(rest)]
    if what == "user":
        return found[-1:]
    listed: list[str] = json.loads(found[-1][found[-1].index("[") :])
    return listed


if __name__ == "__main__":
    print(
        "\n".join(
            words(sys.argv[2], Path(sys.argv[1]).read_text("utf-8"), dict(a.split("=", 1) for a in sys.argv[3:]))
        )
    )
