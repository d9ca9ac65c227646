"""kill -9 at every system call of a change of the store that could change a file: strace counts them and kills.

An operation runs in a child that is forked when everything is loaded. strace attaches to it, and kills it at the Nth
call of one kind, which is then not carried out; N grows until the child ends by itself. Afterwards the store, read as
any process reads it, must be what it was before or what it was to become, and again after the next change has tidied.
Where a change consists of several, which are whole one by one, each part must be; and the same change once more must
lead to what was to come. The journal and the sessions that were broken off lie inside the store here, to be copied
with it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Optional
from unittest import mock

import numpy as np
from helpers_store import KEY, opened, person, sound, weak_keys
from turns import mine

from earmark.cli import main as earmark
from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.features.speech import Analysis
from earmark.engine.history import erasure, sealing
from earmark.engine.history.journal import Journal
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people import bundle, codec, operations
from earmark.engine.people.index import Witness
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.people.vault import is_encrypted
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.guided.kept import Kept, KeptSession
from earmark.enroll.takes import hearing, quality
from earmark.enroll.training.train import TakeEmbeddings

CALLS = (  # all that can change what is on a disk, and the lock
    "openat",
    "mkdir",
    "mkdirat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "ftruncate",
    "flock",
)
ATTACH_LIMIT_S = 60.0
SIGN = "inject=sched_yield:error=EPERM"  # how a child knows that it is traced; nothing else here calls it
UNFINISHED = (".new-", ".old-", ".pending")

JOURNAL, SESSIONS = ".wakes", ".sessions"
WAITING, WAKES, SESSION = "/waiting", "/wakes", "/session"  # what nobody can be called
NOW_S = 1_700_000_000.0

View = dict[tuple[str, str, int], Optional[str]]
"""Person, wake word, version -> checksum of what a reader finds in it; and so of what waits to be learned, of the
journal and of sessions."""


@dataclass(frozen=True)
class Operation:
    """A change of a store."""

    name: str
    run: Callable[[PersonStore], object]
    prepare: Callable[[PersonStore], object] = PersonStore.names
    """Makes the store ready for it, which holds anna, bob and carl already."""
    in_parts: bool = False
    """Whether it is whole part by part only."""
    again: bool = True
    """Whether what was done in parts can be done again."""
    reads_only: bool = False
    """Whether it changes the store at all."""
    most: int | None = None
    """So many calls besides the renames are enough, evenly spread: it takes seconds each time."""


@dataclass
class Tally:
    """What became of all kills of an operation."""

    calls: int = 0
    kills: int = 0
    old: int = 0
    new: int = 0
    parts: int = 0
    """Where some parts were old and others new, each of them whole."""
    others: list[str] = field(default_factory=list)
    """Where it was neither, or could not be read."""


def unavailable() -> str | None:
    """Why nothing can be killed here; None: it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()}"


def fill(store: PersonStore) -> None:
    """Three people: anna in two versions with recordings and for two wake words."""
    store.save(person("anna", 1), [sound(1), sound(2)])
    store.save(person("anna", 2), [sound(1), sound(2), sound(3)])
    store.save(person("anna", 3, "alexa"))
    store.save(person("bob", 4))
    store.save(person("carl", 5))


def _seal(store: PersonStore) -> None:
    sealing.encrypt(store, KEY)


def _open(store: PersonStore) -> None:
    if store.encrypted:  # else it was killed when all was done
        sealing.decrypt(store)


def _wake(number: int, who: str | None = "anna", label: str | None = None) -> QueuedWake:
    row = np.random.default_rng(number).standard_normal(192).astype(np.float32)
    row /= np.float32(np.linalg.norm(row))
    kind = "rejection" if who is None else "detection"
    at_s = NOW_S - 60 + number
    return QueuedWake(kind, "okay_nabu", who, 0.9, "mic", 16_000 * number, at_s, "s" * 64, row, label)


def _waiting(store: PersonStore) -> None:
    """Something waits to be learned."""
    for heard in (_wake(1), _wake(2, None), _wake(3, "bob", "anna")):
        LearningQueue(store).add(heard)


def _waiting_sealed(store: PersonStore) -> None:
    _waiting(store)
    _seal(store)


def journal(store: PersonStore) -> Journal:
    return Journal(store.folder / JOURNAL, 100, 7.0, lambda: NOW_S, lambda: 0.0)


def _heard_of(store: PersonStore) -> None:
    """The queue and the journal know anna."""
    _waiting(store)
    for number, who in enumerate(("anna", "bob", "anna")):
        event = {"type": "detection", "file": "mic", "keyword": "okay_nabu", "time_ms": 1600 * (number + 1)}
        event.update(keyword_score=0.9, person=who, speaker_score=0.9, reason="known_voice")
        journal(store).add({**event, "at": f"2023-11-14T22:13:2{number}+00:00"}, sound(number))
    journal(store).label(2, "anna")


def _heard_of_sealed(store: PersonStore) -> None:
    _heard_of(store)
    _seal(store)


def _rename_everywhere(store: PersonStore) -> None:
    if "anna" in store.names():
        erasure.rename(store, journal(store), "anna", "Ännchen")


def _erase_everywhere(store: PersonStore) -> None:
    if "anna" in store.names():
        erasure.erase(store, journal(store), "anna")


def session(store: PersonStore) -> KeptSession:
    return KeptSession(Path("/people"), "anna", "okay_nabu", {"seed": 0}, store.folder / SESSIONS)


def kept(takes: int) -> Kept:
    """What so many good takes leave."""
    rows = np.random.default_rng(1).standard_normal((takes, 7, 192)).astype(np.float32)
    silence = np.zeros(0, np.int16)
    found = [quality.Take(f"take {number}", Analysis(silence), 0.9, -20.0, 30.0, 9000) for number in range(takes)]
    heard = [hearing.AcceptedTake(take, row[0], 20.0) for take, row in zip(found, rows)]
    return Kept(heard, [TakeEmbeddings(row[0], row[1:]) for row in rows], np.ones(40, np.float32), -60.0)


def _first_take(store: PersonStore) -> None:
    session(store).save(kept(1))


def _second_take(store: PersonStore) -> None:
    session(store).save(kept(2))


def _enrolled(store: PersonStore) -> None:
    session(store).erase()


def _five(store: PersonStore) -> None:
    for seed in range(5):
        store.save(person("bob", seed))


def _merge(store: PersonStore) -> None:
    def put() -> dict[str, dict[tuple[str, int], dict[str, bytes]]]:
        tree = {key: dict(files) for key, files in store.tree("anna").items()}
        return {"anna": {**tree, ("okay_nabu", 3): codec.encode(person("anna", 8))}}

    store.exchange("merged", put, ["bob"])


def _broken_off(store: PersonStore) -> None:
    """A change that counts already and of which nothing is in its place yet."""
    aside = store.folder.parent / "aside"
    aside.mkdir(mode=0o700)
    _merge(store)  # the new state, which then lies where it is put together
    (store.folder / "anna").rename(aside / "anna")
    shutil.copytree(aside / "anna", store.folder / "anna")
    store.save(person("anna", 1))
    store.save(person("bob", 4))
    (aside / "plan.json").write_bytes(b'{"format": 1, "put": ["anna"], "remove": ["bob"]}')
    aside.rename(store.folder / ".pending")


def _bundle() -> bytes:
    return bundle.to_bytes("dora", {("okay_nabu", 1): codec.encode(person("dora", 7), [sound(7)])})


def _import(store: PersonStore) -> None:
    found = bundle.from_bytes(_bundle())
    operations.insert(store, found.name, found.tree)


def _import_over(store: PersonStore) -> None:
    tree = operations.as_name(bundle.from_bytes(_bundle()).tree, "anna")
    operations.insert(store, "anna", tree, replace=True)


# --- whole commands, with the networks and the training


AUDIO = Path(__file__).parent / "audio"


@functools.cache
def _voice(takes: int = 5) -> Voiceprint:
    """A real one, so that the networks in use can train it anew."""
    files = sorted(AUDIO.glob("slt_okay_nabu_enroll_*.flac"))[:takes]
    recordings = [Recording.read(str(file)) for file in files]
    return Enroller.load().enrol("anna", recordings, KeywordNetwork(load_manifest("okay_nabu"))).voiceprint


@functools.cache
def _embedded(file: str) -> Float32:
    """What the detector would make of a recording of the wake word."""
    network = KeywordNetwork(load_manifest("okay_nabu"))
    return SpeakerNetwork().embed(quality.crops(read_audio(AUDIO / file), network)[0])


def _command(store: PersonStore, *words: str) -> None:
    """`earmark …` on this store, with its journal, at a time that does not pass."""
    names = {"SETTINGS": "", "PEOPLE_STORE": str(store.folder), "JOURNAL_FOLDER": str(store.folder / JOURNAL)}
    said = io.StringIO()
    with contextlib.ExitStack() as changed:
        variables = {f"EARMARK_{name}": value for name, value in names.items()}
        changed.enter_context(mock.patch.dict(os.environ, variables))
        changed.enter_context(mock.patch("time.time", return_value=NOW_S))
        changed.enter_context(contextlib.redirect_stdout(said))
        changed.enter_context(contextlib.redirect_stderr(said))
        code = earmark([*words])
    if code:
        raise RuntimeError(f"{words} ended with {code}: {said.getvalue()}")


def _twice(store: PersonStore) -> None:
    """anna, and bob with the same voice; the queue and the journal know both."""
    for name in ("anna", "bob", "carl"):
        store.remove(name)
    for name in ("anna", "bob"):
        store.save(replace(_voice(3), name=name))  # together enough for training, which takes longer with more
    _heard_of(store)


def _merge_command(store: PersonStore) -> None:
    if "anna" in store.names():
        _command(store, "people", "merge", "bob", "anna")


def _retrain_command(store: PersonStore) -> None:
    _command(store, "people", "retrain")


def _day(store: PersonStore) -> None:
    """anna, whose own take waits to be learned, and two strangers' wakes; one of them the journal calls not hers."""
    for name in ("anna", "bob", "carl"):
        store.remove(name)
    store.save(_voice())
    files = ("slt_okay_nabu_test_1.flac", "rms_okay_nabu_test_1.flac", "awb_okay_nabu_test_1.flac")
    for number, (file, who) in enumerate(zip(files, ("anna", None, None)), start=1):
        heard = replace(_wake(number, who), embedding=_embedded(file), speaker_sha256=_voice().binding.speaker)
        LearningQueue(store).add(heard)
    event = {"type": "rejection", "file": "mic", "keyword": "okay_nabu", "time_ms": 2000, "keyword_score": 0.9}
    event.update(person=None, speaker_score=0.1, reason="unknown_voice", at="2023-11-14T22:12:22+00:00")
    journal(store).add(event, sound(1))
    journal(store).label(1, "not-me")


def _learn_command(store: PersonStore) -> None:
    _command(store, "learn", "now")


OPERATIONS = (
    Operation("save: a new person", lambda store: store.save(person("dora"), [sound(0)])),
    Operation("save: another wake word", lambda store: store.save(person("bob", 6, "alexa"))),
    Operation("save: a sixth version, the first goes", lambda store: store.save(person("bob", 6)), _five),
    Operation("save: into a sealed store", lambda store: store.save(person("bob", 6), [sound(0)]), _seal),
    Operation("remove", lambda store: store.remove("anna")),
    Operation("remove: only recordings", lambda store: operations.forget_recordings(store, "anna")),
    Operation("rename", lambda store: operations.rename(store, "anna", "Ännchen")),
    Operation("rename: in a sealed store", lambda store: operations.rename(store, "anna", "Ännchen"), _seal),
    Operation("rollback", lambda store: store.rollback("anna", "okay_nabu")),
    Operation("import: a new person", _import),
    Operation("import: over somebody", _import_over),
    Operation("encrypt, with what waits to be learned", _seal, _waiting, in_parts=True),
    Operation("decrypt, with what waits to be learned", _open, _waiting_sealed, in_parts=True),
    Operation("to be learned: in a sealed store", lambda store: LearningQueue(store).add(_wake(9)), _waiting_sealed),
    Operation("remove, with queue: in a sealed store", _erase_everywhere, _heard_of_sealed, in_parts=True),
    Operation(
        "rename, with queue and journal: in a sealed store", _rename_everywhere, _heard_of_sealed, in_parts=True
    ),
    Operation("remove, with queue and journal", _erase_everywhere, _heard_of, in_parts=True),
    Operation("rename, with queue and journal", _rename_everywhere, _heard_of, in_parts=True),
    Operation("`people merge`", _merge_command, _twice, in_parts=True, most=25),
    Operation("`people retrain`, two people", _retrain_command, _twice, in_parts=True, again=False, most=25),
    Operation("`learn now`", _learn_command, _day, in_parts=True, most=25),
    Operation("kept session: the first take", _first_take, again=False),
    Operation("kept session: a take more", _second_take, _first_take, again=False),
    Operation("kept session: erased", _enrolled, _second_take, again=False),
    Operation("finish a change that was broken off", lambda store: store.tidy(), _broken_off, reads_only=True),
)


def view(folder: Path) -> View:
    """What a process finds that reads the store as it lies there.

    Raises:
        Exception: something cannot be read.
    """
    store = opened(folder)
    found: View = {
        (name, keyword, version): _digest(store, name, keyword, version)
        for name in store.names()
        for keyword in store.keywords(name)
        for version in store.versions(name, keyword)
    }
    waiting = LearningQueue(store)
    names = waiting.ids()
    for heard in waiting.read():
        found[WAITING, heard.id, 0] = _sha256(repr((heard, heard.embedding.tolist())).encode())
    wakes = journal(store)
    for number in wakes.numbers():
        files = wakes.contents(number)
        found[WAKES, "", number] = _sha256(b"".join(files[key] for key in sorted(files)))
    takes = session(store).load()
    if takes is not None:
        arrays = b"".join(take.clean.tobytes() + take.copies.tobytes() for take in takes.varied)
        found[SESSION, "", len(takes.heard)] = _sha256(arrays + takes.room.tobytes())
    if len(names) != sum(key[0] == WAITING for key in found):
        raise ValueError("something that waited was damaged, and erased")
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(store: PersonStore, name: str, keyword: str, version: int) -> str:
    contents = store.contents(name, keyword, version)
    return _sha256(b"".join(contents[key] for key in sorted(contents)))


def half_sealed(folder: Path) -> list[str]:
    """People of whom some files are sealed and others are not."""
    found = []
    for place in folder.glob("[!.]*"):
        sealed = {path.suffix == ".sealed" for path in place.rglob("*") if path.is_file()}
        if len(sealed) > 1:
            found.append(place.name)
    return found


@weak_keys()
def tally(operation: Operation, work: Path, most: int | None = None, most_renames: int = 0) -> Tally:
    """Kills an operation at every call, and judges each; or at every rename, and about `most` of the others.

    Or at the last `most_renames` of the renames: those of the people. Of those the ones whose turn it is (turns.py).
    """
    model, after, folder = work / "model", work / "after", work / "people"
    store = opened(model)
    fill(store)
    operation.prepare(store)
    before = view(model)
    shutil.copytree(model, after, symlinks=True)
    operation.run(opened(after))
    wanted = view(after)
    assert before != wanted or operation.reads_only or is_encrypted(model) != is_encrypted(after)
    most = operation.most if most is None else min(most, operation.most or most)
    result = Tally()
    points = list(_points(operation, model, folder))
    result.calls = len(points)
    renames = [point for point in points if point[0].startswith("rename")]  # with them something begins to count
    others = [point for point in points if point not in renames]
    renames = renames[-most_renames:] if most_renames else renames
    chosen = points if most is None else [*renames, *others[:: max(1, len(others) // most)]]
    for call, number in mine(chosen):
        _fresh(model, folder)
        assert killed(operation, folder, call, number)
        result.kills += 1
        _judge(operation, folder, before, wanted, f"{call} {number}", result)
    return result


def _judge(operation: Operation, folder: Path, before: View, wanted: View, where: str, result: Tally) -> None:
    try:
        found = view(folder)
    except Exception as error:
        result.others.append(f"{where}: {type(error).__name__}: {error}")
        return
    if not (found in (before, wanted) or (operation.in_parts and _is_between(found, before, wanted))):
        result.others.append(f"{where}: neither the old store nor the new one: {sorted(found)}")
        return
    is_new = found == wanted and found != before
    result.new += is_new
    result.parts += found not in (before, wanted)
    result.old += found == before
    store = opened(folder)
    store.tidy()
    if view(folder) != found:
        result.others.append(f"{where}: another store after tidying")
    if half_sealed(folder):
        result.others.append(f"{where}: half sealed: {half_sealed(folder)}")
    if operation.in_parts and operation.again:
        operation.run(store)
        if view(folder) != wanted:
            result.others.append(f"{where}: cannot be continued")
        if not uniform(folder):
            result.others.append(f"{where}: some is sealed and some is not")
        if list(folder.rglob(".old-*")):
            result.others.append(f"{where}: what was erased is still there")
    session(store).erase()  # and now any other change of each
    LearningQueue(store).forget()
    journal(store).forget_person("nobody")
    left = [str(path) for path in folder.rglob("*") if path.name.startswith(UNFINISHED)]
    if left:
        result.others.append(f"{where}: not tidied: {left}")


def _is_between(found: View, before: View, wanted: View) -> bool:
    """Whether all that is there was there, or was to come; and nothing is missing that stays."""
    return all(value in (before.get(key), wanted.get(key)) for key, value in found.items()) and all(
        key in found for key in before if key in wanted
    )


def uniform(folder: Path) -> bool:
    """Whether everything is sealed, or nothing."""
    files = [path for path in folder.glob("[!.]*/*/*/*") if path.is_file()]
    sealed = {path.suffix == ".sealed" for path in files}
    waiting = LearningQueue(opened(folder))
    sealed |= {name in waiting.sealed() for name in waiting.ids()}
    return len(sealed) < 2


def _points(operation: Operation, model: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Every call of the operation: kind and number; found by counting them in a run that is left alone."""
    _fresh(model, folder)
    log = folder.parent / "calls"
    _, status = _traced(operation, folder, ["-e", f"trace={_known()},sched_yield"], log)
    assert status == 0, f"{operation.name} failed"
    counts: dict[str, int] = {}
    for line in log.read_text("utf-8", "replace").splitlines():
        call = line.split("(")[0]
        if call in CALLS:
            counts[call] = counts.get(call, 0) + 1
            yield call, counts[call]


def killed(operation: Operation, folder: Path, call: str, number: int) -> bool:
    """Whether the child was killed at this call; else it has ended by itself."""
    inject = f"inject={call}:signal=KILL:when={number}"
    _, status = _traced(operation, folder, ["-e", f"trace={call},sched_yield", "-e", inject], Path(os.devnull))
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _known() -> str:
    """The calls, each with a question mark: not every processor has all of them."""
    return ",".join(f"?{call}" for call in CALLS)


def _traced(operation: Operation, folder: Path, options: list[str], log: Path) -> tuple[int, int]:
    """Process and exit status of a child that does the operation once strace has it in its hands."""
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            _wait_for_strace()
            operation.run(opened(folder))
            code = 0
        os._exit(code)
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", str(log), *options, "-e", SIGN, "-p", str(child)], stderr=subprocess.PIPE
    )
    result = os.waitpid(child, 0)
    tracer.communicate()
    return result


def _wait_for_strace() -> None:
    """Until this very call is answered by strace: between its attaching and its counting other calls would pass."""
    until = time.monotonic() + ATTACH_LIMIT_S
    while time.monotonic() < until:
        try:
            os.sched_yield()
        except PermissionError:
            return
        time.sleep(0.0005)
    raise TimeoutError("strace does not attach")


def _fresh(model: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder, symlinks=True)
    remembered, witness = Witness(model).read(), Witness(folder)
    witness.forget()
    if remembered is not None:
        witness.remember(remembered)


def main(arguments: list[str]) -> int:
    """`python kills.py MOST FOLDER`: what became of each operation, one JSON object a line.

    A process of its own, because it forks: a test's has threads of many libraries.
    """
    most, folder = int(arguments[0]), Path(arguments[1])
    for number, operation in enumerate(OPERATIONS):
        work = folder / str(number)
        work.mkdir()
        few = (1, 3) if operation.most is not None else (most, 8)
        result = {"name": operation.name, **asdict(tally(operation, work, *few))}
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
