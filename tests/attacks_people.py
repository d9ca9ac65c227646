"""Voiceprints and bundles with right checksums and wrong meaning, by who makes or writes them."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from attacking import attack
from fuzzing import signed
from helpers_store import npz, unit, weak_keys

from earmark.cli import main as earmark
from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.commands.parser import command_line
from earmark.engine.errors import EarmarkError
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.household import load_household
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people import bundle, codec
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.schema import People, Settings
from earmark.engine.spotting import find_wakes
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Recording

AUDIO = Path(__file__).parent / "audio"
WORD = "okay_nabu"
NOW_S = 1_700_000_000.0
TRAINING_EVERY = 200  # commands that train take seconds
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    0.5,
    2,
    -0.0,
    1e-300,
    1e308,
    1 << 63,
    10**400,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "x",
    "2020",
    "anna",
    "\x1b[31m",
    "x" * 3000,
    [],
    [[]],
    [None],
    [0.5, "x"],
    [1e308] * 3,
    {},
    {"own": 1},
    {"a": {"b": None}},
)

Arrays = dict[str, npt.NDArray[Any]]


@functools.cache
def enroller() -> Enroller:
    return Enroller.load()


@functools.cache
def voice(who: str) -> Voiceprint:
    """An honest one that has learned two takes."""
    files = sorted(AUDIO.glob(f"{who}_{WORD}_enroll_*.flac"))
    made = enroller().enrol(who, [Recording.read(str(file)) for file in files], KeywordNetwork(load_manifest(WORD)))
    rng = np.random.default_rng(5)
    more = unit(made.voiceprint.takes[:2] + 0.02 * rng.standard_normal((2, 192)))
    facts = tuple({**wake(number, who, row).facts(), "learned_s": NOW_S} for number, row in enumerate(more))
    takes = np.concatenate([made.voiceprint.takes, more])
    return replace(made.voiceprint, takes=takes, learned=facts)


def wake(number: int, who: str | None, row: Float32) -> QueuedWake:
    binding = enroller().speaker.card.sha256
    return QueuedWake("detection", WORD, who, 0.9, "mic", 16_000, NOW_S + number, binding, row)


@functools.cache
def crop(who: str) -> Int16:
    """The wake word in a test recording."""
    sound = read_audio(AUDIO / f"{who}_{WORD}_test_1.flac")
    return find_wakes(sound, KeywordNetwork(load_manifest(WORD))).crops[0]


def pick(rng: np.random.Generator, some: Any) -> Any:
    return some[int(rng.integers(len(some)))]


def mutated_json(value: Any, rng: np.random.Generator) -> Any:
    """The same with something odd anywhere in it, or something left out."""
    value = copy.deepcopy(value)
    inside: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            inside.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(value)
    for _ in range(int(rng.integers(1, 3))):
        node, key = pick(rng, inside)
        kind = rng.integers(5)
        with contextlib.suppress(KeyError, IndexError):  # it was in what is gone
            if kind == 0:
                del node[key]
            elif kind == 1 and isinstance(node, list):
                node.append(pick(rng, ODD))
            else:
                node[key] = copy.deepcopy(pick(rng, ODD))
    return value


def mutated_arrays(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    """The same with one array that is not what it is called."""
    name = pick(rng, sorted(arrays))
    array = arrays[name].copy()
    kind = int(rng.integers(13))
    with np.errstate(over="ignore"):
        if kind == 0:
            array = (array * pick(rng, [3000.0, 1e6, -1.0, 0.0, 1e-20, 1.002, 0.998])).astype(array.dtype)
        elif kind == 1 and array.size:
            array.flat[int(rng.integers(array.size))] = pick(rng, [np.nan, np.inf, -np.inf, 60000.0])
        elif kind == 2:
            array = array[..., : max(1, array.shape[-1] // 2)]
        elif kind == 3:
            array = np.concatenate([array, array], axis=-1)
        elif kind == 4:
            array = array[: len(array) - 1] if len(array) > 1 else array[:0]
        elif kind == 5:
            array = np.concatenate([array, array], axis=0)
        elif kind == 6:
            array = array.astype(pick(rng, [np.float64, np.int8, np.float16, np.complex64, np.uint32]))
        elif kind == 7:
            array = array.T.copy()
        elif kind == 8:
            array = arrays[pick(rng, sorted(arrays))].copy()
        elif kind == 9:  # a voice that is nobody's, and everybody's
            mean = unit(enroller().cohort.embeddings.mean(axis=0))
            array = (
                np.broadcast_to(mean, array.shape).astype(array.dtype) if array.shape[-1:] == mean.shape else array
            )
        elif kind == 10:
            array = np.full_like(array, pick(rng, [0, 1, 65504]))
        elif kind == 11:
            array = array[None]
        else:
            array = np.zeros(pick(rng, [(0,), (0, 0), (1,), (5, 0), (1, 192), (192, 128)]), array.dtype)
    return {**arrays, name: array}


def mutant(files: dict[str, bytes], rng: np.random.Generator) -> dict[str, bytes]:
    """The files of a version, of which something means something else; all checksums hold."""
    header = json.loads(files[codec.HEADER_FILE])
    with np.load(io.BytesIO(files[codec.ARRAYS_FILE])) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    kind = int(rng.integers(6))
    if kind in (0, 1):
        arrays = mutated_arrays(arrays, rng)
    elif kind == 2:
        header["report"] = mutated_json(header["report"], rng)
    elif kind == 3:
        header["learned"] = mutated_json(header["learned"], rng)
    elif kind == 4:
        key = pick(rng, ["threshold", "kind", "trainer", "gate", "report", "learned", "binding", "recordings_sha256"])
        header[key] = copy.deepcopy(pick(rng, ODD))
    else:
        header = mutated_json(header, rng)
    content = npz(**arrays) if kind in (0, 1) else files[codec.ARRAYS_FILE]
    header["arrays_sha256"] = hashlib.sha256(content).hexdigest()
    return {codec.ARRAYS_FILE: content, codec.HEADER_FILE: signed(header)}


class Household:
    """A plain store with the mutant as anna, and bob as he is."""

    def __init__(self, work: Path) -> None:
        self.work, self.folder = work, work / "people"
        self.anna = codec.encode(replace(voice("slt"), name="anna"))
        self.bob = codec.encode(replace(voice("rms"), name="bob"))
        self.faults: list[str] = []

    def put(self, files: dict[str, bytes]) -> None:
        """anna has an honest version, and then the mutant."""
        for old in (self.folder, self.work / "state"):
            shutil.rmtree(old, ignore_errors=True)
        for place, content in (("anna/okay_nabu/0001", self.anna), ("anna/okay_nabu/0002", files)):
            self._write(place, content)
        self._write("bob/okay_nabu/0001", self.bob)

    def _write(self, place: str, files: dict[str, bytes]) -> None:
        (self.folder / place).mkdir(parents=True)
        for name, content in files.items():
            (self.folder / place / name).write_bytes(content)

    def command(self, *words: str) -> None:
        """`earmark …`: an exit code, and nothing of a traceback."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = earmark([*words])
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 99
            except Exception as error:
                self.faults.append(f"{' '.join(words[:3])}: {type(error).__name__}: {error}")
                return
        if code not in (0, 1, 2, 3) or "Traceback" in said.getvalue():
            self.faults.append(f"{' '.join(words[:3])} ended with {code}: {said.getvalue()[-300:]}")

    def hear(self) -> None:
        """bob says the wake word: whatever anna is, he is heard."""
        settings = Settings(people=People(store=str(self.folder)))
        try:
            household = load_household(settings, try_networks=False)
            verifier = Verifier(household.people, enroller().speaker, enroller().head)
            verdict = verifier.verify(crop("rms"), WORD)
            if verdict.person is None:
                self.faults.append(f"bob is not heard: {verdict.score}")
        except Exception as error:
            self.faults.append(f"a wake: {type(error).__name__}: {error}")

    def every_command(self, files: dict[str, bytes], number: int) -> None:
        """All that a person, or a service, can do with them."""
        store = ("--store", str(self.folder))
        self.put(files)
        self.hear()
        fast: tuple[tuple[str, ...], ...] = (
            ("people", "list"),
            ("people", "show", "anna"),
            ("people", "show", "anna", "--json"),
            ("people", "verify"),
            ("learn", "list"),
            ("learn", "list", "anna", "--json"),
            ("people", "export", "anna", "--to", str(self.work / "anna.tar")),
            ("learn", "undo", "anna"),
            ("people", "rename", "anna", "zoe"),
            ("people", "rename", "zoe", "anna"),
            ("people", "remove", "anna", "--only-recordings"),
            ("people", "rollback", "anna"),
            ("people", "encrypt"),
            ("people", "decrypt"),
            ("people", "tidy"),
            ("people", "remove", "anna"),
            ("people", "list"),
        )
        for words in fast:
            self.command(*words, *store)
        (self.work / "anna.tar").unlink(missing_ok=True)
        (self.work / "made.tar").write_bytes(bundle.to_bytes("anna", {(WORD, 1): files}))
        self.command("people", "import", str(self.work / "made.tar"), *store)
        self.hear()
        if number % TRAINING_EVERY == 0:
            self.put(files)
            for words in (
                ("doctor",),
                ("learn", "now"),
                ("people", "merge", "anna", "bob", "--force"),
                ("people", "retrain"),
                ("replay", str(AUDIO / f"rms_{WORD}_test_1.flac")),
            ):
                self.command(*words, *store)


def read_once(honest: Container[bytes]) -> Callable[[bytes, str, str], Arrays]:
    """`codec._read_arrays`, which reads the arrays of honest people once; what it gives cannot be changed."""
    read, known = codec._read_arrays, dict[tuple[bytes, str, str], Arrays]()

    def arrays(content: bytes, kind: str, trainer: str) -> Arrays:
        found = known.get((content, kind, trainer))
        if found is None:
            found = {**read(content, kind, trainer)}
            if content in honest:
                for array in found.values():
                    array.setflags(write=False)
                known[content, kind, trainer] = found
        return {**found}

    return arrays


@contextlib.contextmanager
def alone(work: Path) -> Iterator[None]:
    """Nobody's settings, state or passphrase but these; networks are opened and honest arrays are read once."""
    names = {"XDG_STATE_HOME": "state", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config"}
    variables = {name: str(work / folder) for name, folder in names.items()}
    speaker, heard = enroller().speaker, {who: enroller().speaker.hear(crop(who)) for who in ("rms", "slt")}
    honest = {codec.encode(voice(who))[codec.ARRAYS_FILE] for who in ("rms", "slt")}
    with contextlib.ExitStack() as changed:
        changed.enter_context(weak_keys())
        changed.enter_context(mock.patch.object(codec, "_read_arrays", read_once(honest)))
        changed.enter_context(mock.patch("os.nice"))  # `learn now` would make this process ever more polite
        changed.enter_context(mock.patch.object(Enroller, "load", return_value=enroller()))
        changed.enter_context(mock.patch("earmark.cli.command_line", return_value=command_line()))
        changed.enter_context(
            mock.patch.object(speaker, "hear", lambda one: heard["rms" if one is crop("rms") else "slt"])
        )
        changed.enter_context(
            mock.patch.dict(os.environ, {**variables, "EARMARK_SETTINGS": "", "EARMARK_PASSPHRASE": "x" * 9})
        )
        yield


@attack(
    "bundle author", "signed voiceprints and bundles of another meaning, through every command and a wake", 10_000, 40
)
def mutants(work: Path, cases: int) -> Iterator[str]:
    with alone(work):
        household = Household(work)
        for number in range(cases):
            household.every_command(mutant(household.anna, np.random.default_rng(number)), number)
            yield f"case {number}: {'; '.join(household.faults)}" if household.faults else ""
            household.faults.clear()


@attack("bundle author", "the honest voiceprint passes through every command, and is heard", 3, 1)
def honest(work: Path, cases: int) -> Iterator[str]:
    with alone(work):
        household = Household(work)
        for _ in range(cases):
            household.every_command(household.anna, 1)
            store = PersonStore(household.folder)
            if store.names() != ["anna", "bob"]:
                household.faults.append(f"only {store.names()} are left")
            yield "; ".join(household.faults)


@attack("bundle author", "a bundle of a voice that is everybody's is refused", 200, 12)
def everybody(work: Path, cases: int) -> Iterator[str]:
    """Centroids near the cohort's mean or any of its people, thresholds of all heights, a head that tells nobody."""
    with alone(work):
        household = Household(work)
        cohort, honest_one = enroller().cohort.embeddings, replace(voice("slt"), name="anna")
        mean = unit(cohort.mean(axis=0))
        for number in range(cases):
            rng = np.random.default_rng(number)
            toward = unit(mean + rng.uniform(0, 0.5) * pick(rng, cohort))
            report = {**honest_one.report, "wanted_far": pick(rng, [0.01, 0.05, 0.999999])}
            threshold = float(rng.uniform(0.01, 0.7))
            made = replace(honest_one, centroid=toward, threshold=threshold, report=report)
            columns = len(made.prototype)
            if number % 2:  # a head that projects everything onto one line
                line = np.repeat(toward[:, None], columns, axis=1).astype(np.float16).astype(np.float32)
                made = replace(made, prototype=unit(np.ones(columns)), weights=replace(made.weights, projection=line))
            else:
                none = np.zeros(0, np.float32)
                weights = replace(made.weights, projection=none[None], bias=none)
                made = replace(made, kind="cosine", prototype=none, weights=weights)
            household.put(household.anna)
            (work / "made.tar").write_bytes(
                bundle.to_bytes("zoe", {(WORD, 1): codec.encode(replace(made, name="zoe"))})
            )
            household.command("people", "import", str(work / "made.tar"), "--store", str(household.folder))
            with contextlib.suppress(EarmarkError):
                person = PersonStore(household.folder).load("zoe", WORD)
                asked = Verifier([], enroller().speaker, enroller().head).margin(person, cohort)
                share = float(np.mean(asked >= 0))
                if share > 0.05:
                    household.faults.append(f"zoe lets in {share:.2f} of all strangers")
            yield f"case {number}: {'; '.join(household.faults)}" if household.faults else ""
            household.faults.clear()


@attack("thief who writes", "what waits to be learned means what it claims", 2000, 40)
def waiting(work: Path, cases: int) -> Iterator[str]:
    with alone(work):
        household = Household(work)
        household.put(household.anna)
        for number in range(cases):
            rng = np.random.default_rng(number)
            queue = LearningQueue(PersonStore(household.folder))
            queue.add(wake(0, "anna", voice("slt").takes[0]))
            (path,) = queue.folder.glob("1*.json")
            values = mutated_json(json.loads(path.read_bytes()), rng)
            if isinstance(values, dict):
                values.pop("sha256", None)
                values["sha256"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
            path.write_text(json.dumps(values))
            for words in (("learn", "list"), ("learn", "forget", "anna"), ("learn", "forget", "--all")):
                household.command(*words, "--store", str(household.folder))
            yield f"case {number}: {'; '.join(household.faults)}" if household.faults else ""
            household.faults.clear()
