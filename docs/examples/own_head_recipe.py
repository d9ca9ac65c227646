"""The file of a head that learns: `own_head_recipe.py own_head.tflite`. Made once, on a desk, with TensorFlow."""

import sys
from pathlib import Path

import tensorflow as tf

ROWS, SIZE, WORDS = 64, 64, 3
state = {name: tf.Variable(tf.zeros([SIZE, WORDS])) for name in ("weights", "speed")}


def get_weights():
    """With the optimiser's memory, so that training goes on as if it had never stopped."""
    return {name: variable.read_value() for name, variable in state.items()}


def set_weights(**new):
    """Read back: an assignment that no output shows would not be in the file."""
    return {name: variable.assign(new[name]).read_value() for name, variable in state.items()}


def train(rows, targets, learning_rate):
    """A step of softmax regression with momentum; a row whose targets are 0 is none."""
    with tf.GradientTape() as tape:
        scores = tf.matmul(rows, state["weights"])
        each = tf.math.log(tf.reduce_sum(tf.exp(scores), 1)) - tf.reduce_sum(targets * scores, 1)
        loss = tf.reduce_sum(each * tf.reduce_sum(targets, 1)) / tf.reduce_sum(targets)
    speed = 0.9 * state["speed"] + tape.gradient(loss, state["weights"])
    return {
        "loss": tf.reshape(loss, [1]),
        **set_weights(weights=state["weights"] - learning_rate * speed, speed=speed),
    }


def initialize():
    """Before anything else."""
    return set_weights(**{name: tf.zeros([SIZE, WORDS]) for name in state})


inputs = {  # of every signature; shapes are fixed, and none is empty
    initialize: {},
    get_weights: {},
    set_weights: {name: [SIZE, WORDS] for name in state},
    train: {"rows": [ROWS, SIZE], "targets": [ROWS, WORDS], "learning_rate": [1]},
}
signatures = {
    call.__name__: tf.function(call).get_concrete_function(
        **{name: tf.TensorSpec(shape, name=name) for name, shape in given.items()}
    )
    for call, given in inputs.items()
}
head = tf.Module()
head.state = state
tf.saved_model.save(head, "own_head", signatures)
Path(sys.argv[1]).write_bytes(tf.lite.TFLiteConverter.from_saved_model("own_head", list(signatures)).convert())
