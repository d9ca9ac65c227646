"""Recipe of the trainable gate of a phrase: a logistic regression whose training step is a TFLite signature.

It tells windows of eight features (engine/phrases/network.py) that end a phrase from all others: weighted logistic
loss, a pull towards zero, Adam (D. Kingma and J. Ba, 2015). The device trains it from zero for each phrase, in two
rounds; what comes out lives in the voiceprint, and is applied there by a dot product (engine/phrases/model.py).

This module is a recipe: the device only runs the file it makes. Only `build` needs TensorFlow.
"""

from __future__ import annotations

import tempfile
from typing import Any

from .head_net import BETA_1, BETA_2, EPSILON, WEIGHT_FLOOR

WINDOW = 8  # features: 640 ms of steps, and what the first one sees before: 1.3 s
FEATURES = 32
INPUTS = WINDOW * FEATURES
ROWS = 4096  # windows in a step; unused rows have weight 0


def build() -> bytes:
    """The TensorFlow Lite file of a gate that starts at zero."""
    import tensorflow as tf

    gate = _Gate(tf)
    module = tf.Module()
    module.state = gate.state  # a module tracks the variables for saving
    signatures = gate.signatures()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


class _Gate:
    """The signatures; `head_net.py` has the rules that shape such code."""

    def __init__(self, tf: Any) -> None:
        self._tf = tf
        self.weights = tf.Variable(tf.zeros((INPUTS, 1)))
        self.bias = tf.Variable([0.0])
        self.moments = [
            tf.Variable(tf.zeros((INPUTS, 1))),
            tf.Variable(tf.zeros((INPUTS, 1))),
            tf.Variable([0.0]),
            tf.Variable([0.0]),
            tf.Variable([0.0, 0.0]),  # 1 - beta ** steps for both betas: Adam's bias correction
        ]
        self.state = [self.weights, self.bias, *self.moments]

    def signatures(self) -> dict[str, Any]:
        """Name -> function with its input shapes."""

        def spec(name: str, *shape: int) -> Any:
            return self._tf.TensorSpec(shape, self._tf.float32, name=name)

        inputs = {
            "initialize": [],
            "train": [
                spec("windows", ROWS, INPUTS),
                spec("is_phrase", ROWS),
                spec("weight", ROWS),
                spec("learning_rate", 1),
                spec("pull", 1),
            ],
            "get_weights": [],
        }
        return {name: self._tf.function(getattr(self, name), input_signature=inputs[name]) for name in inputs}

    def initialize(self) -> dict[str, Any]:
        """Back to zero, no memory of steps."""
        for variable in self.state:
            variable.assign(self._tf.zeros_like(variable))
        return {"done": self._checksum()}

    def train(self, windows: Any, is_phrase: Any, weight: Any, learning_rate: Any, pull: Any) -> dict[str, Any]:
        """One Adam step. Returns the loss, [1], from before the step."""
        tf = self._tf
        with tf.GradientTape() as tape:
            logits = tf.reshape(tf.matmul(windows, self.weights), [ROWS]) + self.bias
            # softplus(-logit) of what is the phrase, softplus(logit) of what is not
            costs = self._softplus(logits * (1.0 - 2.0 * is_phrase))
            fit = tf.reduce_sum(costs * weight) / (tf.reduce_sum(weight) + WEIGHT_FLOOR)
            loss = fit + 0.5 * pull * tf.reduce_sum(tf.square(self.weights))
        gradients = tape.gradient(loss, [self.weights, self.bias])
        beta = tf.constant([BETA_1, BETA_2])
        mass = self.moments[4].assign(beta * self.moments[4] + (1.0 - beta))
        for at, (variable, gradient) in enumerate(zip((self.weights, self.bias), gradients)):
            mean, square = self.moments[2 * at : 2 * at + 2]
            new_mean = mean.assign(BETA_1 * mean + (1.0 - BETA_1) * gradient)
            new_square = square.assign(BETA_2 * square + (1.0 - BETA_2) * gradient * gradient)
            step = new_mean / mass[:1] / (tf.sqrt(new_square / mass[1:]) + EPSILON)
            variable.assign(variable - learning_rate * step)
        return {"loss": tf.reshape(loss, [1]), "done": self._checksum()}

    def get_weights(self) -> dict[str, Any]:
        """What the voiceprint keeps."""
        weights = self._tf.reshape(self.weights.read_value(), [INPUTS])
        return {"weights": weights, "bias": self.bias.read_value()}

    def _softplus(self, x: Any) -> Any:
        """max(x, 0) + log(1 + exp(-|x|)): no overflow, and gradients that are built-in operators."""
        tf = self._tf
        positive = tf.cast(x > 0.0, tf.float32)
        return x * positive + tf.math.log(1.0 + tf.exp(x * (1.0 - 2.0 * positive)))

    def _checksum(self) -> Any:
        """[1]: reads every variable, which is what keeps the assignments above in the file."""
        return self._tf.reshape(self._tf.add_n([self._tf.reduce_sum(one) for one in self.state]), [1])
