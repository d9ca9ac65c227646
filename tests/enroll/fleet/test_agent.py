"""The agent: one call, which gives a clipped and noised change that was booked before, and nothing of anybody."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import DaemonError, FleetError
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.enroll.enrolment import Enroller
from earmark.enroll.fleet import agent as agents
from earmark.enroll.fleet import asking, privacy
from earmark.enroll.fleet.agent import Agent, Terms
from earmark.enroll.fleet.consent import Consent
from earmark.enroll.fleet.contribution import change
from earmark.enroll.fleet.ledger import Entry, Ledger


@pytest.fixture(scope="module")
def start(enroller: Enroller) -> Float32:
    found = enroller.head.start()
    assert found is not None
    return found[0]


class Home:
    """One person, who has consented or not."""

    def __init__(self, folder: Path, person: Voiceprint, enroller: Enroller, terms: Terms) -> None:
        self.store = PersonStore(folder / "people")
        self.store.save(person)
        self.consent = Consent(folder / "fleet" / "consent.json")
        self.ledger = Ledger(folder / "fleet" / "ledger.json", terms.epsilon_year)
        self.agent = Agent(self.store, self.consent, self.ledger, enroller, terms)

    def ask(self, **request: object) -> dict[str, Any]:
        return self.say(json.dumps(request).encode())

    def say(self, line: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.agent.answer(line + b"\n"))
        return answer

    def change(self, start: Float32, name: str = "1") -> dict[str, Any]:
        return self.ask(call="change", round=name, start=encoded(start))


def encoded(start: Float32) -> str:
    return base64.b64encode(start.astype("<f4").tobytes()).decode()


def decoded(answer: dict[str, Any], shape: tuple[int, ...]) -> Float32:
    return np.frombuffer(base64.b64decode(answer["change"]), "<f4").reshape(shape)


@pytest.fixture
def home(tmp_path: Path, slt: Voiceprint, enroller: Enroller) -> Home:
    made = Home(tmp_path, slt, enroller, Terms(clip=0.5, epsilon_round=2.0, epsilon_year=2.5))
    made.consent.change("slt", True, made.store)
    return made


def test_nobody_takes_part_who_has_not_consented(
    tmp_path: Path, slt: Voiceprint, enroller: Enroller, start: Float32
) -> None:
    home = Home(tmp_path, slt, enroller, Terms())
    assert "`earmark fleet consent NAME`" in home.change(start)["error"]
    assert home.ledger.entries() == []
    home.consent.change("slt", True, home.store)
    assert "change" in home.change(start)
    home.consent.change("slt", False, home.store)
    assert "error" in home.change(start, "2")


def test_what_leaves_is_the_clipped_change_with_the_booked_noise(
    home: Home, enroller: Enroller, slt: Voiceprint, start: Float32
) -> None:
    sent = decoded(home.change(start), start.shape)
    (entry,) = home.ledger.entries()
    true = change(enroller, [slt], start)
    assert true is not None
    assert np.linalg.norm(true) > 0.5  # else nothing would be clipped here
    noise = sent - privacy.clipped(true, 0.5)
    assert noise.std() == pytest.approx(entry.deviation, rel=0.03)
    assert abs(float(noise.mean())) < 5 * entry.deviation / np.sqrt(noise.size)
    assert privacy.epsilon(privacy.mu_of(entry.clip, entry.deviation)) == pytest.approx(2.0, rel=1e-6)
    assert (entry.people, entry.size_bytes, entry.round) == (1, 4 * start.size, "1")
    assert entry.start_sha256 == hashlib.sha256(start.astype("<f4").tobytes()).hexdigest()


def test_no_more_of_a_change_leaves_than_its_clipped_part(
    tmp_path: Path, enroller: Enroller, slt: Voiceprint, start: Float32
) -> None:
    """Along the true change, with as little noise as the terms can have."""
    home = Home(tmp_path, slt, enroller, Terms(clip=0.5, epsilon_round=400.0, epsilon_year=499.0))
    home.consent.change("slt", True, home.store)
    sent = decoded(home.change(start), start.shape)
    (entry,) = home.ledger.entries()
    true = change(enroller, [slt], start)
    assert true is not None
    length = float(np.linalg.norm(true))
    assert length > 0.5 + 8 * entry.deviation
    assert float(np.sum(sent * true)) / length == pytest.approx(0.5, abs=6 * entry.deviation)


def test_the_change_makes_the_person_be_told_better(enroller: Enroller, slt: Voiceprint, start: Float32) -> None:
    moved = change(enroller, [slt], start)
    assert moved is not None

    def own_loss(numbers: Float32) -> float:
        rows = (slt.takes - slt.takes.mean(axis=0)) @ numbers
        return float(np.linalg.norm(rows) / np.linalg.norm(slt.takes @ numbers))

    assert own_loss(start + moved) < own_loss(start)


def test_who_asks_again_in_a_round_is_told_the_same_and_pays_once(home: Home, start: Float32) -> None:
    assert home.change(start) == home.change(start)
    assert len(home.ledger.entries()) == 1


def test_beyond_the_years_budget_nothing_leaves(home: Home, start: Float32) -> None:
    assert "change" in home.change(start)
    answer = home.change(start, "2")
    assert "the year's budget of ε 2.5 is spent: nothing leaves this device" in answer["error"]
    assert len(home.ledger.entries()) == 1


def test_a_ledger_that_is_damaged_lets_nothing_out(home: Home, start: Float32, tmp_path: Path) -> None:
    home.change(start)
    file = tmp_path / "fleet" / "ledger.json"
    file.write_text(file.read_text().replace('"mu"', '"nu"'))
    answer = home.change(start, "2")
    assert "the ledger cannot be used" in answer["error"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"takes",
        b"[]",
        b"null",
        b'"change"',
        b"[" * 100_000,
        b'{"call": "takes"}',
        b'{"call": "embeddings", "person": "slt"}',
        b'{"call": "weights", "person": "slt"}',
        b'{"call": "people"}',
        b'{"call": "status"}',
        b'{"call": "ledger"}',
        b'{"call": "consent", "name": "rms"}',
        b'{"call": ["change"], "round": "1", "start": ""}',
        b'{"call": "change", "round": "1"}',
        b'{"call": "change", "round": "1", "start": "", "clip": "1000"}',
        b'{"call": "change", "round": "1", "start": "", "epsilon": "400"}',
        b'{"call": "change", "round": "1", "start": "", "person": "slt"}',
        b'{"call": "change", "round": "../../people/slt", "start": "!"}',
        b'{"call": "change", "round": "", "start": ""}',
        b'{"call": "change", "round": "\\u001b[2J", "start": ""}',
        b'{"call": "change", "round": 1, "start": ""}',
        b"\xff\xfe\x00",
    ],
)
def test_there_is_no_other_call(home: Home, line: bytes) -> None:
    """Neither takes nor embeddings, weights, names or the ledger; nor terms of the server's own."""
    answer = home.say(line)
    assert set(answer) == {"error"}
    assert "slt" not in answer["error"]
    assert home.ledger.entries() == []


def test_a_person_who_cannot_be_read_is_named_in_the_log_and_not_to_the_asker(
    home: Home, start: Float32, caplog: pytest.LogCaptureFixture
) -> None:
    (header,) = home.store.folder.rglob("header.json")
    header.write_bytes(header.read_bytes()[:-20])
    assert home.change(start) == {"error": "this home cannot answer: its agent's log says why"}
    assert "slt" in caplog.text
    assert home.ledger.entries() == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda start: start[:-1], "it is of another model"),
        (lambda start: np.where(start == start[0, 0], np.nan, start), "numbers that are none"),
        (lambda start: start + np.float32(np.inf), "numbers that are none"),
        (lambda start: start * 1000, "beyond ±100"),
    ],
)
def test_a_start_that_is_none_is_refused(home: Home, start: Float32, spoil: Any, said: str) -> None:
    before = sorted((path, path.read_bytes()) for path in home.store.folder.rglob("*") if path.is_file())
    assert said in home.change(spoil(start).astype(np.float32))["error"]
    assert home.ledger.entries() == []
    assert sorted((path, path.read_bytes()) for path in home.store.folder.rglob("*") if path.is_file()) == before


def test_who_was_erased_takes_no_part_and_has_to_consent_again(home: Home, slt: Voiceprint) -> None:
    home.store.remove("slt")
    assert home.consent.of(home.store) == []
    home.store.save(slt)
    assert home.consent.of(home.store) == []


def test_the_socket_answers_one_request_a_connection(home: Home, tmp_path: Path, start: Float32) -> None:
    path = tmp_path / "run" / "agent.sock"
    server = agents.serve(path, home.agent, group_may=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        asking.require_agent(path)
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(DaemonError, match="another agent answers there"):
            agents.serve(path, home.agent, group_may=False)
        request = {"call": "change", "round": "1", "start": encoded(start)}
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(client.makefile("rb").readline())
        assert decoded(answer, start.shape).shape == start.shape
        with socket.socket(socket.AF_UNIX) as client:  # more than any request has
            client.connect(str(path))
            with pytest.raises(OSError, match=r"(?i)pipe|reset"):
                client.sendall(bytes(8_000_000))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_socket_that_nobody_answers_any_more_is_replaced(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(DaemonError, match="start `earmark fleet agent`, or name its socket with --socket"):
        asking.require_agent(path)
    server = agents.serve(path, home.agent, group_may=True)
    try:
        assert path.stat().st_mode & 0o777 == 0o660
    finally:
        server.server_close()


def test_the_ledger_forgets_a_round_after_a_year_and_not_before(tmp_path: Path) -> None:
    now = 1.8e9
    ledger = Ledger(tmp_path / "ledger.json", 2.5, lambda: now)
    mu = privacy.mu_for(2.0)

    def entry(at_s: float) -> Entry:
        return Entry(at_s, "1", "00", mu, 1.0, 2 / mu, 1, 4)

    ledger.write(entry(now))
    assert ledger.spent() == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(FleetError, match="over it: nothing left this device"):
        ledger.write(entry(now))
    now += 364 * 24 * 3600
    assert not ledger.left(mu)
    now -= 400 * 24 * 3600  # a clock that was set back: what lies in the future counts
    assert not ledger.left(mu)
    now += 402 * 24 * 3600
    assert ledger.left(mu)
    assert len(ledger.entries()) == 1


def test_the_files_of_the_agent_are_their_owners_alone(home: Home, start: Float32, tmp_path: Path) -> None:
    home.change(start)
    for path in (tmp_path / "fleet").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.stat().st_uid == os.geteuid()
