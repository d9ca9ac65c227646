"""kill -9 at every system call of a change of the store that could change a file: strace counts them and kills.

An operation runs in a child that is forked when everything is loaded. strace attaches to it, and kills it at the Nth
call of one kind, which is then not carried out; N grows until the child ends by itself. Afterwards the store, read as
any process reads it, must be what it was before or what it was to become, and again after the next change has tidied.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from helpers_store import make_voiceprint

from earmark.engine import bundle, codec, rewrite, vault
from earmark.engine.person import COSINE, PersonStore, Voiceprint

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
KEY, ATTACH_LIMIT_S = b"correct horse", 60.0
SIGN = "inject=sched_yield:error=EPERM"  # how a child knows that it is traced; nothing else here calls it
UNFINISHED = (".new-", ".old-", ".pending")

View = dict[tuple[str, str, int], Optional[str]]
"""Person, wake word, version -> checksum of what a reader finds in it."""


@dataclass(frozen=True)
class Operation:
    """A change of a store."""

    name: str
    run: Callable[[PersonStore], object]
    prepare: Callable[[PersonStore], object] = PersonStore.names
    """Makes the store ready for it, which holds anna, bob and carl already."""
    per_person: bool = False
    """Whether it is whole for each person only."""
    reads_only: bool = False
    """Whether it changes the store at all."""


@dataclass
class Tally:
    """What became of all kills of an operation."""

    kills: int = 0
    old: int = 0
    new: int = 0
    others: list[str] = field(default_factory=list)
    """Where it was neither, or could not be read."""


def unavailable() -> str | None:
    """Why nothing can be killed here; None: it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()}"


def opened(folder: Path) -> PersonStore:
    return PersonStore(folder, lambda: KEY)


@contextlib.contextmanager
def weak_keys() -> Iterator[None]:
    """Keyrings of which scrypt makes nothing hard: thousands of them are opened here."""
    with mock.patch.dict(vault.SCRYPT, n=2, p=1):
        yield


def person(name: str, seed: int = 0, keyword: str = "okay_nabu") -> Voiceprint:
    return make_voiceprint(name, keyword, COSINE, seed)


def sound(seed: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-99, 99, 800).astype(np.int16)


def fill(store: PersonStore) -> None:
    """Three people: anna in two versions with recordings and for two wake words."""
    store.save(person("anna", 1), [sound(1), sound(2)])
    store.save(person("anna", 2), [sound(1), sound(2), sound(3)])
    store.save(person("anna", 3, "alexa"))
    store.save(person("bob", 4))
    store.save(person("carl", 5))


def _seal(store: PersonStore) -> None:
    rewrite.encrypt(store, KEY)


def _open(store: PersonStore) -> None:
    if store.encrypted:  # else it was killed when all was done
        rewrite.decrypt(store)


def _five(store: PersonStore) -> None:
    for seed in range(5):
        store.save(person("bob", seed))


def _update(store: PersonStore) -> None:
    """A take that was heard in daily life is learned."""
    old = store.load("anna", "okay_nabu")
    takes = np.concatenate([old.takes, old.takes[:1]])
    store.save(replace(old, takes=takes), [*store.recordings("anna", "okay_nabu"), sound(9)])


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
    name, tree = bundle.from_bytes(_bundle())
    rewrite.insert(store, name, tree)


def _import_over(store: PersonStore) -> None:
    _, tree = bundle.from_bytes(_bundle())
    rewrite.insert(store, "anna", rewrite.as_name(tree, "anna"), replace=True)


OPERATIONS = (
    Operation("save: a new person", lambda store: store.save(person("dora"), [sound(0)])),
    Operation("save: another wake word", lambda store: store.save(person("bob", 6, "alexa"))),
    Operation("save: a sixth version, the first goes", lambda store: store.save(person("bob", 6)), _five),
    Operation("save: into a sealed store", lambda store: store.save(person("bob", 6), [sound(0)]), _seal),
    Operation("update: a take more", _update),
    Operation("remove", lambda store: store.remove("anna")),
    Operation("remove: only recordings", lambda store: rewrite.forget_recordings(store, "anna")),
    Operation("rename", lambda store: rewrite.rename(store, "anna", "Ännchen")),
    Operation("rename: in a sealed store", lambda store: rewrite.rename(store, "anna", "Ännchen"), _seal),
    Operation("rollback", lambda store: store.rollback("anna", "okay_nabu")),
    Operation("import: a new person", _import),
    Operation("import: over somebody", _import_over),
    Operation("merge", _merge),
    Operation("encrypt", _seal, per_person=True),
    Operation("decrypt", _open, _seal, per_person=True),
    Operation("finish a change that was broken off", lambda store: store.tidy(), _broken_off, reads_only=True),
)


def view(folder: Path) -> View:
    """What a process finds that reads the store as it lies there."""
    store = opened(folder)
    return {
        (name, keyword, version): _digest(store, name, keyword, version)
        for name in store.names()
        for keyword in store.keywords(name)
        for version in store.versions(name, keyword)
    }


def _digest(store: PersonStore, name: str, keyword: str, version: int) -> str:
    contents = store.contents(name, keyword, version)
    return hashlib.sha256(b"".join(contents[key] for key in sorted(contents))).hexdigest()


def half_sealed(folder: Path) -> list[str]:
    """People of whom some files are sealed and others are not."""
    found = []
    for place in folder.glob("[!.]*"):
        sealed = {path.suffix == ".sealed" for path in place.rglob("*") if path.is_file()}
        if len(sealed) > 1:
            found.append(place.name)
    return found


@weak_keys()
def tally(operation: Operation, work: Path, most: int | None = None) -> Tally:
    """Kills an operation at every call, and judges each; or at every rename, and about `most` of the others."""
    model, after, folder = work / "model", work / "after", work / "people"
    store = opened(model)
    fill(store)
    operation.prepare(store)
    before = view(model)
    shutil.copytree(model, after, symlinks=True)
    operation.run(opened(after))
    wanted = view(after)
    assert operation.per_person or operation.reads_only or before != wanted
    result = Tally()
    points = list(_points(operation, model, folder))
    renames = [point for point in points if point[0].startswith("rename")]  # with them something begins to count
    others = [point for point in points if point not in renames]
    chosen = points if most is None else [*renames, *others[:: max(1, len(others) // most)]]
    for call, number in chosen:
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
    if found not in (before, wanted):
        result.others.append(f"{where}: neither the old store nor the new one: {sorted(found)}")
        return
    is_new = found == wanted and found != before
    result.new += is_new
    result.old += not is_new
    store = opened(folder)
    store.tidy()
    if view(folder) != found:
        result.others.append(f"{where}: another store after tidying")
    left = [path.name for path in folder.iterdir() if path.name.startswith(UNFINISHED)]
    if left:
        result.others.append(f"{where}: not tidied: {left}")
    if half_sealed(folder):
        result.others.append(f"{where}: half sealed: {half_sealed(folder)}")
    operation.run(store) if operation.per_person else None
    if operation.per_person and view(folder) != wanted:
        result.others.append(f"{where}: cannot be continued")


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


def main(arguments: list[str]) -> int:
    """`python kills.py MOST FOLDER`: what became of each operation, one JSON object a line.

    A process of its own, because it forks: a test's has threads of many libraries.
    """
    most, folder = int(arguments[0]), Path(arguments[1])
    for number, operation in enumerate(OPERATIONS):
        work = folder / str(number)
        work.mkdir()
        result = {"name": operation.name, **asdict(tally(operation, work, most))}
        sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
