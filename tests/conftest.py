"""What the tests share: recordings, models opened once, and a seeded random generator."""

from __future__ import annotations

import csv
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import skips
from hypothesis import settings
from hypothesis import strategies as st

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.offset import OffsetRemover
from earmark.engine.audio.samples import Int16
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import MODELS_DIR, load_manifest
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork, Utterance
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.enroll.enrolment import Enroller, Enrolment, Options, Recording
from earmark.enroll.phrase.learn import PhraseTools
from earmark.enroll.phrase.own import OwnPhrase
from earmark.enroll.training import cohort

REPOSITORY = Path(__file__).parent.parent
DATA_VARIABLE = "EARMARK_TEST_DATA"

settings.register_profile("earmark", deadline=None, print_blob=True)  # no test is about how long something takes
settings.load_profile("earmark")

Takes = Callable[[str, str, str], "list[Path]"]
"""(voice, phrase, role) -> the files of tests/audio, in the order of the takes."""
Read = Callable[[Any], Int16]
"""Path -> (n,) int16 at 16 kHz."""
MakeNetwork = Callable[[str], KeywordNetwork]
"""Name of a built-in wake word -> a network with a fresh state, which nobody else holds."""
Enrolled = Callable[[str, str], Enrolment]
"""(voice, built-in wake word) -> the voice enrolled from its takes in tests/audio, which nobody may change."""
Scalar = TypeVar("Scalar", bound=np.generic)


def pytest_configure(config: pytest.Config) -> None:
    skips.watch(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in which something is slow come first: who began one last would keep all the others waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def cut_points(length: int, most: int = 8) -> st.SearchStrategy[list[int]]:
    """Where to cut something: anywhere, at nothing twice (an empty piece), and once or never every single element."""
    anywhere = st.lists(st.integers(0, length), max_size=most)
    singles = st.tuples(st.integers(0, length), st.integers(0, min(length, 40)))
    return st.builds(
        lambda points, run: sorted([*points, *(min(run[0] + i, length) for i in range(run[1]))]), anywhere, singles
    )


def cut(whole: npt.NDArray[Scalar], points: list[int]) -> list[npt.NDArray[Scalar]]:
    """The pieces between the points, in order; together they are the whole."""
    return [whole[start:end] for start, end in zip([0, *points], [*points, len(whole)])]


def without_its_offset(stream: Int16) -> Int16:
    """(n,) int16 of a stream as the detector hears and keeps it."""
    remover = OffsetRemover()
    return np.concatenate([remover.push(stream), remover.finish()])


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of sealed stores is remembered here, and not in the state folder of whoever tests."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def audio_dir() -> Path:
    return REPOSITORY / "tests" / "audio"


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """What other implementations computed; scripts/studies/make_golden.py wrote it."""
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def takes(audio_dir: Path) -> Takes:
    with (audio_dir / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def find(voice: str, phrase: str, role: str) -> list[Path]:
        wanted = (voice, phrase, role)
        found = [audio_dir / row["path"] for row in rows if (row["voice"], row["phrase"], row["role"]) == wanted]
        assert found, f"tests/audio has no take of {wanted}"
        return found

    return find


@pytest.fixture(scope="session")
def read() -> Read:
    return read_audio


@pytest.fixture(scope="session")
def scene(audio_dir: Path) -> Int16:
    """48.7 s with seven "okay nabu" of four voices among other sentences."""
    return read_audio(audio_dir / "scene.flac")


class RememberingNetwork(SpeakerNetwork):
    """Runs once for each crop: many tests enrol the same takes and hear the same scene, and it is most of their work.

    That it gives the same for the same crop, whatever it heard before, is tested in test_speaker.py.
    """

    def __init__(self) -> None:
        super().__init__(delegate="on")
        self._heard: dict[bytes, Utterance] = {}

    def hear_analysed(self, crop: Analysis) -> Utterance:
        key = hashlib.sha256(crop.samples.tobytes()).digest()
        if key not in self._heard:
            self._heard[key] = super().hear_analysed(crop)
            self._heard[key].embedding.flags.writeable = False
        return self._heard[key]


@pytest.fixture(scope="session")
def speaker() -> SpeakerNetwork:
    return RememberingNetwork()


@pytest.fixture(scope="session")
def head() -> SpeakerHead:
    """One for all: whoever trains it or sets weights must not rely on what others left in it."""
    return SpeakerHead()


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return lambda name: KeywordNetwork(load_manifest(name))


@pytest.fixture(scope="session")
def speech_data() -> Path:
    """The folder of real speech, which is not part of the repository."""
    folder = Path(os.environ.get(DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data")
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no real speech in {folder}: set {DATA_VARIABLE} to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def enroller(speaker: SpeakerNetwork, head: SpeakerHead) -> Enroller:
    """With the networks and impostors that earmark carries."""
    return Enroller(speaker, head, cohort.load())


@pytest.fixture
def one_enroller(enroller: Enroller, monkeypatch: pytest.MonkeyPatch) -> None:
    """What loads an enroller in this process is given that of the tests, whose network remembers."""
    load = Enroller.load
    monkeypatch.setattr(
        Enroller, "load", lambda folder=MODELS_DIR: enroller if folder == MODELS_DIR else load(folder)
    )


@pytest.fixture(scope="session")
def enrolled(takes: Takes, enroller: Enroller, make_network: MakeNetwork) -> Enrolled:
    """Each voice is enrolled once, by whoever asks first: it takes more than a second."""

    @functools.cache
    def enrol(voice: str, keyword: str) -> Enrolment:
        recordings = [Recording(path.name, read_audio(path)) for path in takes(voice, keyword, "enroll")]
        return enroller.enrol(voice, recordings, make_network(keyword), Options())

    return enrol


@pytest.fixture(scope="session")
def slt(enrolled: Enrolled) -> Voiceprint:
    return enrolled("slt", "okay_nabu").voiceprint


@pytest.fixture(scope="session")
def phrase_tools() -> PhraseTools:
    """What phrases are learned with: whoever uses it must not rely on what others left in it."""
    return PhraseTools.load()


@pytest.fixture(scope="session")
def slt_phrase(takes: Takes, enroller: Enroller, phrase_tools: PhraseTools) -> Voiceprint:
    """The voice `slt`, for which "okay nabu" is a phrase of its own: no network of a published word hears it."""
    recordings = [Recording(path.name, read_audio(path)) for path in takes("slt", "okay_nabu", "enroll")]
    return enroller.enrol("slt", recordings, None, phrase=OwnPhrase("Okay, Nabu", phrase_tools)).voiceprint


@pytest.fixture
def slt_store(slt: Voiceprint, tmp_path: Path) -> Path:
    """A store with the voice `slt`, for one test."""
    PersonStore(tmp_path / "people").save(slt)
    return tmp_path / "people"


@pytest.fixture(scope="session")
def spoken(takes: Takes, read: Read) -> dict[str, bytes]:
    """voice -> "okay nabu" as raw audio, with a second of silence before and behind it."""
    silence = bytes(2 * 16_000)
    return {v: silence + read(takes(v, "okay_nabu", "test")[0]).tobytes() + silence for v in ("slt", "rms")}
