"""Recipe of a network that a plain TensorFlow Lite runtime trains as a whole: forward and backward pass in the file.

Seven signatures, of built-in operators only:

* `initialize(theta)`: the weights to begin with, and what `pull` draws back to; no memory of steps;
* `embed(x, valid)`: a micro-batch of utterances -> embeddings;
* `loss_gradient(embeddings, weight, take, is_take)`: the loss of a whole batch, and its gradient by each embedding;
* `accumulate(x, valid, gradient)`: back-propagates that through the network for a micro-batch, and adds it up;
* `apply(learning_rate, pull)`: one Adam step (D. Kingma and J. Ba, 2015) with what was added up;
* `get_weights()`, `set_weights(...)`: the whole state, weights and moments. Written after a step and put in again by
  another process, training goes on to the same weights, bit for bit.

A batch in micro-batches has the loss of the whole batch (L. Gao et al., "Scaling Deep Contrastive Learning Batch Size
under Memory Limited Setup", 2021): `embed` each, `loss_gradient` once, `accumulate` each, `apply`. Memory is that of
a micro-batch.

What the converter and the runtimes ask for shapes this code:

* all weights are one flat variable, sliced outside of the tape, so that Adam, get and set are one tensor each;
* a convolution over time is a pad, a slice for each tap, and one product of matrices: the gradient of `x[a:b]` and of
  `tf.nn.conv*` are no built-in operators;
* `relu` and `sqrt` have gradients of their own for the same reason; 1 / sqrt is exp(-log / 2);
* every input has a rank of 1 or more, every shape is fixed, and what is assigned is read back in an output;
* the weights come in as an input: as a constant they would be in the file a second time.

This module is a recipe: the device only runs the file. Only `build` needs TensorFlow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .head_net import BETA_1, BETA_2, EPSILON, MARGIN, NORM_FLOOR, SCALE, WEIGHT_FLOOR
from .int8_weights import read_schema

Array = npt.NDArray[Any]
Outputs = dict[str, Any]
CALL_ONCE = 129  # of TFLite's schema: what runs before the first call of a signature
VARIANCE_FLOOR = 1e-8  # added before a root
SIGNATURES = ("initialize", "embed", "loss_gradient", "accumulate", "apply", "get_weights", "set_weights")


class Sizes(NamedTuple):
    """Of what a network hears and says."""

    frames: int
    """Of an utterance; a shorter one has frames that do not count."""
    inputs: int
    """Of a frame."""
    outputs: int
    """Of an embedding."""
    rows: int
    """Of a batch."""
    micro_rows: int
    """Of a micro-batch."""


class Ops:
    """What networks are made of here, with gradients that are built-in operators."""

    def __init__(self, tf: Any) -> None:
        self.tf = tf

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def relu(x: Any) -> Any:
            y = tf.nn.relu(x)
            return y, lambda above: above * tf.cast(y > 0.0, tf.float32)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def sqrt(x: Any) -> Any:
            y = tf.sqrt(x)
            return y, lambda above: above * 0.5 / y

        self.relu, self.sqrt = relu, sqrt

    def matmul(self, x: Any, kernel: Any) -> Any:
        """(b, t, i) by (i, o), as one product of two matrices: what the runtime is fastest at."""
        tf, (rows, frames, inputs) = self.tf, x.shape
        return tf.reshape(tf.matmul(tf.reshape(x, [rows * frames, inputs]), kernel), [rows, frames, kernel.shape[1]])

    def neighbours(self, x: Any, dilation: int) -> Any:
        """(b, t, c) -> three: each frame's left neighbour at a distance, itself, the right one; zeros around."""
        tf, (rows, frames, channels) = self.tf, x.shape
        padded = tf.pad(x, [[0, 0], [dilation, dilation], [0, 0]])
        return [tf.slice(padded, [0, tap * dilation, 0], [rows, frames, channels]) for tap in range(3)]

    def pooled(self, x: Any, valid: Any) -> Any:
        """(b, t, c), (b, t) -> (b, 2 c): mean and deviation over the frames that count, two or more."""
        tf, (rows, frames, channels) = self.tf, x.shape
        counts = tf.reshape(valid, [rows, frames, 1])
        number = tf.reduce_sum(valid, axis=1, keepdims=True)
        mean = tf.reduce_sum(x * counts, axis=1) / number
        apart = (x - tf.reshape(mean, [rows, 1, channels])) * counts
        variance = tf.reduce_sum(apart * apart, axis=1) / (number - 1.0)
        return tf.concat([mean, self.sqrt(variance + VARIANCE_FLOOR)], axis=1)

    def normalised(self, x: Any, gain: Any, shift: Any) -> Any:
        """(b, t, c): each frame of mean 0 and variance 1 (J. Ba et al., "Layer Normalization", 2016)."""
        tf = self.tf
        apart = x - tf.reduce_mean(x, axis=2, keepdims=True)
        variance = tf.reduce_mean(apart * apart, axis=2, keepdims=True) + 1e-5
        return apart * tf.exp(-0.5 * tf.math.log(variance)) * gain + shift

    def unit(self, rows: Any) -> Any:
        """Rows of length 1."""
        tf = self.tf
        squared = tf.reduce_sum(rows * rows, axis=-1, keepdims=True) + NORM_FLOOR
        return rows * tf.exp(-0.5 * tf.math.log(squared))

    def loss(self, embeddings: Any, weight: Any, take: Any, is_take: Any) -> Any:
        """Each take against the prototype of the others and the strangers: the take loss of `head_net.py`.

        Args:
            embeddings: (b, d), of any length.
            weight: (b,) of each row; 0: it does not count.
            take: (b,) which take a row stems from.
            is_take: (b,) 1 for the person's rows, 0 for strangers.
        """
        tf = self.tf
        rows = self.unit(embeddings)
        own_weight = weight * is_take
        differs = tf.cast(tf.not_equal(take[:, None], take[None, :]), tf.float32)
        prototypes = self.unit(tf.matmul(differs * own_weight[None, :], rows))
        own = SCALE * (tf.reduce_sum(rows * prototypes, axis=1, keepdims=True) - MARGIN)
        other = SCALE * tf.matmul(rows, rows, transpose_b=True)
        odds = tf.reduce_sum((weight * (1.0 - is_take))[None, :] * tf.exp(other - own), axis=1)
        return tf.reduce_sum(tf.math.log(1.0 + odds) * own_weight) / (tf.reduce_sum(own_weight) + WEIGHT_FLOOR)


Net = Callable[[Ops, Mapping[str, Any], Any, Any], Any]
"""Ops, weights by name, (b, t, i) input and (b, t) which frames count -> (b, d) embeddings."""


def flat(weights: Mapping[str, Array]) -> Array:
    """All weights one after the other, float32."""
    return np.asarray(np.concatenate([np.ravel(values) for values in weights.values()]), np.float32)


def build(net: Net, shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> bytes:
    """The TensorFlow Lite file of a network whose weights have these names and shapes, in this order."""
    import tensorflow as tf

    made = _FlatNet(tf, net, shapes, sizes)
    module = tf.Module()
    module.state = made.state
    signatures = made.signatures()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return without_first_values(bytes(converter.convert()))


def without_first_values(content: bytes) -> bytes:
    """A TFLite file whose variables have no values until something is assigned to them.

    The converter writes their zeros out, four bytes a weight. `initialize` and `set_weights` assign all of them.
    """
    import flatbuffers

    schema = read_schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    ops = [op for graph in model.subgraphs for op in graph.operators]
    once = {op.builtinOptions.initSubgraphIndex for op in ops if kinds[op.opcodeIndex] == CALL_ONCE}
    for number in once:
        model.subgraphs[number].operators, model.subgraphs[number].tensors = [], []
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _FlatNet:
    def __init__(self, tf: Any, net: Net, shapes: Mapping[str, tuple[int, ...]], sizes: Sizes) -> None:
        self._tf, self._net, self._shapes, self._sizes = tf, net, shapes, sizes
        self._ops = Ops(tf)
        self.size = sum(int(np.prod(shape)) for shape in shapes.values())
        self._theta, self._mean, self._square, self._start, self._sum = (
            tf.Variable(tf.zeros([self.size])) for _ in range(5)
        )
        self._mass = tf.Variable([0.0, 0.0])  # of Adam's moments, as in head_net.py
        self.state = [self._theta, self._mean, self._square, self._start, self._sum, self._mass]

    def signatures(self) -> dict[str, Any]:
        """Name -> function with its input shapes."""
        tf, sizes = self._tf, self._sizes

        def spec(name: str, *shape: int, dtype: Any = tf.float32) -> Any:
            return tf.TensorSpec(shape, dtype, name=name)

        some = sizes.micro_rows
        heard = [spec("x", some, sizes.frames, sizes.inputs), spec("valid", some, sizes.frames)]
        state = [spec(name, self.size) for name in ("theta", "mean", "square", "start")]
        inputs = {
            "initialize": [spec("theta", self.size)],
            "embed": heard,
            "loss_gradient": [
                spec("embeddings", sizes.rows, sizes.outputs),
                spec("weight", sizes.rows),
                spec("take", sizes.rows, dtype=tf.int32),
                spec("is_take", sizes.rows),
            ],
            "accumulate": [*heard, spec("gradient", sizes.micro_rows, sizes.outputs)],
            "apply": [spec("learning_rate", 1), spec("pull", 1)],
            "get_weights": [],
            "set_weights": [*state, spec("mass", 2)],
        }
        return {name: tf.function(getattr(self, name), input_signature=inputs[name]) for name in SIGNATURES}

    def initialize(self, theta: Any) -> Outputs:
        """Weights to begin with; all else is nothing."""
        nothing = theta - theta
        done = [self._theta.assign(theta), self._start.assign(theta)]
        done += [variable.assign(nothing) for variable in (self._mean, self._square, self._sum)]
        done.append(self._mass.assign(self._tf.slice(nothing, [0], [2])))
        return {"done": self._checksum(done)}

    def embed(self, x: Any, valid: Any) -> Outputs:
        """Embeddings, of any length."""
        return {"embedding": self._net(self._ops, self._unpacked(self._theta.read_value()), x, valid)}

    def loss_gradient(self, embeddings: Any, weight: Any, take: Any, is_take: Any) -> Outputs:
        """The loss of a batch, and its gradient by each embedding."""
        tf = self._tf
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            loss = self._ops.loss(embeddings, weight, take, is_take)
        return {"loss": tf.reshape(loss, [1]), "gradient": tape.gradient(loss, embeddings)}

    def accumulate(self, x: Any, valid: Any, gradient: Any) -> Outputs:
        """Adds a micro-batch's gradient by the weights."""
        tf = self._tf
        weights = self._unpacked(self._theta.read_value())
        with tf.GradientTape() as tape:
            for each in weights.values():
                tape.watch(each)
            along = tf.reduce_sum(self._net(self._ops, weights, x, valid) * gradient)
        found = tape.gradient(along, list(weights.values()))
        added = self._sum.assign(self._sum + tf.concat([tf.reshape(each, [-1]) for each in found], axis=0))
        return {"gradient": added}

    def apply(self, learning_rate: Any, pull: Any) -> Outputs:
        """One Adam step along what was added up and the pull back to the start; then nothing is added up."""
        tf = self._tf
        gradient = self._sum + 2.0 * pull * (self._theta - self._start)
        mass = self._mass.assign(tf.constant([BETA_1, BETA_2]) * self._mass + tf.constant([1 - BETA_1, 1 - BETA_2]))
        mean = self._mean.assign(BETA_1 * self._mean + (1 - BETA_1) * gradient)
        square = self._square.assign(BETA_2 * self._square + (1 - BETA_2) * gradient * gradient)
        step = learning_rate * (mean / mass[:1]) / (tf.sqrt(square / mass[1:]) + EPSILON)
        theta = self._theta.assign(self._theta - step)
        nothing = self._sum.assign(gradient - gradient)
        return {"done": self._checksum([theta, mean, square, mass, nothing])}

    def get_weights(self) -> Outputs:
        """All that training goes on from."""
        names = {"theta": self._theta, "mean": self._mean, "square": self._square, "start": self._start}
        return {**{name: each.read_value() for name, each in names.items()}, "mass": self._mass.read_value()}

    def set_weights(self, theta: Any, mean: Any, square: Any, start: Any, mass: Any) -> Outputs:
        """The same, back in."""
        pairs = ((self._theta, theta), (self._mean, mean), (self._square, square), (self._start, start))
        done = [variable.assign(value) for variable, value in pairs]
        done += [self._sum.assign(theta - theta), self._mass.assign(mass)]
        return {"done": self._checksum(done)}

    def _unpacked(self, theta: Any) -> dict[str, Any]:
        """The flat weights by name, each of its shape."""
        tf, at, weights = self._tf, 0, {}
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            weights[name] = tf.reshape(tf.slice(theta, [at], [size]), shape)
            at += size
        return weights

    def _checksum(self, values: list[Any]) -> Any:
        """[1]: reads what was assigned, which is what keeps the assignments in the file."""
        tf = self._tf
        return tf.reshape(tf.add_n([tf.reduce_sum(value) for value in values]), [1])
