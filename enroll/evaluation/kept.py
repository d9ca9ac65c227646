"""Enrolments of a list's people, kept to measure them in other conditions: most of the work is to enrol them.

A folder of voiceprints, one in a folder each. Its name says what it was made of: the recordings, the networks, the
options, and this very program. Whatever of it has changed, there is no such folder, and the person is enrolled anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.errors import InputError, text_of
from earmark.engine.networks import runtime
from earmark.engine.people import codec
from earmark.engine.people.store import Voiceprint
from earmark.engine.storage.atomic import make_folder, put_in_place, temporary_folder, write_synced

NOT_USED_FILE = "not_used.json"
_SOMEBODY = "somebody"  # lists have names that nobody can have in a store


def name_of(files: Sequence[str], *made_with: Any) -> str:
    """The sha256 of what an enrolment is made of: the content of files, what else there is, and the program."""
    digest = hashlib.sha256(_program())
    for file in files:
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    digest.update(json.dumps(made_with, default=_of_array).encode())
    return digest.hexdigest()


def _of_array(value: Any) -> str:
    array = np.asarray(value)
    return f"{array.dtype} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


@functools.lru_cache(maxsize=1)
def _program() -> bytes:
    """Of earmark, and of what computes: embeddings differ in their last bits between runtimes."""
    digest = hashlib.sha256(f"{runtime.version()}, numpy {np.__version__}".encode())
    for path in sorted(Path(__file__).parents[2].glob("en*/**/*.py")):  # engine and enroll
        digest.update(path.read_bytes())
    return digest.digest()


def read(place: Path, name: str) -> tuple[Voiceprint, list[str]]:
    """The voiceprint of a folder, for whoever is called `name`, and what was no good take.

    Raises:
        InputError: the folder is damaged.
    """
    try:
        contents = {file.name: file.read_bytes() for file in place.iterdir()}
        voiceprint = codec.decode(contents)
        return replace(voiceprint, name=name), [str(line) for line in json.loads(contents[NOT_USED_FILE])]
    except Exception as error:  # `decode` raises whatever json, zipfile and numpy do
        raise InputError(f"{place}: damaged: {text_of(error)}: remove it, and it is made anew") from error


def write(place: Path, voiceprint: Voiceprint, not_used: list[str]) -> None:
    """Keeps an enrolment, whole or not at all, for its owner's eyes only.

    Raises:
        InputError: it cannot be written.
    """
    contents = codec.encode(replace(voiceprint, name=_SOMEBODY))
    contents[NOT_USED_FILE] = json.dumps(not_used).encode()
    try:
        make_folder(place.parent)
        with temporary_folder(place.parent) as folder:
            for name, content in contents.items():
                write_synced(Path(folder) / name, content)
            put_in_place(folder, place)
    except OSError as error:
        if place.exists():  # the same takes stand in the list twice, and another thread was faster
            return
        raise InputError(f"{place}: cannot be written: {text_of(error)}") from error
