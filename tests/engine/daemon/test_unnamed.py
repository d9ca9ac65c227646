"""What systemd keeps names nobody, unless `log.names` says so."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import string
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Read, Takes
from helpers_store import command, environment
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.daemon import daemon as daemon_module
from earmark.engine.daemon.unnamed import PERSON, Names, Unnamed, is_journal
from earmark.engine.errors import InputError
from earmark.engine.event import Command, Event
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import Loaded
from earmark.engine.settings.schema import Log, People, Settings
from earmark.engine.storage.names import folder_name

LETTERS = st.sampled_from(string.ascii_letters + "äßéЖ日 .'\"\\-%+($[7")


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, socket.socket]]:
    """(what is written to, where it arrives), as systemd connects a service to the journal."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        found = os.fstat(ours.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield stream, theirs


def arrived(theirs: socket.socket) -> str:
    """All that was written; nobody writes any more."""
    theirs.setblocking(False)
    found = b""
    while True:
        try:
            more = theirs.recv(1 << 20)
        except BlockingIOError:
            return found.decode()
        if not more:
            return found.decode()
        found += more


def names(*people: str, shown: bool = False) -> Names:
    """Of a household whose settings have these people, and whose store is not there."""
    known = People(store="/nowhere", sensitivity_of=dict.fromkeys(people, 0.5))
    return Names(Settings(people=known, log=Log(names=shown)))


def test_a_confirmation_names_neither_whose_command_it_was_nor_who_woke_it() -> None:
    said = Event("confirmation", "okay_nabu", 0, 0.9, "Bob", 0.8, "changed", command=Command("Anna", 900))
    told = names("Anna", "Bob").of(said)
    assert (told.person, told.command) == (PERSON, Command(PERSON, 900))
    assert names("Anna", "Bob", shown=True).of(said) == said
    nobody = Event("confirmation", "okay_nabu", 0, 0.9, None, 0.2, "denied", command=Command("Anna", 900))
    assert names().of(nobody).command == Command(PERSON, 900)


@settings(max_examples=100)
@given(st.text(LETTERS, min_size=1, max_size=12).map(str.strip).filter(bool))
def test_a_name_is_hidden_however_a_message_quotes_it(name: str) -> None:
    try:
        folder = folder_name(name)
    except InputError:  # nobody can be called so
        return
    hidden = names(name)
    for composed in ("NFC", "NFD"):
        assert PERSON in hidden.hide(unicodedata.normalize(composed, name))
    for form in (name, repr(name), json.dumps(name), json.dumps(name, ensure_ascii=False), f"/{folder}/"):
        text = hidden.hide(f"\n{form}\n")
        assert PERSON in text
        assert set(text.replace(PERSON, "")) <= set("\n'\"/"), "what stands around it"


def test_the_longest_name_is_hidden_first_and_no_word_that_has_one_in_it() -> None:
    hidden = names("Anna", "Anna Maria")
    assert hidden.hide("Anna Maria, Anna and Annabel") == f"{PERSON}, {PERSON} and Annabel"
    assert hidden.hide("anna_1 and Anna_1.wav") == f"anna_1 and {PERSON}_1.wav"
    assert hidden.counted(["Anna"]) == "1 person"
    assert hidden.counted(["Anna", "Anna Maria"]) == "2 people"
    assert hidden.counted([]) == "nobody"


def test_a_setting_brings_the_names_back() -> None:
    shown = names("Anna", "Bob", shown=True)
    assert shown.hide("Anna") == "Anna"
    assert shown.counted(["Anna", "Bob"]) == "Anna, Bob"


def test_only_what_goes_to_the_journal_is_one(journal: tuple[Any, socket.socket], tmp_path: Path) -> None:
    stream, _ = journal
    assert is_journal(stream, os.environ)
    assert not is_journal(stream, {}), "somebody else's socket"
    with (tmp_path / "log").open("w") as file:
        assert not is_journal(file, os.environ), "a program behind a pipe, or a file, wants to know"
    assert not is_journal(None, os.environ)
    assert not is_journal(io.StringIO(), os.environ)


def test_the_stream_writes_lines_without_names() -> None:
    behind = io.StringIO()
    stream: Any = Unnamed(behind, names("Anna"))
    assert stream.write("Anna is here\n") == 13
    stream.writelines(["Anna", "\n"])
    assert stream.getvalue() == f"{PERSON} is here\n{PERSON}\n"


def test_a_failure_that_nobody_expected_names_nobody_either(
    journal: tuple[Any, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, theirs = journal

    class Failing:
        def __init__(self, *_: object) -> None:
            raise RuntimeError("/var/lib/earmark/people/anna")

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(daemon_module, "Daemon", Failing)
    loaded = Loaded(Settings(people=People(sensitivity_of={"anna": 0.5})), None, {})
    assert daemon_module.listen(SimpleNamespace(loaded=loaded)) == 1  # type: ignore[arg-type]
    sys.stderr.close()
    said = arrived(theirs)
    assert "Traceback" in said
    assert f"RuntimeError: /var/lib/earmark/people/{PERSON}" in said


@pytest.mark.slow
@pytest.mark.parametrize("shown", [False, True], ids=["by default", "log.names"])
def test_the_journal_of_the_system_learns_no_name(
    tmp_path: Path, slt: Voiceprint, takes: Takes, read: Read, shown: bool
) -> None:
    """The real daemon as systemd starts it: somebody is heard, and somebody else's file is damaged."""
    PersonStore(tmp_path).save(slt)
    (tmp_path / "bertha" / "okay_nabu" / "0001").mkdir(parents=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(ours.fileno())
        told = environment(JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
        line = command("listen", "-", "-v", "--json", "--store", tmp_path, "--set", f"log.names={str(shown).lower()}")
        sound = read(takes("slt", "okay_nabu", "test")[0]).astype("<i2").tobytes() + bytes(32_000)
        with subprocess.Popen(
            line, env=told, stdin=subprocess.PIPE, stdout=ours.fileno(), stderr=ours.fileno()
        ) as daemon:
            daemon.communicate(sound, timeout=60)
        said = arrived(theirs)
    assert daemon.returncode == 0, said
    (event,) = (json.loads(each) for each in said.splitlines() if each.startswith("{"))
    assert (event["type"], event["person"]) == ("detection", "slt" if shown else PERSON)
    assert ("slt" in said, "bertha" in said) == (shown, shown)
    assert "cannot be read" in said, "the fault itself is told"
