"""Recipe: every row that the speaker network learns from, on the device, beside itself through GSM.

Needs torch (extra `train`).
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch

from earmark.engine.audio.samples import Int16
from earmark.engine.features.narrow import LINE_RATE_HZ

from . import degrade, speech_pack
from .degrade import Degrader, Sounds
from .speech_rows import BUFFER_SAMPLES, Ints, Labels, levelled, rows_of

Tensor = Any  # torch's, which has no types where torch is not installed

SEED = 1
CODED_DEGRADED_CHANCE = 0.5  # who calls may be in a room and in noise, too
CODED_LEVEL_DB = (-25.0, -1.0)  # of the loudest sample, before GSM
CODED_AT_ONCE = 1024  # rows; degrading them takes a few GiB
ROWS_A_FILE = 64  # through GSM by one thread
LEAST_SOUND_SAMPLES = 4 * BUFFER_SAMPLES  # two are cut at once, where a noise is twice as fast


class Bank(NamedTuple):
    """Every clip at every speed."""

    waves: Tensor
    """(n, BUFFER_SAMPLES) int16 at 16 kHz, on the device."""
    coded: Tensor
    """(n, BUFFER_SAMPLES // 2) int16 at 8 kHz, on the device: the same through GSM."""
    bounds: Tensor
    """(n, 2) where the speech lies in `waves`, on the device."""
    labels: Labels
    sounds: Ints
    """(sentences, 3) fold (-1: of nobody measured), start and end of each in `voices`."""
    voices: Int16
    """(samples,) all sentences, one after the other."""
    noises: Int16
    """(samples,) all noises, one after the other."""

    def mixed_in(self, fold: int | None) -> Sounds:
        """What may be mixed in when the speakers of a fold are left out."""
        sounds = self.sounds if fold is None else self.sounds[self.sounds[:, 0] != fold]
        return _sounds(self.voices, sounds, self.noises, self.waves.device)

    def rows(self, clips: Ints, coded: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor]:
        """(b,) numbers, (b,) which through GSM -> waves (b, BUFFER_SAMPLES) float, bounds (b, 2) and `coded` (b,)."""
        index = torch.tensor(clips, device=self.waves.device)
        waves = self.waves[index].float() / 32768
        through = torch.tensor(coded, device=self.waves.device)
        if coded.any():
            narrow = self.coded[index[through]].float() / 32768
            spectrum = torch.fft.rfft(narrow, degrade.FFT_SAMPLES // 2)
            wide = torch.nn.functional.pad(spectrum, (0, degrade.FFT_SAMPLES // 4))
            waves[through] = 2 * torch.fft.irfft(wide, degrade.FFT_SAMPLES)[:, :BUFFER_SAMPLES]
        return waves, self.bounds[index], through


def _sounds(voices: Int16, sounds: Ints, noises: Int16, device: Any) -> Sounds:
    """Those sentences, and all noises; what is too short to be cut from is repeated."""
    chosen = np.concatenate([voices[start:end] for _, start, end in sounds.tolist()])
    long = (np.resize(each, max(len(each), LEAST_SOUND_SAMPLES)) for each in (chosen, noises))
    return Sounds(*(torch.tensor(each, device=device) for each in long))


def prepare(folders: list[Path], work: Path, device: Any) -> str:
    """Makes of a pack what `load` reads, in `work` -> what was made, in words.

    Raises:
        InputError: no pack lies in the folders (`speech_pack.unpack`).
    """
    speech = speech_pack.unpack(folders)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        made = [row for rows in threads.map(rows_of, speech.clips) for row in rows]
    waves = np.stack([wave for wave, _, _ in made])
    bounds = np.array([(start, end) for _, start, end in made])
    sentences = [levelled(samples) for _, samples in speech.sentences]
    ends = np.cumsum([len(samples) for samples in sentences])
    folds = [-1 if fold is None else fold for fold, _ in speech.sentences]
    sounds = np.stack([folds, ends - [len(samples) for samples in sentences], ends], axis=1)
    voices = np.concatenate(sentences)
    noises = np.concatenate([levelled(noise) for noise in speech.noises])
    labels = Labels.of(speech.clips)
    content: dict[str, Any] = {"bounds": bounds, "voices": voices, "sounds": sounds, "noises": noises}
    np.savez(work / "bank.npz", **content, **labels._asdict())
    np.save(work / "waves.npy", waves)
    # One version of all rows for all trainings: so nobody of a fold may be heard in it besides
    mixed_in = _sounds(voices, sounds[sounds[:, 0] < 0], noises, device)
    np.save(work / "coded.npy", _coded(waves, bounds, mixed_in, device))
    return f"{len(speech.clips)} clips, {len(speech.sentences)} sentences, {len(speech.noises)} noises"


def _coded(waves: Int16, bounds: Ints, sounds: Sounds, device: Any) -> Int16:
    """(n, BUFFER_SAMPLES) -> (n, BUFFER_SAMPLES // 2): half of the rows degraded, then all through GSM 06.10."""
    degrader = Degrader(sounds, device, SEED)
    coded = np.zeros((len(waves), BUFFER_SAMPLES // 2), np.int16)
    for at in range(0, len(waves), CODED_AT_ONCE):
        rows = torch.tensor(waves[at : at + CODED_AT_ONCE], device=device).float() / 32768
        some = degrader.happens(CODED_DEGRADED_CHANCE, len(rows)) > 0
        within = torch.tensor(bounds[at : at + CODED_AT_ONCE], device=device)
        heard = degrader.degrade(rows, within, some, narrow=False)
        spectrum = torch.fft.rfft(heard, degrade.FFT_SAMPLES)[:, : degrade.FFT_SAMPLES // 4 + 1]
        narrow = torch.fft.irfft(spectrum, degrade.FFT_SAMPLES // 2)[:, : BUFFER_SAMPLES // 2] / 2
        peak = narrow.abs().amax(1, keepdim=True).clamp(min=1e-6)
        level = 10 ** (degrader.uniform(*CODED_LEVEL_DB, len(rows), 1) / 20)
        coded[at : at + CODED_AT_ONCE] = (narrow / peak * level * 32767).round().clamp(-32768, 32767).cpu().numpy()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as threads:

        def through(at: int) -> None:
            path = str(Path(folder) / f"{at}.wav")
            some = coded[at : at + ROWS_A_FILE]
            soundfile.write(path, some.reshape(-1), LINE_RATE_HZ, subtype="GSM610")
            samples, _ = soundfile.read(path, dtype="int16")
            coded[at : at + ROWS_A_FILE] = samples[: some.size].reshape(some.shape)
            Path(path).unlink()

        list(threads.map(through, range(0, len(coded), ROWS_A_FILE)))
    return coded


def load(work: Path, device: Any) -> Bank:
    """What `prepare` left."""
    with np.load(work / "bank.npz", allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    waves, coded = (torch.from_numpy(np.load(work / f"{name}.npy")).to(device) for name in ("waves", "coded"))
    bounds = torch.tensor(content["bounds"], device=device)
    labels = Labels(*(content[name] for name in Labels._fields))
    return Bank(waves, coded, bounds, labels, content["sounds"], content["voices"], content["noises"])
