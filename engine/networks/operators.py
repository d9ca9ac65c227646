"""The operators of TFLite that a network from elsewhere may have, and how their options are laid out.

Numbers, names and layouts are those of TFLite's schema. What is not here is not run: an operator of ours own making,
one that calls other code, one that chooses its memory by what it has computed.
"""

from __future__ import annotations

from typing import NamedTuple

ANY = 64


class Operator(NamedTuple):
    """One of them.

    `layout` has a letter for each field of its options: `a` an activation, `p` a padding, `?` a truth value, `0` a
    byte that must be 0, `T` the type of a tensor, `i` a number, `+` a number from 1 on, `d` the same with 1 as its
    default, `f` a float, `t` a text, `v` numbers.
    """

    name: str
    inputs: tuple[int, int]
    """The least and the most."""
    outputs: tuple[int, int] = (1, 1)
    options: int = 0
    """Their type; 0: there are none, or they say nothing."""
    layout: str = ""


STREAMING = {
    # What ESPHome's micro_wake_word runs: a network that a microcontroller takes has nothing else.
    0: Operator("ADD", (2, 2), options=11, layout="a?"),
    1: Operator("AVERAGE_POOL_2D", (1, 1), options=5, layout="p++++a"),
    2: Operator("CONCATENATION", (1, ANY), options=10, layout="ia"),
    3: Operator("CONV_2D", (2, 3), options=1, layout="p++addT"),
    4: Operator("DEPTHWISE_CONV_2D", (2, 3), options=2, layout="p+++add"),
    9: Operator("FULLY_CONNECTED", (2, 3), options=8, layout="a0??T"),
    14: Operator("LOGISTIC", (1, 1)),
    17: Operator("MAX_POOL_2D", (1, 1), options=5, layout="p++++a"),
    18: Operator("MUL", (2, 2), options=21, layout="a"),
    22: Operator("RESHAPE", (1, 2), options=17, layout="v"),
    34: Operator("PAD", (2, 2)),
    40: Operator("MEAN", (2, 2), options=27, layout="?"),
    45: Operator("STRIDED_SLICE", (4, 4), options=32, layout="iiiii?"),
    83: Operator("PACK", (1, ANY), options=59, layout="+i"),
    102: Operator("SPLIT_V", (3, 3), (1, ANY), options=79, layout="+"),
    114: Operator("QUANTIZE", (1, 1)),
    129: Operator("CALL_ONCE", (0, 0), (0, 0), options=103, layout="i"),
    142: Operator("VAR_HANDLE", (0, 0), options=111, layout="tt"),
    143: Operator("READ_VARIABLE", (1, 1)),
    144: Operator("ASSIGN_VARIABLE", (2, 2), (0, 0)),
}

EMBEDDING = {
    # What a speaker network and a trainable head are made of, beside the same.
    **STREAMING,
    6: Operator("DEQUANTIZE", (1, 1)),
    11: Operator("L2_NORMALIZATION", (1, 1), options=12, layout="a"),
    19: Operator("RELU", (1, 1)),
    21: Operator("RELU6", (1, 1)),
    25: Operator("SOFTMAX", (1, 1), options=9, layout="f"),
    28: Operator("TANH", (1, 1)),
    39: Operator("TRANSPOSE", (2, 2)),
    41: Operator("SUB", (2, 2), options=28, layout="a?"),
    42: Operator("DIV", (2, 2), options=29, layout="a"),
    43: Operator("SQUEEZE", (1, 1), options=30, layout="v"),
    47: Operator("EXP", (1, 1)),
    53: Operator("CAST", (1, 1), options=37, layout="TT"),
    55: Operator("MAXIMUM", (2, 2)),
    57: Operator("MINIMUM", (2, 2)),
    59: Operator("NEG", (1, 1)),
    61: Operator("GREATER", (2, 2)),
    70: Operator("EXPAND_DIMS", (2, 2)),
    72: Operator("NOT_EQUAL", (2, 2)),
    73: Operator("LOG", (1, 1)),
    74: Operator("SUM", (2, 2), options=27, layout="?"),
    75: Operator("SQRT", (1, 1)),
    76: Operator("RSQRT", (1, 1)),
    77: Operator("SHAPE", (1, 1), options=55, layout="T"),
    92: Operator("SQUARE", (1, 1)),
    98: Operator("LEAKY_RELU", (1, 1), options=75, layout="f"),
    99: Operator("SQUARED_DIFFERENCE", (2, 2)),
    101: Operator("ABS", (1, 1)),
    106: Operator("ADD_N", (1, ANY)),
    117: Operator("HARD_SWISH", (1, 1)),
    123: Operator("SELECT_V2", (3, 3)),
    126: Operator("BATCH_MATMUL", (2, 2), options=101, layout="???"),
}

TRAINING = {
    # What a network that is trained as a whole has beside the same (models/flat_net.py).
    **EMBEDDING,
    65: Operator("SLICE", (3, 3)),
    69: Operator("TILE", (2, 2)),
}
