"""The journal: what was heard is there with its sound, and no more of it than allowed, whatever the clock does."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Read, cut, without_its_offset
from disks import FullDisk, allocating_less_than, mounted_tmpfs
from helpers_store import environment, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import Int16
from earmark.engine.commands.wakes_commands import wakes_list
from earmark.engine.errors import InputError, StoreUnwritable, WakeDamaged, WakeError, WakeUnknown
from earmark.engine.event import Event
from earmark.engine.history.clock import STEP_S
from earmark.engine.history.journal import (
    LAST_FILE,
    MAX_AUDIO_BYTES,
    MAX_EVENT_BYTES,
    Journal,
    open_journal,
)
from earmark.engine.history.journal_entry import AUDIO_FILE, EVENT_FILE
from earmark.engine.history.labels import check_label
from earmark.engine.household import load_household
from earmark.engine.listener import Listener
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings import schema as settings_module
from earmark.engine.settings.schema import DAY_S, People, Settings
from earmark.engine.sinks.base import Notice, Outbox
from earmark.engine.sinks.journal import JournalSink
from earmark.engine.sinks.stats import Stats

HOUR_S = 3600.0
LIMIT_S = 60.0
START_S = 1.7e9
CLIP: Int16 = np.random.default_rng(3).integers(-32768, 32768, 32_000).astype(np.int16)
EVENT = Notice(Event("rejection", "okay_nabu", 99_680, 0.91, None, 0.2, "unknown_voice"), "mic", START_S).to_json()
HIDDEN = {".last", ".lock"}


class Clock:
    """A wall clock that can be set, and the time that really passes."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = START_S, 5.0

    def wait(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds

    def open(self, folder: Path, most: int = 1000, days: float = 7.0) -> Journal:
        return Journal(folder, most, days, lambda: self.wall_s, lambda: self.steady_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(clock: Clock, tmp_path: Path) -> Journal:
    return clock.open(tmp_path / "wakes")


def visible(folder: Path) -> dict[str, bytes | None]:
    return {name: content for name, content in snapshot(folder).items() if name not in HIDDEN}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def place(journal: Journal, number: int) -> Path:
    return journal.folder / f"{number:06d}"


def forge(entry: Path, changes: dict[str, Any] | None = None, audio: bytes | None = None) -> None:
    """Changes an entry and makes its checksum right again."""
    values = json.loads((entry / EVENT_FILE).read_bytes())
    if audio is not None:
        (entry / AUDIO_FILE).write_bytes(audio)
        values["audio_sha256"] = hashlib.sha256(audio).hexdigest()
    (entry / EVENT_FILE).write_text(json.dumps({**values, **(changes or {})}))


# --- keeping


def test_what_was_heard_comes_back_to_the_last_bit(journal: Journal) -> None:
    assert journal.numbers() == []
    assert journal.add(EVENT, CLIP) == 1
    entry = journal.read(1)
    assert dict(entry.event) == EVENT
    assert (entry.number, entry.label, entry.at.timestamp()) == (1, None, START_S)
    np.testing.assert_array_equal(journal.samples(1), CLIP)
    more = {"confirmation": None, "label": None, "wav": str(place(journal, 1) / AUDIO_FILE)}
    assert entry.to_json() == {"number": 1, **EVENT, **more}
    values = json.loads((place(journal, 1) / EVENT_FILE).read_bytes())
    assert values["format"] == 1
    assert values["audio_sha256"] == hashlib.sha256((place(journal, 1) / AUDIO_FILE).read_bytes()).hexdigest()
    with wave.open(str(place(journal, 1) / AUDIO_FILE)) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 32_000)


@pytest.mark.parametrize("clip", [CLIP[:0], CLIP[:1], CLIP[::2], np.array([-32768, 32767], np.int16)], ids=len)
def test_a_clip_of_any_length_comes_back(journal: Journal, clip: Int16) -> None:
    journal.add(EVENT, clip)
    np.testing.assert_array_equal(journal.samples(1), clip)


def test_the_word_ends_where_the_network_had_heard_enough(journal: Journal) -> None:
    journal.add(EVENT, CLIP)
    journal.add({**EVENT, "time_ms": 700}, CLIP)
    assert (journal.read(1).word_end, journal.read(2).word_end) == (24_000, 11_200)


def test_of_too_many_the_oldest_go(clock: Clock, tmp_path: Path) -> None:
    journal = clock.open(tmp_path, most=3)
    for _ in range(5):
        journal.add(EVENT, CLIP)
    assert journal.numbers() == [3, 4, 5]
    clock.open(tmp_path, most=2).tidy()
    assert journal.numbers() == [4, 5]
    clock.open(tmp_path, most=1).add(EVENT, CLIP)
    assert names(tmp_path) == {"000006", *HIDDEN}


def test_what_is_too_old_goes(clock: Clock, journal: Journal) -> None:
    journal.add(EVENT, CLIP)
    clock.wait(3 * DAY_S)
    journal.add(EVENT, CLIP)
    clock.wait(4 * DAY_S)
    journal.tidy()
    assert journal.numbers() == [1, 2]
    clock.wait(1)
    journal.tidy()
    assert journal.numbers() == [2]
    clock.wait(4 * DAY_S)
    assert journal.add(EVENT, CLIP) == 3, "also when the next one comes"
    assert journal.numbers() == [3]


def test_days_are_of_24_hours_and_the_limit_itself_is_not_too_old(clock: Clock, tmp_path: Path) -> None:
    """In seconds: one and a half days are 129,600."""
    journal = clock.open(tmp_path, days=1.5)
    journal.add(EVENT, CLIP)
    clock.wait(129_600)
    journal.tidy()
    assert journal.numbers() == [1]
    clock.wait(1)
    journal.tidy()
    assert journal.numbers() == []


def test_as_many_as_may_be_are_kept_by_whoever_tidies_or_adds(clock: Clock, tmp_path: Path) -> None:
    journal = clock.open(tmp_path, most=2)
    for expected in ([1], [1, 2], [2, 3], [3, 4]):
        journal.add(EVENT, CLIP)
        assert journal.numbers() == expected
        journal.tidy()
        assert journal.numbers() == expected


def test_the_folder_is_looked_through_only_where_somebody_else_has_changed_it(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then always: what is kept is the same as for who has just come."""
    looks: list[object] = []
    listdir = os.listdir
    journal, other = (clock.open(tmp_path / "j", most=4) for _ in range(2))
    journal.add(EVENT, CLIP)

    def counted(path: str) -> list[str]:
        looks.append(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", counted)
    for _ in range(5):
        journal.add(EVENT, CLIP)
    assert looks == []
    assert journal.numbers() == [3, 4, 5, 6]
    other.forget([4])
    assert journal.add(EVENT, CLIP) == 7
    assert journal.numbers() == [3, 5, 6, 7]
    assert other.add(EVENT, CLIP) == 8
    (tmp_path / "j" / ".old-left").mkdir()
    assert journal.add(EVENT, CLIP) == 9
    assert names(tmp_path / "j") == HIDDEN | {"000006", "000007", "000008", "000009"}


def test_unless_told_five_hundred_wakes_are_kept_for_a_week(tmp_path: Path) -> None:
    section = replace(Settings().journal, folder=str(tmp_path))
    assert (section.most, section.days) == (500, 7)
    journal = open_journal(section)
    for number in (1, 2):
        journal.add(EVENT, CLIP)
        stored_s = time.time() - 7 * 86_400 + (600 if number == 2 else -600)
        os.utime(place(journal, number) / AUDIO_FILE, (stored_s, stored_s))
    journal.tidy()
    assert journal.numbers() == [2]


def test_a_label_does_not_make_an_entry_younger(clock: Clock, journal: Journal) -> None:
    journal.add(EVENT, CLIP)
    clock.wait(7 * DAY_S)
    journal.label(1, "anna")
    clock.wait(1)
    journal.tidy()
    assert journal.numbers() == []


def test_a_number_is_never_given_twice(clock: Clock, journal: Journal) -> None:
    for _ in range(3):
        journal.add(EVENT, CLIP)
    journal.forget([3])
    assert journal.add(EVENT, CLIP) == 4
    journal.forget(journal.numbers())
    assert journal.numbers() == []
    assert clock.open(journal.folder).add(EVENT, CLIP) == 5
    clock.wait(8 * DAY_S)
    journal.tidy()
    assert clock.open(journal.folder).add(EVENT, CLIP) == 6


@pytest.mark.parametrize("last", [b"", b"x", b"-5", b"1e9", b"\xff", b"9" * 101, "²".encode()])
def test_a_damaged_last_number_is_said_and_costs_nothing(
    journal: Journal, last: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal.add(EVENT, CLIP)
    journal.add(EVENT, CLIP)
    (journal.folder / LAST_FILE).write_bytes(last)
    assert journal.add(EVENT, CLIP) == 3
    assert "numbers go on behind the highest entry" in caplog.text
    assert (journal.folder / LAST_FILE).read_bytes() == b"3\n"


def test_numbers_grow_out_of_their_six_digits(journal: Journal) -> None:
    journal.add(EVENT, CLIP)
    (journal.folder / LAST_FILE).write_text("999998")
    assert [journal.add(EVENT, CLIP) for _ in range(3)] == [999_999, 1_000_000, 1_000_001]
    assert journal.numbers() == [1, 999_999, 1_000_000, 1_000_001]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_nobody_else_may_look_whatever_the_umask_is(clock: Clock, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        journal = clock.open(tmp_path / "new" / "wakes")
        journal.add(EVENT, CLIP)
        journal.label(1, "anna")
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    folders = {"new", "new/wakes", "new/wakes/000001"}
    files = {"new/wakes/.last", "new/wakes/.lock", "new/wakes/000001/audio.wav", "new/wakes/000001/event.json"}
    assert modes == {**dict.fromkeys(folders, 0o700), **dict.fromkeys(files, 0o600)}


# --- the clock


@pytest.mark.parametrize("step_s", [5 * HOUR_S, -5 * HOUR_S, 400 * DAY_S, -400 * DAY_S])
def test_a_stepped_clock_changes_no_age(clock: Clock, tmp_path: Path, step_s: float) -> None:
    journal = clock.open(tmp_path, days=0.1)
    journal.add(EVENT, CLIP)
    clock.wait(HOUR_S)
    clock.wall_s += step_s
    journal.add(EVENT, CLIP)
    assert journal.numbers() == [1, 2]
    clock.wait(1.3 * HOUR_S)
    journal.tidy()
    assert journal.numbers() == [1, 2]
    clock.wait(0.2 * HOUR_S)  # the first is 2.5 h old, 2.4 are allowed
    journal.tidy()
    assert journal.numbers() == [2]
    clock.wait(HOUR_S)
    journal.tidy()
    assert journal.numbers() == []


def test_a_clock_that_was_set_after_the_first_wakes_does_not_cost_them_at_the_next_start(
    clock: Clock, tmp_path: Path
) -> None:
    """As on a board without a battery: it starts in the past, and somebody speaks before the network is there."""
    clock.wall_s = 1_000.0
    journal = clock.open(tmp_path)
    journal.add(EVENT, CLIP)
    clock.wait(60)
    clock.wall_s = START_S
    journal.add(EVENT, CLIP)
    again = clock.open(tmp_path)
    again.tidy()
    assert again.numbers() == [1, 2]
    clock.wait(7 * DAY_S - 30)
    again.tidy()
    assert again.numbers() == [2]


def test_what_comes_from_the_future_is_new_until_the_clock_has_caught_up(clock: Clock, tmp_path: Path) -> None:
    journal = clock.open(tmp_path, most=3)
    journal.add(EVENT, CLIP)
    clock.wall_s -= 10 * DAY_S
    again = clock.open(tmp_path, most=3)  # after a restart: nobody knows that it was stepped
    clock.wait(9 * DAY_S)
    again.tidy()
    assert again.numbers() == [1]
    clock.wait(9 * DAY_S)
    again.tidy()
    assert again.numbers() == []
    clock.wall_s -= 1000 * DAY_S
    for _ in range(5):
        again.add(EVENT, CLIP)
    assert again.numbers() == [4, 5, 6], "too many are too many, whatever the clock says"


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.just(0.0)),
        st.tuples(st.just("wait"), st.floats(0, 4 * HOUR_S)),
        st.tuples(st.just("step"), st.floats(-1e8, 1e8).filter(lambda s: abs(s) > 2 * STEP_S)),
        st.tuples(st.just("forget"), st.floats(0, 0.99)),
        st.tuples(st.just("tidy"), st.just(0.0)),
    ),
    max_size=25,
)


@given(actions=ACTIONS, most=st.integers(1, 4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_clock_does_what_is_kept_is_what_really_happened(
    tmp_path: Path, actions: list[tuple[str, float]], most: int
) -> None:
    folder, clock = tmp_path / "wakes", Clock()
    shutil.rmtree(folder, ignore_errors=True)
    journal = clock.open(folder, most=most, days=0.25)
    born: dict[int, float] = {}  # by the time that really passes
    highest = 0
    for what, amount in actions:
        if what == "wait":
            clock.wait(amount)
        elif what == "step":
            clock.wall_s = max(0.0, clock.wall_s + amount)
        elif what == "forget" and born:
            number = sorted(born)[int(amount * len(born))]
            journal.forget([number])
            del born[number]
        elif what in ("add", "tidy"):
            limit_s = 6 * HOUR_S
            born = {number: at for number, at in born.items() if clock.steady_s - at <= limit_s}
            if what == "add":
                highest += 1
                assert journal.add(EVENT, CLIP[:100]) == highest
                born[highest] = clock.steady_s
            else:
                journal.tidy()
            born = dict(sorted(born.items())[-most:])
        assert journal.numbers() == sorted(born)


# --- what cannot be written


@pytest.mark.parametrize("fails_at", range(6))
def test_a_disk_full_at_any_write_changes_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    journal.add(EVENT, CLIP)
    before = visible(journal.folder)
    full = FullDisk(fails_at)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnwritable, match=r"the journal .* could not be written: No space left on device; make"):
        journal.add(EVENT, CLIP)
    assert visible(journal.folder) == before
    number = journal.add(EVENT, CLIP)
    assert number in (2, 3)
    assert journal.numbers() == [1, number]
    assert full.calls == fails_at + 1 + 6  # so that the numbers above are all there are


def test_a_disk_that_is_full_when_the_journal_is_too_costs_no_old_one(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = clock.open(tmp_path, most=2)
    journal.add(EVENT, CLIP)
    journal.add(EVENT, CLIP)
    monkeypatch.setattr(os, "fsync", FullDisk(0))
    with pytest.raises(StoreUnwritable):
        journal.add(EVENT, CLIP)
    assert journal.numbers() == [1, 2]


def test_a_really_full_disk_changes_nothing_and_lets_everything_be_forgotten(clock: Clock, tmp_path: Path) -> None:
    with mounted_tmpfs(tmp_path, "512k"):
        journal = clock.open(tmp_path / "wakes")
        for _ in range(3):
            journal.add(EVENT, CLIP)
        with contextlib.suppress(StoreUnwritable):
            while True:
                before = visible(journal.folder)
                journal.add(EVENT, CLIP)
        added = len(journal.numbers())
        assert 3 < added < 9
        assert visible(journal.folder) == before
        (tmp_path / "filler").touch()
        with contextlib.suppress(OSError), (tmp_path / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        assert os.statvfs(tmp_path).f_bavail == 0
        with pytest.raises(StoreUnwritable):
            journal.label(1, "anna")
        assert visible(journal.folder) == before
        assert journal.forget(journal.numbers()) == added
        assert visible(journal.folder) == {}
        assert journal.add(EVENT, CLIP) > added


def test_a_place_that_cannot_be_is_said(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "wakes", Path("/dev/null/wakes"), Path("/proc/wakes")):
        journal = clock.open(folder)
        assert journal.numbers() == []
        for change in (journal.tidy, lambda journal=journal: journal.add(EVENT, CLIP)):
            with pytest.raises(StoreUnwritable, match=r"the journal .* could not be written"):
                change()


def test_what_cannot_be_deleted_is_said_and_deleted_later(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.add(EVENT, CLIP)

    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        with pytest.raises(StoreUnwritable, match="could not be erased: Operation not permitted"):
            journal.forget([1])
        assert journal.numbers() == [], "it is no entry any more"
        journal.add(EVENT, CLIP)  # nor does it keep others out
        assert journal.numbers() == [2]
    assert len(list(journal.folder.glob(".old-*"))) == 1
    journal.tidy()
    assert not list(journal.folder.glob(".old-*"))


def test_leftovers_of_a_killed_process_are_ignored_and_swept(journal: Journal, tmp_path: Path) -> None:
    journal.add(EVENT, CLIP)
    for name in (".new-abc", ".old-000007-12345678"):
        (journal.folder / name).mkdir()
        (journal.folder / name / AUDIO_FILE).write_bytes(b"half")
    (journal.folder / ".new-1-event.json").write_text("{")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (journal.folder / ".old-link").symlink_to(outside)
    (journal.folder / "notes.txt").write_text("of somebody else")
    assert journal.numbers() == [1]
    assert journal.add(EVENT, CLIP) == 2
    assert names(journal.folder) == {"000001", "000002", "notes.txt", *HIDDEN}
    assert (outside / "kept").exists()


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from test_journal import CLIP, EVENT, Clock
journal = Clock().open(Path(sys.argv[1]), most=4)
random.seed(1)
left, highest = 0, journal.add(EVENT, CLIP)  # so that there is a folder, however early the first kill comes
for turn in range(80):
    child = os.fork()
    if not child:
        while True:
            number = journal.add(EVENT, CLIP)
            if random.random() < 0.5:
                journal.label(number, "anna")
            if random.random() < 0.5:
                journal.forget([random.choice(journal.numbers())])
    time.sleep(random.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left += any(name.startswith((".new-", ".old-")) for name in os.listdir(journal.folder))
    numbers = journal.numbers()
    assert len(numbers) <= 4, numbers
    for number in numbers:
        assert journal.read(number).label in (None, "anna")
        assert (journal.samples(number) == CLIP).all()
    number = journal.add(EVENT, CLIP)
    assert number > max([highest, *numbers]), (number, highest, numbers)
    highest = number
    assert not any(name.startswith((".new-", ".old-")) for name in os.listdir(journal.folder))
print(left, highest)
"""


def run_beside(program: str, *arguments: Path | str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(PYTHONPATH=os.pathsep.join(map(str, (REPOSITORY / "tests", Path(__file__).parent)))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_killed_at_any_moment_every_entry_is_whole(tmp_path: Path) -> None:
    left, highest = map(int, run_beside(KILLED, tmp_path / "wakes").split())
    assert left > 0, "the kills hit nothing in its middle"
    assert highest > 80, "nothing ever came to its end"


ADDING = """
import sys
from pathlib import Path
from test_journal import CLIP, EVENT, Clock
journal = Clock().open(Path(sys.argv[1]))
print(*[journal.add(EVENT, CLIP[:1000]) for _ in range(25)])
"""


@pytest.mark.slow
def test_processes_do_not_get_in_each_others_way(journal: Journal) -> None:
    line = [sys.executable, "-c", ADDING, str(journal.folder)]
    env = environment(PYTHONPATH=os.pathsep.join(map(str, (REPOSITORY / "tests", Path(__file__).parent))))
    running = [subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given_numbers = [list(map(int, process.communicate(timeout=120)[0].split())) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(number for numbers in given_numbers for number in numbers) == journal.numbers() == [*range(1, 76)]


# --- damage


def listed(folder: Path) -> list[dict[str, Any]]:
    """What `earmark wakes list` prints; it must end well, in both forms."""
    printed = {}
    for as_json in (True, False):
        filters = dict.fromkeys(("settings", "type", "person", "label", "last"))
        arguments = argparse.Namespace(json=as_json, set=[("journal.folder", str(folder))], **filters)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert wakes_list(arguments) == 0
        printed[as_json] = out.getvalue().splitlines()
        assert out.getvalue().replace("\n", "").isprintable()
    assert len(printed[False]) == len(printed[True])
    return [json.loads(line) for line in printed[True]]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [*EVENT, "format", "audio_sha256", "label"]


@pytest.fixture
def spoiled(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry to be damaged, and a good one after it."""
    monkeypatch.setenv("EARMARK_SETTINGS", "")
    journal.add(EVENT, CLIP[:100])
    journal.add(EVENT, CLIP[:100])
    return place(journal, 1)


def check_first(journal: Journal) -> bool:
    """Whether the first entry and its sound are taken for good; the second always are. The list sees no sound."""
    rows = listed(journal.folder)
    assert [row["number"] for row in rows] == [1, 2]
    assert rows[1]["damaged"] is None
    journal.labelled()
    listed_fault, fault = rows[0]["damaged"] or "", ""
    try:
        journal.samples(1)
    except WakeDamaged as error:
        fault = str(error)
    assert all("earmark wakes forget 1" in text for text in (listed_fault, fault) if text)
    assert fault or not listed_fault
    return not fault


@given(content=st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_for_an_event_are_damage(journal: Journal, spoiled: Path, content: bytes) -> None:
    (spoiled / EVENT_FILE).write_bytes(content)
    assert not check_first(journal)


@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_values_in_an_event_are_read_or_damage(journal: Journal, spoiled: Path, changes: dict[str, Any]) -> None:
    whole = (spoiled / EVENT_FILE).read_bytes()
    forge(spoiled, changes)
    check_first(journal)
    (spoiled / EVENT_FILE).write_bytes(whole)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_event_with_some_bytes_changed_is_read_or_damage(
    journal: Journal, spoiled: Path, data: st.DataObject
) -> None:
    whole = (spoiled / EVENT_FILE).read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (spoiled / EVENT_FILE).write_bytes(changed[: data.draw(st.integers(0, len(whole)))])
    check_first(journal)
    (spoiled / EVENT_FILE).write_bytes(whole)


BAD: dict[str, dict[str, Any]] = {
    "another format": {"format": 2},
    "format true": {"format": True},
    "unknown type": {"type": "wake"},
    "score true": {"keyword_score": True},
    "score NaN": {"keyword_score": float("nan")},
    "score infinite": {"speaker_score": float("inf")},
    "score beyond": {"speaker_score": 1.5},
    "time negative": {"time_ms": -1},
    "time huge": {"time_ms": 10**400},
    "time part": {"time_ms": 1.5},
    "at local": {"at": "2026-01-01T00:00:00"},
    "at nothing": {"at": ""},
    "at beyond": {"at": "9999-12-31T23:59:59-23:59"},
    "person number": {"person": 5},
    "label empty": {"label": ""},
    "label escape": {"label": "\x1b[31m"},
    "label decomposed": {"label": "Zoe\u0308"},
    "no sum": {"audio_sha256": None},
}


@pytest.mark.parametrize("fault", BAD)
def test_a_value_against_its_rule_is_damage(journal: Journal, spoiled: Path, fault: str) -> None:
    forge(spoiled, BAD[fault])
    assert not check_first(journal)
    with pytest.raises(WakeDamaged):
        journal.label(1, "anna")


REQUIRED = [key for key in EVENT if key != "source"]  # which entries of before have not got


@pytest.mark.parametrize("key", [*REQUIRED, "format", "audio_sha256", "label"])
def test_a_missing_key_is_damage(journal: Journal, spoiled: Path, key: str) -> None:
    values = json.loads((spoiled / EVENT_FILE).read_bytes())
    del values[key]
    (spoiled / EVENT_FILE).write_text(json.dumps(values))
    assert not check_first(journal)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "[" * 60_000, '{"format": ' * 5_000, "\ufeff{}"], ids=len)
def test_an_event_that_is_none_is_damage(journal: Journal, spoiled: Path, text: str) -> None:
    (spoiled / EVENT_FILE).write_text(text, "utf-8")
    assert not check_first(journal)


def test_what_a_later_version_adds_is_kept(journal: Journal, spoiled: Path) -> None:
    forge(spoiled, {"room": "kitchen"})
    journal.label(1, "noise")
    assert journal.read(1).to_json()["room"] == "kitchen"


def test_no_flipped_byte_of_the_sound_is_believed(journal: Journal, spoiled: Path) -> None:
    path = spoiled / AUDIO_FILE
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x01]) + content[position + 1 :])
        with pytest.raises(WakeDamaged, match="the sound's checksum does not hold"):
            journal.samples(1)
    assert not check_first(journal)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sound_with_a_right_checksum_is_read_or_damage(
    journal: Journal, spoiled: Path, data: st.DataObject
) -> None:
    whole = (place(journal, 2) / AUDIO_FILE).read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        changed[data.draw(st.integers(0, 44))] = data.draw(st.integers(0, 255))
    cut_off = bytes(changed[: data.draw(st.integers(0, len(whole)))])
    forge(spoiled, audio=data.draw(st.sampled_from([cut_off, bytes(changed)]) | st.binary(max_size=100)))
    if check_first(journal):
        assert len(journal.samples(1)) <= 100


@pytest.mark.parametrize("form", [(2, 2, 16_000), (1, 1, 16_000), (1, 4, 16_000), (1, 2, 44_100)])
def test_sound_of_another_format_is_damage(journal: Journal, spoiled: Path, form: tuple[int, int, int]) -> None:
    audio = io.BytesIO()
    with wave.open(audio, "wb") as file:
        file.setnchannels(form[0])
        file.setsampwidth(form[1])
        file.setframerate(form[2])
        file.writeframes(bytes(80))
    forge(spoiled, audio=audio.getvalue())
    assert not check_first(journal)


@pytest.mark.parametrize(("file", "limit"), [(EVENT_FILE, MAX_EVENT_BYTES), (AUDIO_FILE, MAX_AUDIO_BYTES)])
def test_an_oversized_file_is_not_even_read(journal: Journal, spoiled: Path, file: str, limit: int) -> None:
    os.truncate(spoiled / file, 1000 * limit)  # sparse: takes no room
    with allocating_less_than(3 * MAX_AUDIO_BYTES), pytest.raises(WakeDamaged, match=f"larger than {limit} bytes"):
        journal.samples(1)
    assert not check_first(journal)


@pytest.mark.parametrize("file", [EVENT_FILE, AUDIO_FILE])
def test_what_is_no_plain_file_is_damage(journal: Journal, spoiled: Path, tmp_path: Path, file: str) -> None:
    (spoiled / file).rename(tmp_path / file)
    assert not check_first(journal), "missing"
    (spoiled / file).symlink_to(tmp_path / file)
    assert not check_first(journal), "a link"
    (spoiled / file).unlink()
    os.mkfifo(spoiled / file)  # opening it would wait for ever
    assert not check_first(journal), "a pipe"
    assert (tmp_path / file).exists()


@pytest.mark.parametrize("what", ["link", "dangling", "file", "pipe", "empty"])
def test_what_is_no_folder_is_damage_that_can_be_forgotten(journal: Journal, tmp_path: Path, what: str) -> None:
    journal.add(EVENT, CLIP)
    odd, outside = place(journal, 2), tmp_path / "outside"
    shutil.copytree(place(journal, 1), outside)
    if what in ("link", "dangling"):
        odd.symlink_to(outside if what == "link" else tmp_path / "nowhere")
    elif what == "file":
        odd.write_text("x")
    elif what == "pipe":
        os.mkfifo(odd)
    else:
        odd.mkdir()
    assert journal.add(EVENT, CLIP) == 3, "its number is taken"
    with pytest.raises(WakeDamaged, match="forget 2"):
        journal.read(2)
    with pytest.raises(WakeDamaged):
        journal.label(2, "anna")
    before = snapshot(outside)
    assert journal.forget([2]) == 1
    assert journal.numbers() == [1, 3]
    assert snapshot(outside) == before
    assert names(journal.folder) == {"000001", "000003", *HIDDEN}


def test_damage_keeps_nothing_from_getting_old(clock: Clock, tmp_path: Path) -> None:
    journal = clock.open(tmp_path)
    journal.add(EVENT, CLIP)
    journal.add(EVENT, CLIP)
    (place(journal, 1) / EVENT_FILE).write_bytes(b"x")
    clock.wait(7 * DAY_S + 1)
    journal.tidy()
    assert journal.numbers() == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_journal_of_somebody_else_is_said_to_be_so(journal: Journal) -> None:
    journal.add(EVENT, CLIP)
    for folder in (journal.folder.parent, journal.folder.parent.parent):
        folder.chmod(0o755)
    program = """
import os, sys
from pathlib import Path
from test_journal import CLIP, EVENT, Clock
from earmark.engine.errors import EarmarkError
journal = Clock().open(Path(sys.argv[1]))
os.setgid(65534)
os.setuid(65534)
for ask in (journal.numbers, journal.tidy, lambda: journal.add(EVENT, CLIP)):
    try:
        ask()
    except EarmarkError as error:
        print(type(error).__name__, error)
"""
    lines = run_beside(program, journal.folder).splitlines()
    assert [line.split()[0] for line in lines] == ["WakeError", "StoreUnwritable", "StoreUnwritable"]
    assert all("Permission denied" in line for line in lines)


# --- labels


def test_labels_are_written_into_the_entry_and_found(clock: Clock, journal: Journal) -> None:
    for _ in range(4):
        journal.add(EVENT, CLIP)
    assert journal.labelled() == []
    before = (place(journal, 1) / AUDIO_FILE).stat().st_mtime_ns
    assert journal.label(1, "Zoë").label == "Zoë"
    journal.label(1, "anna")
    journal.label(3, "not-me")
    journal.label(4, "noise")
    found = clock.open(journal.folder).labelled()
    assert [(entry.number, label) for entry, label in found] == [(1, "anna"), (3, "not-me"), (4, "noise")]
    assert dict(found[0][0].event) == EVENT
    np.testing.assert_array_equal(journal.samples(1), CLIP)
    assert (place(journal, 1) / AUDIO_FILE).stat().st_mtime_ns == before
    (place(journal, 3) / EVENT_FILE).write_bytes(b"x")
    assert [label for _, label in journal.labelled()] == ["anna", "noise"]


def test_who_is_forgotten_stands_in_no_entry_that_stays(journal: Journal) -> None:
    for person, label in (("anna", None), ("anna", "noise"), ("anna", "not-me"), ("anna", "carl"), ("carl", "anna")):
        number = journal.add({**EVENT, "person": person}, CLIP)
        if label is not None:
            journal.label(number, label)
    assert journal.forget_person("anna") == 2
    left = [journal.read(number) for number in journal.numbers()]
    assert [(e.number, e.event["person"], e.label) for e in left] == [
        (2, None, "noise"),
        (3, None, "not-me"),
        (4, None, "carl"),
    ]
    assert not any(b"anna" in path.read_bytes() for path in journal.folder.rglob("*") if path.is_file())


def test_an_entry_that_somebody_else_erases_first_is_unknown(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this one waits for its turn."""
    for ask in (lambda: journal.forget([1]), lambda: journal.label(1, "anna")):
        place(journal, journal.add(EVENT, CLIP)).rename(place(journal, 1))
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", lambda *_: shutil.rmtree(place(journal, 1)))
            with pytest.raises(WakeUnknown, match="no entry 1"):
                ask()


CONFIRMATION = {"reason": "changed", "person": "anna", "speaker_score": 0.8, "speech_ms": 2260, "end_ms": None}


def test_whose_command_followed_is_kept_with_the_wake_renamed_and_erased_with_the_person(journal: Journal) -> None:
    for person in ("bob", "bob", None):
        journal.add({**EVENT, "person": person}, CLIP)
    journal.confirm(1, CONFIRMATION)
    journal.confirm(3, {**CONFIRMATION, "person": None, "speaker_score": None, "reason": "denied"})
    assert journal.read(1).confirmation == CONFIRMATION
    assert journal.read(1).to_json()["confirmation"] == CONFIRMATION
    assert (journal.of("anna"), journal.of("bob")) == ([1], [1, 2])
    done: list[int] = []
    journal.rename("anna", "Zoë", done)
    assert (done, journal.of("Zoë")) == ([1], [1])
    assert journal.read(1).confirmation == {**CONFIRMATION, "person": "Zoë"}
    journal.label(1, "bob")
    assert journal.read(1).confirmation == {**CONFIRMATION, "person": "Zoë"}, "a label is of the wake word"
    assert journal.forget_person("Zoë") == 1
    assert journal.numbers() == [2, 3]
    with pytest.raises(WakeUnknown):
        journal.confirm(1, CONFIRMATION)


@pytest.mark.parametrize(
    "changes",
    [
        {"person": 7},
        {"speaker_score": 1.5},
        {"speaker_score": True},
        {"speech_ms": "long"},
        {"end_ms": 0.5},
        {"reason": None},
    ],
)
def test_an_entry_with_a_broken_confirmation_is_damaged(journal: Journal, changes: dict[str, Any]) -> None:
    journal.add(EVENT, CLIP)
    journal.confirm(1, {**CONFIRMATION, **changes})
    with pytest.raises(WakeDamaged, match=next(iter(changes))):
        journal.read(1)
    forge(place(journal, 1), {"confirmation": "anna"})
    with pytest.raises(WakeDamaged, match="confirmation='anna' must be an object"):
        journal.read(1)


def test_a_label_that_cannot_be_written_leaves_the_old_one(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.add(EVENT, CLIP)
    journal.label(1, "anna")
    before = snapshot(journal.folder)
    monkeypatch.setattr(os, "fsync", FullDisk(0))
    with pytest.raises(StoreUnwritable):
        journal.label(1, "bob")
    assert snapshot(journal.folder) == before


@pytest.mark.parametrize("label", ["", " ", " anna", "an\nna", "\x1b[31m", "ä" * 40, "\ud800"])
def test_a_label_that_is_no_name_is_refused(label: str) -> None:
    with pytest.raises(InputError):
        check_label(label)


def test_an_entry_that_is_not_there_is_said_with_what_is(journal: Journal) -> None:
    for ask in (journal.read, journal.samples, lambda n: journal.label(n, "anna"), lambda n: journal.forget([n])):
        with pytest.raises(WakeUnknown, match=r"no entry 5 in the journal .*: it is empty"):
            ask(5)
    assert not journal.folder.exists(), "asking makes nothing"
    journal.add(EVENT, CLIP)
    journal.add(EVENT, CLIP)
    with pytest.raises(WakeUnknown, match=r"no entry 5 .*: there are 2, 1 to 2"):
        journal.forget([1, 5])
    assert journal.numbers() == [1, 2], "all or none"
    assert journal.forget([]) == 0
    assert issubclass(WakeUnknown, WakeError)


# --- in the daemon


class NoControl:
    """A sink of the journal asks nothing of it."""

    household: Any = None
    stats = Stats()
    journal = False

    def change(self, key: str, value: str, here: bool = False) -> None:  # noqa: ARG002
        raise AssertionError(key, value)

    def status(self) -> dict[str, Any]:
        raise AssertionError

    def publish(self, notice: Notice) -> None:
        raise AssertionError(notice)


def test_in_a_quiet_house_what_is_too_old_goes_all_the_same(tmp_path: Path) -> None:
    """Nothing comes, and the entry of a week ago goes."""
    section = settings_module.Journal(enabled=True, folder=str(tmp_path), days=7.0)
    open_journal(section).add(EVENT, CLIP)
    sink = JournalSink(section, NoControl())
    assert sink.idle_s == HOUR_S
    assert JournalSink(settings_module.Journal(days=0.24), NoControl()).idle_s == pytest.approx(864)
    sink.idle_s = 0.01
    (tmp_path / ".new-left").touch()
    box = Outbox(sink, NoControl.stats)
    until(lambda: not (tmp_path / ".new-left").exists())  # what opening does has been done
    assert open_journal(section).numbers() == [1]
    week_ago_s = time.time() - 7 * DAY_S - 60
    os.utime(tmp_path / "000001" / AUDIO_FILE, (week_ago_s, week_ago_s))
    until(lambda: not open_journal(section).numbers())
    box.ask_to_close()
    box.join(LIMIT_S)
    assert box.failure is None
    assert NoControl.stats.total("failed") == 0


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- the clips that a listener gives


@pytest.fixture(scope="module")
def people_settings(slt: Voiceprint, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    store = tmp_path_factory.mktemp("people")
    PersonStore(store).save(slt)
    return Settings(people=People(store=str(store)))


def heard(people_settings: Settings, pieces: list[Int16]) -> Iterator[tuple[Event, Int16]]:
    listener = Listener(load_household(people_settings), clips=True)
    for piece in pieces:
        listener.push(piece)
        yield from listener.clips()
    listener.finish()
    yield from listener.clips(now=True)


@pytest.mark.parametrize("size", [320, 16_000, 100_000, 10**6])
def test_clips_are_the_samples_of_the_stream_for_any_size_of_block(
    people_settings: Settings, scene: Int16, size: int
) -> None:
    """However far a block goes beyond what the detector remembers."""
    found = list(heard(people_settings, cut(scene, list(range(size, len(scene), size)))))
    near_misses = [event.type for event, _ in found].count("near_miss")
    assert near_misses >= 1
    assert len(found) == near_misses + 7
    stream = without_its_offset(scene)
    for event, clip in found:
        np.testing.assert_array_equal(clip, stream[event.sample - 24_000 : event.sample + 8_000])


def test_a_word_at_the_very_end_is_not_lost(people_settings: Settings, scene: Int16) -> None:
    ((event, clip),) = heard(people_settings, [scene[: 6_114 * 16]])
    assert (event.type, event.person) == ("detection", "slt")
    assert len(clip) == 6_114 * 16 + 8_000 - (event.sample - 24_000)


@pytest.mark.parametrize("size", [320, 16_000, 10**6])
def test_a_confirmation_comes_behind_its_wake_and_without_sound(
    people_settings: Settings, read: Read, audio_dir: Path, size: int
) -> None:
    names = ("slt_okay_nabu_test_1", "slt_set_a_timer_for_other_1")
    said = np.concatenate([read(audio_dir / f"{name}.flac") for name in names])
    asked = replace(people_settings, wake=replace(people_settings.wake, confirm="label"))
    found = list(heard(asked, cut(said, list(range(size, len(said), size)))))
    assert [(event.type, len(clip)) for event, clip in found] == [("detection", 32_000), ("confirmation", 0)]


def test_clips_can_be_switched_on_and_off_while_it_listens(people_settings: Settings, scene: Int16) -> None:
    household = load_household(people_settings)
    listener = Listener(household)
    types, clips = [], []
    for number, piece in enumerate(cut(scene, list(range(16_000, len(scene), 16_000)))):
        if number in (15, 26):
            listener.follow(household, clips=number == 15)
        events = listener.push(piece)
        types += [event.type for event in events]
        clips += [(number, event) for event, _ in listener.clips()]
    assert types.count("near_miss") == 1
    assert [event.type for _, event in clips] == ["near_miss", "rejection"]
    assert not listener.clips(now=True), "what waited for its half second when it was switched off"
