"""Recipe of the trainable head: a linear projection which the device adapts to one person's takes.

The file holds the training step itself: five signatures of built-in TensorFlow Lite operators, so the
ordinary runtime trains it. The weights live in the interpreter; `get_weights` and `set_weights` carry them
to and from a file of ours.

Loss: every take is classified against the prototype of the other takes and a cohort of other people, a
prototypical network (J. Snell et al., "Prototypical Networks for Few-shot Learning", 2017) whose own take is
left out as in GE2E (L. Wan et al., 2018). Update: Adam (D. Kingma and J. Ba, 2015).

This module is a recipe: the device only runs the file it makes. Only `build` needs TensorFlow.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Outputs = dict[str, Any]

PROJECTION_SIZE = 128
TAKE_ROWS = 80  # a person's takes and their augmented copies; unused rows have weight 0
COHORT_ROWS = 128  # other people; unused rows have weight 0
INFER_ROWS = 16

SCALE = 20.0  # sharpness: a cosine differing by 0.05 changes the odds by e
MARGIN = 0.1  # how much closer (in cosine) a take must be to its prototype than to the cohort
START_BIAS = 0.5  # cosine to the prototype above which a cohort row costs

BETA_1 = 0.9  # Adam: memory of the mean gradient
BETA_2 = 0.999  # Adam: memory of the squared gradient
EPSILON = 1e-8  # Adam: added to the root of the squared gradient
NORM_FLOOR = 1e-12  # added to a squared length: an all-zero row stays zero instead of becoming NaN
WEIGHT_FLOOR = 1e-12  # added to a sum of weights: no rows, no loss


def build(projection: Array, centre: Array) -> bytes:
    """The TensorFlow Lite file of a head which starts at `projection` (d, 128), less `centre` (d,)."""
    import tensorflow as tf

    _check("projection", projection, (len(centre), PROJECTION_SIZE))
    _check("centre", centre, (len(centre),))
    head = _Head(tf, projection.astype(np.float32), centre.astype(np.float32))
    module = tf.Module()
    module.state = head.state  # a module tracks the variables for saving
    return _convert(tf, module, head.signatures())


def _check(name: str, value: Array, shape: tuple[int, ...]) -> None:
    if value.shape != shape or not np.all(np.isfinite(value)):
        raise ValueError(f"{name}: shape {value.shape}: must be {shape} and finite")


class _Head:
    """The signatures. Three rules of the converter and the runtimes shape this code:

    No sqrt, rsqrt, relu or softplus on a differentiated path: their gradients are no built-in operators.
    Every input has a rank of at least 1: scalars crash some runtimes on arm64.
    Every variable that is assigned is read into an output: an assignment nobody reads is dropped.
    """

    def __init__(self, tf: Any, projection: Array, centre: Array) -> None:
        self._tf = tf
        self.embedding_size = len(centre)
        self._start = tf.constant(projection)
        self._centre = tf.constant(centre)
        self.projection = tf.Variable(projection)
        self.bias = tf.Variable([START_BIAS], dtype=tf.float32)
        self.projection_mean = tf.Variable(tf.zeros_like(projection))
        self.projection_square = tf.Variable(tf.zeros_like(projection))
        self.bias_mean = tf.Variable([0.0])
        self.bias_square = tf.Variable([0.0])
        self.mass = tf.Variable([0.0, 0.0])  # 1 - beta ** steps for both betas: Adam's bias correction
        self.moments = [
            self.projection_mean,
            self.projection_square,
            self.bias_mean,
            self.bias_square,
            self.mass,
        ]
        self.state = [self.projection, self.bias, *self.moments]

    def signatures(self) -> dict[str, Any]:
        """Name -> function with its input shapes."""

        def spec(name: str, *shape: int, dtype: Any = self._tf.float32) -> Any:
            return self._tf.TensorSpec(shape, dtype, name=name)

        size = self.embedding_size
        projection = spec("projection", size, PROJECTION_SIZE)
        inputs = {
            "initialize": [],
            "train": [
                spec("takes", TAKE_ROWS, size),
                spec("take_weight", TAKE_ROWS),
                spec("take_of_row", TAKE_ROWS, dtype=self._tf.int32),
                spec("cohort", COHORT_ROWS, size),
                spec("cohort_weight", COHORT_ROWS),
                spec("learning_rate", 1),
                spec("pull", 1),
            ],
            "infer": [spec("embeddings", INFER_ROWS, size), spec("prototype", 1, PROJECTION_SIZE)],
            "get_weights": [],
            "set_weights": [projection, spec("bias", 1)],
        }
        return {name: self._tf.function(getattr(self, name), input_signature=inputs[name]) for name in inputs}

    def initialize(self) -> Outputs:
        """Back to the start: the projection built in, the start bias, no memory of steps."""
        self.projection.assign(self._start)
        self.bias.assign([START_BIAS])
        self._clear_moments()
        return {"done": self._checksum()}

    def train(
        self,
        takes: Any,
        take_weight: Any,
        take_of_row: Any,
        cohort: Any,
        cohort_weight: Any,
        learning_rate: Any,
        pull: Any,
    ) -> Outputs:
        """One Adam step. Returns the parts of the loss, each [1], from before the step."""
        tf = self._tf
        with tf.GradientTape() as tape:
            mine = self._project(self._used_rows(takes, take_weight))
            others = self._project(self._used_rows(cohort, cohort_weight))
            take_loss = self._take_loss(mine, take_weight, take_of_row, others, cohort_weight)
            cohort_loss = self._cohort_loss(mine, take_weight, others, cohort_weight)
            pull_loss = pull * tf.reduce_sum(tf.square(self.projection - self._start))
            loss = take_loss + cohort_loss + pull_loss
        gradients = tape.gradient(loss, [self.projection, self.bias])
        self._adam_step(gradients[0], gradients[1], learning_rate)
        return {
            "loss": tf.reshape(loss, [1]),
            "take_loss": tf.reshape(take_loss, [1]),
            "cohort_loss": tf.reshape(cohort_loss, [1]),
            "pull_loss": tf.reshape(pull_loss, [1]),
            "done": self._checksum(),
        }

    def infer(self, embeddings: Any, prototype: Any) -> Outputs:
        """Rows of length 1 and their cosine to the prototype (which may have any length)."""
        projected = self._project(embeddings)
        score = self._tf.matmul(projected, self._unit(prototype), transpose_b=True)
        return {"score": self._tf.reshape(score, [INFER_ROWS]), "projected": projected}

    def get_weights(self) -> Outputs:
        """What a file must keep, and the constant centre."""
        return {
            "projection": self.projection.read_value(),
            "bias": self.bias.read_value(),
            "centre": self._tf.identity(self._centre),
        }

    def set_weights(self, projection: Any, bias: Any) -> Outputs:
        """Takes weights back in and forgets the earlier steps. Returns them as read from the variables."""
        self.projection.assign(projection)
        self.bias.assign(bias)
        self._clear_moments()
        return {
            "projection": self.projection.read_value(),
            "bias": self.bias.read_value(),
            "done": self._checksum(),
        }

    def _used_rows(self, rows: Any, weight: Any) -> Any:
        """Zeroes the rows of weight 0, so that not even a NaN in an unused row gets any further."""
        return self._tf.where(weight[:, None] > 0.0, rows, 0.0)

    def _project(self, embeddings: Any) -> Any:
        """(rows, d) -> (rows, 128) of length 1."""
        return self._unit(self._tf.matmul(embeddings - self._centre, self.projection))

    def _unit(self, rows: Any) -> Any:
        """Rows of length 1. exp(-log / 2) is 1 / sqrt with gradients that are built-in operators."""
        tf = self._tf
        squared = tf.reduce_sum(rows * rows, axis=1, keepdims=True) + NORM_FLOOR
        return rows * tf.exp(-0.5 * tf.math.log(squared))

    def _take_loss(self, mine: Any, take_weight: Any, take_of_row: Any, others: Any, cohort_weight: Any) -> Any:
        """Cross-entropy of each take's own prototype against the cohort, averaged over the takes.

        Written relative to the prototype's logit: log(1 + sum exp(other - own)) needs no large exponentials
        of the same size on both sides of a difference.
        """
        tf = self._tf
        differs = tf.cast(tf.not_equal(take_of_row[:, None], take_of_row[None, :]), tf.float32)
        prototypes = self._unit(tf.matmul(differs * take_weight[None, :], mine))
        own = SCALE * (tf.reduce_sum(mine * prototypes, axis=1, keepdims=True) - MARGIN)
        other = SCALE * tf.matmul(mine, others, transpose_b=True)
        odds = tf.reduce_sum(cohort_weight[None, :] * tf.exp(other - own), axis=1)
        return self._mean(tf.math.log(1.0 + odds), take_weight)

    def _cohort_loss(self, mine: Any, take_weight: Any, others: Any, cohort_weight: Any) -> Any:
        """Softplus of how far each cohort row lies beyond the bias towards the prototype of all takes."""
        tf = self._tf
        prototype = self._unit(tf.matmul(take_weight[None, :], mine))
        cosine = tf.reshape(tf.matmul(others, prototype, transpose_b=True), [COHORT_ROWS])
        return self._mean(self._softplus(SCALE * (cosine - self.bias)), cohort_weight)

    def _softplus(self, x: Any) -> Any:
        """max(x, 0) + log(1 + exp(-|x|)): no overflow, whatever the bias."""
        tf = self._tf
        positive = tf.cast(x > 0.0, tf.float32)
        return x * positive + tf.math.log(1.0 + tf.exp(x * (1.0 - 2.0 * positive)))

    def _mean(self, values: Any, weight: Any) -> Any:
        """Weighted mean; 0 if all weights are."""
        return self._tf.reduce_sum(values * weight) / (self._tf.reduce_sum(weight) + WEIGHT_FLOOR)

    def _adam_step(self, projection_gradient: Any, bias_gradient: Any, learning_rate: Any) -> None:
        """Moves both variables. The mass is the mean of a constant 1 over the same memory as the moments.

        A moment over its mass is Adam's bias correction, without the cancellation of 1 - beta ** steps.
        """
        beta = self._tf.constant([BETA_1, BETA_2])
        mass = self.mass.assign(beta * self.mass + self._tf.constant([1.0 - BETA_1, 1.0 - BETA_2]))
        projection_moments = (self.projection_mean, self.projection_square)
        self._move(self.projection, projection_gradient, projection_moments, mass, learning_rate)
        self._move(self.bias, bias_gradient, (self.bias_mean, self.bias_square), mass, learning_rate)

    def _move(self, variable: Any, gradient: Any, moments: Any, mass: Any, learning_rate: Any) -> None:
        """Adam on one variable; updates its two moments."""
        mean, square = moments
        new_mean = mean.assign(BETA_1 * mean + (1.0 - BETA_1) * gradient)
        new_square = square.assign(BETA_2 * square + (1.0 - BETA_2) * gradient * gradient)
        root = self._tf.sqrt(new_square / mass[1:])
        variable.assign(variable - learning_rate * (new_mean / mass[:1]) / (root + EPSILON))

    def _clear_moments(self) -> None:
        for moment in self.moments:
            moment.assign(self._tf.zeros_like(moment))

    def _checksum(self) -> Any:
        """[1]: reads every variable, which is what keeps the assignments above in the file."""
        sums = [self._tf.reduce_sum(variable) for variable in self.state]
        return self._tf.reshape(self._tf.add_n(sums), [1])


def _convert(tf: Any, module: Any, signatures: dict[str, Any]) -> bytes:
    """Built-in operators only: the converter fails rather than ask for the Flex library."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())
