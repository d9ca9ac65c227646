"""Which networks are opened: those that are known, and those that a process of its own has survived."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from helpers_store import earmark
from model_mutants import KILLED, judge, mutants

from earmark.engine.errors import KeywordError, ModelError
from earmark.engine.networks import admission, card, runtime, trial
from earmark.engine.networks.admission import PINNED
from earmark.engine.networks.card import MODELS_DIR, builtin_keywords, load_card, load_manifest, read_model
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.storage.user_folders import networks_folder

TINY = REPOSITORY / "tests" / "models"


@pytest.fixture
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest of a network that nobody knows, and nobody remembers."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(admission, "PASSED", set())
    for path in (builtin_keywords()["alexa"], builtin_keywords()["alexa"].with_suffix(".tflite")):
        shutil.copy(path, tmp_path)
    with (tmp_path / "alexa.tflite").open("ab") as file:
        file.write(b"\0\0\0\0")  # behind the end of what is read: the same network by another checksum
    return tmp_path / "alexa.json"


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks that are tried."""
    tried: list[str] = []
    run = admission._try

    def counted(content: bytes, name: str, kind: str) -> None:
        tried.append(Path(name).name)
        run(content, name, kind)

    monkeypatch.setattr(admission, "_try", counted)
    return tried


def test_every_network_that_ships_and_that_the_package_carries_is_pinned() -> None:
    shipped = [load_card(name).sha256 for name in ("speaker", "head", "block", "phrase", "phrase_head")]
    packaged = [load_manifest(name).model_sha256 for name in builtin_keywords()]
    assert sorted(PINNED) == sorted([*shipped, *packaged])


def test_what_is_pinned_is_opened_without_a_trial(trials: list[str]) -> None:
    for name in builtin_keywords():
        KeywordNetwork(name)
    SpeakerNetwork()
    SpeakerHead()
    assert trials == []


def test_a_network_from_elsewhere_is_tried_once_for_all_processes(unknown: Path, trials: list[str]) -> None:
    for _ in range(2):
        KeywordNetwork(unknown)
    assert trials == ["alexa.tflite"]
    admission.PASSED.clear()  # as in another process
    KeywordNetwork(unknown)
    assert trials == ["alexa.tflite"]
    (record,) = networks_folder().iterdir()
    assert (record.stat().st_mode & 0o777, networks_folder().stat().st_mode & 0o777) == (0o600, 0o700)
    assert load_manifest(unknown).model_sha256 in record.name


def test_nothing_but_a_file_of_ones_own_is_believed_to_be_such_a_memory(unknown: Path, trials: list[str]) -> None:
    KeywordNetwork(unknown)
    (record,) = networks_folder().iterdir()
    record.unlink()
    record.symlink_to("/dev/null")
    admission.PASSED.clear()
    KeywordNetwork(unknown)
    record.unlink()
    record.mkdir()
    admission.PASSED.clear()
    KeywordNetwork(unknown)
    assert trials == ["alexa.tflite"] * 3


def test_where_nothing_can_be_remembered_it_is_tried_each_time(
    unknown: Path, trials: list[str], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("no folder")
    for _ in range(2):
        admission.PASSED.clear()
        KeywordNetwork(unknown)
    assert trials == ["alexa.tflite"] * 2


@pytest.mark.parametrize(("name", "network"), [("speaker", SpeakerNetwork), ("head", SpeakerHead)])
@pytest.mark.usefixtures("unknown")
def test_networks_of_ones_own_are_tried_too(trials: list[str], name: str, network: Any) -> None:
    network(TINY)
    network(TINY)
    assert trials == [f"{name}.tflite"]


DYING = """
import os, signal, sys
{}
"""


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "was ended by SIGSEGV: it is damaged or made to harm, and is not used",
        ),
        ("os.kill(os.getpid(), 64)", "was ended by signal 64|SIGRTMAX"),
        ("sys.exit('what the runtime says')", "what the runtime says"),
        ("sys.exit(7)", "trying this network ended with code 7"),
        ("signal.pause()", "longer than 0.5 s: it is not used"),
    ],
)
def test_a_network_that_ends_or_holds_the_process_that_tries_it_is_refused(
    unknown: Path, monkeypatch: pytest.MonkeyPatch, does: str, says: str
) -> None:
    monkeypatch.setattr(
        "earmark.engine.processes.own.own_command", lambda *_: [sys.executable, "-c", DYING.format(does)]
    )
    monkeypatch.setattr(admission, "TRIAL_S", 0.5 if "pause" in does else 30)
    with pytest.raises(KeywordError, match=says):
        KeywordNetwork(unknown)
    assert not networks_folder().exists()


def test_the_trial_has_limits_of_time_and_memory() -> None:
    program = (
        "import resource\nfrom earmark.engine.networks import trial\ntrial.limit()\n"
        "print([resource.getrlimit(getattr(resource, f'RLIMIT_{name}')) for name in ('CPU', 'CORE', 'FSIZE')])\n"
        "try:\n    bytearray(1 << 30)\nexcept MemoryError:\n    print('no memory')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[(20, 20), (0, 0), (0, 0)]", "no memory"]


def test_mutants_of_networks_never_end_the_daemon() -> None:
    """scripts/studies/harmful_networks.py tries 10,000; of such, 109 in 2,069 did before networks were looked at."""
    frames = np.random.default_rng(0).uniform(0, 26, (200, 40)).astype(np.float32)
    sources = [(builtin_keywords()[name].with_suffix(".tflite"), "keyword") for name in builtin_keywords()]
    sources += [(TINY / "speaker.tflite", "speaker"), (TINY / "head.tflite", "head")]
    outcomes = [
        judge(mutant, kind, frames)
        for number, (path, kind) in enumerate(sources)
        for mutant in mutants(path.read_bytes(), 15, seed=100 + number)
    ]
    assert outcomes.count(KILLED) == 0
    assert len(set(outcomes)) >= 3


# --- where a manifest may point


def test_a_manifest_points_to_a_plain_file_beside_it_and_nowhere_else(tmp_path: Path) -> None:
    manifest, model = tmp_path / "models" / "word.json", tmp_path / "models" / "word.tflite"
    manifest.parent.mkdir()
    values = json.loads(builtin_keywords()["alexa"].read_text("utf-8"))
    shutil.copy(builtin_keywords()["alexa"].with_suffix(".tflite"), model)
    shutil.copy(model, tmp_path / "outside.tflite")
    (manifest.parent / "link.tflite").symlink_to(tmp_path / "outside.tflite")
    (manifest.parent / "near.tflite").symlink_to("word.tflite")
    os.mkfifo(manifest.parent / "pipe.tflite")
    with (manifest.parent / "large.tflite").open("wb") as file:
        file.truncate(card.MOST_MODEL_BYTES + 1)

    def sha256_of(name: str) -> str:
        manifest.write_text(json.dumps({**values, "model": name}), "utf-8")
        return load_manifest(manifest).model_sha256

    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    assert {sha256_of(name) for name in ("word.tflite", "./word.tflite", "near.tflite")} == {expected}
    for name in (
        "../outside.tflite",
        str(tmp_path / "outside.tflite"),
        "/dev/zero",
        "../../etc/shadow",
        "x/../word.tflite",
    ):
        with pytest.raises(KeywordError, match="it must be the name of a file beside it"):
            sha256_of(name)
    for name, says in (
        ("link.tflite", "link out of its folder"),
        ("pipe.tflite", "not a file"),
        (".", "not a file"),
        ("large.tflite", "larger than"),
    ):
        with pytest.raises(KeywordError, match=says):
            sha256_of(name)


@pytest.mark.parametrize("path", ["/dev/zero", "pipe.json", "large.json"])
def test_a_manifest_is_a_small_plain_file_itself(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "large.json").write_bytes(b" " * (card.MOST_TEXT_BYTES + 1))
    with pytest.raises(KeywordError, match=r"the manifest cannot be read: .* (is not a file|is larger than)"):
        load_manifest(tmp_path / path)


@pytest.mark.parametrize("file", ["../speaker.tflite", "/dev/zero"])
def test_a_card_points_beside_itself_too(tmp_path: Path, file: str) -> None:
    values = json.loads((MODELS_DIR / "speaker.json").read_text("utf-8"))
    (tmp_path / "speaker.json").write_text(json.dumps({**values, "file": file}), "utf-8")
    with pytest.raises(ModelError, match="it must be the name of a file beside it"):
        read_model(load_card("speaker", tmp_path), tmp_path)


def test_settings_check_tries_the_networks_that_the_settings_name(unknown: Path, tmp_path: Path) -> None:
    content = bytearray(unknown.with_suffix(".tflite").read_bytes())
    content[4:8] = b"TFL2"
    unknown.with_suffix(".tflite").write_bytes(content)
    file = tmp_path / "earmark.toml"
    file.write_text(f"wake.keywords = ['{unknown}']\n")
    run = earmark("settings", "check", file, code=2)
    assert "alexa.tflite: not a TensorFlow Lite file" in run.err
    models = tmp_path / "models"
    shutil.copytree(TINY, models)
    (models / "speaker.tflite").write_bytes(content)
    file.write_text(f"people.models = '{models}'\n")
    assert "sha256 is" in earmark("settings", "check", file, code=1).err


def test_a_speaker_network_is_tried_in_every_way_it_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: set[bool] = set()
    open_model = runtime.open_model

    def noted(model: runtime.Model, delegate: bool) -> runtime.Interpreter:
        opened.add(delegate)
        return open_model(model, delegate)

    monkeypatch.setattr(runtime, "open_model", noted)
    trial.try_network((TINY / "speaker.tflite").read_bytes(), "tiny", trial.SPEAKER)
    assert opened == {runtime.uses_delegate("on"), runtime.uses_delegate("off")}


def test_only_admission_and_the_trial_make_what_the_runtime_opens() -> None:
    makers = {
        path.relative_to(REPOSITORY).as_posix()
        for room in ("engine", "enroll")
        for path in (REPOSITORY / room).rglob("*.py")
        if "runtime.Model(" in path.read_text("utf-8")
    }
    assert makers == {"engine/networks/admission.py", "engine/networks/trial.py"}


def test_an_editable_installation_reads_models_through_its_links(tmp_path: Path) -> None:
    """Its packages are folders of links into the repository, cards and models alike."""
    for name in ("speaker.json", "speaker.tflite"):
        (tmp_path / name).symlink_to(MODELS_DIR / name)
    assert read_model(load_card("speaker", tmp_path), tmp_path) == (MODELS_DIR / "speaker.tflite").read_bytes()
