"""The TFLite runtime, chosen once: LiteRT where it is installed, else tflite-runtime. Both have one Interpreter.

`EARMARK_RUNTIME=ai-edge-litert|tflite-runtime` insists on one of them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..audio.quiet_stderr import silenced
from ..errors import ModelError, RuntimeMissing, text_of

Interpreter = Any
"""Of either runtime."""

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
DELEGATE_IS_SMALL = NAME == "ai-edge-litert"
"""Whether the delegate keeps its copy of the weights once, and not once for each length of input."""

Delegate = Literal["auto", "on", "off"]
"""Whether the speaker network may use the delegate; `auto`: where the machine has memory enough."""
# It costs 6 MB. Boards have 512 MB, of which the kernel shows up to 480, or 1 GB and more, from 900 on.
DELEGATE_FROM_MB = 768


def uses_delegate(asked: Delegate) -> bool:
    """Whether the speaker network uses the delegate: never under tflite-runtime, where it would cost 30 MB."""
    if not DELEGATE_IS_SMALL or asked == "off":
        return False
    return asked == "on" or memory_mb() >= DELEGATE_FROM_MB


def memory_mb() -> float:
    """Of the whole machine; what a container or a unit may use of it is not asked."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20


def version() -> str:
    """Name and version of the runtime in use."""
    import importlib.metadata  # 25 ms that only those pay who ask

    return f"{NAME} {importlib.metadata.version(NAME)}"


class Model(NamedTuple):
    """The file of a network that may be opened: made by `admission.admit`, which says which may."""

    content: bytes
    name: str
    """For messages."""


def open_model(model: Model, delegate: bool = True) -> Interpreter:
    """A new interpreter with its tensors allocated, on one thread.

    Args:
        model: that was admitted.
        delegate: whether the runtime may use its default delegate. Under LiteRT it makes the keyword networks seven
            times faster, under tflite-runtime it makes no difference. It keeps a second copy of the weights, and
            under tflite-runtime one of each length of input that it has seen.

    Raises:
        ModelError: the runtime refuses the content.
    """
    try:
        with silenced():
            interpreter = _MODULE.Interpreter(
                model_content=model.content, num_threads=1, experimental_op_resolver_type=_RESOLVER[delegate]
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{model.name}: {NAME} cannot run this network: {text_of(error)}") from error
    return interpreter


def run(interpreter: Interpreter, at: int, out: int, rows: npt.NDArray[Any], file: str) -> npt.NDArray[Any]:
    """What a network says of a batch of one, of any length.

    Args:
        interpreter: of `open_model`.
        at, out: numbers of its input and its output.
        rows: (n, …) without the batch.
        file: for messages.

    Raises:
        ModelError: the runtime fails.
    """
    try:
        interpreter.resize_tensor_input(at, (1, *rows.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(at, rows[None])
        interpreter.invoke()
        found: npt.NDArray[Any] = interpreter.get_tensor(out)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{file}: {version()} fails: {text_of(error)}: `earmark doctor`") from error
    return found


class Signatures:
    """The signatures of a network that learns, called by their names.

    Args:
        interpreter: of `open_model`.
        names: those that it must have.
        file: for messages.

    Raises:
        ModelError: it lacks one.
    """

    def __init__(self, interpreter: Interpreter, names: Sequence[str], file: str) -> None:
        missing = set(names) - set(interpreter.get_signature_list())
        if missing:
            raise ModelError(f"{file}: signatures {sorted(missing)} are missing: install earmark again")
        self._interpreter, self._file = interpreter, file  # the runners do not keep it
        self._runners = {name: interpreter.get_signature_runner(name) for name in names}

    def __call__(self, name: str, **inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Runs one; a runtime without one of its ops says so only here.

        Raises:
            ModelError: it fails.
        """
        try:
            values: dict[str, npt.NDArray[Any]] = self._runners[name](**inputs)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self._file}: {name} fails under {version()}: {text_of(error)}") from error
        return values

    def shape(self, name: str, argument: str) -> tuple[int, ...]:
        """Of an argument of one."""
        return tuple(map(int, self._runners[name].get_input_details()[argument]["shape"]))


def padded(rows: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Zero rows appended up to `count`; where their weight is zero too, they change nothing."""
    found = np.zeros((count, *rows.shape[1:]), rows.dtype)
    found[: len(rows)] = rows
    return found
