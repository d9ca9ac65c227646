"""The trainers that a voiceprint can name, and the arrays that each has stored in it."""

from __future__ import annotations

from collections.abc import Mapping

HEAD, REFERENCES, SVM, LOGISTIC, BLOCK = "head", "references", "svm", "logistic", "block"
TRAINERS = (HEAD, REFERENCES, SVM, LOGISTIC, BLOCK)
"""`head` is what a voiceprint has that names none: a projection of embeddings (engine/networks/head.py)."""
HEARING = (BLOCK,)
"""Those that are asked with the sound of a try, and not with its embedding."""

Layout = Mapping[str, tuple[str, str]]
"""name -> type, and a letter a dimension: the same letter, the same length; `d` is that of the embeddings."""

_LINEAR: Layout = {
    # m is 1, or as many as there are prototypes: the score of each is direction·embedding + shift
    "direction": ("float32", "md"),
    "shift": ("float32", "m"),
}
_BLOCK: Layout = {
    # what training has added to the last layers, each kernel as a product of two matrices of rank r
    "transit_left": ("float16", "ir"),
    "transit_right": ("float16", "rc"),
    "transit_bias": ("float16", "c"),
    "dense_left": ("float16", "sr"),
    "dense_right": ("float16", "rd"),
    "dense_bias": ("float16", "d"),
    "own": ("float32", "md"),  # prototypes, as these layers make them; unit rows
    "onto_cosine": ("float32", "2"),  # slope and shift: cosines of these embeddings onto the scale of the shipped
}
LAYOUTS: Mapping[str, Layout] = {REFERENCES: _LINEAR, SVM: _LINEAR, LOGISTIC: _LINEAR, BLOCK: _BLOCK}
