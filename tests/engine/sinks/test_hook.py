"""The command hook with real programs: what they are told, and what they can do to the daemon: nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from attacks_local import STARTERS, TAKERS_OF_CODE
from helpers_store import environment
from hypothesis import given
from hypothesis import strategies as st
from live import Live
from sound_server import until

from earmark.engine.commands.status import ask
from earmark.engine.errors import DaemonError, SettingsError
from earmark.engine.event import Event
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.schema import Hook
from earmark.engine.sinks.base import QUEUE_NOTICES, Control, Notice
from earmark.engine.sinks.hook import PLACEHOLDERS, HookSink, fill, values_of

pytestmark = pytest.mark.slow

LIMIT_S = 60.0
HOSTILE = """$(touch x); "a'b `id` {type} && --help * ~ %s"""

Spoken = dict[str, bytes]

TELL = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("EARMARK_EVENT_")}
said = {"arguments": sys.argv[2:], "environment": told, "stdin": sys.stdin.read()}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(said) + "\\n")
print("not for the daemon's standard output")
"""


@pytest.fixture
def notice() -> Notice:
    return Notice(Event("detection", "okay_nabu", 16_000, 0.987, "anna", 0.75, "known_voice"), "the mic", 1e9)


Make = Callable[..., HookSink]


@pytest.fixture
def make() -> Iterator[Make]:
    """Opened hooks, by command and other settings."""
    opened = []

    def new(*command: str | Path, **settings: Any) -> HookSink:
        values = dataclasses.replace(Hook(), command=tuple(map(str, command)), **settings)
        sink = HookSink(values, cast(Control, None))  # it asks the daemon for nothing
        sink.open()
        opened.append(sink)
        return sink

    yield new
    for sink in opened:
        sink.close()


def program(folder: Path, text: str, name: str = "program") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def tell(tmp_path: Path) -> tuple[str, ...]:
    """A program that writes down what it is told, into the file that is its first argument."""
    return (sys.executable, str(program(tmp_path, TELL, "tell")))


def person(notice: Notice, name: str | None) -> Notice:
    return dataclasses.replace(notice, event=dataclasses.replace(notice.event, person=name))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def hooked(store: Path, *command: str | Path, **hook: str) -> Iterator[tuple[Live, Path]]:
    """A daemon on a pipe that stays open, with a hook, and its socket."""
    path = store.parent / "s"
    sets = {"command": json.dumps([str(part) for part in command]), **hook}
    flags = [part for name, value in sets.items() for part in ("--set", f"hook.{name}={value}")]
    with Live(
        "-", "--store", store, "--set", f"socket.path={path}", *flags, env=environment(NOTIFY_SOCKET="@nobody")
    ) as daemon:
        daemon.says("listening to -")
        until(path.exists, "its socket")
        yield daemon, path


def hook_status(path: Path) -> dict[str, Any]:
    status: dict[str, Any] = ask([path])["sinks"]["hook"]
    return status


# --- what it is told


def test_arguments_environment_and_standard_input(
    make: Make, notice: Notice, tell: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["-n={person}", *(f"{{{name}}}" for name in PLACEHOLDERS), "{{person}}", "", "a {type} {reason}"]
    make(*tell, out, *arguments).send(notice)
    (said,) = map(json.loads, out.read_text().splitlines())
    at = "2001-09-09T01:46:40.000+00:00"
    values = ["detection", "okay_nabu", "anna", "known_voice", "1000", "0.987", "0.75", "mic", at]
    assert said["arguments"] == ["-n=anna", *values, "{person}", "", "a detection known_voice"]
    names = [f"EARMARK_EVENT_{name.upper()}" for name in PLACEHOLDERS]
    assert said["environment"] == dict(zip(names, values))
    assert json.loads(said["stdin"]) == notice.to_json()


def test_what_is_not_known_is_empty(make: Make, notice: Notice, tell: tuple[str, ...], tmp_path: Path) -> None:
    unknown = dataclasses.replace(notice.event, person=None, speaker_score=None)
    make(*tell, tmp_path / "out", "{person}", "{speaker_score}").send(dataclasses.replace(notice, event=unknown))
    said = json.loads((tmp_path / "out").read_text())
    assert said["arguments"] == ["", ""]
    assert said["environment"]["EARMARK_EVENT_PERSON"] == ""


@given(text=st.text(st.characters(codec="utf-8")), around=st.text(st.characters(exclude_characters="{}"), max_size=9))
def test_whatever_a_name_holds_it_is_filled_in_as_it_is(text: str, around: str) -> None:
    values = dict.fromkeys(PLACEHOLDERS, "")
    assert fill(around + "{person}" + around, {**values, "person": text}) == around + text + around


@pytest.mark.parametrize(
    "name", ["{person", "person}", "{}", "{0}", "{Person}", "{person.name}", "{person!r}", "{{}"]
)
def test_an_unknown_placeholder_is_refused_with_the_known_ones(make: Make, name: str) -> None:
    with pytest.raises(SettingsError, match=r"\{type\}, \{keyword\}, \{person\}"):
        make("true", name)


def test_a_hook_that_cannot_work_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no program 'no-such-program'"):
        make("no-such-program")
    (tmp_path / "text").write_text("no program")
    with pytest.raises(SettingsError, match="/text' that can be run"):
        make(tmp_path / "text")
    with pytest.raises(SettingsError, match="without braces"):
        make("/bin/{person}")
    with pytest.raises(SettingsError, match="there are detection, rejection"):
        make("true", events=("detections",))


@pytest.mark.parametrize("shell", [("sh", "-c"), ("/bin/bash", "-lc"), ("/bin/dash", "-e", "-c")])
def test_a_name_does_not_get_into_a_shells_script(
    make: Make, notice: Notice, tmp_path: Path, shell: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError, match=r"write \$EARMARK_EVENT_PERSON"):
        make(*shell, "echo {person}")
    script = f'test "$EARMARK_EVENT_PERSON" = "$1" && echo "{{{{$1}}}}" > {tmp_path / "out"}'
    make(*shell, script, "hook", "{person}").send(person(notice, HOSTILE))
    assert (tmp_path / "out").read_text() == f"{{{HOSTILE}}}\n"


def test_only_the_wanted_events_run_it(make: Make, notice: Notice, tmp_path: Path) -> None:
    sink = make("touch", tmp_path / "{type}", events=("rejection",))
    sink.send(notice)
    assert not (tmp_path / "detection").exists()
    sink.send(dataclasses.replace(notice, event=dataclasses.replace(notice.event, type="rejection")))
    assert (tmp_path / "rejection").exists()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_argument_can_hold_is_a_failure(make: Make, notice: Notice, name: str) -> None:
    sink = make("true", "{person}")
    with pytest.raises(DaemonError, match="cannot be told of this event"):
        sink.send(person(notice, name))
    sink.send(notice)


# --- how it ends


def test_the_last_line_of_its_standard_error_is_said(make: Make, notice: Notice) -> None:
    with pytest.raises(DaemonError, match=r"ended with exit code 3: no lamp: café$"):
        make("sh", "-c", "echo first >&2; echo 'no lamp: café' >&2; exit 3").send(notice)
    with pytest.raises(DaemonError, match=r"ended with exit code 1$"):
        make("false").send(notice)
    with pytest.raises(DaemonError, match=r"was ended by signal 9: \\xff$"):
        make("sh", "-c", r"printf '\377' >&2; kill -9 $$").send(notice)


def test_a_flood_on_standard_error_takes_no_memory(make: Make, notice: Notice) -> None:
    """The reading is bounded, and goes on, so that the program is not stuck either."""
    sink = make(
        sys.executable, "-c", "import os\nfor _ in range(2000): os.write(2, bytes(65536))\nraise SystemExit(5)"
    )
    before = peak_kib()
    with pytest.raises(DaemonError, match="exit code 5") as caught:
        sink.send(notice)
    assert len(str(caught.value)) < 70_000
    assert peak_kib() - before < 16_000  # 128 MB went through


def peak_kib() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def test_one_that_does_not_read_is_no_failure(make: Make, notice: Notice) -> None:
    for _ in range(20):
        make("true").send(notice)
    make("sh", "-c", "exec <&-; sleep 0.05").send(notice)


def test_one_that_closes_its_standard_error_is_waited_for(make: Make, notice: Notice, tmp_path: Path) -> None:
    make("sh", "-c", f"exec 2>&-; sleep 0.2; echo done > {tmp_path / 'out'}").send(notice)
    assert (tmp_path / "out").read_text() == "done\n"


def test_what_takes_too_long_is_killed_with_all_that_it_started(make: Make, notice: Notice, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = program(
        tmp_path, f"#!/bin/sh\ntrap '' TERM INT HUP\n(trap '' TERM; sleep 1000 & echo $! > {pids}; wait) &\nwait\n"
    )
    with pytest.raises(DaemonError, match="was killed: it took 1 s"):
        make(script, timeout_s=1.0).send(notice)
    until(lambda: not is_running(int(pids.read_text())), "the grandchild is gone", LIMIT_S)


def test_what_it_leaves_in_the_background_may_go_on(make: Make, notice: Notice, tmp_path: Path) -> None:
    """Though that holds the pipe of its standard error, which is not waited for."""
    pids = tmp_path / "pids"
    make("sh", "-c", f"sleep 1000 & echo $! > {pids}; sleep 0.2", timeout_s=500.0).send(notice)
    pid = int(pids.read_text())
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


# --- in the daemon


def test_a_hostile_name_is_one_argument(
    slt: Voiceprint, spoken: Spoken, tell: tuple[str, ...], tmp_path: Path
) -> None:
    store, out = tmp_path / "hostile", tmp_path / "out"
    PersonStore(store).save(dataclasses.replace(slt, name=HOSTILE))
    with hooked(store, *tell, out, "{person}", "x{person}") as (daemon, path):
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == HOSTILE
        until(out.exists, "the hook ran", LIMIT_S)
        until(out.read_text, "it has written", LIMIT_S)
        said = json.loads(out.read_text())
        assert said["arguments"] == [HOSTILE, f"x{HOSTILE}"]
        assert said["environment"]["EARMARK_EVENT_PERSON"] == HOSTILE
        assert json.loads(said["stdin"])["person"] == HOSTILE
        until(lambda: sent(path) == 1, "it was a success")
        run = daemon.stop()
        assert (run.code, run.out) == (0, "")  # every line on standard output was an event
    assert not list(tmp_path.rglob("x"))


def sent(path: Path) -> int:
    return sum(n["count"] for n in ask([path])["counts"].get("sent", []) if n["sink"] == "hook")


def test_a_hook_may_call_earmark_itself(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    """What it is told in the environment is not taken for settings; and it does not speak to the service manager."""
    out = tmp_path / "out"
    script = f"{sys.executable} -m earmark.cli settings show > {out}.part && env >> {out}.part && mv {out}.part {out}"
    with hooked(slt_store, "sh", "-c", script) as (daemon, _):
        daemon.feed(spoken["slt"])
        until(out.exists, "the hook ran", LIMIT_S)
    text = out.read_text()
    assert "[hook]" in text
    assert "EARMARK_EVENT_PERSON=slt" in text
    assert "NOTIFY_SOCKET" not in text


def test_a_hook_that_hangs_delays_nothing_and_what_is_lost_is_counted(
    slt_store: Path, spoken: Spoken, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    count = QUEUE_NOTICES + 6  # one is run, the queue holds so many, five are too many
    word = spoken["slt"][32_000:]  # one second between two words is enough
    script = f"echo $$ >> {pids}; exec sleep 1000"
    with hooked(slt_store, "sh", "-c", script, timeout_s="500") as (daemon, path):
        daemon.feed(word)
        assert daemon.event()["person"] == "slt"
        until(pids.exists, "the hook hangs", LIMIT_S)
        for n in range(1, count):
            daemon.feed(word)
            assert daemon.event()["person"] == "slt", n
        until(lambda: hook_status(path)["dropped"] == 5, f"drops: {hook_status(path)}")
        assert hook_status(path)["waiting"] == QUEUE_NOTICES
        daemon.says("sink hook is stuck: events are dropped")
        assert sum("stuck: events are dropped" in line for line in daemon.lines) == 1
        assert daemon.stop().code == 0
    (pid,) = map(int, pids.read_text().split())
    until(lambda: not is_running(pid), "the hook ended with the daemon", LIMIT_S)


def test_a_failing_hook_is_said_counted_and_run_again(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    lamp = tmp_path / "lamp"
    with hooked(slt_store, "sh", "-c", f"test -e {lamp} || {{{{ echo no lamp >&2; exit 4; }}}}") as (daemon, path):
        for n in (1, 2):
            daemon.feed(spoken["slt"])
            assert daemon.event()["person"] == "slt"
            until(lambda: hook_status(path)["failed"] == n, "it failed", LIMIT_S)  # noqa: B023
        assert hook_status(path)["failure"] == "hook sh ended with exit code 4: no lamp"
        assert sum("no lamp" in line for line in daemon.lines) == 1, "the same is not said again"
        lamp.touch()
        daemon.feed(spoken["slt"])
        until(lambda: hook_status(path)["failure"] is None, "it works again", LIMIT_S)
        assert daemon.stop().code == 0


def test_a_program_that_is_missing_is_waited_for(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with hooked(slt_store, tmp_path / "later", "{person}") as (daemon, path):
        daemon.says("there is no program")
        assert "give its whole path" in hook_status(path)["failure"]
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"
        program(tmp_path, f'#!/bin/sh\necho "$1" > {out}\n', "new").rename(tmp_path / "later")
        until(lambda: hook_status(path)["failure"] is None, "it is found", LIMIT_S)
        daemon.feed(spoken["slt"])
        until(out.exists, "it ran", LIMIT_S)
        until(lambda: out.read_text() == "slt\n", "it was told")


def test_values_and_placeholders_are_the_same(notice: Notice) -> None:
    assert tuple(values_of(notice)) == PLACEHOLDERS


# --- nothing that somebody else may have chosen is code


@pytest.mark.parametrize("starter", STARTERS, ids=" ".join)
@pytest.mark.parametrize("taker", TAKERS_OF_CODE, ids=" ".join)
@pytest.mark.parametrize("code", ["{person}", "echo {source} there"])
def test_no_placeholder_is_code_whatever_starts_what_takes_it(
    starter: tuple[str, ...], taker: tuple[str, ...], code: str
) -> None:
    command = (*starter, *(word.replace("{}", code) for word in taker))
    with pytest.raises(SettingsError, match=r"is code to the program .* write \$EARMARK_EVENT_PERSON"):
        HookSink(dataclasses.replace(Hook(), command=command), cast(Control, None)).check()


@pytest.mark.parametrize(
    "command",
    [
        ("notify-send", "earmark", "hello {person}"),
        ("/usr/local/bin/lamp", "--name={person}", "-c", "{person}"),
        ("python3", "/usr/local/bin/lamp.py", "{person}", "--score", "{speaker_score}"),
        ("sh", "/usr/local/bin/lamp.sh", "{person}"),
        ("sh", "-c", 'echo "$1"', "hook", "{person}"),
        ("env", "LAMP=1", "lamp", "{person}"),
        ("sudo", "-u", "anna", "mosquitto_pub", "-t", "wake/{keyword}", "-m", "{person}"),
        ("curl", "-d", "who={person}", "http://lamp.local/"),
    ],
)
def test_a_placeholder_is_an_argument_of_anything_else(command: tuple[str, ...]) -> None:
    HookSink(dataclasses.replace(Hook(), command=command), cast(Control, None)).check()


def test_a_program_is_not_looked_for_where_somebody_happens_to_be(
    make: Make, notice: Notice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    program(foreign, f"#!/bin/sh\necho foreign > {out}\n", "lamp-of-earmark")
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.chdir(foreign)
    monkeypatch.setenv("PATH", f".::{own}:{os.environ['PATH']}")
    with pytest.raises(SettingsError, match="no program 'lamp-of-earmark'"):
        make("lamp-of-earmark")
    program(own, f"#!/bin/sh\necho own > {out}\n", "lamp-of-earmark")
    make("lamp-of-earmark").send(notice)
    assert out.read_text() == "own\n"
