"""The TFLite runtime, chosen once: LiteRT where it is installed, else tflite-runtime. Both have one Interpreter.

`EARMARK_RUNTIME=ai-edge-litert|tflite-runtime` insists on one of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

from .errors import ModelError, RuntimeMissing

_MODULES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}


def _choose() -> tuple[str, Any]:
    """The runtime's name and its interpreter module.

    Raises:
        RuntimeMissing: none can be imported, or the one insisted on cannot.
    """
    wanted = os.environ.get("EARMARK_RUNTIME")
    if wanted is not None and wanted not in _MODULES:
        raise RuntimeMissing(f"EARMARK_RUNTIME={wanted!r} must be one of {', '.join(_MODULES)}")
    failures = []
    for name in [wanted] if wanted else _MODULES:
        try:
            return name, importlib.import_module(_MODULES[name])
        except ImportError as error:
            failures.append(f"{name}: {error}")
    raise RuntimeMissing(
        f"no TFLite runtime ({'; '.join(failures)}): `pip install tflite-runtime 'numpy<2'` on Python 3.9 to 3.11, "
        "`pip install ai-edge-litert` on later ones"
    )


NAME, _MODULE = _choose()


def version() -> str:
    """Name and version of the runtime in use."""
    return f"{NAME} {importlib.metadata.version(NAME)}"


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keeps the delegate's greeting, which the runtime writes to descriptor 2, out of our standard error.

    What is really wrong arrives as an exception. The descriptor is away for a millisecond, when a network is opened.
    """
    try:
        kept = os.dup(2)
    except OSError:  # started without a standard error
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def open_model(content: bytes, name: str) -> Any:
    """A new interpreter with its tensors allocated, on one thread.

    The runtime's default delegate stays on: under LiteRT it makes the keyword networks seven times faster, under
    tflite-runtime it makes no difference.

    Raises:
        ModelError: the runtime refuses the content; `name` is for the message.
    """
    if content[4:8] != b"TFL3":  # tflite-runtime quotes other bytes in its message, and fails to decode them
        raise ModelError(f"{name}: not a TensorFlow Lite file")
    try:
        with _silenced():
            interpreter = _MODULE.Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name}: {NAME} cannot run this network: {error}") from error
    return interpreter
