#!/usr/bin/env python3
"""Make the recordings of `tests/audio`: short files, an index, and one continuous scene with its labels.

Speech comes from synthesizers whose output may be passed on (flite, espeak-ng, hibari). Each take gets its
own rate, pitch, level, room, noise and silence, drawn from a seed that depends on the name of the file alone,
so two runs on one machine write the same bytes and a new file does not change the others.

A wake-word take is kept only if its keyword network fires on it and no other network does; any other
utterance is kept only if no network fires on it. A wake-word take that fails is drawn again; what was drawn
again or left out is told on stderr at the end.

Needs the commands `flite`, `espeak-ng` and `hibari` (PyPI: hibari-tts), the Python packages numpy, scipy,
soundfile and pymicro-features, a TFLite runtime, and the networks that the package pymicro-wakeword carries.

    python scripts/studies/make_audio.py [--out tests/audio]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import itertools
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from pymicro_features import MicroFrontend
from scipy.signal import fftconvolve, lfilter, resample_poly

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # Python <= 3.11 on 32-bit or older systems has only this one
    from tflite_runtime.interpreter import Interpreter

Samples = npt.NDArray[np.float64]
"""Mono audio at `RATE_HZ`; full scale is 1.0."""

SEED = "earmark-audio-1"
"""Enters every random draw; another value gives another set of recordings."""

RATE_HZ = 16000
HOP_SAMPLES = 160  # 10 ms, the step of the keyword networks' frontend
SMOOTHING_WINDOW = 5  # probabilities in the mean that is held against the cutoff, as in every manifest used
MAX_TRIES = 80  # draws before an item is given up
PEAK_LIMIT_DBFS = -1.5  # the level is lowered where a peak would pass this: clipping is tested elsewhere
SHORT_FILE_S = 2.2  # the silence before a short utterance gives way, down to 0.3 s, to stay below this
ENVELOPE_LIMIT = 0.985  # two takes whose envelopes correlate more than this are too alike in their timing
WAVEFORM_LIMIT = 0.75  # two takes whose waveforms correlate more than this are too near to copies

COLUMNS = (
    *("path", "voice", "engine", "phrase", "role", "take", "rate", "pitch", "gain_db", "rt60_s", "snr_db"),
    "note",
)


# ---- what is said, and by whom -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker."""

    name: str
    engine: str
    """`flite`, `espeak-ng` or `hibari`: the command that speaks."""
    engine_voice: str
    """The name by which the engine knows the voice."""
    base_pitch_hz: float | None = None
    """flite only: the mean pitch of the voice as shipped; `None` where flite ignores a wanted pitch (rms)."""
    pitch_span: float = 0.06
    """Largest relative change of pitch; smaller where pitch moves by resampling, which moves formants too."""


VOICES: dict[str, Voice] = {
    voice.name: voice
    for voice in (
        Voice("rms", "flite", "rms", None, 0.03),
        Voice("slt", "flite", "slt", 172.0),
        Voice("awb", "flite", "awb", 128.0),
        Voice("kal16", "flite", "kal16", 100.0),
        Voice("rp_f3", "espeak-ng", "en-gb-x-rp+f3"),
        Voice("scot", "espeak-ng", "en-gb-scotland"),
        Voice("heart", "hibari", "heart", None, 0.03),
    )
}

MAIN_VOICES = ("rms", "slt", "awb", "kal16", "rp_f3")
"""Voices with enrolment takes; the others only ever test, as people whom nobody enrolled."""

KEYWORDS = ("okay_nabu", "alexa", "hey_jarvis", "hey_mycroft")

CONFUSABLES: dict[str, tuple[str, ...]] = {
    "alexa": ("election", "a lexicon", "Alex said", "I like saxophones", "Alexander"),
    "okay_nabu": ("okay nothing", "okay navy", "a rainbow", "okay maybe", "okay ladies", "open the window"),
}
"""What sounds a little like a wake word; tried in this order for every main voice."""

CONFUSABLES_KEPT = 2
"""Confusables kept per voice and wake word."""

SENTENCES: dict[str, tuple[str, ...]] = {
    "rms": ("please turn the lights off in the kitchen", "what is the weather like tomorrow"),
    "slt": ("please turn the lights off in the kitchen", "set a timer for twenty minutes"),
    "awb": ("please turn the lights off in the kitchen", "the train was late again this morning"),
    "kal16": ("please turn the lights off in the kitchen", "we need milk and two loaves of bread"),
    "rp_f3": ("please turn the lights off in the kitchen", "did anybody feed the cat today"),
}


@dataclass(frozen=True)
class Item:
    """One file to make."""

    voice: str
    text: str
    keyword: str | None
    """The network that has to fire; `None`: no network may."""
    role: str
    take: int
    note: str = ""
    repeats: int = 1
    """How often the text is said in the file, `REPEAT_PERIOD_S` from start to start."""
    sounds_like: str | None = None
    """The wake word that a confusable is meant to resemble."""

    @property
    def stem(self) -> str:
        """File name without its ending, unique in the plan; also what the seed of the file is made from."""
        words = self.keyword or "_".join(self.text.lower().split()[:4])
        return f"{self.voice}_{words}_{self.role}_{self.take}"


REPEAT_PERIOD_S = 3.0


def plan() -> list[Item]:
    """All files except the scene, in the order of the index; of the confusables more than will be kept."""
    items: list[Item] = []
    for keyword, voice in itertools.product(("okay_nabu", "alexa"), MAIN_VOICES):
        items += takes(voice, keyword, enroll=5, test=3)
    for voice in ("rms", "slt", "rp_f3"):
        items += takes(voice, "hey_jarvis", enroll=2, test=1)
    for voice in ("rms", "slt", "awb"):
        items += takes(voice, "hey_mycroft", enroll=2, test=1)
    for voice, keyword in (("scot", "okay_nabu"), ("scot", "alexa"), ("heart", "alexa")):
        items += takes(voice, keyword, enroll=0, test=2)
    for voice in ("slt", "rms"):
        note = "wake word, then an order in the same breath"
        items.append(Item(voice, "okay nabu, turn on the lights", "okay_nabu", "test", 4, note))
    note = "two wake words, 3 s from start to start; rate and pitch are those of the first"
    items.append(Item("slt", "okay nabu", "okay_nabu", "test", 5, note, repeats=2))
    for voice in MAIN_VOICES:
        for keyword, texts in CONFUSABLES.items():
            items += [Item(voice, text, None, "other", 1, sounds_like=keyword) for text in texts]
        items += [Item(voice, text, None, "other", 1) for text in SENTENCES[voice]]
    return items


def takes(voice: str, keyword: str, enroll: int, test: int) -> list[Item]:
    """The enrolment and test takes of one wake word by one voice."""
    text = keyword.replace("_", " ")
    roles = [("enroll", take + 1) for take in range(enroll)] + [("test", take + 1) for take in range(test)]
    return [Item(voice, text, keyword, role, take) for role, take in roles]


# ---- how it is varied --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variation:
    """What makes one take differ from the next."""

    rate: float
    """Speed of speech, 1.0 = the voice's own; 0.88 to 1.12."""
    pitch: float
    """Factor on the voice's own pitch, within the voice's `pitch_span` of 1.0."""
    gain_db: float
    """Level of the speech in dBFS (RMS of its active frames); -34 to -14."""
    rt60_s: float
    """Time in which the room's reverberation falls by 60 dB; 0.15 to 0.4."""
    direct_db: float
    """Energy of the direct sound over that of the reverberation; 4 to 16 dB."""
    snr_db: float
    """Speech level over noise level; 25 to 40."""
    noise_pole: float
    """Colour of the noise: pole of its one-pole low-pass, 0.9 (fairly bright) to 0.98 (rumble)."""
    before_s: float
    """Silence before the speech; 0.3 to 0.8."""
    after_s: float
    """Silence after the direct sound of the speech; 0.4 to 0.7."""


def generator(*names: object) -> np.random.Generator:
    """Random numbers that depend on the names given and on `SEED`, on nothing else."""
    digest = hashlib.sha256("/".join([SEED, *map(str, names)]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def draw_variation(rng: np.random.Generator, pitch_span: float) -> Variation:
    """Draw every property uniformly from its range."""
    return Variation(
        rate=rng.uniform(0.88, 1.12),
        pitch=rng.uniform(1.0 - pitch_span, 1.0 + pitch_span),
        gain_db=rng.uniform(-34.0, -14.0),
        rt60_s=rng.uniform(0.15, 0.4),
        direct_db=rng.uniform(4.0, 16.0),
        snr_db=rng.uniform(25.0, 40.0),
        noise_pole=rng.uniform(0.9, 0.98),
        before_s=rng.uniform(0.3, 0.8),
        after_s=rng.uniform(0.4, 0.7),
    )


# ---- synthesizers ------------------------------------------------------------------------------------------


def synthesize(voice: Voice, text: str, rate: float, pitch: float, seed: int) -> Samples:
    """Speak `text`, trimmed to the speech.

    Where the engine takes no pitch (flite's rms, hibari), it is asked for a slower or faster rendering, and
    resampling then moves the pitch and brings the rate to what was wanted. This moves the formants as well.
    """
    if voice.engine == "espeak-ng":
        return trim(run_espeak(voice.engine_voice, text, rate, pitch))
    if voice.engine == "flite" and voice.base_pitch_hz is not None:
        return trim(run_flite(voice.engine_voice, text, rate, voice.base_pitch_hz * pitch))
    if voice.engine == "flite":
        speech = run_flite(voice.engine_voice, text, rate / pitch, None)
    else:
        speech = run_hibari(voice.engine_voice, text, rate / pitch, seed)
    return trim(resample_poly(speech, 1000, round(1000 * pitch)))


def run_flite(engine_voice: str, text: str, rate: float, pitch_hz: float | None) -> Samples:
    """Speak with flite, whose `duration_stretch` is the inverse of the rate."""
    command = ["flite", "-voice", engine_voice, "--setf", f"duration_stretch={1.0 / rate:.4f}"]
    if pitch_hz is not None:
        command += ["--setf", f"int_f0_target_mean={pitch_hz:.2f}"]
    return spoken([*command, "-t", text], "-o")


def run_espeak(engine_voice: str, text: str, rate: float, pitch: float) -> Samples:
    """Speak with espeak-ng: 175 words a minute by default; a step of `-p` was measured as 0.9 % of pitch."""
    steps = round((pitch - 1.0) / 0.009)
    command = ["espeak-ng", "-v", engine_voice, "-s", str(round(175 * rate)), "-p", str(50 + steps)]
    return spoken([*command, text], "-w")


def run_hibari(engine_voice: str, text: str, rate: float, seed: int) -> Samples:
    """Speak with hibari, whose noise component needs a seed to be repeatable."""
    command = ["hibari", "--voice", engine_voice, "--speed", f"{rate:.4f}", "--seed", str(seed)]
    return spoken([*command, text], "--out")


def spoken(command: Sequence[str], output_option: str) -> Samples:
    """Run a synthesizer that writes a WAV file, and read that file at `RATE_HZ`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        # The option goes right after the command's name: flite and espeak-ng want the text last.
        subprocess.run([command[0], output_option, str(path), *command[1:]], check=True, stdout=subprocess.DEVNULL)
        audio, rate_hz = soundfile.read(path, dtype="float64")
    common = math.gcd(RATE_HZ, rate_hz)
    speech: Samples = resample_poly(audio, RATE_HZ // common, rate_hz // common)
    return speech


# ---- levels, room, noise -----------------------------------------------------------------------------------


def envelope(audio: Samples) -> Samples:
    """RMS of each whole 10 ms frame."""
    frames = audio[: len(audio) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    levels: Samples = np.sqrt(np.mean(frames**2, axis=1))
    return levels


def speech_bounds(audio: Samples, below_peak_db: float) -> tuple[int, int]:
    """First and last+1 sample of the frames that are at most `below_peak_db` under the loudest frame."""
    levels = envelope(audio)
    active = np.flatnonzero(levels >= levels.max() * 10 ** (-below_peak_db / 20))
    return int(active[0]) * HOP_SAMPLES, (int(active[-1]) + 1) * HOP_SAMPLES


def trim(audio: Samples) -> Samples:
    """Cut the silence around the speech, which every engine makes differently long."""
    start, end = speech_bounds(audio, below_peak_db=40.0)
    return audio[max(0, start - HOP_SAMPLES) : end + HOP_SAMPLES]


def speech_level_db(audio: Samples) -> float:
    """RMS in dBFS over the frames within 30 dB of the loudest, so that pauses do not count."""
    levels = envelope(audio)
    active = levels[levels >= levels.max() * 10 ** (-30 / 20)]
    return float(10 * np.log10(np.mean(active**2)))


def at_level(audio: Samples, level_dbfs: float) -> Samples:
    """Scale speech to a level, or to as much of it as the peak limit leaves."""
    scaled: Samples = audio * 10 ** ((level_dbfs - speech_level_db(audio)) / 20)
    excess = np.abs(scaled).max() / 10 ** (PEAK_LIMIT_DBFS / 20)
    limited: Samples = scaled / max(1.0, excess)
    return limited


def reverberate(speech: Samples, rt60_s: float, direct_db: float, rng: np.random.Generator) -> Samples:
    """Put speech into a room: the direct sound, then after 2 to 8 ms noise that decays exponentially.

    The result is longer than the speech by the tail of the room.
    """
    time_s = np.arange(round(rt60_s * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail[: round(rng.uniform(0.002, 0.008) * RATE_HZ)] = 0.0
    response = tail * 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    response[0] = 1.0
    wet: Samples = fftconvolve(speech, response)
    return wet


def background(n_samples: int, level_dbfs: float, pole: float, rng: np.random.Generator) -> Samples:
    """Steady low-passed noise, like that of a fan or a street behind a window."""
    noise = lfilter([1.0], [1.0, -pole], rng.standard_normal(n_samples))
    steady: Samples = noise / np.sqrt(np.mean(noise**2)) * 10 ** (level_dbfs / 20)
    return steady


def to_int16(audio: Samples) -> npt.NDArray[np.int16]:
    """Round to 16 bits and clip."""
    pcm: npt.NDArray[np.int16] = np.clip(np.round(audio * 32768.0), -32768, 32767).astype(np.int16)
    return pcm


# ---- keyword networks --------------------------------------------------------------------------------------


class KeywordNetwork:
    """A microWakeWord network, run on whole recordings."""

    def __init__(self, manifest_path: Path) -> None:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        self.cutoff: float = manifest["micro"]["probability_cutoff"]
        self._model_path = manifest_path.parent / manifest["model"]
        self.stride: int = int(self._interpreter().get_input_details()[0]["shape"][1])
        """Frames per inference."""

        self.margin: float = min(0.04, (1.0 - self.cutoff) / 2)
        """How far from the cutoff a score has to be before a recording is kept.

        Runtimes and processors differ by a few hundredths in a probability: what only just fires here, or
        only just stays silent, would not do so everywhere.
        """

    def _interpreter(self) -> Any:
        """A fresh interpreter: nothing else clears the network's streaming state."""
        interpreter = Interpreter(str(self._model_path), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    def track(self, frames: Samples, phase: int) -> tuple[Samples, Samples]:
        """Times in ms and smoothed probabilities at them; the first `phase` frames are left out.

        The frontend's first frame ends at 30 ms; value k needs `(k + SMOOTHING_WINDOW) * stride` frames.
        """
        interpreter = self._interpreter()
        inputs, outputs = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        scale, zero_point = inputs["quantization"]
        quantized = np.clip(np.round(frames[phase:] / scale + zero_point), -128, 127).astype(np.int8)
        probabilities = []
        for start in range(0, len(quantized) - self.stride + 1, self.stride):
            interpreter.set_tensor(inputs["index"], quantized[None, start : start + self.stride])
            interpreter.invoke()
            probabilities.append(interpreter.get_tensor(outputs["index"]).item() * outputs["quantization"][0])
        means = np.convolve(probabilities, np.ones(SMOOTHING_WINDOW) / SMOOTHING_WINDOW, "valid")
        times_ms = 20.0 + 10.0 * (phase + self.stride * (np.arange(len(means)) + SMOOTHING_WINDOW))
        return np.asarray(times_ms, np.float64), np.asarray(means, np.float64)

    def peaks(self, frames: Samples, spans_ms: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Per span of time, lowest and highest peak over all ways to cut the frames into strides."""
        tracks = [self.track(frames, phase) for phase in range(self.stride)]
        found = []
        for start_ms, end_ms in spans_ms:
            peaks = [
                float(means[(times_ms >= start_ms) & (times_ms < end_ms)].max(initial=0.0))
                for times_ms, means in tracks
            ]
            found.append((min(peaks), max(peaks)))
        return found


def keyword_frames(pcm: npt.NDArray[np.int16]) -> Samples:
    """Features of the keyword networks' frontend, one row per 10 ms."""
    frontend = MicroFrontend()
    rows = []
    for start in range(0, len(pcm) - HOP_SAMPLES + 1, HOP_SAMPLES):
        features = frontend.process_samples(pcm[start : start + HOP_SAMPLES].tobytes()).features
        if features:
            rows.append(features)
    return np.asarray(rows, dtype=np.float64)


Networks = dict[str, KeywordNetwork]


def load_networks(folder: Path) -> Networks:
    """The networks of `KEYWORDS`, by name."""
    return {name: KeywordNetwork(folder / f"{name}.json") for name in KEYWORDS}


# ---- short files -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """A rendered item."""

    item: Item
    variation: Variation
    pcm: npt.NDArray[np.int16]
    score: float
    """Wake word: lowest score over the stride phases. Other: highest over phases and networks."""
    tries: int


@dataclass
class Report:
    """What the run has to tell at its end."""

    left_out: list[str] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)


def render(item: Item, attempt: int) -> tuple[Variation, npt.NDArray[np.int16]]:
    """Speak, place and finish one item; everything random comes from its name and the attempt."""
    rng = generator(item.stem, attempt)
    voice = VOICES[item.voice]
    drawn = draw_variation(rng, voice.pitch_span)
    parts = []
    for index in range(item.repeats):
        spoken_as = draw_variation(rng, voice.pitch_span) if index else drawn
        speech = synthesize(voice, item.text, spoken_as.rate, spoken_as.pitch, int(rng.integers(1 << 31)))
        parts.append(at_level(reverberate(speech, drawn.rt60_s, drawn.direct_db, rng), drawn.gain_db))
    before_s = min(drawn.before_s, max(0.3, SHORT_FILE_S - drawn.after_s - len(speech) / RATE_HZ))
    starts = [round((before_s + index * REPEAT_PERIOD_S) * RATE_HZ) for index in range(item.repeats)]
    n_samples = starts[-1] + len(speech) + round(drawn.after_s * RATE_HZ)
    gain_db = speech_level_db(parts[0])
    audio = background(n_samples, gain_db - drawn.snr_db, drawn.noise_pole, rng)
    for start, part in zip(starts, parts):
        add(audio, part, start)
    return replace(drawn, gain_db=gain_db, before_s=before_s), to_int16(audio)


def add(audio: Samples, part: Samples, start: int) -> None:
    """Mix `part` into `audio` from sample `start` on; what passes the end is cut."""
    end = min(len(audio), start + len(part))
    audio[start:end] += part[: end - start]


def judge(item: Item, pcm: npt.NDArray[np.int16], networks: Networks) -> tuple[bool, float]:
    """Whether the networks say what the item says, and the score that decided (see `Recording.score`)."""
    frames = keyword_frames(pcm)
    starts_ms = [index * REPEAT_PERIOD_S * 1000 for index in range(item.repeats)]
    spans_ms = list(zip(starts_ms, [*starts_ms[1:], math.inf]))
    good, lowest, highest = True, 1.0, 0.0
    for name, network in networks.items():
        for low, high in network.peaks(frames, spans_ms):
            if name == item.keyword:
                good &= low > network.cutoff + network.margin
                lowest = min(lowest, low)
            else:
                good &= high < network.cutoff - network.margin
                highest = max(highest, high)
    return good, lowest if item.keyword else highest


def likeness(first: npt.NDArray[np.int16], second: npt.NDArray[np.int16]) -> tuple[float, float]:
    """Normalised cross-correlation of the 10 ms envelopes and of the waveforms, each at the best shift.

    Both are 1.0 for copies, whatever their level and their silence.
    """
    a, b = first / 32768.0, second / 32768.0
    return correlation(envelope(a), envelope(b)), correlation(a, b)


def correlation(a: Samples, b: Samples) -> float:
    """Largest magnitude of the cross-correlation, over the product of the norms; 0 to 1."""
    return float(np.abs(fftconvolve(a, b[::-1])).max() / np.sqrt(np.sum(a**2) * np.sum(b**2)))


def is_new(pcm: npt.NDArray[np.int16], earlier: Sequence[Recording]) -> bool:
    """Whether a take differs enough from all earlier takes of the same words by the same voice."""
    pairs = [likeness(pcm, other.pcm) for other in earlier]
    return all(shape < ENVELOPE_LIMIT and wave < WAVEFORM_LIMIT for shape, wave in pairs)


def record(item: Item, earlier: Sequence[Recording], networks: Networks, report: Report) -> Recording | None:
    """Draw variations of an item until one passes; `None`, with a line in the report, if none does.

    A confusable or a sentence gets one chance: to search on would hide that a network takes it for its word.
    """
    scores: list[float] = []
    for attempt in range(1 if item.keyword is None else MAX_TRIES):
        variation, pcm = render(item, attempt)
        good, score = judge(item, pcm, networks)
        scores.append(score)
        if good and is_new(pcm, earlier):
            return Recording(item, variation, pcm, score, attempt + 1)
    drawn = f"{len(scores)} drawn, highest score {max(scores):.3f}"
    report.left_out.append(f"{item.voice} {item.text!r} ({item.role}), {drawn}")
    return None


def record_all(items: Sequence[Item], networks: Networks, report: Report) -> None:
    """Make every item; takes of one text by one voice have to differ from each other."""
    kept: dict[str, list[Recording]] = {}
    for number, item in enumerate(items, 1):
        print(f"\r{number}/{len(items)} {item.stem:<50}", end="", file=sys.stderr, flush=True)
        group = f"{item.voice} like {item.sounds_like}" if item.sounds_like else f"{item.voice} {item.text}"
        if item.sounds_like and len(kept.get(group, [])) == CONFUSABLES_KEPT:
            continue
        recording = record(item, kept.get(group, []), networks, report)
        if recording is not None:
            kept.setdefault(group, []).append(recording)
            report.recordings.append(recording)
    print(file=sys.stderr)


# ---- the scene ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One utterance of the scene."""

    voice: str
    text: str
    keyword: str | None = None


WAKE = ("okay nabu", "okay_nabu")

SCENE = (
    Line("awb", "the train was late again this morning"),
    Line("slt", *WAKE),
    Line("rms", "what is the weather like tomorrow"),
    Line("awb", *WAKE),
    Line("slt", "set a timer for twenty minutes"),
    Line("kal16", "okay navy"),
    Line("rms", *WAKE),
    Line("rp_f3", "did anybody feed the cat today"),
    Line("slt", *WAKE),
    Line("slt", "a rainbow"),
    Line("kal16", *WAKE),
    Line("rms", "okay nothing"),
    Line("heart", "we need milk and two loaves of bread"),
    Line("rms", *WAKE),
    Line("scot", "please turn the lights off in the kitchen"),
    Line("slt", *WAKE),
    Line("kal16", "I like saxophones"),
)
"""slt, whom the demo enrols, says the wake word three times, rms twice, awb and kal16 once."""

SCENE_NOISE_DBFS = -62.0
SCENE_RT60_S = 0.25  # all speakers are in one room, at different distances
SCENE_HIT_MARGIN_MS = 700  # a hit later than this after the end of the word is not the word's
WAKE_GAP_MS = 2000  # least silence between two wake words

Label = dict[str, Any]


def render_line(index: int, attempt: int) -> Samples:
    """One utterance of the scene, with its own rate, pitch, level (-30 to -20 dBFS) and distance."""
    line = SCENE[index]
    rng = generator("scene", index, attempt)
    voice = VOICES[line.voice]
    drawn = draw_variation(rng, voice.pitch_span)
    speech = synthesize(voice, line.text, drawn.rate, drawn.pitch, int(rng.integers(1 << 31)))
    wet = reverberate(speech, SCENE_RT60_S, drawn.direct_db, rng)
    return at_level(wet, rng.uniform(-30.0, -20.0))


def place_scene(parts: Sequence[Samples]) -> tuple[npt.NDArray[np.int16], list[Label]]:
    """Lay the utterances one after the other, 1.2 to 1.8 s apart, over a constant noise floor."""
    rng = generator("scene", "gaps")
    labels: list[Label] = []
    starts: list[int] = []
    position = round(1.5 * RATE_HZ)
    for line, part in zip(SCENE, parts):
        starts.append(position)
        first, last = speech_bounds(part, below_peak_db=30.0)
        labels.append(
            {
                "start_ms": (position + first) * 1000 // RATE_HZ,
                "end_ms": (position + last) * 1000 // RATE_HZ,
                "voice": line.voice,
                "text": line.text,
                "keyword": line.keyword,
            }
        )
        position += last + round(rng.uniform(1.2, 1.8) * RATE_HZ)
    audio = background(position, SCENE_NOISE_DBFS, 0.9, rng)
    for start, part in zip(starts, parts):
        add(audio, part, start)
    return to_int16(audio), labels


def wrong_lines(pcm: npt.NDArray[np.int16], labels: Sequence[Label], networks: Networks) -> list[int]:
    """Indices of scene lines on which a network is silent but should fire, or fires but should not.

    A line lasts until the next one starts; a wake word's hit has to come earlier, see `SCENE_HIT_MARGIN_MS`.
    """
    frames = keyword_frames(pcm)
    ends_ms = [label["start_ms"] for label in labels[1:]] + [len(pcm) * 1000 // RATE_HZ]
    wrong = set()
    for name, network in networks.items():
        due = [label["keyword"] == name for label in labels]
        spans_ms = [
            (label["start_ms"], label["end_ms"] + SCENE_HIT_MARGIN_MS if fires else end_ms)
            for label, end_ms, fires in zip(labels, ends_ms, due)
        ]
        for index, (low, high) in enumerate(network.peaks(frames, spans_ms)):
            fired = low > network.cutoff + network.margin
            silent = high < network.cutoff - network.margin
            if not (fired if due[index] else silent):
                wrong.add(index)
    return sorted(wrong)


def record_scene(networks: Networks) -> tuple[npt.NDArray[np.int16], list[Label], int]:
    """Draw the scene's lines again, one by one, until every line does what it should; also says how many."""
    attempts = [0] * len(SCENE)
    parts = [render_line(index, 0) for index in range(len(SCENE))]
    while max(attempts) < MAX_TRIES:
        pcm, labels = place_scene(parts)
        wrong = wrong_lines(pcm, labels, networks)
        if not wrong:
            check_wake_gaps(labels)
            return pcm, labels, sum(attempts)
        for index in wrong:
            attempts[index] += 1
            parts[index] = render_line(index, attempts[index])
    raise SystemExit(f"the scene has a line that never passes: {SCENE[int(np.argmax(attempts))]}")


def check_wake_gaps(labels: Sequence[Label]) -> None:
    """Stop if two wake words of the scene are closer than `WAKE_GAP_MS`."""
    wakes = [label for label in labels if label["keyword"]]
    for first, second in zip(wakes, wakes[1:]):
        if second["start_ms"] - first["end_ms"] < WAKE_GAP_MS:
            raise SystemExit(f"wake words at {first['start_ms']} and {second['start_ms']} ms are too close")


# ---- output ------------------------------------------------------------------------------------------------


def write_flac(path: Path, pcm: npt.NDArray[np.int16]) -> None:
    """Write 16-bit mono FLAC."""
    soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16", format="FLAC")


def index_row(recording: Recording) -> dict[str, str]:
    """One line of the index."""
    item, variation = recording.item, recording.variation
    return {
        "path": f"{item.stem}.flac",
        "voice": item.voice,
        "engine": VOICES[item.voice].engine,
        "phrase": item.keyword or item.text,
        "role": item.role,
        "take": str(item.take),
        "rate": f"{variation.rate:.3f}",
        "pitch": f"{variation.pitch:.3f}",
        "gain_db": f"{variation.gain_db:.1f}",
        "rt60_s": f"{variation.rt60_s:.3f}",
        "snr_db": f"{variation.snr_db:.1f}",
        "note": item.note,
    }


def write_files(out: Path, recordings: Sequence[Recording]) -> None:
    """Write the short files and `index.csv`."""
    for recording in recordings:
        write_flac(out / f"{recording.item.stem}.flac", recording.pcm)
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(index_row(recording) for recording in recordings)


def write_scene(out: Path, pcm: npt.NDArray[np.int16], labels: Sequence[Label]) -> None:
    """Write `scene.flac` and `scene.json`, one label a line."""
    write_flac(out / "scene.flac", pcm)
    lines = ",\n".join(" " + json.dumps(label) for label in labels)
    (out / "scene.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def summary(report: Report, networks: Networks, out: Path) -> str:
    """The closing report: scores per voice and word, likeness of takes, what was left out, sizes."""
    lines = ["voice  word         takes  drawn  lowest score  (cutoff)  most alike: envelope, waveform"]
    for keyword, voice in itertools.product(KEYWORDS, VOICES):
        group = [r for r in report.recordings if (r.item.voice, r.item.keyword) == (voice, keyword)]
        if group:
            drawn, lowest = sum(r.tries for r in group), min(r.score for r in group)
            pairs = [likeness(a.pcm, b.pcm) for a, b in itertools.combinations(group, 2)]
            shape, wave = (max(values) for values in zip(*pairs))
            lines.append(
                f"{voice:<6} {keyword:<12} {len(group):>5} {drawn:>6} {lowest:>13.3f}"
                f"  ({networks[keyword].cutoff:.2f})  {shape:>20.3f} {wave:>9.3f}"
            )
    for voice in MAIN_VOICES:
        others = [r for r in report.recordings if r.item.voice == voice and r.item.keyword is None]
        texts = ", ".join(f"{r.item.text!r} {r.score:.3f}" for r in others)
        lines.append(f"{voice:<6} others, highest score of any network: {texts}")
    hardest = max(report.recordings, key=lambda r: r.tries)
    lines.append(f"hardest to get: {hardest.item.stem}, {hardest.tries} drawn")
    lines += [f"left out: {line}" for line in report.left_out] or ["left out: nothing"]
    made = {f"{r.item.stem}.flac" for r in report.recordings} | {"scene.flac"}
    stale = sorted(path.name for path in out.glob("*.flac") if path.name not in made)
    lines += [f"not from this run: {name}" for name in stale]
    size_bytes = sum((out / name).stat().st_size for name in made)
    lines.append(f"{len(made)} files, {size_bytes / 1e6:.2f} MB of FLAC")
    return "\n".join(lines)


def packaged_networks() -> Path:
    """The folder of networks inside pymicro-wakeword, found without importing that package."""
    spec = importlib.util.find_spec("pymicro_wakeword")
    if spec is None or spec.origin is None:
        raise SystemExit("pymicro-wakeword is not installed: give the folder of its networks with --networks")
    return Path(spec.origin).parent / "models"


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the recordings of tests/audio.")
    default_out = Path(__file__).resolve().parents[2] / "tests" / "audio"
    parser.add_argument("--out", type=Path, default=default_out, help="default: tests/audio")
    parser.add_argument("--networks", type=Path, help="folder of manifests (default: pymicro-wakeword's)")
    return parser.parse_args()


def main() -> None:
    """Make everything, then tell how it went."""
    arguments = parse_arguments()
    missing = [name for name in ("flite", "espeak-ng", "hibari") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"commands not found: {', '.join(missing)}")
    networks = load_networks(arguments.networks or packaged_networks())
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = Report()
    record_all(plan(), networks, report)
    write_files(arguments.out, report.recordings)
    scene, labels, redrawn = record_scene(networks)
    write_scene(arguments.out, scene, labels)
    print(summary(report, networks, arguments.out), file=sys.stderr)
    print(f"scene: {len(scene) / RATE_HZ:.1f} s, {len(labels)} lines, {redrawn} drawn again", file=sys.stderr)


if __name__ == "__main__":
    main()
