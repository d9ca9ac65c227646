"""What files, names and settings from elsewhere may try."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from attacking import attack

from earmark.engine.audio.files import read_audio
from earmark.engine.errors import AudioError, SettingsError
from earmark.engine.processes.printable import printable
from earmark.engine.settings.reading import load

MOST_BYTES = 400 * 1024 * 1024
HOUR_SAMPLES = 3600 * 16_000


@attack("bundle author", "compressed sound that is hours of silence", cases=2, few=0)
def bombs_of_sound(work: Path, cases: int) -> Iterator[str]:
    for number in range(cases):
        file = work / f"bomb{number}.flac"
        with soundfile.SoundFile(file, "w", 16_000, 1, format=("FLAC", "OGG")[number]) as sound:
            for _ in range(4 * 60):  # an hour at once is more than the writer of Ogg has stack for
                sound.write(np.zeros(HOUR_SAMPLES // 60, np.int16))
        tracemalloc.start()
        try:
            read_audio(file)
            yield f"{file.stat().st_size} bytes were read as four hours"
        except AudioError:
            used = tracemalloc.get_traced_memory()[1]
            yield f"{used} bytes of memory" if used > MOST_BYTES else ""
        finally:
            tracemalloc.stop()


@attack("bundle author", "recordings of nothing but chunks", cases=3, few=3)
def bombs_of_chunks(work: Path, cases: int) -> Iterator[str]:
    for number, size in enumerate((0, 1, 0xFFFFFFFF)[:cases]):
        chunk = b"junk" + struct.pack("<I", size) + bytes(size % 2 * 2)
        content = b"RIFF" + struct.pack("<I", 0x7FFFFFFF) + b"WAVE" + chunk * 400_000
        file = work / f"chunks{number}.wav"
        file.write_bytes(content)
        try:
            read_audio(file)
            yield "it was read as a recording"
        except AudioError:
            yield ""


@attack("local user", "settings whose parsing takes minutes", cases=5, few=5)
def bombs_of_settings(work: Path, cases: int) -> Iterator[str]:
    texts = (
        "a." * 200_000 + "a = 1",
        "[" + "a." * 120_000 + "a]",
        "x = {" + "a." * 60_000 + "a = 1}",
        'x = {y = """\n#""", ' + "a." * 60_000 + "a = 1}",
        '"a".' * 60_000 + "a = 1",
    )
    for number, text in enumerate(texts[:cases]):
        file = work / f"{number}.toml"
        file.write_text(text)
        try:
            load(file, {})
            yield "it was taken"
        except SettingsError as error:
            yield "" if "dots" in str(error) or "bytes" in str(error) else f"it was parsed: {error}"


@attack("bundle author", "characters that a terminal obeys", cases=2_000, few=200)
def characters_that_a_terminal_obeys(_work: Path, cases: int) -> Iterator[str]:
    for number in range(cases):
        rng = np.random.default_rng(number)
        text = "".join(map(chr, [*rng.integers(0, 0xA0, 20), *rng.integers(0x2000, 0x2070, 10)]))
        shown = printable(text)
        yield f"{text!r}" if set(shown) & {*map(chr, (*range(9), *range(11, 32), *range(127, 160)))} else ""
