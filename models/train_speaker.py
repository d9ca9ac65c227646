"""Recipe of the speaker network's weights: a student of GE2E that also hears a voice in noise (`speaker_net.py`)::

    python -m earmark.models.train_speaker --data DIR --work DIR            # what ships
    python -m earmark.models.train_speaker --data DIR --work DIR --fold 0   # without the speakers of fold 0

Three steps; each leaves a file in the work folder and is not repeated while that is there:

1. `pool.npz`: every clip, clean and degraded (`speech_pool.py`); 1 GB, and about twice that in memory to make it;
2. `teach.npz`: what the teacher says of every clean clip;
3. `speaker_weights.npz`: the student. It starts as the teacher. It learns to say of every version of a clip, clean
   or degraded, what the teacher says of the clean one (distillation), and to tell who says the same phrase
   (episodes, as in J. Snell et al., "Prototypical Networks for Few-shot Learning", 2017, with an additive margin as
   in F. Wang et al., "Additive Margin Softmax for Face Verification", 2018).

An interrupted training goes on from its last checkpoint. Chance is drawn anew from each step's number, so it makes
no difference to the result that it was interrupted.

Figures on the speakers of a fold are only of people never heard if the weights are those of that `--fold`.

torch (extra `train`) is used here alone; what ships is built from the weights by `export.py`.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.engine.audio import Float32
from earmark.engine.errors import InputError

from . import speaker_net, speech_pool
from .speaker_net import LAYERS, MELS, REPEATED_FRAMES, UNITS, Weights
from .speech_pool import LABELLED_SETS, Ints, Pool

SEED = 1
STEPS = 1500
LEARNING_RATE = 3e-4
BETAS = (0.9, 0.99)  # Adam's; the second shorter than usual, for a short training
WARM_UP_STEPS = 30
LARGEST_GRADIENT = 3.0  # an LSTM has now and then a far larger one
AVERAGE = 0.995  # the weights that are kept are the mean of about the last 200 steps
CHECKPOINT_STEPS = 200

# The loss. Distillation keeps what the teacher knows from thousands of speakers; episodes teach what is wanted here.
# These numbers, CROSS and the learning rate were set by hand after short trainings, each scored on the left-out fold.
DISTIL = 0.6  # weight of both halves' cosine distances to the teacher's
EPISODE = 0.15  # weight of the cross-entropies: of a query among the supports, and half as much the other way
BACKWARD = 0.5
SCALE = 25.0  # of cosines in the cross-entropy
MARGIN = 0.05  # by which one's own cosine must be better

# An episode: rows of the same phrase, so that who speaks is all that tells them apart
PHRASES = 6
IDENTITIES = 16
CANDIDATES = 3  # times as many clips are looked at, since several are of the same identity; …
CROSS_CANDIDATES = 8  # … and not everybody said the other phrase
CROSS = 0.15  # chance that the supports say another phrase of the same set: a voice is no word
CLEAN_QUERY, CLEAN_SUPPORT = 0.2, 0.8  # enrolled in quiet, asked in noise

# Variations on the fly: another microphone every time a row is seen
BAND_CHANCE = 0.4
BANDS, BAND_GAIN = 5, 0.7  # gains at so many points over the mel bands, ± natural logarithm of power: 3 dB
LEVEL_DEVIATION = 0.1  # standard deviation of the level, natural logarithm of power: 0.4 dB

TEACHER_ROWS = 256  # at a time


class Episode(NamedTuple):
    """One step's rows, (b,) each; query and support at one place are of one identity."""

    queries: Ints
    supports: Ints
    identities: npt.NDArray[np.str_]


def main() -> int:
    """Makes what is not yet there."""
    parser = argparse.ArgumentParser(description="Train the speaker network.")
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv and the sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for the pool, checkpoints and the weights")
    parser.add_argument("--fold", type=int, choices=(0, 1), help="leave out the speakers of this fold")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the training ({STEPS})")
    parser.add_argument("--wheel", type=Path, help=f"{speaker_net.WHEEL_NAME}, or it is downloaded by pip")
    parser.add_argument("--threads", type=int, help="of torch (as many as it likes)")
    parser.add_argument("--limit", type=int, help="take about so many recordings only, for trying the recipe")
    arguments = parser.parse_args()
    if arguments.threads:
        _torch().set_num_threads(arguments.threads)
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    source = speech_pool.source_of(arguments.data, arguments.limit)
    if not (work / "pool.npz").exists():
        _say("pool: every clip, clean and degraded")
        made = speech_pool.build(arguments.data, arguments.limit)
        _write(work / "pool.npz", lambda file: speech_pool.save(made, file))
    pool = speech_pool.load(work / "pool.npz", source)
    start = student_start(speaker_net.read_checkpoint(arguments.wheel or _download()))
    if not (work / "teach.npz").exists():
        _say(f"teach: {len(pool.phrase)} clean clips of {len(pool.length)} rows")
        answers = teach(pool, start).astype(np.float16)
        _write(work / "teach.npz", lambda file: np.savez(file, embeddings=answers, source=np.array(source)))
    targets = _read_targets(work / "teach.npz", pool)
    suffix = "" if arguments.fold is None else f"_fold{arguments.fold}"
    _say(f"train: {arguments.steps} steps")
    weights = train(pool, targets, start, arguments.fold, arguments.steps, work / f"checkpoint{suffix}.pt")
    result = work / f"speaker_weights{suffix}.npz"
    half: dict[str, Any] = {name: values.astype(np.float16) for name, values in weights.items()}
    _write(result, lambda file: np.savez(file, **half))
    speaker_net.read_weights(result)  # raises if it is not what the next recipe takes
    _say(f"{result}: written")
    return 0


def student_start(teacher: Weights) -> Weights:
    """The teacher's weights as a student's: its second half is the teacher's answer to the mean of all states."""
    return {
        **teacher,
        "mean.weight": teacher["linear.weight"],
        "mean.bias": teacher["linear.bias"],
        "attention.weight": np.zeros((1, UNITS), np.float32),
        "attention.bias": np.zeros(1, np.float32),
    }


def network(weights: Weights) -> Any:
    """The student in torch; its parameters have the names of `speaker_net.SHAPES` and STUDENT_SHAPES."""
    torch = _torch()
    net = torch.nn.ModuleDict(
        {
            "lstm": torch.nn.LSTM(MELS, UNITS, LAYERS, batch_first=True),
            "linear": torch.nn.Linear(UNITS, UNITS),
            "mean": torch.nn.Linear(UNITS, UNITS),
            "attention": torch.nn.Linear(UNITS, 1),
        }
    )
    net.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
    return net


def embed(net: Any, frames: Any, length: Any) -> Any:
    """The student: tensors of power mel (b, frames, 40) and lengths (b,) -> (b, 512), halves of length 1/√2."""
    torch = _torch()
    states = net["lstm"](frames)[0].float()
    beyond = torch.arange(states.shape[1]) >= length[:, None]
    attention = net["attention"](states)[..., 0].masked_fill(beyond, -1e9)
    mean = (torch.softmax(attention, dim=1)[..., None] * states).sum(dim=1)
    return torch.cat([_view(net["linear"], _last(states, length)), _view(net["mean"], mean)], dim=1) / 2**0.5


def embed_as_teacher(net: Any, frames: Any, length: Any) -> Any:
    """The teacher, with the weights of a student that has not learnt yet: the same shapes as `embed`."""
    torch = _torch()
    repeated = torch.arange(REPEATED_FRAMES) % length[:, None]
    views = [
        _view(net["linear"], _last(net["lstm"](frames)[0], length)),
        _view(net["linear"], net["lstm"](frames[torch.arange(len(frames))[:, None], repeated])[0][:, -1]),
    ]
    return torch.cat(views, dim=1) / 2**0.5


def _last(states: Any, length: Any) -> Any:
    """(b, frames, 256) -> (b, 256): the state at the end of each row."""
    return states[_torch().arange(len(states)), length - 1]


def _view(linear: Any, state: Any) -> Any:
    """Linear, ReLU, length 1: (b, 256) -> (b, 256)."""
    functional = _torch().nn.functional
    return functional.normalize(functional.relu(linear(state)), dim=1)


def teach(pool: Pool, start: Weights) -> Float32:
    """(clips, 512): what the teacher says of each clip's clean row."""
    torch = _torch()
    net = network(start)
    rows = pool.clean_rows()
    answers = np.zeros((len(rows), 2 * UNITS), np.float32)
    by_length = np.argsort(pool.length[rows], kind="stable")  # else most of a batch is filling
    for at in range(0, len(rows), TEACHER_ROWS):
        clips = by_length[at : at + TEACHER_ROWS]
        frames, length = pool.batch(rows[clips])
        with torch.no_grad(), _fast():
            embeddings = embed_as_teacher(net, torch.from_numpy(frames), torch.from_numpy(length))
        answers[clips] = embeddings.float().numpy()
    return answers


class Episodes:
    """Draws what each step learns from, among the speakers that are not left out.

    Args:
        pool: all clips.
        fold: whose speakers are left out; None for nobody.
    """

    def __init__(self, pool: Pool, fold: int | None) -> None:
        self._pool = pool
        self._clean = pool.clean_rows()
        self._versions = np.bincount(pool.clip)
        self._by_phrase: dict[str, list[int]] = {}
        self._takes: dict[tuple[str, str], list[int]] = {}
        for clip in np.flatnonzero(pool.outside(fold)).tolist():
            phrase = str(pool.phrase[clip])
            self._by_phrase.setdefault(phrase, []).append(clip)
            self._takes.setdefault((phrase, str(pool.identity[clip])), []).append(clip)
        self._phrases = list(self._by_phrase)
        # More speakers teach more, but not in proportion: three words of Speech Commands would be nearly everything.
        weight = np.array([len(set(pool.speaker[clips])) ** 0.5 for clips in self._by_phrase.values()])
        self._chances = weight / weight.sum()

    def draw(self, rng: np.random.Generator) -> Episode:
        """PHRASES times up to IDENTITIES pairs of a query and a support."""
        pairs: list[tuple[int, int, str]] = []
        for phrase in rng.choice(self._phrases, PHRASES, p=self._chances).tolist():
            pairs += self._of_phrase(phrase, rng)
        queries, supports, identities = zip(*pairs)
        return Episode(np.array(queries), np.array(supports), np.array(identities))

    def _of_phrase(self, phrase: str, rng: np.random.Generator) -> list[tuple[int, int, str]]:
        """Row of the query, row of the support, and identity, each identity once."""
        other = self._other_phrase(phrase, rng)
        clips = self._by_phrase[phrase]
        candidates = IDENTITIES * (CANDIDATES if other == phrase else CROSS_CANDIDATES)
        pairs: dict[str, tuple[int, int, str]] = {}
        for clip in rng.choice(clips, min(len(clips), candidates), replace=False).tolist():
            identity = str(self._pool.identity[clip])
            takes = self._takes.get((other, identity), [])
            if identity in pairs or not takes:
                continue
            another = [take for take in takes if take != clip] or takes
            support = self._row(int(rng.choice(another)), CLEAN_SUPPORT, rng)
            pairs[identity] = self._row(clip, CLEAN_QUERY, rng), support, identity
            if len(pairs) == IDENTITIES:
                break
        return list(pairs.values())

    def _other_phrase(self, phrase: str, rng: np.random.Generator) -> str:
        """What the supports say: mostly the same."""
        corpus = phrase.split("/")[0]
        if corpus not in LABELLED_SETS or rng.random() >= CROSS:
            return phrase
        return str(rng.choice([other for other in self._phrases if other.split("/")[0] == corpus]))

    def _row(self, clip: int, clean_chance: float, rng: np.random.Generator) -> int:
        """The clean row of a clip, or one of its degraded ones."""
        degraded = 0 if rng.random() < clean_chance else int(rng.integers(1, self._versions[clip]))
        return int(self._clean[clip]) + degraded


def varied(frames: Float32, rng: np.random.Generator) -> Float32:
    """Power mel (b, frames, 40) -> the same through other microphones: band gains for some, a level for all."""
    points = np.linspace(0, BANDS - 1, MELS)
    shapes = rng.uniform(-BAND_GAIN, BAND_GAIN, (len(frames), BANDS))
    gains = np.exp([np.interp(points, np.arange(BANDS), shape) for shape in shapes])
    gains[rng.random(len(frames)) >= BAND_CHANCE] = 1
    shaped = frames * gains[:, None].astype(np.float32)
    before, after = frames.sum(axis=(1, 2)), shaped.sum(axis=(1, 2))
    level = before / (after + 1e-9) * np.exp(rng.normal(0, LEVEL_DEVIATION, len(frames)))
    return np.asarray(shaped * level[:, None, None], np.float32)


def train(pool: Pool, targets: Float32, start: Weights, fold: int | None, steps: int, checkpoint: Path) -> Weights:
    """The student's weights after `steps` steps, averaged; goes on from the checkpoint if it is there.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch = _torch()
    net = network(start)
    average = copy.deepcopy(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=BETAS)
    parts = {"net": net, "average": average, "optimiser": optimiser}
    training = f"fold {fold}, {steps} steps, {pool.source}"
    episodes = Episodes(pool, fold)
    losses: list[tuple[float, float]] = []
    for step in range(_resume(checkpoint, training, parts), steps):
        rng = np.random.default_rng([SEED, step])
        episode = episodes.draw(rng)
        rows = np.concatenate([episode.queries, episode.supports])
        frames, length = pool.batch(rows)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps)
        with _fast():
            embeddings = embed(net, torch.from_numpy(varied(frames, rng)), torch.from_numpy(length)).float()
        distance = _distance(embeddings, torch.from_numpy(targets[pool.clip[rows]]))
        confusion = _confusion(embeddings, episode.identities)
        optimiser.zero_grad()
        (DISTIL * distance + EPISODE * confusion).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        keep = min(AVERAGE, 1 - 1 / (step + 2))  # at first the mean of all steps
        with torch.no_grad():
            for kept, new in zip(average.parameters(), net.parameters()):
                kept.lerp_(new, 1 - keep)
        losses.append((distance.item(), confusion.item()))
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == steps:
            _say("step {}: distance {:.3f}, cross-entropy {:.3f}".format(step + 1, *np.mean(losses, axis=0)))
            losses.clear()
            state = {name: part.state_dict() for name, part in parts.items()}
            _write(checkpoint, lambda file: torch.save({"training": training, "step": step + 1, **state}, file))  # noqa: B023
    return {name: values.numpy() for name, values in average.state_dict().items()}


def learning_rate(step: int, steps: int) -> float:
    """Rises for WARM_UP_STEPS steps, and falls as a cosine to nothing at the last."""
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def _distance(embeddings: Any, targets: Any) -> Any:
    """Mean over rows of both halves' 1 - cosine: (b, 512) each, their halves of length 1/√2."""
    return (2 - 2 * (embeddings * targets).sum(dim=1)).mean()


def _confusion(embeddings: Any, identities: npt.NDArray[np.str_]) -> Any:
    """Cross-entropy of each query's own support among all supports, and back: (2 b, 512), identities (b,)."""
    torch = _torch()
    count = len(identities)
    own = torch.eye(count, dtype=torch.bool)
    scores = SCALE * (embeddings[:count] @ embeddings[count:].T - MARGIN * own)
    # The same identity may be there with another phrase; that is neither right nor wrong.
    same = torch.from_numpy(identities[:, None] == identities[None])
    scores = scores.masked_fill(same & ~own, -1e4)
    entropy, right = torch.nn.functional.cross_entropy, torch.arange(count)
    return entropy(scores, right) + BACKWARD * entropy(scores.T, right)


def _resume(checkpoint: Path, training: str, parts: dict[str, Any]) -> int:
    """Puts the states of a checkpoint into the parts -> the steps done; 0 where there is none."""
    if not checkpoint.exists():
        return 0
    saved = _torch().load(checkpoint, weights_only=True)
    if saved["training"] != training:
        raise InputError(f"{checkpoint}: of {saved['training']}, not of {training}: delete it")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    _say(f"goes on after step {saved['step']}")
    return int(saved["step"])


def _read_targets(file: Path, pool: Pool) -> Float32:
    """(clips, 512) float32, as `teach` answered for this pool."""
    with np.load(file, allow_pickle=False) as arrays:
        embeddings: Float32 = arrays["embeddings"].astype(np.float32)
        source = str(arrays["source"])
    if source != pool.source or len(embeddings) != len(pool.phrase):
        raise InputError(f"{file}: made of {source}, not of {pool.source}: take another --work or delete it")
    return embeddings


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """All of a file or nothing: whoever finds it later takes it for whole."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _download() -> Path:
    """The wheel with the teacher's weights, by pip."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, "Resemblyzer==0.1.4"], check=True)
    return folder / speaker_net.WHEEL_NAME


def _fast() -> Any:
    """bfloat16 where torch thinks it safe: a step takes a third of the time on a CPU with its instructions."""
    torch = _torch()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def _torch() -> Any:
    """torch, which this recipe alone needs."""
    return importlib.import_module("torch")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
