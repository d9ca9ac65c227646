"""The trainers that a voiceprint can name, and the arrays that each has stored in it."""

from __future__ import annotations

from collections.abc import Mapping

HEAD, REFERENCES, SVM, LOGISTIC = "head", "references", "svm", "logistic"
TRAINERS = (HEAD, REFERENCES, SVM, LOGISTIC)
"""`head` is what a voiceprint has that names none: a projection of embeddings (engine/networks/head.py)."""

Layout = Mapping[str, tuple[str, str]]
"""name -> type, and a letter a dimension: the same letter, the same length; `d` is that of the embeddings."""

_LINEAR: Layout = {
    # m is 1, or as many as there are prototypes: the score of each is direction·embedding + shift
    "direction": ("float32", "md"),
    "shift": ("float32", "m"),
}
LAYOUTS: Mapping[str, Layout] = {REFERENCES: _LINEAR, SVM: _LINEAR, LOGISTIC: _LINEAR}
