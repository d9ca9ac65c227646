"""How a command begins and ends: Ctrl-C at any moment, and standard streams that are closed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_store import environment, save_cosine
from turns import mine

from earmark.engine.commands.parser import command_line

pytestmark = pytest.mark.slow

# Forks wherever something is imported; the child gets SIGINT there and goes on to its end. Prints the number of
# moments, and what went wrong. No clock: a moment is an import, or the very end.
INTERRUPTED = """
import atexit, json, os, signal, sys
from earmark.__main__ import main

signal.signal(signal.SIGINT, signal.default_int_handler)
log, out = sys.argv[1], os.dup(1)
sys.argv = ["earmark", *sys.argv[2:]]
wrong, moments, is_child = [], [], False

def moment(event, arguments):
    global is_child
    if event != "import" or is_child:
        return
    moments.append(str(arguments[0]))
    child = os.fork()
    if not child:
        is_child = True
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.kill(os.getpid(), signal.SIGINT)
        return
    _, status = os.waitpid(child, 0)
    with open(log, errors="replace") as file:
        said = file.read()
    ended = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT
    if "Traceback" in said or "Exception ignored" in said or not (ended or os.WEXITSTATUS(status) in (0, 130)):
        wrong.append((moments[-1], status, said[-300:]))

def last():
    moment("import", ["the end"])
    if not is_child:
        os.write(out, json.dumps([len(moments), wrong]).encode())

atexit.register(last)
sys.addaudithook(moment)
code = main()
sys.stdout.flush()
sys.exit(code)
"""


LINES = ["people list", "doctor --json", "replay {scene}", "listen -", "settings show", "--version", "sing"]


@pytest.mark.parametrize("line", mine(LINES))
def test_ctrl_c_at_any_moment_shows_no_traceback(line: str, audio_dir: Path, tmp_path: Path) -> None:
    words = line.format(scene=audio_dir / "slt_okay_nabu_test_1.flac").split()
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, str(tmp_path / "log"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            env=environment(XDG_DATA_HOME=str(tmp_path)),
            check=False,
        )
    moments, wrong = json.loads(done.stdout[done.stdout.rindex(b"[", 0, done.stdout.rindex(b", [")) :])
    assert wrong == []
    assert moments > 15, "nothing was interrupted"


# Runs every command with each stream closed, in a child each: as Python begins when a shell has closed it.
CLOSED = """
import json, os, shutil, sys
import importlib
from earmark.__main__ import main
from earmark.engine.commands.parser import command_line

for leaf in command_line().leaves():  # once for all children
    importlib.import_module(leaf.get_default("handler").split(":")[0])
folder, commands = sys.argv[1], json.loads(sys.argv[2])
found, own = [], os.dup(1)
for words in commands:
    for closed in (None, 0, 1, 2):
        shutil.rmtree(f"{folder}/earmark", ignore_errors=True)
        shutil.copytree(f"{folder}/kept", f"{folder}/earmark/people")  # some commands change it
        if os.path.exists(f"{folder}/anna.tar"):
            os.unlink(f"{folder}/anna.tar")
        child = os.fork()
        if not child:
            for descriptor in (1, 2):
                os.dup2(os.open(f"{folder}/{descriptor}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
            if closed is not None:
                os.close(closed)
                setattr(sys, ("stdin", "stdout", "stderr")[closed], None)
            sys.argv = ["earmark", *words]
            try:
                code = main()
                sys.stdout.flush()
            except SystemExit as end:
                code = end.code
            except BaseException:
                import traceback
                os.write(own, traceback.format_exc().encode())
                code = 99
            os._exit(code)
        _, status = os.waitpid(child, 0)
        said = [open(f"{folder}/{descriptor}", errors="replace").read() for descriptor in (1, 2)]
        found.append([words, closed, os.WEXITSTATUS(status), *said])
os.write(own, json.dumps(found).encode())
"""
ARGUMENTS = {  # what makes each command do something; the others need none
    "enroll": ["anna", "--plain"],
    "replay": ["{audio}"],
    "listen": ["-"],
    "plot": ["{audio}", "--out", "{folder}/plot.png"],
    "evaluate": ["{folder}/none.csv"],
    "bench": ["--keyword", "none"],
    "settings check": ["{folder}/none.toml"],
    "service install": ["--dry-run", "--user"],
    "service uninstall": ["--dry-run", "--user"],
    "people show": ["anna"],
    "people remove": ["anna"],
    "people rename": ["anna", "berta"],
    "people export": ["anna", "--to", "{folder}/anna.tar"],
    "people import": ["{folder}/none.tar"],
    "people rollback": ["anna"],
    "people merge": ["anna", "berta"],
    "wakes show": ["1"],
    "wakes play": ["1"],
    "wakes export": ["1", "--to", "{folder}/wakes"],
    "wakes forget": ["--all"],
    "wakes label": ["1", "noise"],
    "learn undo": ["anna"],
    "learn forget": ["--all"],
    "fleet agent": ["--models", "{folder}"],  # which it does not get beyond
    "fleet consent": ["anna"],
    "web": ["--code"],
}


def test_every_command_takes_closed_streams_and_no_output_is_lost_in_silence(audio_dir: Path, tmp_path: Path) -> None:
    audio = audio_dir / "slt_okay_nabu_test_1.flac"
    leaves = [leaf.prog.partition(" ")[2] for leaf in command_line().leaves()]
    commands = mine(
        [
            *(
                [*leaf.split(), *(word.format(audio=audio, folder=tmp_path) for word in ARGUMENTS.get(leaf, []))]
                for leaf in leaves
            ),
            *(["--help"], ["--version"], []),
        ]
    )
    assert set(ARGUMENTS) < set(leaves)
    save_cosine(tmp_path / "kept")
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, str(tmp_path), json.dumps(commands)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(XDG_DATA_HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path)),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Traceback" not in done.stdout, done.stdout
    runs = json.loads(done.stdout)
    assert len(runs) == 4 * len(commands)
    usual = {tuple(words): (code, out) for words, closed, code, out, _ in runs if closed is None}
    for words, closed, code, out, err in runs:
        assert code in (0, 1, 2, 3), (words, closed, code, err)
        assert "Traceback" not in err, (words, closed, err)
        if closed == 1:
            assert out == ""
            would_tell = usual[tuple(words)][1] != "" and usual[tuple(words)][0] == 0
            assert not would_tell or (code, "standard output is closed" in err) == (1, True), (words, code, err)
        if closed == 2:
            assert err == ""


@pytest.mark.parametrize(
    ("redirection", "words", "code", "says"),
    [
        ("<&-", "listen -", 2, "the pipe ended after 0 s"),
        (">&-", "people list", 1, "standard output is closed"),
        ("2>&-", "replay none.wav", 2, ""),
    ],
)
def test_a_shell_that_closes_a_stream_is_answered(
    redirection: str, words: str, code: int, says: str, tmp_path: Path
) -> None:
    save_cosine(tmp_path / "earmark" / "people")
    if words.startswith("listen"):
        words += f" --store {tmp_path / 'none'}"
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m earmark {words} {redirection}', sys.executable],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(XDG_DATA_HOME=str(tmp_path)),
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
