"""`earmark bench`: what each stage costs on this very machine, with nothing but what is installed.

Times are those of the processor, not of the clock, and medians of several runs: programs that are busy beside it
disturb them little. The sound is made here: steady costs do not depend on what is said.
`scripts/studies/bench_peers.py` compares with other programs, on real words.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16, to_float
from earmark.engine.commands.arguments import models
from earmark.engine.detector import Detector
from earmark.engine.errors import InputError, ModelError, text_of
from earmark.engine.features import mel
from earmark.engine.features.activity import ActivityGate
from earmark.engine.features.frontend import HOP_SAMPLES, Frontend
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.head import TrainBatch
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES, MAX_SPEECH_SAMPLES, SpeakerNetwork
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.processes.own import environment_for_others, own_command
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Verifier

from ..enrolment import Enroller, Options, Recording
from . import live

PER_HOP, MS, SECONDS, MEGABYTES, RATIO = "µs per 10 ms", "ms", "s", "MB", "×"
HOP_US = 1e6 * HOP_SAMPLES / RATE_HZ
MOST_LONG_RUNS = 3  # of what takes seconds each
AUDIO_SECONDS = 20
BLOCK_SAMPLES = RATE_HZ // 10  # what a pipe gives at once
PEOPLE = 10
START_LIMIT_S = 60.0
PEER = "pymicro-wakeword"


@dataclass(frozen=True)
class Row:
    """One stage, measured several times."""

    stage: str
    unit: str
    """µs per 10 ms, ms, s, MB or ×."""
    median: float
    lowest: float
    highest: float
    core_share: float | None
    """Of one core, all day: 1 is all of it. None where it does not run all day."""


def bench(arguments: argparse.Namespace) -> int:
    """Measures, prints, and draws if asked."""
    if arguments.live:
        return _bench_live(arguments)
    rows = []
    print(f"earmark: {runtime.version()}, {os.cpu_count()} cores, one used; a minute or two", file=sys.stderr)
    for row in measure(arguments.keyword, models(arguments), arguments.against, arguments.runs):
        rows.append(row)
        if arguments.json:
            print(json.dumps(asdict(row), ensure_ascii=False), flush=True)
        else:
            share = "" if row.core_share is None else f"{100 * row.core_share:6.2f} % of a core"
            spread = f"{_short(row.lowest)}–{_short(row.highest)}"
            print(f"{row.stage:44} {_short(row.median):>8} {row.unit:13} {spread:>15} {share}".rstrip(), flush=True)
    if arguments.plot:
        from ..evaluation.plots import costs  # matplotlib is not installed everywhere

        costs([(row.stage, row.median) for row in rows if row.unit == PER_HOP], arguments.plot)
    return 0


def _bench_live(arguments: argparse.Namespace) -> int:
    """The daemon in real time; with --json one object, for who sends it in."""
    sounds = {
        "quiet room": made_quiet(AUDIO_SECONDS),
        "fan, -50 dBFS": made_quiet(AUDIO_SECONDS, -50.0),
        "speech": made_sound(AUDIO_SECONDS),
    }
    rows = []
    print(f"earmark: {runtime.version()}, in real time: some minutes", file=sys.stderr)
    for row in live.measure(sounds, arguments.keyword, arguments.runs):
        rows.append(row)
        if not arguments.json:
            calls = "" if row["syscalls_per_s"] is None else f", {row['syscalls_per_s']:.1f} system calls"
            print(
                f"{row['sound']:16} {100 * row['core_share']:.3f} % of a core, "
                f"a second {row['wakeups_per_s']:.1f} wake-ups{calls}",
                flush=True,
            )
    if arguments.json:
        print(json.dumps({"machine": live.machine(), "rows": rows}, ensure_ascii=False))
    return 0


def measure(keywords: Sequence[str], folder: Path, against: str | None, runs: int) -> Iterator[Row]:
    """Every stage in the order of the audio, so many times; what takes seconds, at most `MOST_LONG_RUNS` times.

    Raises:
        EarmarkError: a wake word, a network or the peer cannot be used.
    """
    networks = [KeywordNetwork(load_manifest(name)) for name in dict.fromkeys(keywords)]
    enroller = Enroller.load(folder)
    sound, quiet = made_sound(AUDIO_SECONDS), made_quiet(AUDIO_SECONDS)
    frames = Frontend().push(sound)
    yield _per_hop("gate", lambda: _push(ActivityGate(), sound), len(sound), runs)
    yield _per_hop("frontend", lambda: Frontend().push(sound), len(sound), runs)
    for network in networks:
        yield _per_hop(
            f"keyword network {network.manifest.name}", functools.partial(network.push, frames), len(sound), runs
        )
    plain = Policy(mode="label", skip_quiet=False)
    detector, ungated = (Detector(networks, Verifier([]), policy) for policy in (Policy(mode="label"), plain))
    yield _per_hop("all that runs always, with sound", lambda: _push(detector, sound), len(sound), runs)
    detector.reset()
    _push(detector, quiet)  # the gate closes
    yield _per_hop("the same in a quiet room", lambda: _push(detector, quiet), len(quiet), runs)
    yield _per_hop("the same without the gate", lambda: _push(ungated, quiet), len(quiet), runs)
    if against:
        yield from _against(against, networks[0], sound, runs)
    crop = made_take(0)[-CROP_SAMPLES:]
    speech = to_float(crop[:MAX_SPEECH_SAMPLES])

    def prepare() -> None:
        locate_speech(crop)
        mel.power_mel(mel.to_level(speech))

    yield _row("finding the speech, level and mel", MS, _times(prepare, 1e3, runs))
    speaker = SpeakerNetwork(delegate="auto")  # as the daemon opens it
    yield _row("speaker network, 1.2 s", MS, _times(lambda: speaker.embed(crop), 1e3, runs))
    takes = [Recording(f"take {n}", made_take(n)) for n in range(5)]
    enrol = functools.partial(enroller.enrol, "bench", takes, None, Options())
    person = enrol().voiceprint
    household = Verifier([person] * PEOPLE, speaker, enroller.head)
    embedding = speaker.embed(crop)[None]
    yield _row(
        f"head, {PEOPLE} people",
        MS,
        _times(lambda: [household.score(one, embedding) for one in household.people], 1e3, runs),
    )
    everything = functools.partial(household.verify, crop, networks[0].manifest.name)
    yield _row(f"from the wake word to who, {PEOPLE} people", MS, _times(everything, 1e3, runs))
    rows = enroller.cohort.embeddings
    batch = TrainBatch(rows[:35], np.ones(35, np.float32), np.repeat(np.arange(5, dtype=np.int32), 7), rows[100:228])
    yield _row("one training step", MS, _times(lambda: enroller.head.train(batch, 3e-4, 0.01), 1e3, runs))
    yield _row("an enrolment of five takes", SECONDS, _times(enrol, 1, min(runs, MOST_LONG_RUNS)))
    started = [_start(keywords, person, sound) for _ in range(min(runs, MOST_LONG_RUNS))]
    yield _row('the daemon: start to "listening"', SECONDS, [start_s for start_s, _ in started])
    memory = [megabytes for _, megabytes in started]
    yield _row(f"the daemon: memory (PSS), {PEOPLE} people", MEGABYTES, memory)


def made_sound(seconds: int) -> Int16:
    """Something like speech: bursts of a buzz with two formants, in a little noise."""
    word = made_take(1)
    return np.resize(word[RATE_HZ // 4 : -RATE_HZ // 4], seconds * RATE_HZ)


def made_quiet(seconds: int, level_dbfs: float = -65.0) -> Int16:
    """A quiet room: white noise."""
    noise = np.random.default_rng(0).normal(0, FULL_SCALE * 10 ** (level_dbfs / 20), seconds * RATE_HZ)
    quiet: Int16 = np.rint(noise).astype(np.int16)
    return quiet


def made_take(number: int) -> Int16:
    """A second and a half with an utterance of 0.8 s, another one for each number; no voice of anybody."""
    rng = np.random.default_rng(number)
    time_s = np.arange(8 * RATE_HZ // 10) / RATE_HZ
    pitch_hz = 120 + 3 * number + 15 * np.sin(2 * np.pi * 1.3 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    formants = (
        500 + 200 * np.sin(2 * np.pi * 2.1 * time_s + 0.1 * number),
        1500 + 400 * np.cos(2 * np.pi * 1.7 * time_s),
    )
    voice = np.zeros(len(time_s))
    for harmonic in range(1, 30):
        envelope = sum(np.exp(-(((harmonic * pitch_hz - formant) / 200) ** 2)) for formant in formants)
        voice += envelope * np.sin(harmonic * phase)
    syllables = np.abs(np.sin(np.pi * time_s / 0.27)) ** 0.5
    take = rng.normal(0, 10, 3 * RATE_HZ // 2)
    take[RATE_HZ // 2 :][: len(voice)] += 6000 * syllables * voice / np.abs(voice).max()
    samples: Int16 = np.rint(take).astype(np.int16)
    return samples


def _push(stage: ActivityGate | Detector, audio: Int16) -> None:
    for start in range(0, len(audio), BLOCK_SAMPLES):
        stage.push(audio[start : start + BLOCK_SAMPLES])


def _times(run: Callable[[], object], factor: float, runs: int) -> list[float]:
    """Seconds of the processor times a factor, after a run that is not counted."""
    run()
    taken = []
    for _ in range(runs):
        start = time.process_time()
        run()
        taken.append(factor * (time.process_time() - start))
    return taken


def _per_hop(stage: str, run: Callable[[], object], samples: int, runs: int) -> Row:
    row = _row(stage, PER_HOP, _times(run, 1e6 * HOP_SAMPLES / samples, runs))
    return dataclasses.replace(row, core_share=row.median / HOP_US)


def _row(stage: str, unit: str, values: list[float]) -> Row:
    return Row(stage, unit, statistics.median(values), min(values), max(values), None)


def _against(peer: str, network: KeywordNetwork, sound: Int16, runs: int) -> Iterator[Row]:
    """Our path and the peer's own loop in turn, with the first wake word.

    Raises:
        InputError: there is no such peer, or it is not installed.
    """
    if peer != PEER:
        raise InputError(
            f"--against {peer}: only {PEER} is known here; scripts/studies/bench_peers.py has the others"
        )
    try:
        package = importlib.import_module("pymicro_wakeword")
        theirs = package.MicroWakeWord.from_config(network.manifest.model_path.with_suffix(".json"))
        features = package.MicroWakeWordFeatures()
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"--against {peer}: it cannot be used here: {text_of(error)}") from error
    data = sound.tobytes()

    def loop() -> None:
        for start in range(0, len(data), 2 * HOP_SAMPLES):
            for frame in features.process_streaming(data[start : start + 2 * HOP_SAMPLES]):
                theirs.process_streaming(frame)

    ours = Detector([network], Verifier([]), "label")
    pairs = []
    for _ in range(runs):
        pair = [_times(run, 1e6 * HOP_SAMPLES / len(sound), runs=1)[0] for run in (loop, lambda: _push(ours, sound))]
        pairs.append(pair)
    values = [pair[0] for pair in pairs]
    row = _row(f"{peer}'s own loop, {network.manifest.name}", PER_HOP, values)
    yield dataclasses.replace(row, core_share=row.median / HOP_US)
    yield _row(f"earmark with {network.manifest.name} over {peer}", RATIO, [ours / theirs for theirs, ours in pairs])


def _start(keywords: Sequence[str], person: Voiceprint, sound: Int16) -> tuple[float, float]:
    """Starts the daemon on a pipe with ten people: seconds until it listens, MB after it has heard something.

    Raises:
        ModelError: it did not start.
    """
    with tempfile.TemporaryDirectory() as store:
        for number in range(PEOPLE):
            PersonStore(store).save(dataclasses.replace(person, name=f"person {number}"))
        line = own_command("earmark.cli", "listen", "-", "--json", "--store", store)
        line += [word for keyword in keywords for word in ("--keyword", keyword)]
        environment = {**environment_for_others(os.environ), "EARMARK_SETTINGS": "", "OPENBLAS_NUM_THREADS": "1"}
        start_s = time.monotonic()
        pipe = subprocess.PIPE
        with subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as daemon:
            assert daemon.stdin is not None
            assert daemon.stderr is not None
            said = b""
            while b"listening" not in said:
                ready = select.select([daemon.stderr], [], [], START_LIMIT_S)[0]
                more = os.read(daemon.stderr.fileno(), 4096) if ready else b""
                said += more
                if not more:
                    daemon.kill()
                    raise ModelError(
                        f"the daemon does not listen: {said.decode(errors='replace').strip() or 'silence'}"
                    )
            taken_s = time.monotonic() - start_s
            daemon.stdin.write(sound.tobytes())
            daemon.stdin.flush()  # the pipe holds 64 kB, so all but the last two seconds have been heard
            megabytes = _pss_mb(daemon.pid)
            daemon.stdin.close()
            daemon.wait()
    return taken_s, megabytes


def _pss_mb(pid: int) -> float:
    """Proportional set size: what is shared with other programs counts in part.

    Only root may look so far into the daemon, whose memory is private; for others all that it shares is counted.
    """
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with contextlib.suppress(PermissionError):
            for line in Path(f"/proc/{pid}/{name}").read_text("ascii").splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) / 1024
    raise ModelError(f"/proc/{pid} tells no memory")


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
