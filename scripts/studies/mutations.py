"""Whether the tests notice when earmark is made a little wrong: `python scripts/studies/mutations.py`.

Each change of `mutation_table.py` is made in a copy of the repository, and the tests are run until one fails: first
the files that should notice, then everything that is not marked slow, then the rest. What no test notices has
survived. The whole table, through all tests, is written to docs/research/mutations.md; with `--likely-only`, or a
part of the table, it is printed instead. All of it takes some hours, `--likely-only` about half an hour.

The copy is a folder `earmark` of its own, and a virtual environment finds it before the installed one, also in the
programs that tests start. A test that fails without the change, too, has noticed nothing; it is left out, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from heading import NONE, ROOT, heading
from mutation_table import MUTATIONS, Mutation

PAGE = ROOT / "docs" / "research" / "mutations.md"
LIKELY, FAST, REST = "likely", "fast", "rest"
LIMIT_S = {LIKELY: 900, FAST: 1800, REST: 5400}  # of a tier; what hangs so long has been noticed
NO_TESTS = 5  # pytest's exit code where none was chosen
DATA_VARIABLE = "EARMARK_TEST_DATA"

INTRODUCTION = """\
Each row is one small change that makes earmark wrong. The tests run until one of them fails. First come the files
that should notice (*likely*), then all tests that are not marked slow (*fast*), then the *rest*. A change that no
test notices has survived; the table says why it may.

**{killed} of {count} changes are noticed ({share:.0f} %)**: {tiers}.
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation."""

    mutation: Mutation
    tier: str | None
    """In which it was noticed; None: it survived."""
    test: str
    """The first one that failed; empty where it survived."""
    seconds: float


def place_of(mutation: Mutation, root: Path = ROOT) -> int:
    """Where in its file the text to be replaced begins.

    Raises:
        ValueError: the file is not there, or has the text never or more than once.
    """
    path = root / mutation.file
    if not path.is_file():
        raise ValueError(f"{mutation.file}: there is no such file")
    text = path.read_text("utf-8")
    count = text.count(mutation.old)
    if count != 1:
        raise ValueError(f"{mutation.file}: {mutation.old!r} occurs {count} times, it must once")
    return text.index(mutation.old)


@contextlib.contextmanager
def mutated(mutation: Mutation, root: Path) -> Iterator[None]:
    """The repository at `root` with the change in it; afterwards the file is what it was."""
    place_of(mutation, root)
    path = root / mutation.file
    before = path.read_bytes()
    path.write_text(before.decode().replace(mutation.old, mutation.new), "utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)


class Copy:
    """A copy of the repository that the tests are run in, and a Python that finds it.

    Args:
        folder: made for it.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "earmark"
        self._process: subprocess.Popen[str] | None = None
        for name in _files():
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        venv.create(folder / "venv", symlinks=True)
        self._python = folder / "venv" / "bin" / "python"
        own = subprocess.run(
            [self._python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        # In this order: the copy comes first. Bytecode might be that of another mutation, of the same length.
        lines = ["import sys; sys.dont_write_bytecode = True", str(folder), sysconfig.get_path("purelib")]
        Path(own, "copy.pth").write_text("\n".join(lines) + "\n")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))},
            "OPENBLAS_NUM_THREADS": "1",
            DATA_VARIABLE: os.environ.get(DATA_VARIABLE) or str(ROOT.parent / "shared" / "data"),
        }
        self._check()

    def _check(self) -> None:
        """Raises RuntimeError where a module would not be the copy's."""
        modules = sorted({mutation.file for mutation in MUTATIONS})
        names = ["earmark." + name[: -len(".py")].replace("/", ".") for name in modules]
        program = f"import importlib\nfor name in {names!r}: print(importlib.import_module(name).__file__)"
        found = subprocess.run(
            [self._python, "-c", program],
            cwd=self.root.parent,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for name, file in zip(modules, found):
            if Path(file).resolve() != (self.root / name).resolve():
                raise RuntimeError(f"{name} is loaded from {file}, not from the copy {self.root}")

    def pytest(self, arguments: Sequence[str], limit_s: float) -> tuple[int | None, str]:
        """Runs it -> its exit code, None where it took too long, and what it said."""
        self._process = process = subprocess.Popen(
            [self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", "-rfE", *arguments],
            cwd=self.root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            self.stop()
            return None, process.communicate()[0]

    def stop(self) -> None:
        """Ends the tests that run, and what they have started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def tests(self, names: Iterable[str]) -> list[str]:
        """The paths of test files of these names.

        Raises:
            ValueError: there is none, or more than one.
        """
        paths = []
        for name in names:
            found = [path.relative_to(self.root).as_posix() for path in (self.root / "tests").rglob(name)]
            if len(found) != 1:
                raise ValueError(f"{name}: there are {len(found)} such files below tests/, there must be one")
            paths += found
        return paths


def _files() -> list[str]:
    """Everything in the repository that git has, or would have."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def tiers(copy: Copy, mutation: Mutation, likely_only: bool) -> Iterator[tuple[str, list[str]]]:
    """Each tier's name and what chooses its tests; what a tier has run is left out of the next."""
    likely = copy.tests(mutation.tests)
    yield LIKELY, likely
    if not likely_only:
        others = [f"--ignore={path}" for path in likely]
        yield FAST, ["-m", "not slow", *others]
        yield REST, ["-m", "slow", *others]


def failure(output: str) -> str | None:
    """The test that failed first, as pytest's summary names it; None: it names none."""
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    return found[1] if found else None


class Trial:
    """Tries mutations in copies, and knows which tests can be believed.

    Args:
        likely_only: whether only the first tier is run.
    """

    def __init__(self, likely_only: bool) -> None:
        self._likely_only = likely_only
        self._passing: set[str] = set()
        self._failing: set[str] = set()
        """Tests that fail where nothing was changed."""

    def __call__(self, copy: Copy, mutation: Mutation) -> Outcome:
        """What becomes of a mutation in a copy."""
        began_s = time.monotonic()
        for tier, chosen in tiers(copy, mutation, self._likely_only):
            test = self._noticed(copy, mutation, chosen, LIMIT_S[tier])
            if test is not None:
                return Outcome(mutation, tier, test, time.monotonic() - began_s)
        return Outcome(mutation, None, "", time.monotonic() - began_s)

    def _noticed(self, copy: Copy, mutation: Mutation, chosen: Sequence[str], limit_s: float) -> str | None:
        """Which of the chosen tests fails because of the mutation, without its parameters; None: none does."""
        while True:
            left_out = [f"--deselect={test}" for test in sorted(self._failing)]
            with mutated(mutation, copy.root):
                code, output = copy.pytest(["-x", *chosen, *left_out], limit_s)
            if code in (0, NO_TESTS):
                return None
            if code is None:
                return f"stopped after {limit_s:g} s"
            test = failure(output)
            if test is None:  # a crash
                return output.strip().splitlines()[-1][:100] if output.strip() else "no output"
            if self._passes_unchanged(copy, test, limit_s):
                return test.split("[")[0]

    def _passes_unchanged(self, copy: Copy, test: str, limit_s: float) -> bool:
        if test not in self._passing | self._failing:
            passes = copy.pytest([test], limit_s)[0] == 0
            (self._passing if passes else self._failing).add(test)
            if not passes:
                print(f"left out, it fails unchanged: {test}", file=sys.stderr, flush=True)
        return test in self._passing


def run(mutations: Sequence[Mutation], jobs: int, likely_only: bool) -> list[Outcome]:
    """What becomes of all of them, in their order; says how far it is."""
    trial, done, lock = Trial(likely_only), 0, threading.Lock()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies = [Copy(Path(folder, str(number))) for number in range(jobs)]
        free: queue.Queue[Copy] = queue.Queue()
        for copy in copies:
            free.put(copy)

        def one(mutation: Mutation) -> Outcome:
            nonlocal done
            copy = free.get()
            try:
                found = trial(copy, mutation)
            finally:
                free.put(copy)
            with lock:
                done += 1
                how = f"{found.tier}: {found.test}" if found.tier else "SURVIVED"
                progress = f"{done}/{len(mutations)} {found.seconds:5.0f} s"
                print(f"{progress}  {mutation.file}: {mutation.what}: {how}", file=sys.stderr, flush=True)
            return found

        try:
            return list(pool.map(one, mutations))
        except BaseException:  # the user's, too: no test may go on running
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: the sums, and a row for each mutation."""
    killed = [one for one in outcomes if one.tier]
    counts = {tier: sum(one.tier == tier for one in outcomes) for tier in (LIKELY, FAST, REST)}
    rows = [
        INTRODUCTION.format(
            killed=len(killed),
            count=len(outcomes),
            share=100 * len(killed) / max(1, len(outcomes)),
            tiers=", ".join(f"{count} {tier}" for tier, count in counts.items()),
        ),
        "| file | what is wrong then | the change | noticed |",
        "|---|---|---|---|",
    ]
    for one in outcomes:
        change = f"{_code(one.mutation.old)} → {_code(one.mutation.new)}"
        why = one.mutation.equivalent_because
        noticed = f"{one.tier}: {_code(one.test)}" if one.tier else f"**survived**: {why or 'not explained'}"
        rows.append(f"| {_code(one.mutation.file)} | {one.mutation.what} | {change} | {noticed} |")
    return "\n".join(rows) + "\n"


def _code(text: str) -> str:
    """A text as Markdown's code in a table's cell."""
    inner = " ".join(text.split()).replace("|", "\\|")
    return f"`` {inner} ``" if "`" in inner else f"`{inner}`" if inner else "nothing"


def main() -> int:
    """Runs the table, or a part; exit 1 if a mutation survived that is not explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="mutations with this text in file, change or words"
    )
    parser.add_argument("--likely-only", action="store_true", help="no other tests than those that should notice")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (2)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a mutation")
    arguments = parser.parse_args()
    chosen = [one for one in MUTATIONS if arguments.only in f"{one.file} {one.what} {one.old} {one.new}"]
    for mutation in chosen:
        place_of(mutation)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl+C: what runs is ended, the copies are removed
    outcomes = run(chosen, arguments.jobs, arguments.likely_only)
    if arguments.json:
        for one in outcomes:
            print(json.dumps(asdict(one)))
    elif arguments.only or arguments.likely_only:
        print(table(outcomes))
    else:
        PAGE.write_text(heading("Mutations", __file__, NONE) + "\n" + table(outcomes), "utf-8")
    return int(any(not one.tier and not one.mutation.equivalent_because for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
