"""The command line as a process: exit codes, what goes to which stream, and how it ends."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Takes
from helpers_store import Run, checked, command, earmark, environment, forge, snapshot

from earmark.engine import event
from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16
from earmark.engine.commands.parsing import options
from earmark.engine.errors import KeywordError
from earmark.engine.networks.card import MODELS_DIR, builtin_keywords, load_card, load_manifest
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings import policy
from earmark.engine.settings.schema import Settings

pytestmark = pytest.mark.slow

EVENT_KEYS = ["type", "file", "keyword", "time_ms", "keyword_score", "person", "speaker_score", "reason"]
HEAVY = {"numpy", "scipy", "soundfile", "soxr", "sounddevice", "tflite_runtime", "ai_edge_litert", "pymicro_features"}
NAME = "Zoë O'Slt / 2"


@pytest.fixture(scope="module")
def shared(slt: Voiceprint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one voice, which no test may change."""
    folder = tmp_path_factory.mktemp("shared") / "people"
    PersonStore(folder).save(replace(slt, name=NAME))
    return folder


@pytest.fixture
def store(shared: Path, tmp_path: Path) -> Path:
    """A store with the same voice, for one test."""
    return Path(shutil.copytree(shared, tmp_path / "people"))


def version_in(store: Path) -> Path:
    (header,) = store.glob("*/*/*/header.json")
    return header.parent


def enrol_files(takes: Takes) -> list[Path]:
    return takes("slt", "okay_nabu", "enroll")


def write(path: Path, samples: Int16) -> Path:
    soundfile.write(path, samples, 16_000)
    return path


# --- usage


EVERY_HELP = """
import contextlib, io, sys
from earmark import cli
from earmark.engine.commands.parser import command_line

def helps(words):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    assert text.getvalue().startswith("usage: earmark"), words
    for name in commands_of(words):
        print(*words, name)
        helps([*words, name])

def commands_of(words):
    parser = command_line()
    for word in [*words, None]:
        choices = [a.choices for a in parser._actions if type(a).__name__ == "_SubParsersAction"]
        parser = choices[0][word] if word else None
    return choices[0] if choices else ()

helps([])
print("loaded:", *{name.split(".")[0] for name in sys.modules})
"""


def test_help_is_there_for_every_command_and_loads_nothing() -> None:
    run = [sys.executable, "-c", EVERY_HELP]
    done = subprocess.run(run, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    *commands, loaded = done.stdout.splitlines()
    assert {"enroll", "replay", "listen", "people", "people show", "devices", "doctor"} <= set(commands)
    assert "earmark" in loaded
    assert not HEAVY & set(loaded.split())


def test_the_copies_that_keep_help_light_are_true() -> None:
    assert options.MODES == policy.MODES
    assert options.CONFIRMS == policy.CONFIRMS
    assert options.EVENT_TYPES == event.WAKE_TYPES
    assert Settings().wake.keywords == (options.DEFAULT_KEYWORD,)


def test_the_console_script_and_the_module_are_the_same() -> None:
    script = Path(sys.executable).with_name("earmark")
    run = earmark("--version")
    assert run.out.startswith("earmark ")
    for card in map(load_card, ("speaker", "head", "cohort")):
        assert f"sha256 {card.sha256}  {card.file}\n" in run.out
    assert f"sha256 {load_manifest('alexa').model_sha256}  alexa\n" in run.out
    assert earmark("--help").out.startswith("usage: earmark")
    if script.exists():
        assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == run.out


@pytest.mark.parametrize(
    "line",
    [
        "sing",
        "replay",
        "replay --mode loud x.wav",
        "listen x.wav",
        "listen - --device mic",
        "enroll anna --from x.wav --far 1.5",
        "enroll anna --from x.wav --far much",
        "enroll anna --from x.wav --seed -1",
        "enroll anna --from x.wav --min-takes 0",
        "enroll anna --from x.wav --keyword alexa --any-phrase",
    ],
)
def test_wrong_usage_ends_with_2(line: str) -> None:
    run = earmark(*line.split(), code=2)
    assert run.out == ""
    assert run.err.startswith("usage: earmark")
    assert "error: " in run.err


# --- wake words


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("okay_nabuu", "did you mean okay_nabu"),
        ("Hey Jarvis", "did you mean hey_jarvis"),
        ("zzzz", "built in are alexa"),
        ("", "built in are alexa"),
        ("missing.json", "the manifest cannot be read: No such file"),
    ],
)
def test_an_unknown_wake_word_is_told_the_near_ones(tmp_path: Path, keyword: str, hint: str) -> None:
    run = earmark("replay", "--keyword", keyword, "--store", tmp_path, "x.wav", code=2)
    assert run.err.startswith("earmark: ")
    assert hint in run.err
    assert keyword in run.err


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A copy of okay_nabu under another name, to be edited."""
    source = builtin_keywords()["okay_nabu"]
    shutil.copy(source.with_suffix(".tflite"), tmp_path / "okay_nabu.tflite")
    return Path(shutil.copy(source, tmp_path / "my word.json"))


def edited(manifest: Path, micro: bool, key: str, value: Any) -> None:
    values = json.loads(manifest.read_text())
    inner = values["micro"] if micro else values
    if value is None:
        del inner[key]
    else:
        inner[key] = value
    manifest.write_text(json.dumps(values))


def test_a_manifest_of_ones_own_is_a_wake_word(manifest: Path, takes: Takes, tmp_path: Path) -> None:
    words: list[str | Path] = ["--keyword", manifest, "--keyword", "alexa", "--mode", "label"]
    files = [takes("rms", word, "test")[0] for word in ("okay_nabu", "alexa")]
    (tmp_path / "people").mkdir()
    run = earmark("replay", *words, "--store", tmp_path / "people", "--json", *files)
    assert [event["keyword"] for event in run.events] == ["my word", "alexa"]


@pytest.mark.parametrize(
    ("micro", "key", "value", "says"),
    [
        (False, "version", 1, "only microWakeWord manifests of version 2 are read"),
        (False, "version", "2", "version='2' must be int"),
        (False, "version", None, "version is missing"),
        (False, "type", "openwakeword", "type='openwakeword'"),
        (False, "micro", None, "micro is missing"),
        (False, "micro", 5, "micro=5 must be dict"),
        (False, "model", None, "model is missing"),
        (False, "model", 5, "model=5 must be str"),
        (False, "model", "gone.tflite", "its model .*gone.tflite' cannot be read"),
        (False, "model", "", "its model .* cannot be read"),
        (False, "model", "a\0b", "its model .* cannot be read"),
        (False, "model", "x" * 5000, "its model .* cannot be read"),
        (False, "wake_word", 5, "wake_word=5 must be str"),
        (False, "wake_word", None, "wake_word is missing"),
        (False, "trained_languages", 5, "trained_languages=5 must be list"),
        (False, "trained_languages", "en", "trained_languages='en' must be list"),
        (True, "probability_cutoff", None, "micro.probability_cutoff is missing"),
        (True, "probability_cutoff", "0.9", "micro.probability_cutoff='0.9' must be int or float"),
        (True, "probability_cutoff", True, "micro.probability_cutoff=True must be"),
        (True, "probability_cutoff", 1.5, r"micro.probability_cutoff=1.5 must be within 0…1"),
        (True, "probability_cutoff", float("nan"), "micro.probability_cutoff=nan must be within"),
        (True, "probability_cutoff", 10**400, "micro.probability_cutoff=1000.* must be within"),
        (True, "sliding_window_size", 0, "micro.sliding_window_size=0 must be within 1…100"),
        (True, "sliding_window_size", 2.5, "micro.sliding_window_size=2.5 must be int"),
        (True, "sliding_window_size", 10**400, "must be within 1…100"),
        (True, "feature_step_size", 20, r"micro.feature_step_size=20 must be 10 \(ms\)"),
        (True, "feature_step_size", None, "micro.feature_step_size is missing"),
    ],
)
def test_a_manifest_that_breaks_the_format_is_refused(
    manifest: Path, micro: bool, key: str, value: Any, says: str
) -> None:
    edited(manifest, micro, key, value)
    with pytest.raises(KeywordError, match=says) as raised:
        load_manifest(manifest)
    assert str(raised.value).startswith(f"{manifest}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", "\xff", "[" * 10**5, '{"a":' * 10**5], ids=repr)
def test_a_manifest_that_is_no_json_object_is_refused(manifest: Path, text: str) -> None:
    manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeywordError, match=r"(is not JSON: |is a JSON object, this is a )"):
        load_manifest(manifest)


def test_a_bad_manifest_or_network_ends_with_2(manifest: Path, tmp_path: Path) -> None:
    def refused() -> str:
        run = earmark("replay", "--keyword", manifest, "--store", tmp_path / "people", "x.wav", code=2)
        assert run.out == ""
        return run.err

    network = tmp_path / "okay_nabu.tflite"
    os.truncate(network, network.stat().st_size - 1)
    assert "okay_nabu.tflite: no usable network: truncated or damaged" in refused()
    network.write_text("not a network")
    assert "not a TensorFlow Lite file" in refused()
    network.unlink()
    assert "cannot be read" in refused()
    manifest.write_text("{")
    assert "is not JSON" in refused()


# --- replay


@pytest.fixture(scope="module")
def household(shared: Path, takes: Takes) -> dict[str, Run]:
    """mode -> what replay says of the enrolled voice and of a stranger."""
    files = [takes(voice, "okay_nabu", "test")[0] for voice in ("slt", "rms")]
    return {
        mode: earmark("replay", "--json", "--store", shared, "--mode", mode, *files)
        for mode in ("only", "prefer", "label")
    }


def test_json_is_one_object_a_line_with_the_promised_keys(household: dict[str, Run], takes: Takes) -> None:
    for run in household.values():
        assert [list(event) for event in run.events] == [EVENT_KEYS] * 2
        assert run.err == ""
        known, stranger = run.events
        assert (known["file"], stranger["file"]) == tuple(
            str(takes(voice, "okay_nabu", "test")[0]) for voice in ("slt", "rms")
        )
        assert isinstance(known["time_ms"], int)
        assert 0.85 < known["keyword_score"] <= 1
        assert (known["type"], known["person"], known["reason"]) == ("detection", NAME, "known_voice")
        assert stranger["person"] is None
        assert stranger["speaker_score"] < known["speaker_score"]


@pytest.mark.parametrize(("mode", "type_"), [("only", "rejection"), ("prefer", "detection"), ("label", "detection")])
def test_the_mode_decides_what_becomes_of_a_stranger(household: dict[str, Run], mode: str, type_: str) -> None:
    stranger = household[mode].events[1]
    reason = "unknown_voice" if mode == "only" else f"unknown_voice:{mode}"
    assert (stranger["type"], stranger["reason"]) == (type_, reason)


def test_with_nobody_enrolled_label_detects_and_only_rejects(takes: Takes, tmp_path: Path) -> None:
    file = takes("slt", "okay_nabu", "test")[0]
    (tmp_path / "people").mkdir()
    for mode, type_, reason in (
        ("label", "detection", "nobody_enrolled:label"),
        ("only", "rejection", "nobody_enrolled"),
    ):
        (event,) = earmark("replay", "--json", "--store", tmp_path / "people", "--mode", mode, file).events
        assert (event["type"], event["reason"]) == (type_, reason)
        assert event["person"] is event["speaker_score"] is None
    assert not list((tmp_path / "people").iterdir())  # asking writes nothing


def test_people_read_the_same_without_json(shared: Path, takes: Takes) -> None:
    files = [takes(voice, "okay_nabu", "test")[0] for voice in ("slt", "rms")]
    lines = earmark("replay", "--store", shared, *files).out.splitlines()
    assert lines[0] == str(files[0])
    assert lines[1].startswith("+ ")
    assert f"  {NAME}  " in lines[1]
    assert lines[2] == str(files[1])
    assert lines[3].startswith("- ")
    assert len(lines) == 4


def test_silence_and_other_words_give_nothing(shared: Path, takes: Takes, tmp_path: Path) -> None:
    silence = write(tmp_path / "silence.wav", np.zeros(48_000, np.int16))
    # Words made to resemble the wake word are another matter: in the own voice some wake it (docs/research/gates.md)
    own = [takes("slt", text, "other")[0] for text in ("set a timer for twenty minutes", "a rainbow")]
    others = [*own, *takes("kal16", "okay nothing", "other"), *takes("slt", "alexa", "test")]
    run = earmark("replay", "--json", "--store", shared, silence, *others)
    assert (run.events, run.err) == ([], "")


def test_unreadable_files_do_not_keep_the_others_from_being_heard(shared: Path, takes: Takes, tmp_path: Path) -> None:
    good = takes("slt", "okay_nabu", "test")[0]
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    cut = write(tmp_path / "cut.wav", np.concatenate([read_audio(good), np.zeros(32_000, np.int16)]))
    os.truncate(cut, cut.stat().st_size - 2000)
    files = [tmp_path / "missing.wav", good, text, cut, tmp_path, good]
    run = earmark("replay", "--json", "--store", shared, *files, code=2)
    assert [event["file"] for event in run.events] == [str(good), str(cut), str(good)]
    assert {event["person"] for event in run.events} == {NAME}
    assert run.events[0] == run.events[2]  # nothing is left over from the files between
    faults = ["missing.wav: no such file", "text.wav: not audio", "cut.wav: truncated", f"{tmp_path}: a folder"]
    lines = run.err.splitlines()
    assert len(lines) == len(faults)
    assert all(fault in line and line.startswith("earmark: ") for fault, line in zip(faults, lines))


def test_a_file_name_may_be_any_bytes(shared: Path, takes: Takes, tmp_path: Path) -> None:
    odd = tmp_path / "\udcff \x1b \n.flac"
    shutil.copy(takes("slt", "okay_nabu", "test")[0], odd)
    (event,) = earmark("replay", "--json", "--store", shared, odd).events
    assert event["file"] == str(odd)
    earmark("replay", "--store", shared, odd, odd)
    assert "no such file" in earmark("replay", "--json", "--store", shared, f"{odd}x", code=2).err


# --- listen


def raw(files: list[Path]) -> bytes:
    return b"".join(read_audio(path).tobytes() for path in files)


def test_listening_to_a_pipe_gives_what_replay_gives(shared: Path, audio_dir: Path) -> None:
    scene = audio_dir / "scene.flac"
    replayed = earmark("replay", "--json", "--store", shared, scene).events
    run = earmark("listen", "-", "--json", "--store", shared, stdin=raw([scene]))
    assert len(run.events) == 7
    assert [{**event, "file": str(scene)} for event in run.events] == replayed
    assert {event["file"] for event in run.events} == {"-"}
    assert run.err == "earmark: listening to -\n"


def test_an_empty_pipe_is_no_success(shared: Path) -> None:
    for content in (b"", b"\1"):
        run = earmark("listen", "-", "--json", "--store", shared, stdin=content, code=2)
        assert (run.out, "the pipe ended after 0 s" in run.err) == ("", True)
    assert "half a sample" in run.err


def test_a_recording_in_a_pipe_is_no_success(shared: Path, audio_dir: Path) -> None:
    run = earmark("listen", "-", "--store", shared, stdin=(audio_dir / "scene.flac").read_bytes(), code=2)
    assert "standard input is a FLAC file, not raw audio" in run.err


@pytest.fixture(scope="module")
def in_channel_1(takes: Takes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word that a louder sound beside it masks."""
    word = read_audio(takes("slt", "okay_nabu", "test")[0])
    noise = np.random.default_rng(1).integers(-30_000, 30_000, len(word)).astype(np.int16)
    path = tmp_path_factory.mktemp("stereo") / "stereo.wav"
    soundfile.write(path, np.stack([noise, word], axis=1), 16_000)
    return path


def test_replay_and_listen_hear_the_channel_that_is_named(shared: Path, in_channel_1: Path) -> None:
    run = earmark("replay", "--json", "--store", shared, in_channel_1)
    assert run.events == []
    assert "channels 0 and 1 have nothing in common" in run.err
    (event,) = earmark("replay", "--json", "--store", shared, "--channel", "1", in_channel_1).events
    assert event["person"] == NAME
    assert "there is no channel 2" in earmark("replay", "--channel", "2", in_channel_1, "--store", shared, code=2).err
    frames = soundfile.read(in_channel_1, dtype="int16")[0].tobytes()
    for flags in (["--channel", "1"], ["--set", "audio.channel=1"]):
        run = earmark("listen", "-", *flags, "--set", "audio.channels=2", "--json", "--store", shared, stdin=frames)
        assert [found["person"] for found in run.events] == [NAME]
    run = earmark("listen", "-", "--channel", "1", "--store", shared, stdin=frames, code=2)
    assert "audio.channels says how many it has" in run.err


@contextmanager
def listening(store: Path, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`earmark listen -` that has said that it listens; killed after a minute, whatever happens."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    line = command("listen", "-", "--json", "--mode", "label", "--store", store)
    with subprocess.Popen(line, env=environment(), **pipes) as process:
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == b"earmark: listening to -\n"
            yield process
        finally:
            limit.cancel()
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_listening_with_0(tmp_path: Path, takes: Takes, number: signal.Signals) -> None:
    with listening(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(raw([takes("rms", "okay_nabu", "test")[0]]) + bytes(32_000))
        process.stdin.flush()
        line = process.stdout.readline()  # so it is in the middle of its work, and the pipe is still open
        process.send_signal(number)
        process.wait()
        run = checked(process.returncode, line + process.stdout.read(), process.stderr.read())  # type: ignore[union-attr]
    assert run.code == 0
    assert len(run.events) == 1
    (only,) = run.err.splitlines()
    assert only.startswith("earmark: nobody is enrolled in "), "said at the start; the signal itself says nothing"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, takes: Takes) -> None:
    word = raw([takes("rms", "okay_nabu", "test")[0]]) + bytes(64_000)
    with listening(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(word)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["type"] == "detection"
        process.stdout.close()  # as `| head -1` does
        _, err = process.communicate(word)
        checked(process.returncode, b"", err)
    assert process.returncode == 0
    assert [line for line in err.splitlines() if b"nobody is enrolled" not in line] == []


def test_output_that_nobody_reads_is_no_error(shared: Path) -> None:
    for arguments in (["people", "list"], ["people", "show", NAME, "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        line = command(*arguments, *([] if arguments == ["--help"] else ["--store", str(shared)]))
        done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False)
        os.close(writer)
        checked(done.returncode, b"", done.stderr)
        assert (done.returncode, done.stderr) == (0, b""), arguments


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_ends_with_1(shared: Path, takes: Takes) -> None:
    commands: list[list[str | Path]] = [
        ["people", "list"],
        ["replay", "--json", takes("slt", "okay_nabu", "test")[0]],
    ]
    for arguments in commands:
        with Path("/dev/full").open("wb") as full:
            line = command(*arguments, "--store", shared)
            done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
        run = checked(done.returncode, b"", done.stderr)
        assert run.code == 1
        assert "No space left on device" in run.err


def test_a_pipe_that_has_nothing_yet_is_not_at_its_end(tmp_path: Path, takes: Takes) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_NONBLOCK)  # as node and socat do
    with listening(tmp_path, stdin=reader) as process:
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            with pytest.raises(subprocess.TimeoutExpired):  # it goes on listening
                process.wait(1)
            pipe.write(raw([takes("rms", "okay_nabu", "test")[0]]))
        out, err = process.communicate()
        run = checked(process.returncode, out, err)
    assert run.code == 0
    assert len(run.events) == 1


def test_a_closed_standard_input_is_said(tmp_path: Path) -> None:
    line = " ".join(command("listen", "-", "--store", tmp_path)) + " <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, env=environment(), check=False)
    run = checked(done.returncode, done.stdout, done.stderr)
    assert run.code == 2
    assert "standard input is closed" in run.err


# --- enroll and people


def test_a_voice_is_enrolled_and_then_known(takes: Takes, tmp_path: Path) -> None:
    store, text = tmp_path / "people", tmp_path / "text.wav"
    text.write_text("no audio")
    run = earmark("enroll", NAME, "--from", *enrol_files(takes), text, "--store", store, "--json")
    (enrolled,) = run.events
    assert run.err == ""
    assert (enrolled["type"], enrolled["name"], enrolled["keyword"]) == ("enrolled", NAME, "okay_nabu")
    assert (enrolled["version"], enrolled["takes"]) == (1, 5)
    (fault,) = enrolled["faults"]
    assert (fault["file"], fault["reason"]) == (str(text), "unreadable")
    (event,) = earmark("replay", "--json", "--store", store, takes("slt", "okay_nabu", "test")[0]).events
    assert event["person"] == NAME


@pytest.mark.parametrize("as_json", [True, False])
def test_bad_recordings_are_refused_with_a_reason_each(takes: Takes, tmp_path: Path, as_json: bool) -> None:
    text, silence = tmp_path / "text.wav", write(tmp_path / "silence.wav", np.zeros(32_000, np.int16))
    text.write_text("no audio")
    other = takes("slt", "alexa", "test")[0]
    files = [text, silence, other, tmp_path / "gone.wav"]
    store = tmp_path / "people"
    run = earmark("enroll", NAME, "--from", *files, "--store", store, *["--json"] * as_json, code=3)
    reasons = {
        str(text): "unreadable",
        str(silence): "nothing_said",
        str(other): "keyword_not_heard",
        str(files[3]): "unreadable",
    }
    assert f"{NAME!r} was not enrolled: 0 good takes, at least 3 are needed" in run.err
    said = (
        "not audio that can be read",
        "nobody speaks in it",
        'it is not "Okay Nabu", or not clearly',
        "no such file",
    )
    for (file, reason), words in zip(reasons.items(), said):
        assert re.search(rf"  {re.escape(file)}: .*{re.escape(words)}", run.err, re.IGNORECASE)
        assert reason not in run.err
    if as_json:
        (refused,) = run.events
        assert list(refused) == ["type", "name", "faults"]
        assert (refused["type"], refused["name"]) == ("refused", NAME)
        assert {fault["file"]: fault["reason"] for fault in refused["faults"]} == reasons
        assert all(list(fault) == ["file", "reason", "detail"] and fault["detail"] for fault in refused["faults"])
    else:
        assert run.out == ""
    assert not store.exists()


@pytest.mark.parametrize("name", ["", " anna", "a\nb", "\x1b[2J", "n" * 201, "\udcff"])
def test_a_bad_name_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    run = earmark("enroll", name, "--from", "missing.wav", "--store", tmp_path / "people", code=2)
    assert run.err.startswith("earmark: name ")
    assert "\x1b" not in run.err
    assert not (tmp_path / "people").exists()


def test_a_store_that_cannot_be_written_ends_with_1(takes: Takes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    take = enrol_files(takes)[0]  # one is enough, and nothing is trained
    few = ("--from", take, "--min-takes", "1")
    run = earmark("enroll", NAME, *few, "--store", tmp_path / "file", "--json", code=1)
    assert run.out == ""
    assert "could not be saved in" in run.err
    assert "nothing was changed: make room or allow writing, and enrol again" in run.err


def test_people_are_listed_shown_and_removed(store: Path) -> None:
    assert earmark("people", "list", "--store", store).out == f"{NAME}  (okay_nabu)\n"
    assert earmark("people", "list", "--json", "--store", store).events == [{"name": NAME, "keywords": ["okay_nabu"]}]
    (shown,) = earmark("people", "show", NAME, "--json", "--store", store).events
    assert list(shown) == [
        "name",
        "keyword",
        "kind",
        "trainer",
        "threshold",
        "takes",
        "learned",
        "gate",
        "recordings",
        "encrypted",
        "versions",
        "report",
    ]
    assert (shown["takes"], shown["versions"]) == (5, [1])
    text = earmark("people", "show", NAME, "--store", store).out
    assert text.startswith(f"{NAME}: okay_nabu\n  takes       5, and 0 learned since; ")
    assert f"from {shown['threshold']:.2f} on" in text
    assert "0 of 5 rejected when left out (0 to 52 %)" in text
    (removed,) = earmark("people", "remove", NAME, "--json", "--store", store).events
    assert removed == {"removed": NAME, "versions": 1, "waiting": 0, "wakes": 0}
    assert snapshot(store) == {".lock": b""}
    run = earmark("people", "list", "--store", store)
    assert (run.out, run.err) == ("", f"nobody is enrolled in {store}: `earmark enroll NAME --store {store}`\n")


def test_an_unknown_person_ends_with_2(shared: Path) -> None:
    for what in ("show", "remove"):
        run = earmark("people", what, "nobody", "--json", "--store", shared, code=2)
        assert run.out == ""
        assert run.err.endswith(f"no person 'nobody' in {shared}: enrolled: {NAME}\n")


def damaged(store: Path) -> str:
    """Damages the person, and returns what must be said of it."""
    arrays = version_in(store) / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    return "the arrays' checksum does not hold; remove that folder to go back to the version before, or enrol again"


def of_another_network(store: Path) -> str:
    header = json.loads((version_in(store) / "header.json").read_text())
    forge(version_in(store), {"binding": {**header["binding"], "speaker": "0" * 64}})
    return (
        f"was enrolled with another speaker network (000000000000… instead of {header['binding']['speaker'][:12]}…)"
    )


@pytest.mark.parametrize("spoil", [damaged, of_another_network])
def test_a_person_who_cannot_be_used_ends_with_2(store: Path, takes: Takes, spoil: Any) -> None:
    says = spoil(store)
    file = takes("slt", "okay_nabu", "test")[0]
    for arguments in (["replay", "--json", file], ["listen", "-", "--json"]):
        run = earmark(*arguments, "--store", store, code=2)
        assert run.out == ""
        assert says in run.err
    run = earmark("doctor", "--json", "--store", store, code=1)
    (failed,) = (finding for finding in run.events if finding["state"] == "FAILED")
    assert failed["check"] == "person store"
    assert says in failed["detail"]
    assert earmark("people", "remove", NAME, "--store", store).err.startswith("nobody is enrolled in")


# --- doctor


def test_the_doctor_finds_nothing_here(shared: Path) -> None:
    run = earmark("doctor", "--json", "--store", shared)
    states = {finding["check"]: finding["state"] for finding in run.events}
    assert all(list(finding) == ["check", "state", "detail"] for finding in run.events)
    assert states.pop("microphones") in ("ok", "warning")
    assert set(states.values()) == {"ok"}
    assert set(states) >= {"versions", "speaker network", "head", "cohort", "keyword network alexa", "person store"}
    assert "person store" in earmark("doctor", "--store", shared).out


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the installed package, to be damaged; returns its folder."""
    spec = importlib.util.find_spec("earmark.engine")
    assert spec is not None
    assert spec.origin is not None
    return Path(shutil.copytree(Path(spec.origin).parents[1], tmp_path / "copy" / "earmark"))


def test_the_doctor_says_what_is_damaged_and_what_to_do(installed: Path, takes: Takes, shared: Path) -> None:
    models = installed / "models"
    head = bytearray((models / "head.tflite").read_bytes())
    head[len(head) // 2] ^= 1
    (models / "head.tflite").write_bytes(head)
    (models / "speaker.json").write_text("{")
    (models / "cohort.npz").unlink()
    env = environment(PYTHONPATH=str(installed.parent))
    run = earmark("doctor", "--json", "--store", shared, code=1, env=env)
    failed = {finding["check"]: finding["detail"] for finding in run.events if finding["state"] == "FAILED"}
    assert set(failed) == {"speaker network", "head", "cohort", "the whole path", "person store"}
    assert failed["head"].startswith(f"{models / 'head.tflite'}: sha256 is ")
    assert "card cannot be read" in failed["speaker network"]
    assert "No such file" in failed["cohort"]
    assert all(detail.endswith(": install earmark again") for detail in failed.values())
    assert earmark("doctor", "--store", shared, code=1, env=env).err == "earmark: 5 of the checks failed\n"

    shutil.copy(MODELS_DIR / "speaker.json", models)
    for arguments in (["replay", "--json", *takes("slt", "okay_nabu", "test")], ["listen", "-"]):
        run = earmark(*arguments, "--store", shared, code=1, env=env)
        assert run.out == ""
        assert run.err.endswith(": install earmark again\n")
