"""What `earmark --version` tells: versions of what computes, and checksums of the networks as they lie there."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator

from ..errors import EarmarkError, text_of
from ..networks.card import MODELS_DIR, builtin_keywords, load_card, load_manifest

_PACKAGES = ("ai-edge-litert", "tflite-runtime", "numpy", "pymicro-features", "pymicro-wakeword")
_MODELS = ("speaker", "head", "cohort")


def lines() -> Iterator[str]:
    """One a line; what is missing or damaged is said in its place, for this must always answer."""
    yield f"earmark {importlib.metadata.version('earmark')}"
    yield f"Python {platform.python_version()}, {platform.machine()}"
    for package in _PACKAGES:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in _MODELS:
        try:
            card = load_card(name)
            found = hashlib.sha256((MODELS_DIR / card.file).read_bytes()).hexdigest()
            yield f"sha256 {found}  {card.file}{'' if found == card.sha256 else '  NOT what its card says'}"
        except (EarmarkError, OSError) as error:
            yield f"{name}: {text_of(error)}"
    try:
        for name in builtin_keywords():
            yield f"sha256 {load_manifest(name).model_sha256}  {name}"
    except EarmarkError as error:
        yield str(error)
