"""The fixed keyword network: feature frames in, probabilities out; state per stream."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from ..errors import KeywordError, ModelError, system_text_of, text_of
from ..features import frontend
from ..storage.reading import read_plain
from . import runtime
from .admission import admit
from .card import MOST_MODEL_BYTES, KeywordManifest, load_manifest

Words = Union[str, "os.PathLike[str]", KeywordManifest, "KeywordNetwork", Sequence[Any]]
"""One wake word or several: the names of built-in ones, paths of manifests, manifests, or networks."""

_DTYPES = (np.int8, np.uint8)


class KeywordNetwork:
    """A streaming microWakeWord network in our own interpreter.

    The network takes `stride` frames an inference (3 in the shipped ones: an inference every 30 ms) and keeps its
    history in resource variables. Probability number i is made from the frames up to and including
    (i + 1) * stride - 1.

    Args:
        manifest: of the wake word, or what `load_manifest` takes: the name of a built-in one, or a path.

    Raises:
        KeywordError: there is no such wake word, or the file is no such network: not TFLite, or of other shapes and
            types.
    """

    def __init__(self, manifest: KeywordManifest | str | os.PathLike[str]) -> None:
        self.manifest = manifest if isinstance(manifest, KeywordManifest) else load_manifest(manifest)
        path = self.manifest.model_path
        try:
            content = read_plain(path, MOST_MODEL_BYTES)
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 != self.manifest.model_sha256:
                raise KeywordError(f"{path}: the network is not any more what its manifest was read with: try again")
            self._model = admit(content, sha256, str(path), "keyword")
            self.reset()
        except (OSError, ValueError) as error:
            why = system_text_of(error) if isinstance(error, OSError) else text_of(error)
            raise KeywordError(f"{path}: cannot be read: {why}") from error
        except ModelError as error:
            raise KeywordError(str(error)) from error

    def reset(self) -> None:
        """Forgets the stream.

        A new interpreter (0.2 ms): neither `reset_all_variables` nor `allocate_tensors` clears the history of
        these networks.
        """
        self._interpreter = runtime.open_model(self._model)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input, self._scale, self._zero = self._check(inputs, "input")
        self._output, self._out_scale, self._out_zero = self._check(outputs, "output")
        self.stride = int(inputs[0]["shape"][1])
        """Frames per inference."""
        self._rest = np.zeros((0, frontend.CHANNELS), inputs[0]["dtype"])

    def push(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, 40) float32, any n ≥ 0 -> (m,) float32 in 0…1, one for every whole stride."""
        quantised = self._quantise(frames)
        pending = np.concatenate([self._rest, quantised]) if len(self._rest) else quantised
        count = len(pending) // self.stride
        self._rest = pending[count * self.stride :]
        strides = pending[: count * self.stride].reshape(count, 1, self.stride, frontend.CHANNELS)
        interpreter, at, out = self._interpreter, self._input, self._output
        raw = []
        for stride in strides:
            interpreter.set_tensor(at, stride)
            interpreter.invoke()
            raw.append(interpreter.get_tensor(out)[0, 0])
        return (np.array(raw, np.float32) - self._out_zero) * self._out_scale

    def _quantise(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Scale, round, and clip: without the clip the loudest value would change its sign."""
        limits = np.iinfo(self._rest.dtype)
        scaled = np.divide(frames, self._scale, dtype=np.float64)
        scaled += self._zero
        np.rint(scaled, out=scaled)
        np.maximum(scaled, limits.min, out=scaled)  # np.clip costs five times as much where the frames are few
        np.minimum(scaled, limits.max, out=scaled)
        return scaled.astype(self._rest.dtype)

    def _check(self, details: list[dict[str, Any]], side: str) -> tuple[int, float, int]:
        """Index, scale and zero point of the only tensor of one side; both sides must be what we can feed."""
        wanted = "[1, stride, 40]" if side == "input" else "[1, 1]"
        shapes = [[int(n) for n in tensor["shape"]] for tensor in details]
        shape = shapes[0] if shapes else []
        fits = len(shape) == 3 and shape[2] == frontend.CHANNELS if side == "input" else shape == [1, 1]
        if len(details) != 1 or not fits or details[0]["dtype"] not in _DTYPES:
            found = " and ".join(f"{tensor['dtype'].__name__}{n}" for tensor, n in zip(details, shapes)) or "missing"
            raise KeywordError(
                f"{self.manifest.model_path}: {side} is {found}, "
                f"it must be one int8 or uint8 tensor {wanted}: is it a streaming microWakeWord network?"
            )
        tensor = details[0]
        scale, zero = tensor["quantization"]
        return int(tensor["index"]), float(scale), int(zero)


def load_networks(words: Words) -> list[KeywordNetwork]:
    """The network of each wake word, each word once; a network that is given already is used as it is.

    Raises:
        KeywordError: a wake word is unknown, its network cannot be used, or there is none.
    """
    several: Sequence[Any] = words if isinstance(words, (list, tuple)) else [words]
    found: dict[str, KeywordNetwork] = {}
    for word in several:
        network = word if isinstance(word, KeywordNetwork) else KeywordNetwork(word)
        found.setdefault(network.manifest.name, network)
    if not found:
        raise KeywordError("no wake word: name one, as in `okay_nabu`")
    return [*found.values()]
