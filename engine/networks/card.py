"""What a model says of itself, read and checked: the only door to a model file.

Two kinds of description are read: earmark's own cards (`speaker.json`, `head.json`, `cohort.json`) and the
manifests of microWakeWord networks, version 2.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import KeywordError, ModelError, did_you_mean, system_text_of, text_of
from ..storage.edited import decoded
from ..storage.reading import read_plain

MODELS_DIR = Path(__file__).parents[2] / "models"
CARD_FORMAT = 1
MOST_MODEL_BYTES = 8 * 1024 * 1024  # the largest that ships, the speaker network, has 5.6 MB
MOST_TEXT_BYTES = 1024 * 1024  # of a card or a manifest; the longest that ships has 3 kB

Signatures = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Card:
    """The card beside a shipped model file."""

    format: int
    """Version of the card's own format."""
    file: str
    """Name of the model file, in the card's folder."""
    sha256: str
    """Of the model file, in hex."""
    size_bytes: int
    description: str
    signatures: Signatures
    """name -> {"inputs": {name: {"shape", "dtype"}}, "outputs": {…}}; -1 in a shape is any length."""
    parameters: Mapping[str, Any]
    """What the caller must know: frontend, level, sizes."""
    licence: str
    sources: list[str]
    recipe: str
    """The command that rebuilds the file."""


def load_card(name: str, folder: Path = MODELS_DIR) -> Card:
    """The card `name`.json of a folder.

    Raises:
        ModelError: it is missing, is not JSON, or its keys are not exactly those of `Card`.
    """
    path = folder / f"{name}.json"
    try:
        values = json.loads(decoded(read_plain(path, MOST_TEXT_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: the model's card cannot be read ({text_of(error)}): install earmark again"
        ) from error
    expected = {field.name for field in fields(Card)}
    if not isinstance(values, dict) or set(values) != expected:
        raise ModelError(f"{path}: a card has exactly the keys {sorted(expected)}: install earmark again")
    if values["format"] != CARD_FORMAT:
        raise ModelError(f"{path}: format={values['format']!r} must be {CARD_FORMAT}: install earmark again")
    return Card(**values)


def read_model(card: Card, folder: Path = MODELS_DIR) -> bytes:
    """The file that the card describes.

    Raises:
        ModelError: it is missing, or its sha256 is not the card's.
    """
    try:
        # the card's own path: in an editable installation both are links into the repository
        content = read_beside((folder / card.file).with_suffix(".json"), card.file)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder / card.file}: the model cannot be read ({text_of(error)}): install earmark again"
        ) from error
    path = folder / card.file
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ModelError(f"{path}: sha256 is {found[:12]}…, the card says {card.sha256[:12]}…: install earmark again")
    return content


def read_beside(path: Path, name: str) -> bytes:
    """The model that the manifest or card at `path` names: a plain file in its folder or below.

    Raises:
        ValueError: it lies elsewhere, is larger than 8 MB, or is no file.
        OSError: it cannot be read.
    """
    if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError("it must be the name of a file beside it")
    return read_plain(path.parent / name, MOST_MODEL_BYTES, inside=path.resolve().parent)


@dataclass(frozen=True)
class KeywordManifest:
    """A microWakeWord v2 manifest with the network that it names."""

    name: str
    """The manifest's file name without its ending: how people and events call the wake word."""
    wake_word: str
    """As it is spoken."""
    model_path: Path
    model_sha256: str
    probability_cutoff: float
    """0…1: a mean probability above it is a wake."""
    sliding_window_size: int
    """How many probabilities are averaged, 1…100."""
    trained_languages: tuple[str, ...]


def builtin_keywords() -> dict[str, Path]:
    """name -> manifest of the networks that the package pymicro-wakeword carries.

    Raises:
        KeywordError: the package is not installed.
    """
    spec = importlib.util.find_spec("pymicro_wakeword")  # found, not imported: only its files are wanted
    if spec is None or not spec.submodule_search_locations:
        raise KeywordError("the package pymicro-wakeword is not installed: `pip install 'pymicro-wakeword>=2.5'`")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def load_manifest(keyword: str | os.PathLike[str]) -> KeywordManifest:
    """The manifest of a wake word, by the name of a built-in one or by the path of any `*.json`.

    Raises:
        KeywordError: there is no such wake word (near names are suggested), or the manifest breaks the format.
    """
    if not isinstance(keyword, (str, os.PathLike)):
        raise KeywordError(f"a wake word is a name or the path of a manifest, not a {type(keyword).__name__}")
    text = os.fspath(keyword)
    if text.endswith(".json") or os.sep in text:
        return _read_manifest(Path(text))
    known = builtin_keywords()
    if text not in known:
        folded = text.lower().replace(" ", "_").replace("-", "_")
        raise KeywordError(
            f"no wake word {text!r}{did_you_mean(folded, known) or ';'} built in are {', '.join(known)}; "
            "or give the path of a microWakeWord v2 manifest (*.json)"
        )
    return _read_manifest(known[text])


def _read_manifest(path: Path) -> KeywordManifest:
    try:
        content = read_plain(path, MOST_TEXT_BYTES)
    except (OSError, ValueError) as error:
        why = system_text_of(error) if isinstance(error, OSError) else text_of(error)
        raise KeywordError(f"{path}: the manifest cannot be read: {why}") from error
    try:
        values = json.loads(decoded(content))
    except (ValueError, RecursionError) as error:
        raise KeywordError(f"{path}: the manifest is not JSON: {text_of(error)}") from error
    if not isinstance(values, dict):
        raise KeywordError(f"{path}: a manifest is a JSON object, this is a {type(values).__name__}")
    look = _Look(path, values)
    if values.get("type", "micro") != "micro" or look.at("version", int) != 2:
        raise KeywordError(
            f"{path}: type={values.get('type')!r}, version={values.get('version')!r}: "
            "only microWakeWord manifests of version 2 are read; train or convert the network to it"
        )
    micro = _Look(path, look.at("micro", dict), "micro.")
    step_ms = micro.at("feature_step_size", int)
    if step_ms != 10:
        raise KeywordError(f"{path}: micro.feature_step_size={step_ms} must be 10 (ms): the frontend's hop")
    model = look.at("model", str)
    try:
        model_sha256 = hashlib.sha256(read_beside(path, model)).hexdigest()
    except (OSError, ValueError) as error:
        raise KeywordError(f"{path}: its model {model!r} cannot be read: {text_of(error)}") from error
    return KeywordManifest(
        name=path.stem,
        wake_word=look.at("wake_word", str),
        model_path=path.parent / model,
        model_sha256=model_sha256,
        probability_cutoff=micro.between("probability_cutoff", (int, float), 0.0, 1.0),
        sliding_window_size=int(micro.between("sliding_window_size", int, 1, 100)),
        trained_languages=tuple(map(str, look.at("trained_languages", list, []))),
    )


class _Look:
    """Typed look-ups in a JSON object, with messages that name file, key, value and rule."""

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self._path, self._values, self._prefix = path, values, prefix

    def at(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        if key not in self._values and default is not None:
            return default
        if key not in self._values:
            raise KeywordError(f"{self._path}: {self._prefix}{key} is missing: it must be {names}")
        value = self._values[key]
        if not isinstance(value, kind) or isinstance(value, bool):  # JSON's true is an int to Python
            raise KeywordError(f"{self._path}: {self._prefix}{key}={value!r} must be {names}")
        return value

    def between(self, key: str, kind: type | tuple[type, ...], low: float, high: float) -> float:
        value = self.at(key, kind)
        if not low <= value <= high:
            raise KeywordError(f"{self._path}: {self._prefix}{key}={value} must be within {low:g}…{high:g}")
        return float(value)
