"""Files made to harm: each format of ours, with its bytes changed at random or put together wrongly.

Whatever a file holds, reading it gives what it means or an error of our own tree, and nothing outside the store is
touched. The suite tries some hundreds, `scripts/studies/fuzz.py` as many as it is told.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from helpers_store import KEY, Snapshot, forge, opened, person, snapshot, sound, weak_keys
from hypothesis import strategies as st

from earmark.engine.audio.files import FileSource
from earmark.engine.errors import EarmarkError
from earmark.engine.history import sealing
from earmark.engine.people import bundle, codec, operations
from earmark.engine.people.store import PersonStore
from earmark.engine.settings import reading, schema
from earmark.enroll.evaluation.trials import read_trials
from earmark.enroll.recordings import read_recordings

Read = Callable[[bytes], object]
"""Puts a file in its place, and reads it as earmark does; may raise an EarmarkError."""

PATHS = (  # where a member of an archive may want to go
    "manifest.json",
    "okay_nabu/0001/header.json",
    "okay_nabu/0001/arrays.npz",
    "okay_nabu/0001/take-01.wav",
    "okay_nabu/0001/take-99.wav",
    "../outside.txt",
    "../../outside.txt",
    "okay_nabu/../../outside.txt",
    "okay_nabu/0001/../../../outside.txt",
    "/outside.txt",
    "//outside.txt",
    "okay_nabu//header.json",
    "./okay_nabu/0001/header.json",
    "okay_nabu/0001",
    "okay_nabu/0001/",
    "okay_nabu/1/header.json",
    ".keyring.json",
    ".pending/plan.json",
    "%2e%2e/0001/header.json",
    "okay_nabu/0001/header.json.sealed",
    "okay_nabu\\0001\\header.json",
    "C:/outside.txt",
    "",
    ".",
    "..",
    "\n",
)
LINKS = ("../outside.txt", "/etc/passwd", "okay_nabu/0001/header.json", "", "manifest.json", "..")
TYPES = b"01234567SLKxgX\0"  # of tar's members: files, links, devices, folders, sparse files, long names, pax headers
RECORDINGS = (
    ("WAV", "PCM_16"),
    ("WAV", "MS_ADPCM"),
    ("RF64", "PCM_24"),
    ("W64", "GSM610"),
    ("AIFF", "PCM_16"),
    ("AU", "ULAW"),
    ("CAF", "ALAC_16"),
    ("NIST", "PCM_16"),
    ("VOC", "PCM_U8"),
    ("HTK", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
)
MOST_SAMPLES = 10_000_000  # of a file of some kilobytes: 4 kHz read as 16, silence in a FLAC or an Opus
TRIALS = b'path,speaker,phrase,role\na.wav,anna,hi,enroll\n"b, c.wav",anna,hi,test\nd.wav,,,negative\n'
NUMBERS = (b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"99999999", b"-1", b"1e999")


@dataclass
class Outcome:
    """What became of the cases of one format."""

    refused: Counter[str] = field(default_factory=Counter)
    """By the class of the error."""
    accepted: int = 0
    wrong: list[str] = field(default_factory=list)
    """What was neither, or touched what it must not."""

    @property
    def cases(self) -> int:
        """How many there were."""
        return sum(self.refused.values()) + self.accepted + len(self.wrong)


class Ground:
    """A store, and what lies around it, where files are tried out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "household").mkdir()
        (folder / "household" / "outside.txt").write_text("untouched")
        self.store = PersonStore(folder / "household" / "people")
        self.store.save(person("anna"), [sound(1)])
        self.version = self.store.folder / "anna" / "okay_nabu" / "0001"
        self.sealed = opened(folder / "household" / "sealed")
        self.sealed.save(person("anna"), [sound(1)])
        with weak_keys():
            sealing.encrypt(self.sealed, KEY)
        self.sealed_version = self.sealed.folder / "anna" / "okay_nabu" / "0001"
        self._keep = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self._around = self._look()

    def reads(self) -> dict[str, tuple[bytes, Read]]:
        """Format -> an honest file of it, and how it is read."""
        header, arrays = (self.version / codec.HEADER_FILE), (self.version / codec.ARRAYS_FILE)
        wav, keyring = self.version / "take-01.wav", self.sealed.folder / ".keyring.json"
        sealed = self.sealed_version / "header.json.sealed"
        toml = re.sub(
            r"(?m)^# (?=\w+ = )", "", reading.as_toml(reading.load(None, {"EARMARK_SETTINGS": ""}))
        ).encode()
        return {
            "profile: header": (header.read_bytes(), self._file(header)),
            "profile: header, signed anew": (header.read_bytes(), self._signed_header),
            "profile: arrays, signed anew": (arrays.read_bytes(), self._signed_arrays),
            "profile: recording, signed anew": (wav.read_bytes(), self._signed_recording),
            "profile: sealed": (sealed.read_bytes(), self._file(sealed)),
            "store: keyring": (keyring.read_bytes(), self._file(keyring)),
            "store: plan": (b'{"format": 1, "put": ["anna"], "remove": ["bob"]}', self._plan),
            "export": (self.bundle(), self.imported),
            "export, signed anew": (self.bundle(), self._signed_bundle),
            "settings": (toml, self._settings),
            "trial list": (TRIALS, self._trials),
            **{f"recording: {name}": (content, self._recording) for name, content in recordings().items()},
        }

    def bundle(self) -> bytes:
        """An honest export."""
        return bundle.to_bytes("dora", {("okay_nabu", 1): codec.encode(person("dora"), [sound(2)])})

    def judge(self, read: Read, content: bytes, outcome: Outcome) -> None:
        """Tries one file."""
        try:
            read(content)
            outcome.accepted += 1
        except EarmarkError as error:
            outcome.refused[type(error).__name__] += 1
            if not str(error):
                outcome.wrong.append(f"no message: {content[:40]!r}")
        except Exception as error:
            outcome.wrong.append(f"{type(error).__name__}: {error}: {content[:40]!r}"[:300])
        if self._look() != self._around:
            outcome.wrong.append(f"something outside was touched: {content[:40]!r}")
        self._restore()

    def _look(self) -> Snapshot:
        """Everything but what is in the stores."""
        inside = (str(self.store.folder), str(self.sealed.folder), str(self.folder / "tried"))
        around = snapshot(self.folder)
        return {path: content for path, content in around.items() if not str(self.folder / path).startswith(inside)}

    def _restore(self) -> None:
        for store in (self.store, self.sealed):
            for path in store.folder.glob(".*"):
                if path.is_dir():
                    shutil.rmtree(path)
        shutil.rmtree(self.store.folder / "dora", ignore_errors=True)
        for path, content in self._keep.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)

    def _use(self) -> None:
        """What commands and daemon do with a store."""
        for store in (self.store, opened(self.sealed.folder)):
            store.fingerprint()
            for name in store.names():
                for keyword in store.keywords(name):
                    store.contents(name, keyword)
                    assert np.isfinite(store.load(name, keyword).takes).all()

    def _file(self, path: Path) -> Read:
        def read(content: bytes) -> None:
            path.write_bytes(content)
            self._use()

        return read

    def _signed_header(self, content: bytes) -> None:
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            values = None
        (self.version / codec.HEADER_FILE).write_bytes(signed(values) if isinstance(values, dict) else content)
        self._use()

    def _signed_arrays(self, content: bytes) -> None:
        forge(self.version, arrays=content)
        self._use()

    def _signed_recording(self, content: bytes) -> None:
        (self.version / "take-01.wav").write_bytes(content)
        forge(self.version, {"recordings_sha256": [hashlib.sha256(content).hexdigest()]})
        self._use()

    def _plan(self, content: bytes) -> None:
        pending = self.store.folder / ".pending"
        pending.mkdir()
        (pending / "plan.json").write_bytes(content)
        self._use()
        self.store.tidy()
        self._use()

    def imported(self, content: bytes) -> None:
        """As `earmark people import` does it."""
        file = self.folder / "tried"
        file.write_bytes(content)
        found = bundle.read(file)
        tree = operations.as_name(found.tree, "dora")
        operations.insert(self.store, "dora", tree, replace=found.name == "dora")
        self._use()

    def _signed_bundle(self, content: bytes) -> None:
        self.imported(resigned(content))

    def _recording(self, content: bytes) -> None:
        """Delivers what there is, and then perhaps an error; never more than a header can promise of a small file."""
        file = self.folder / "tried"
        file.write_bytes(content)
        with FileSource(file) as source:
            assert sum(len(block.samples) for block in source) < MOST_SAMPLES

    def _trials(self, content: bytes) -> None:
        """As `earmark evaluate` reads it; what it names is opened, and that it cannot be read is an error of ours."""
        file = self.folder / "tried"
        file.write_bytes(content)
        trials = read_trials(file)
        named = [path for speakers in trials.people.values() for roles in speakers.values() for path in roles["test"]]
        read_recordings([str(path) for path in [*named, *trials.negatives]])

    def _settings(self, content: bytes) -> None:
        file = self.folder / "tried"
        file.write_bytes(content)
        loaded = reading.load(file, {})
        loaded.settings.policy()
        reading.as_toml(loaded)


def recordings() -> dict[str, bytes]:
    """A quarter of a second in two channels, in each container whose header is read, and in codings of blocks."""
    at = np.arange(4000) / 16_000
    sound = np.stack([0.3 * np.sin(2 * np.pi * hz * at) for hz in (300, 440)], axis=1)
    made: dict[str, bytes] = {}
    for container, subtype in RECORDINGS:
        content = io.BytesIO()
        channels = 1 if subtype in ("GSM610", "PCM_U8") or container == "HTK" else 2
        soundfile.write(content, sound[:, :channels], 16_000, format=container, subtype=subtype)
        made[f"{container} {subtype}"] = content.getvalue()
    return made


def signed(header: dict[str, Any]) -> bytes:
    """A header with the checksum that belongs to it."""
    rest = {key: value for key, value in header.items() if key != "header_sha256"}
    try:
        text = json.dumps(rest, sort_keys=True)
        return json.dumps({**rest, "header_sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()
    except RecursionError:
        return b"{}"


def resigned(content: bytes) -> bytes:
    """An export with the sums of what is in it; as it is where it cannot be read any more."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            members = [(info, archive.extractfile(info)) for info in archive.getmembers()]
            files = [(info, file.read() if file else b"") for info, file in members]
        manifest = json.loads(files[0][1])
        manifest["files"] = {info.name: sums(data) for info, data in files[1:]}
    except Exception:  # whatever the mutation broke: it goes in as it is
        return content
    data = json.dumps(manifest).encode()
    files[0][0].size = len(data)
    return tar([(files[0][0], data), *files[1:]])


def sums(data: bytes) -> dict[str, object]:
    """What a manifest says of a member."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An archive of exactly these members, whatever they are."""
    out = io.BytesIO()
    for info, data in members:
        try:
            out.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        except (ValueError, OverflowError):
            continue
        out.write(data + bytes(-len(data) % 512))
    return out.getvalue() + bytes(1024)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with something changed: bytes flipped, cut, repeated, put in, swapped, replaced."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        position, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 65))
        kind = rng.integers(0, 8)
        if kind <= 2 and position < len(data):
            data[position] ^= int(rng.integers(1, 256))
        elif kind == 3:
            del data[position:]
        elif kind == 4:
            del data[position : position + length]
        elif kind == 5:
            data[position:position] = data[max(0, position - length) : position]
        elif kind == 6:
            data[position:position] = rng.integers(0, 256, length).astype(np.uint8).tobytes()
        else:
            number = NUMBERS[int(rng.integers(0, len(NUMBERS)))]
            data[position : position + len(number)] = number
    return bytes(data)


def flips(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` mutations, always the same for a seed."""
    for number in range(count):
        yield mutated(content, np.random.default_rng([seed, number]))


# --- put together wrongly, with every checksum right

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Headers with some values replaced, left out or added."""
    header: dict[str, Any] = json.loads(codec.encode(person("anna"), [sound(1)])[codec.HEADER_FILE])
    for key in draw(st.lists(st.sampled_from(sorted(header)), max_size=3)):
        header[key] = draw(JSON)
    header.update(draw(st.dictionaries(st.text(max_size=8), JSON, max_size=1)))
    for key in draw(st.lists(st.sampled_from(sorted(header)), max_size=1)):
        del header[key]
    return json.dumps(header).encode()


@st.composite
def plans(draw: st.DrawFn) -> bytes:
    """Plans of people who are not there, or are no people."""
    names = st.lists(st.sampled_from([*PATHS, "anna", "bob", "dora"]) | st.text(max_size=6), max_size=3)
    plan: dict[str, Any] = {"format": 1, "put": draw(names), "remove": draw(names)}
    if draw(st.booleans()):
        plan[draw(st.sampled_from(["format", "put", "remove", "more"]))] = draw(JSON)
    return json.dumps(plan).encode()


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Exports with members of every kind and name, and a manifest that agrees with them."""
    files = codec.encode(person("dora"), [sound(2)])
    members: list[tuple[tarfile.TarInfo, bytes]] = []
    for name, data in files.items():
        members.append((tarfile.TarInfo(f"okay_nabu/0001/{name}"), data))
    for _ in range(draw(st.integers(0, 3))):
        info = tarfile.TarInfo(draw(st.sampled_from(PATHS) | st.text(max_size=30)))
        info.type = bytes([draw(st.sampled_from(TYPES))])
        info.linkname = draw(st.sampled_from(LINKS))
        members.append((info, draw(st.sampled_from([b"", b"x", bytes(2000), *files.values()]))))
    members = draw(st.permutations(members)) if draw(st.booleans()) else members
    for info, data in members:
        info.size = len(data)
    listed = {info.name: sums(data) for info, data in members}
    for path in draw(st.lists(st.sampled_from(sorted(listed)), max_size=1)):
        if draw(st.booleans()):
            listed[path] = draw(JSON)
        else:
            del listed[path]
    manifest: dict[str, Any] = {"format": 1, "kind": bundle.KIND, "name": "dora", "files": listed}
    if draw(st.integers(0, 3)) == 0:
        manifest[draw(st.sampled_from([*manifest, "more"]))] = draw(JSON)
    data = json.dumps(manifest).encode()
    head = tarfile.TarInfo(bundle.MANIFEST)
    head.size = len(data)
    if draw(st.integers(0, 9)) == 0 and members:  # a lie about a size, small or beyond every disk
        members[0][0].size = draw(st.sampled_from([0, 1, 1 << 20, 1 << 33, 1 << 62]))
    return tar([(head, data), *members])


@st.composite
def tomls(draw: st.DrawFn) -> bytes:
    """Settings of known and unknown keys with values of every kind."""
    known = dict(schema.keys())
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        key = draw(st.sampled_from([*known]) | st.text(max_size=12))
        value = draw(
            st.sampled_from(["true", "-1", "1e999", "nan", "''", "[]", "{}", "[{}]", "9" * 400])
            | JSON.map(json.dumps)
        )
        lines.append(f"{key} = {value}")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def trial_lists(draw: st.DrawFn) -> bytes:
    """Lists in every dialect, with paths and values of every kind."""
    separator = draw(st.sampled_from([",", ";", "\t", "|", " ", ":"]))
    names = st.permutations(["path", "Speaker", "phrase", "ROLE", *draw(st.lists(st.text(max_size=4), max_size=1))])
    cell = st.sampled_from([*PATHS, "enroll", "test", "negative", "anna", ".", "/dev/zero", "a" * 300, '"', "a\nb"])
    rows = st.lists(st.lists(cell | st.text(max_size=6), max_size=6), max_size=4)
    text = "\r\n".join(separator.join(row) for row in [draw(names), *draw(rows)])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])), "surrogatepass")


MADE = {
    "profile: header, signed anew": headers(),
    "store: plan": plans(),
    "export": archives(),
    "settings": tomls(),
    "trial list": trial_lists(),
}
"""Format -> files put together wrongly."""
