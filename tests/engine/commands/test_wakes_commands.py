"""`earmark wakes`, on the journal of a real daemon that has heard the scene."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import MakeNetwork, without_its_offset
from disks import mounted_tmpfs
from helpers_store import Run, checked, command, earmark, environment, save_cosine, snapshot

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import StoreUnwritable
from earmark.engine.history import erasure
from earmark.engine.history.journal import Journal
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.spotting import find_wakes
from earmark.engine.storage.atomic import replace_synced

pytestmark = pytest.mark.slow

LIMIT_S = 60.0
BEFORE, AFTER = 24_000, 8_000  # samples of a clip
EVENT_KEYS = ["type", "file", "keyword", "time_ms", "keyword_score", "person", "speaker_score", "reason", "at"]


@pytest.fixture(scope="module")
def people(slt: Voiceprint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one voice, for whom no gate was measured; no test may change it."""
    folder = tmp_path_factory.mktemp("store") / "people"
    PersonStore(folder).save(dataclasses.replace(slt, loose_share=None))
    return folder


@pytest.fixture(scope="module")
def heard(people: Path, scene: Int16, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """What the daemon said of the scene, and the folder with its journal and its lines, which no test may change."""
    folder = tmp_path_factory.mktemp("heard")
    sets = ["journal.enabled=true", f"journal.folder={folder / 'wakes'}", f"jsonl.path={folder / 'lines'}"]
    flags = [word for setting in sets for word in ("--set", setting)]
    run = earmark("listen", "-", "--json", "--store", people, *flags, stdin=scene.astype("<i2").tobytes())
    return run, folder


@pytest.fixture
def wakes(heard: tuple[Run, Path], tmp_path: Path) -> Path:
    """The same journal, for one test."""
    return Path(shutil.copytree(heard[1] / "wakes", tmp_path / "wakes"))


def ask(folder: Path, *words: str | Path, code: int = 0, store: Path | None = None, **changes: str) -> Run:
    """`earmark wakes …` on this journal."""
    flags = ["--set", f"journal.folder={folder}", *(["--set", f"people.store={store}"] if store else [])]
    return earmark("wakes", *words, *flags, code=code, env=environment(**changes))


def reading(folder: Path) -> Journal:
    return Journal(folder, 1000, 7.0, time.time)


# --- the daemon's part


def test_the_scene_is_in_the_journal_with_what_nearly_woke_it(
    heard: tuple[Run, Path], audio_dir: Path, make_network: MakeNetwork, scene: Int16
) -> None:
    folder = heard[1]
    entries = ask(folder / "wakes", "list", "--json").events
    spoken = json.loads((audio_dir / "scene.json").read_text())
    wanted = []
    for line in spoken:
        if line["keyword"] == "okay_nabu":
            wanted.append((line, "detection" if line["voice"] == "slt" else "rejection"))
        elif line["text"] == "okay navy":
            wanted.append((line, "near_miss"))
    assert [entry["type"] for entry in entries] == [type_ for _, type_ in wanted]
    assert [entry["number"] for entry in entries] == [*range(1, len(wanted) + 1)]
    journal, stream = reading(folder / "wakes"), without_its_offset(scene)
    for entry, (line, type_) in zip(entries, wanted):
        assert line["start_ms"] < entry["time_ms"] < line["end_ms"] + 400
        assert (entry["person"], entry["damaged"]) == ("slt" if type_ == "detection" else None, None)
        clip, sample = journal.samples(entry["number"]), entry["time_ms"] * RATE_HZ // 1000
        np.testing.assert_array_equal(clip, stream[sample - BEFORE : sample + AFTER])
        fires = bool(find_wakes(clip, make_network("okay_nabu")).candidates)
        assert fires == (type_ != "near_miss"), "the word is in the clip, whole"


def test_near_misses_reach_the_journal_only(heard: tuple[Run, Path]) -> None:
    run, folder = heard
    entries = ask(folder / "wakes", "list", "--json").events
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    events = [{key: entry[key] for key in EVENT_KEYS[:-1]} for entry in entries if entry["type"] != "near_miss"]
    assert len(events) == len(entries) - 1
    assert [{key: line[key] for key in EVENT_KEYS[:-1]} for line in lines] == events
    assert run.events == events
    assert run.err == "earmark: listening to -\n"


def test_without_the_journal_nothing_is_stored(people: Path, scene: Int16, tmp_path: Path) -> None:
    env = environment(XDG_DATA_HOME=str(tmp_path))
    words = scene[: 8 * RATE_HZ].astype("<i2").tobytes()
    assert len(earmark("listen", "-", "--json", "--store", people, stdin=words, env=env).events) == 1
    assert snapshot(tmp_path) == {}
    earmark("listen", "-", "--json", "--store", people, "--set", "journal.enabled=true", stdin=words, env=env)
    assert len(reading(tmp_path / "earmark" / "wakes").numbers()) == 1, "the folder that is meant if none is named"


def test_a_daemon_with_a_journal_loads_nothing_heavy(people: Path, scene: Int16, tmp_path: Path) -> None:
    flags = ["--set", "journal.enabled=true", "--set", f"journal.folder={tmp_path}"]
    program = (
        "import json, sys\n"
        "from earmark.cli import main\n"
        f"code = main({['listen', '-', '--store', str(people), *flags]!r})\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    words = scene[: 8 * RATE_HZ].astype("<i2").tobytes()
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, input=words, capture_output=True, env=environment(), timeout=LIMIT_S, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert reading(tmp_path).numbers() == [1]
    assert "wave" in loaded
    assert not loaded & {"soundfile", "sounddevice", "scipy", "matplotlib", "librosa"}


@contextmanager
def listening(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`earmark listen -` that has said that it listens; killed after a minute, whatever happens."""
    pipe = subprocess.PIPE
    line = command("listen", "-", "--json", *words)
    with subprocess.Popen(line, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == b"earmark: listening to -\n"
            yield process
        finally:
            limit.cancel()
            process.kill()


def feed(process: subprocess.Popen[bytes], samples: Int16) -> None:
    assert process.stdin is not None
    rest = samples.astype("<i2").tobytes()
    while rest:
        rest = rest[process.stdin.write(rest) :]


def said(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next event on standard output."""
    assert process.stdout is not None
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_is_still_waiting_for_its_half_second_is_stored_at_a_signal(
    people: Path, scene: Int16, tmp_path: Path
) -> None:
    journal = ["--set", "journal.enabled=true", "--set", f"journal.folder={tmp_path / 'wakes'}"]
    with listening("--store", people, *journal) as process:
        feed(process, scene[: 6_330 * 16])
        event = said(process)
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)  # while the pipe is open: its end would be an end of its own
        out, err = process.communicate(timeout=LIMIT_S)
    assert checked(process.returncode, out, err).code == 0
    ((entry),) = ask(tmp_path / "wakes", "list", "--json").events
    assert {key: entry[key] for key in event} == event
    clip, start = reading(tmp_path / "wakes").samples(1), event["time_ms"] * 16 - BEFORE
    assert BEFORE <= len(clip) < BEFORE + AFTER
    np.testing.assert_array_equal(clip, without_its_offset(scene)[start : start + len(clip)])


def test_a_reload_switches_the_journal_on_and_off(people: Path, scene: Int16, tmp_path: Path) -> None:
    file, folder = tmp_path / "earmark.toml", tmp_path / "wakes"

    def write(enabled: bool) -> None:
        file.write_text(f'[journal]\nenabled = {str(enabled).lower()}\nfolder = "{folder}"\n')

    write(enabled=False)
    with listening("--store", people, "--settings", file) as process:
        assert process.stderr is not None
        feed(process, scene[: 8 * RATE_HZ])
        assert said(process)["time_ms"] == 6230
        assert not folder.exists()
        write(enabled=True)
        process.send_signal(signal.SIGHUP)
        assert b"reloaded" in process.stderr.readline()
        until(folder.exists)
        feed(process, scene[8 * RATE_HZ : 24 * RATE_HZ])
        until(lambda: len(reading(folder).numbers()) == 3)
        write(enabled=False)
        process.send_signal(signal.SIGHUP)
        assert b"reloaded" in process.stderr.readline()
        feed(process, scene[24 * RATE_HZ :])
        out, err = process.communicate(timeout=LIMIT_S)
    run = checked(process.returncode, out, err)
    assert (run.code, len(run.events)) == (0, 6)
    types = [entry["type"] for entry in ask(folder, "list", "--json").events]
    assert types == ["rejection", "near_miss", "rejection"]


def test_a_full_disk_is_said_and_counted_and_detection_goes_on(people: Path, scene: Int16, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    path = tmp_path / "s"
    journal = ["--set", "journal.enabled=true", "--set", f"journal.folder={disk / 'wakes'}"]
    with (
        mounted_tmpfs(disk, "128k"),
        listening("--store", people, *journal, "--set", f"socket.path={path}") as process,
    ):

        def counts() -> dict[str, int]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(LIMIT_S)
                connection.connect(str(path))
                connection.sendall(b"status\n")
                with connection.makefile("rb") as lines:
                    answer = next(row for row in map(json.loads, lines) if row["type"] == "status")
            found = {name: answer["counts"].get(name, []) for name in ("sent", "failed", "dropped")}
            return {
                name: sum(count["count"] for count in rows if count["sink"] == "journal")
                for name, rows in found.items()
            }

        feed(process, scene)
        until(lambda: sum(counts().values()) == 8)
        assert counts() == {"sent": 1, "failed": 7, "dropped": 0}
        out, err = process.communicate(timeout=LIMIT_S)
        run = checked(process.returncode, out, err)
        assert (run.code, len(run.events)) == (0, 7)
        assert run.err.count("sink journal: send failed: the journal") == 1
        assert "No space left on device; make room" in run.err
        assert sorted(found.name for found in (disk / "wakes").iterdir()) == [".last", ".lock", "000001"]
        assert ask(disk / "wakes", "list", "--json").events[0]["damaged"] is None


# --- the commands


def test_the_list_reads_well(heard: tuple[Run, Path]) -> None:
    run = ask(heard[1] / "wakes", "list", TZ="Etc/GMT-5")
    rows = ask(heard[1] / "wakes", "list", "--json").events
    at = time.strftime(
        "%Y-%m-%d %H:%M:%S", time.gmtime(datetime.datetime.fromisoformat(rows[0]["at"]).timestamp() + 5 * 3600)
    )
    lines = run.out.splitlines()
    assert len(lines) == 8
    scores = [(f"{row['keyword_score']:.2f}", f"{row['speaker_score']:.2f}") for row in rows]
    assert lines[0] == f"     1  {at}  detection  okay_nabu {scores[0][0]}  slt {scores[0][1]}  known_voice"
    assert f"near_miss  okay_nabu {scores[2][0]}  nobody known {scores[2][1]}  unknown_voice" in lines[2]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("--type detection", [1, 5, 8]),
        ("--type near_miss", [3]),
        ("--person slt", [1, 5, 8]),
        ("--person anna", []),
        ("--label noise", [3, 4]),
        ("--label slt", [8]),
        ("--last 3", [6, 7, 8]),
        ("--type rejection --last 2", [6, 7]),
        ("--type detection --label noise", []),
        ("--last 100", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_filters_choose(wakes: Path, filters: str, numbers: list[int]) -> None:
    journal = reading(wakes)
    journal.label(3, "noise")
    journal.label(4, "noise")
    journal.label(8, "slt")
    assert [row["number"] for row in ask(wakes, "list", "--json", *filters.split()).events] == numbers
    lines = ask(wakes, "list", *filters.split()).out.splitlines()
    assert [int(line.split()[0]) for line in lines if line != "no entry passes the filters"] == numbers


def test_a_damaged_entry_is_listed_as_such_and_can_be_forgotten(wakes: Path) -> None:
    (wakes / "000002" / "event.json").write_text(json.dumps({"format": "\x1b[2J"}))
    audio = wakes / "000004" / "audio.wav"
    audio.write_bytes(audio.read_bytes()[:-1])
    (wakes / "000005" / "audio.wav").unlink()
    rows = ask(wakes, "list", "--json").events
    assert [row["number"] for row in rows if row["damaged"]] == [2, 5], "the sound is not read for the list"
    assert set(rows[1]) == {"number", "damaged"}
    assert "damaged: its format must be 1" in rows[1]["damaged"]
    assert "damaged: its sound cannot be read: " in rows[4]["damaged"]
    lines = ask(wakes, "list").out.splitlines()
    assert lines[1].startswith(f"     2  {wakes}/000002: damaged: ")
    for number in ("2", "4"):
        for words in (["show", number], ["play", number], ["export", number, "--to", wakes.parent / "out"]):
            run = ask(wakes, *words, code=2)
            assert f"damaged: {'its format' if number == '2' else 'the sound'}" in run.err
            assert f"`earmark wakes forget {number}`" in run.err
    assert not (wakes.parent / "out").exists()
    assert ask(wakes, "forget", "2", "4", "5", "--json").events == [{"forgotten": 3}]
    assert [row["damaged"] for row in ask(wakes, "list", "--json").events] == [None] * 5


def test_what_a_terminal_would_obey_is_escaped(wakes: Path) -> None:
    path = wakes / "000001" / "event.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "keyword": "\x1b[2J", "person": "a\nb", "file": "\udcff", "x\x07": "\x9b"}))
    for words in (["list"], ["show", "1"]):
        out = ask(wakes, *words).out
        assert out.replace("\n", "").isprintable()
        assert "'a\\nb'" in out


def test_an_empty_journal_is_said(tmp_path: Path) -> None:
    assert ask(tmp_path / "none", "list").out == f"nothing in {tmp_path / 'none'}\n"
    assert ask(tmp_path / "none", "list", "--json").out == ""
    assert ask(tmp_path / "none", "forget", "--all").out == "0 erased\n"
    assert "it is empty" in ask(tmp_path / "none", "show", "1", code=2).err
    assert not (tmp_path / "none").exists()


def test_everything_about_an_entry_is_shown(heard: tuple[Run, Path]) -> None:
    folder = heard[1] / "wakes"
    (facts,) = ask(folder, "show", "1", "--json").events
    assert set(facts) == {*EVENT_KEYS, "source", "number", "confirmation", "label", "wav", "seconds", "peak"}
    assert (facts["person"], facts["seconds"], facts["wav"]) == ("slt", 2.0, str(folder / "000001" / "audio.wav"))
    assert facts["peak"] == pytest.approx(np.abs(read_audio(facts["wav"]).astype(int)).max() / 32_768, abs=1e-4)
    lines = dict(line.split(maxsplit=1) for line in ask(folder, "show", "1").out.splitlines())
    assert set(lines) == set(facts)
    assert (lines["keyword_score"], lines["label"]) == (str(facts["keyword_score"]), "-")
    assert "there are 8, 1 to 8" in ask(folder, "show", "9", code=2).err


def test_whose_command_followed_is_listed_shown_found_and_exported(wakes: Path, tmp_path: Path) -> None:
    said = {"reason": "changed", "person": "anna", "speaker_score": 0.8, "speech_ms": 2260, "end_ms": None}
    reading(wakes).confirm(1, said)
    reading(wakes).confirm(5, {**said, "reason": "denied:cancel", "person": None, "speaker_score": None})
    lines = ask(wakes, "list", "--type", "detection").out.splitlines()
    assert lines[0].endswith("  known_voice  command: anna 0.80 (changed)")
    assert lines[1].endswith("  known_voice  command: nobody known (denied:cancel)")
    assert lines[2].endswith("  known_voice")
    assert [row["confirmation"] for row in ask(wakes, "list", "--json", "--person", "anna").events] == [said]
    assert "\nconfirmation   anna 0.80 (changed)\n" in ask(wakes, "show", "1").out
    ask(wakes, "export", "1", "--to", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "000001.json").read_text())["confirmation"] == said


def test_an_entry_is_drawn(heard: tuple[Run, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for number in ("1", "3"):
        picture = tmp_path / f"{number}.png"
        (facts,) = ask(heard[1] / "wakes", "show", number, "--plot", picture, "--json").events
        assert facts["number"] == int(number)
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000
    run = ask(heard[1] / "wakes", "show", "1", "--plot", tmp_path / "no" / "such.png", code=2)
    assert "such.png: cannot be written" in run.err


def test_copies_are_what_was_stored_and_nothing_is_overwritten(wakes: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    run = ask(wakes, "export", "2", "5", "2", "--to", out)
    assert run.out.splitlines() == [str(out / f"00000{n}.{kind}") for n in (2, 5) for kind in ("json", "wav")]
    for number in ("000002", "000005"):
        assert (out / f"{number}.wav").read_bytes() == (wakes / number / "audio.wav").read_bytes()
        assert (out / f"{number}.json").read_bytes() == (wakes / number / "event.json").read_bytes()
        assert (out / f"{number}.wav").stat().st_mode & 0o777 == 0o600
    before = snapshot(out)
    run = ask(wakes, "export", "1", "2", "--to", out, code=2)
    assert "000002.json" in run.err
    assert "there already: nothing was copied" in run.err
    assert snapshot(out) == before
    (out / "000001.wav").symlink_to(tmp_path / "nowhere")
    assert "there already" in ask(wakes, "export", "1", "--to", out, code=2).err
    assert "no entry 9" in ask(wakes, "export", "3", "9", "--to", out, code=2).err
    assert not (tmp_path / "nowhere").exists()
    assert not (out / "000003.wav").exists()
    assert "cannot be written" in ask(wakes, "export", "3", "--to", out / "000002.wav", code=1).err


def test_a_copy_that_does_not_fit_leaves_nothing(wakes: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted_tmpfs(disk, "100k"):
        run = ask(wakes, "export", "1", "2", "--to", disk, code=1)
        assert "No space left on device; nothing was copied" in run.err
        assert list(disk.iterdir()) == []


def test_forgetting_erases(wakes: Path) -> None:
    assert ask(wakes, "forget", "2", "3").out == "2 erased\n"
    assert reading(wakes).numbers() == [1, 4, 5, 6, 7, 8]
    assert "no entry 3" in ask(wakes, "forget", "1", "3", code=2).err
    for words in ([], ["1", "--all"]):
        assert "say which: `earmark wakes forget 3 4`" in ask(wakes, "forget", *words, code=2).err
    assert reading(wakes).numbers() == [1, 4, 5, 6, 7, 8]
    assert ask(wakes, "forget", "--all").out == "6 erased\n"
    assert sorted(path.name for path in wakes.iterdir()) == [".last", ".lock"]


def test_who_is_erased_is_erased_from_the_journal_too(wakes: Path, people: Path, tmp_path: Path) -> None:
    """Who was heard or is said to have been; not what was said to be somebody else."""
    ask(wakes, "label", "2", "slt")
    ask(wakes, "label", "1", "noise")
    own = {entry["number"] for entry in ask(wakes, "list", "--json").events if entry["person"] == "slt"} - {1} | {2}
    store = Path(shutil.copytree(people, tmp_path / "people"))
    set_apart = environment(EARMARK_JOURNAL_FOLDER=str(wakes), EARMARK_PEOPLE_STORE=str(store))
    other = Path(shutil.copytree(people, tmp_path / "other"))
    (run,) = earmark("people", "remove", "slt", "--json", "--store", other, env=set_apart).events
    assert run == {"removed": "slt", "versions": 1, "waiting": 0, "wakes": 0}  # another household's
    (run,) = earmark("people", "remove", "slt", "--json", env=set_apart).events
    assert run == {"removed": "slt", "versions": 1, "waiting": 0, "wakes": len(own)}
    left = ask(wakes, "list", "--json").events
    assert len(own) == 3
    assert {entry["number"] for entry in left} == set(range(1, 9)) - own
    assert "slt" not in {entry["person"] for entry in left}


def test_who_is_renamed_is_found_by_the_new_name(wakes: Path, people: Path, tmp_path: Path) -> None:
    """Both what the daemon called her and what labels do; an old label would be a stranger's to learning."""
    ask(wakes, "label", "2", "slt")
    ask(wakes, "label", "1", "noise")
    before = ask(wakes, "list", "--json").events
    sounds = {path: path.read_bytes() for path in wakes.rglob("*.wav")}
    store = Path(shutil.copytree(people, tmp_path / "people"))
    set_apart = environment(EARMARK_JOURNAL_FOLDER=str(wakes), EARMARK_PEOPLE_STORE=str(store))
    run = earmark("people", "rename", "slt", "Zoë", env=set_apart)
    assert run.out == "slt is Zoë now, in 1 version, and 4 wakes of the journal\n"
    wanted = [{key: "Zoë" if value == "slt" else value for key, value in entry.items()} for entry in before]
    assert ask(wakes, "list", "--json").events == wanted
    assert {path: path.read_bytes() for path in wakes.rglob("*.wav")} == sounds
    heard_now = [entry["number"] for entry in before if entry["person"] == "slt"]
    assert [entry["number"] for entry in ask(wakes, "list", "--person", "Zoë", "--json").events] == heard_now


def test_a_journal_that_cannot_be_written_keeps_the_old_name_everywhere(
    wakes: Path, people: Path, tmp_path: Path
) -> None:
    """The second entry that has the name cannot be written: what is first is as it was."""
    store = Path(shutil.copytree(people, tmp_path / "people"))
    own = [entry["number"] for entry in ask(wakes, "list", "--json").events if entry["person"] == "slt"]
    journal = reading(wakes)
    blocked = wakes / f"{own[1]:06d}" / "event.json"
    before = {path: path.read_bytes() for path in wakes.rglob("event.json")}

    def write(path: str, content: bytes, beside: Path) -> None:
        if Path(path) == blocked:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_synced(path, content, beside)

    full = mock.patch("earmark.engine.storage.locked.replace_synced", write)
    with full, pytest.raises(StoreUnwritable, match="No space left on device"):
        erasure.rename(PersonStore(store), journal, "slt", "Zoë")
    assert PersonStore(store).names() == ["slt"]
    assert {path: path.read_bytes() for path in wakes.rglob("event.json")} == before


@pytest.mark.parametrize(
    "words", ["forget 0", "forget -1", "forget x", "label 1", "show", "export 1", "list --type x"]
)
def test_wrong_usage_ends_with_2(words: str) -> None:
    assert earmark("wakes", *words.split(), code=2).err.startswith("usage: earmark")


# --- labels


def test_me_is_whom_it_named_or_who_alone_is_enrolled(wakes: Path, people: Path, tmp_path: Path) -> None:
    assert ask(wakes, "label", "1", "me", store=people).out == "1: slt\n"
    assert ask(wakes, "label", "2", "me", store=people).out == "2: slt\n", "nobody named, but only one can be meant"
    both = Path(shutil.copytree(people, tmp_path / "both"))
    save_cosine(both, "anna")
    assert ask(wakes, "label", "5", "me", store=both).out == "5: slt\n"
    run = ask(wakes, "label", "4", "me", store=both, code=2)
    assert "entry 4 names nobody, and enrolled are anna, slt: who is `me`?" in run.err
    assert "Type `earmark wakes label 4 anna` or `earmark wakes label 4 slt`" in run.err
    run = ask(wakes, "label", "4", "me", store=tmp_path / "nobody", code=2)
    assert "nobody is enrolled: who is `me`? Type `earmark wakes label 4 NAME`" in run.err
    assert [(entry.number, label) for entry, label in reading(wakes).labelled()] == [
        (1, "slt"),
        (2, "slt"),
        (5, "slt"),
    ]


@pytest.mark.parametrize("label", ["not-me", "noise", "slt", "Zoë O'Slt / 2"])
def test_a_label_is_stored_and_listed(wakes: Path, people: Path, label: str) -> None:
    (row,) = ask(wakes, "label", "3", label, "--json", store=people).events
    assert (row["number"], row["label"], row["enrolled"]) == (3, label, label == "slt")
    assert reading(wakes).read(3).label == label
    assert ask(wakes, "list").out.splitlines()[2].endswith(f"unknown_voice  = {label}")
    run = ask(wakes, "label", "3", label, store=people)
    assert ("nobody of that name is enrolled" in run.out) == label.startswith("Zoë")


@pytest.mark.parametrize(("typed", "stored"), [("Not-Me", "not-me"), ("NOT_ME", "not-me"), ("Noise", "noise")])
def test_a_label_may_be_typed_in_any_way(wakes: Path, typed: str, stored: str) -> None:
    ask(wakes, "label", "3", typed)
    assert reading(wakes).read(3).label == stored


def test_a_filter_that_nothing_passes_names_who_may_be_meant(wakes: Path, people: Path) -> None:
    assert (
        "no entry passes the filters: did you mean slt?" in ask(wakes, "list", "--person", "sltt", store=people).out
    )
    assert "did you mean not-me?" in ask(wakes, "list", "--label", "notme", store=people).out


def test_a_decomposed_name_is_the_same_label(wakes: Path) -> None:
    ask(wakes, "label", "3", "Zoe\u0308")
    assert reading(wakes).read(3).label == "Zoë"


@pytest.mark.parametrize("label", ["", " slt", "a\tb", "\x1b[31m", "n" * 201])
def test_a_label_that_is_no_name_is_refused(wakes: Path, label: str) -> None:
    before = snapshot(wakes)
    assert "name " in ask(wakes, "label", "3", label, code=2).err
    assert snapshot(wakes) == before


def test_a_person_who_is_called_like_a_label_is_not_me(wakes: Path, tmp_path: Path) -> None:
    save_cosine(tmp_path / "odd", "noise")
    run = ask(wakes, "label", "3", "me", store=tmp_path / "odd", code=2)
    assert "a person called 'noise' cannot be told from the label" in run.err


def test_the_folder_comes_from_settings_and_environment(wakes: Path, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text(f'[journal]\nfolder = "{wakes}"\n')
    assert len(earmark("wakes", "list", "--json", "--settings", file).events) == 8
    assert len(earmark("wakes", "list", "--json", env=environment(EARMARK_JOURNAL_FOLDER=str(wakes))).events) == 8
    (tmp_path / "data" / "earmark").mkdir(parents=True)
    wakes.rename(tmp_path / "data" / "earmark" / "wakes")
    assert len(earmark("wakes", "list", "--json", env=environment(XDG_DATA_HOME=str(tmp_path / "data"))).events) == 8
    assert "no setting 'journal.foldr'" in earmark("wakes", "list", "--set", "journal.foldr=x", code=2).err


# --- playing

INTO_A_FILE = """
pcm.heard { type file slave.pcm "null" file "FILE" format "raw" }
pcm.!default { type plug slave.pcm "heard" hint { show on description "in place of a loudspeaker" } }
"""
NOTHING = "pcm.x { type asym }\n"  # a device that can neither play nor record


@pytest.fixture
def loudspeaker(tmp_path: Path) -> tuple[str, Path]:
    """A home folder with a real output device, and the file that it writes what it plays to."""
    pytest.importorskip("sounddevice")
    file = tmp_path / "heard.raw"
    (tmp_path / ".asoundrc").write_text(INTO_A_FILE.replace("FILE", str(file)))
    return str(tmp_path), file


def test_what_is_played_is_what_was_stored(heard: tuple[Run, Path], loudspeaker: tuple[str, Path]) -> None:
    home, file = loudspeaker
    assert ask(heard[1] / "wakes", "play", "1", "--json", HOME=home).events == [{"played": 1, "seconds": 2.0}]
    played, stored = np.fromfile(file, np.int16), reading(heard[1] / "wakes").samples(1)
    np.testing.assert_array_equal(played[: len(stored)], stored)
    assert not played[len(stored) :].any()


REFUSING_MONO = """
import sys
import numpy as np
import sounddevice
check = sounddevice.check_output_settings

def refuse(device, samplerate, channels, dtype):
    if (samplerate, channels) == (16_000, 1):
        raise sounddevice.PortAudioError("Invalid sample rate")
    check(device, samplerate=samplerate, channels=channels, dtype=dtype)

sounddevice.check_output_settings = refuse
from earmark.engine.audio.microphone import play
play(np.fromfile(sys.argv[1], np.int16))
print(round(sounddevice.query_devices(None, "output")["default_samplerate"]))
"""


def test_a_device_that_refuses_mono_gets_what_it_can_do(
    heard: tuple[Run, Path], loudspeaker: tuple[str, Path], tmp_path: Path
) -> None:
    """No device that ALSA can pretend refuses it, so that the refusal alone is not real."""
    home, file = loudspeaker
    stored = reading(heard[1] / "wakes").samples(1)
    stored.tofile(tmp_path / "stored.raw")
    line = [sys.executable, "-c", REFUSING_MONO, str(tmp_path / "stored.raw")]
    done = subprocess.run(line, env=environment(HOME=home), capture_output=True, timeout=LIMIT_S, check=False)
    rate_hz = int(checked(done.returncode, done.stdout, done.stderr).out)
    played = np.fromfile(file, np.int16).reshape(-1, 2)
    np.testing.assert_array_equal(played[:, 0], played[:, 1])
    played = played[: round(2.0 * rate_hz), 0]
    assert rate_hz != RATE_HZ
    back = np.interp(np.arange(len(stored)) / RATE_HZ, np.arange(len(played)) / rate_hz, played)
    assert np.corrcoef(back, stored)[0, 1] > 0.98


def test_no_output_is_said(heard: tuple[Run, Path], tmp_path: Path) -> None:
    pytest.importorskip("sounddevice")
    (tmp_path / "asound.conf").write_text(NOTHING)
    run = ask(heard[1] / "wakes", "play", "1", code=1, ALSA_CONFIG_PATH=str(tmp_path / "asound.conf"))
    assert "nothing can be played: " in run.err
    assert "earmark wakes export" in run.err
