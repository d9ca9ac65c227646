"""What a page of docs/research begins with: the network that it was measured with, the day, and the script.

`tests/test_research_pages.py` reads these lines. `python scripts/studies/heading.py SCRIPT` prints them for a log.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").is_file())
SHIPPED, FOLD_NETWORKS, NONE = "shipped", "folds", "no network"
HASH_DIGITS = 12  # of a sha256, in hex: as error messages show it
CORPORA = (
    "**asc** 18 people, 12 Arabic words; **dsp** 24 students, 6 English words; **gsc** 1,087 people, three English\n"
    "  words; **wuw** callers by telephone, five phrases, on several days ([index.md](index.md))"
)


def heading(title: str, script: str, networks: str = SHIPPED, head: bool = False, corpora: bool = False) -> str:
    """The first lines of a page that is measured today.

    Args:
        title: of the page.
        script: `__file__` of what measures, or how it is called from the root of the repository.
        networks: SHIPPED, FOLD_NETWORKS (those of `models/folds`), or NONE where nobody's voice is asked for.
        head: the trained head matters, too.
        corpora: the page speaks of corpora by their short names.
    """
    lines = [f"# {title}", "", *(f"* {line}" for line in fields(script, networks, head))]
    if corpora:
        lines.append(f"* corpora: {CORPORA}")
    return "\n".join([*lines, ""])


def fields(script: str, networks: str = SHIPPED, head: bool = False) -> Iterator[str]:
    """The lines of a heading, as `key: value`, without what a page or a log puts before each."""
    yield f"network: {_which('speaker', networks)}"
    if head:
        yield f"head: {_which('head', networks)}"
    yield f"measured: {datetime.datetime.now(datetime.timezone.utc).date()}"
    path = Path(script)
    yield f"script: `{path.resolve().relative_to(ROOT) if path.is_absolute() else path}`"


def _which(model: str, networks: str) -> str:
    models = ROOT / "models"
    if networks == NONE:
        return NONE
    if networks == SHIPPED:
        return f"shipped `{_digits(models / f'{model}.json')}`"
    folds = sorted(folder for folder in (models / "folds").iterdir() if (folder / f"{model}.json").is_file())
    return "folds " + ", ".join(f"`{_digits(fold / f'{model}.json')}` (fold {fold.name})" for fold in folds)


def _digits(card: Path) -> str:
    sha256: str = json.loads(card.read_text("utf-8"))["sha256"]
    return sha256[:HASH_DIGITS]


if __name__ == "__main__":
    for field in fields(sys.argv[1]):
        print(f"# {field}")
