"""The TFLite runtime, chosen once: LiteRT where it is installed, else tflite-runtime. Both have one Interpreter.

`EARMARK_RUNTIME=ai-edge-litert|tflite-runtime` insists on one of them.
"""

from __future__ import annotations

import importlib
import os
import struct
from typing import Any

from ..audio.quiet_stderr import silenced
from ..errors import ModelError, RuntimeMissing, text_of

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
            failures.append(f"{name}: {text_of(error)}")
    raise RuntimeMissing(
        f"no TFLite runtime ({'; '.join(failures)}): `pip install tflite-runtime 'numpy<2'` on Python 3.9 to 3.11, "
        "`pip install ai-edge-litert` on later ones"
    )


NAME, _MODULE = _choose()
_RESOLVER = {
    True: _MODULE.OpResolverType.AUTO,
    False: _MODULE.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


def version() -> str:
    """Name and version of the runtime in use."""
    import importlib.metadata  # 25 ms that only those pay who ask

    return f"{NAME} {importlib.metadata.version(NAME)}"


def _require_whole(content: bytes, name: str) -> None:
    """Refuses a truncated file: the runtime reads beyond its end, and the process dies of it.

    A flatbuffer grows towards its start, so what a converter writes first stands at the end: operator codes or
    buffers. All of these must lie inside the file. Fields by number, as in TFLite's schema: Model has the operator
    codes as 1 and the buffers as 4, Buffer has its data as 0.

    Raises:
        ModelError: one does not; `name` is for the message.
    """

    def number(form: str, at: int) -> int:
        value: int = struct.unpack_from(form, content, at)[0]
        return value

    def field(table: int, index: int) -> int:
        offsets, at = table - number("<i", table), 4 + 2 * index
        place = number("<H", offsets + at) if at < number("<H", offsets) else 0
        return table + place if place else 0

    def target(at: int) -> int:
        return at + number("<I", at)

    def tables(index: int) -> list[int]:
        vector = target(field(target(0), index))
        return [target(vector + 4 + 4 * n) for n in range(number("<I", vector))]

    def end_of_table(table: int) -> int:
        return table + number("<H", table - number("<i", table) + 2)

    try:
        data = [target(field(buffer, 0)) for buffer in tables(4) if field(buffer, 0)]
        ends = [end_of_table(table) for table in tables(1) + tables(4)] + [at + 4 + number("<I", at) for at in data]
    except struct.error:
        ends = [len(content) + 1]
    if max(ends, default=0) > len(content):
        raise ModelError(f"{name}: truncated or damaged: copy or download it again")


def open_model(content: bytes, name: str, delegate: bool = True) -> Any:
    """A new interpreter with its tensors allocated, on one thread.

    Args:
        content: of the model's file.
        name: for messages.
        delegate: whether the runtime may use its default delegate. Under LiteRT it makes the keyword networks seven
            times faster, under tflite-runtime it makes no difference. It keeps a second copy of the weights, and
            under tflite-runtime one of each length of input that it has seen.

    Raises:
        ModelError: the runtime refuses the content.
    """
    if content[4:8] != b"TFL3":  # tflite-runtime quotes other bytes in its message, and fails to decode them
        raise ModelError(f"{name}: not a TensorFlow Lite file")
    _require_whole(content, name)
    try:
        with silenced():
            interpreter = _MODULE.Interpreter(
                model_content=content, num_threads=1, experimental_op_resolver_type=_RESOLVER[delegate]
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name}: {NAME} cannot run this network: {text_of(error)}") from error
    return interpreter
