"""Reads `earmark replay --json` from standard input and compares it with what was really said.

python scripts/parts/demo_report.py SCENE.json PERSON; exit 1 where they differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REACTION_MS = 400  # a network fires up to 0.3 s after the word's last sound


def main() -> int:
    """One line an utterance."""
    spoken = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    person = sys.argv[2]
    events = [line for line in map(json.loads, sys.stdin) if line["type"] != "file"]
    wrong = 0
    for utterance in spoken:
        heard = [event for event in events if _belongs(event, utterance)]
        wanted = _wanted(utterance, person)
        got = [event["type"] if event["person"] in (None, person) else event["person"] for event in heard]
        wrong += got != wanted
        mark = "ok   " if got == wanted else "WRONG"
        print(f"{mark} {utterance['voice']:6} {utterance['text']!r:45} {', '.join(got) or 'silence'}")
    stray = [event for event in events if not any(_belongs(event, utterance) for utterance in spoken)]
    print(f"{len(spoken) - wrong} of {len(spoken)} utterances right, {len(stray)} events without one")
    return 1 if wrong or stray else 0


def _belongs(event: dict[str, Any], utterance: dict[str, Any]) -> bool:
    return bool(utterance["start_ms"] < event["time_ms"] <= utterance["end_ms"] + REACTION_MS)


def _wanted(utterance: dict[str, Any], person: str) -> list[str]:
    if utterance["keyword"] is None:
        return []
    return ["detection" if utterance["voice"] == person else "rejection"]


if __name__ == "__main__":
    sys.exit(main())
