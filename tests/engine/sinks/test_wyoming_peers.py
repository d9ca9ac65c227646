"""Peers of the Wyoming service who mean harm: who is silent, too fast, too many, a stranger, or not allowed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import Takes
from live import LIMIT_S, may_be_cut_off
from sink_control import SinkControl
from sound_server import until

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import SettingsError
from earmark.engine.event import Event
from earmark.engine.household import load_household
from earmark.engine.listener import Voices
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Wyoming
from earmark.engine.sinks import peers
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.wyoming import sink as wyoming
from earmark.engine.sinks.wyoming import tls
from earmark.engine.sinks.wyoming.client import Client
from earmark.engine.sinks.wyoming.sink import WyomingSink

pytestmark = pytest.mark.slow

PAUSE = np.zeros(3 * RATE_HZ // 2, np.int16)
PING = b'{"type": "ping"}\n'

Serve = Callable[..., "Served"]


class Served:
    """A running service, and what it is asked."""

    def __init__(self, control: SinkControl, port: int) -> None:
        self.control, self.port = control, port

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LIMIT_S, source_address=(source, 0))

    def answers(self, source: str = "127.0.0.1") -> bool:
        with contextlib.suppress(OSError), self.connect(source) as connection:
            connection.sendall(PING)
            return connection.recv(1) == b"{"
        return False

    def say(self, samples: Int16, source: str = "127.0.0.1") -> bytes:
        """What is answered to a whole stream."""
        with self.connect(source) as connection, may_be_cut_off():
            connection.sendall(chunk(samples) + b'{"type": "audio-stop"}\n')
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)
        return b""


def chunk(samples: Int16) -> bytes:
    """As many events as it takes."""
    pieces = [samples[start : start + 100_000].tobytes() for start in range(0, len(samples), 100_000)]
    data = {"rate": RATE_HZ, "width": 2, "channels": 1}
    headers = [{"type": "audio-chunk", "data": data, "payload_length": len(piece)} for piece in pieces]
    return b"".join(json.dumps(header).encode() + b"\n" + piece for header, piece in zip(headers, pieces))


def read_all(connection: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            got += piece
    return got


@pytest.fixture
def serve(slt: Voiceprint, tmp_path: Path) -> Iterator[Serve]:
    """Starts a service with settings."""
    PersonStore(tmp_path / "people").save(slt)
    running: list[WyomingSink] = []

    def start(control: dict[str, str] | None = None, **settings: Any) -> Served:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        flags = {"people.store": str(tmp_path / "people"), **(control or {})}
        asked = SinkControl(load_household(load(environment={"EARMARK_SETTINGS": ""}, flags=flags).settings))
        sink = WyomingSink(Wyoming(uris=(f"tcp://127.0.0.1:{port}",), **settings), asked)
        sink.check()
        sink.open()
        running.append(sink)
        return Served(asked, port)

    yield start
    for sink in running:
        sink.close()


@pytest.fixture(scope="module")
def word(takes: Takes) -> dict[str, Int16]:
    """voice -> "okay nabu", with a pause behind it."""
    found = {voice: read_audio(takes(voice, "okay_nabu", "test")[0]) for voice in ("slt", "awb")}
    return {voice: np.concatenate([samples, PAUSE]) for voice, samples in found.items()}


def test_who_is_silent_gives_way_to_who_comes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 silent connections shut Home Assistant out for good."""
    served = serve(clients=4)
    with contextlib.ExitStack() as stack:
        silent = []
        for source in ("127.0.0.1", "127.0.0.3") * 2:
            connection = stack.enter_context(served.connect(source))
            connection.sendall(PING)
            assert connection.recv(1) == b"{"
            silent.append(connection)
        assert not served.answers("127.0.0.2"), "not before they have been silent for a while"
        monkeypatch.setattr(wyoming, "ENOUGH_S", 0.0)
        newcomer = stack.enter_context(served.connect("127.0.0.2"))
        newcomer.sendall(PING)
        assert newcomer.recv(1) == b"{"
        assert read_all(silent[0]).count(b"pong") <= 1, "the oldest was cut off"
        assert served.control.stats.total("clients", server="wyoming") == 0, "none has sent audio"


def test_who_only_asks_what_there_is_is_no_line_in_the_log_and_not_counted(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Home Assistant does, every 30 seconds, by a new connection."""
    caplog.set_level("INFO")
    served = serve()
    for _ in range(3):
        with served.connect() as connection:
            connection.sendall(b'{"type": "describe"}\n')
            connection.shutdown(socket.SHUT_WR)
            assert b'"info"' in read_all(connection)
    assert not [record for record in caplog.records if "wyoming" in record.name]
    served.say(PAUSE)
    assert served.control.stats.total("clients", server="wyoming") == 1
    assert caplog.text.count("sends audio") == 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [({}, "earmark"), ({"mqtt.name": "Kitchen"}, "Kitchen"), ({"mqtt.name": "x", "wyoming.name": "Bath"}, "Bath")],
)
def test_two_services_can_be_told_from_each_other(serve: Serve, settings: dict[str, str], name: str) -> None:
    served = serve(settings)
    with served.connect() as connection:
        connection.sendall(b'{"type": "describe"}\n')
        connection.shutdown(socket.SHUT_WR)
        _, info = read_all(connection).split(b"\n", 1)
    assert [program["name"] for program in json.loads(info)["wake"]] == [name]


@pytest.mark.parametrize(
    ("peer", "source"), [("", "mic"), ("192.168.1.20", "192.168.1.20"), ("fd00::1", "fd00::1"), ("unix", "unix")]
)
def test_the_source_of_an_event_is_the_same_at_the_next_connection(peer: str, source: str) -> None:
    event = Event("rejection", "okay_nabu", 1000, 0.9, None, 0.1, "unknown_voice")
    assert Notice(event, "wyoming:192.168.1.20:47228", 0.0, peer=peer).to_json()["source"] == source


def test_no_address_holds_more_than_half_where_another_one_comes(serve: Serve) -> None:
    served = serve(clients=4)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(served.connect("127.0.0.1"))
            connection.sendall(chunk(PAUSE) + PING)
            assert connection.recv(1) == b"{"
        for _ in range(2):
            friend = stack.enter_context(served.connect("127.0.0.2"))
            friend.sendall(PING)
            assert friend.recv(1) == b"{"
        assert not served.answers("127.0.0.1"), "half of the places are held by each"
        assert not served.answers("127.0.0.2")


def test_who_is_trusted_always_finds_a_place(serve: Serve) -> None:
    """Though all of them are taken, by many addresses that all speak."""
    served = serve(clients=4, trusted=("127.0.0.9",))
    with contextlib.ExitStack() as stack:
        connections = []
        for source in ("127.0.0.1", "127.0.0.2") * 2:
            connections.append(stack.enter_context(served.connect(source)))
            connections[-1].sendall(PING)
            assert connections[-1].recv(1) == b"{"
        for _ in range(3):
            friend = stack.enter_context(served.connect("127.0.0.9"))
            friend.sendall(PING)
            assert friend.recv(1) == b"{"
            connections.append(friend)
        assert not served.answers("127.0.0.3"), "who is not trusted finds none"
        friend.sendall(PING)
        assert b"pong" in friend.recv(1000)


def test_only_who_is_allowed_is_served(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(allow=("127.0.0.2", "192.168.0.0/16"))
    assert not served.answers("127.0.0.1")
    assert served.answers("127.0.0.2")
    assert not served.answers("127.0.0.3")
    until(lambda: "127.0.0.1 is not in wyoming.allow" in caplog.text, "it is said")


def test_what_a_peer_heard_is_trusted_only_where_the_settings_say_so(
    serve: Serve, word: dict[str, Int16], caplog: pytest.LogCaptureFixture
) -> None:
    served = serve({"hook.command": "true"}, trusted=("127.0.0.1",))
    for source in ("127.0.0.1", "127.0.0.2"):
        assert b'"detection"' in served.say(word["slt"], source)
    assert [(notice.peer, notice.trusted) for notice in served.control.notices] == [
        ("127.0.0.1", True),
        ("127.0.0.2", False),
    ]
    assert caplog.text.count("127.0.0.2 is not in wyoming.trusted: its wakes run no hook") == 1


def test_who_tries_voice_after_voice_is_locked_out(
    serve: Serve, word: dict[str, Int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "REJECTIONS", 3.0)
    served = serve(trusted=("127.0.0.2",))
    stranger = np.concatenate([word["awb"]] * 6)
    assert b"detection" not in served.say(stranger, "127.0.0.1")
    assert len(served.control.notices) == 4, "three, and the one that was one too many"
    assert not served.answers("127.0.0.1")
    assert served.say(word["slt"], "127.0.0.1") == b""
    served.say(stranger, "127.0.0.2")
    assert len(served.control.notices) == 4 + 6, "who is trusted is not"
    assert served.answers("127.0.0.2")


def test_of_a_flood_of_wakes_only_so_many_are_passed_on(
    serve: Serve, word: dict[str, Int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "EVENTS", 2.0)
    monkeypatch.setattr(peers, "EVENTS_A_SECOND", 1e-6)
    served = serve(trusted=())
    answers = served.say(np.concatenate([word["slt"]] * 5))
    assert answers.count(b'"type": "detection"') == 5, "the client itself is answered"
    assert len(served.control.notices) == 2
    assert served.control.stats.total("limited", server="wyoming") == 3


def test_audio_that_is_faster_than_time_has_to_wait(
    serve: Serve, word: dict[str, Int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    owed: list[float] = []

    def counted(_: peers.Bucket, amount: float, now_s: float) -> float:
        owed.append(amount)
        return 0.001 if now_s else 0.0

    monkeypatch.setattr(peers.Bucket, "owe", counted)
    served = serve(trusted=())
    assert b"detection" in served.say(word["slt"])
    samples = [amount for amount in owed if amount != 1]  # those are events
    assert sum(samples) == len(word["slt"]), "every sample is counted, and waited for"


# --- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two keys with certificates that they have signed themselves."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("good", "other"):
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run([*make, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    return {path.name: path for path in folder.iterdir()}


def test_with_mutual_tls_only_who_has_a_signed_certificate_is_served(
    serve: Serve, certificates: dict[str, Path]
) -> None:
    good, key = str(certificates["good.pem"]), str(certificates["good.key"])
    served = serve(tls_certificate=good, tls_key=key, tls_clients=good)

    def answers(name: str | None) -> bool:
        context = ssl.create_default_context(cafile=good)
        if name is not None:
            context.load_cert_chain(str(certificates[f"{name}.pem"]), str(certificates[f"{name}.key"]))
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            plain = stack.enter_context(served.connect())
            connection = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
            connection.sendall(PING)
            return connection.recv(1) == b"{"
        return False

    assert [answers(name) for name in ("good", "other", None)] == [True, False, False]
    with served.connect() as plain:
        plain.sendall(PING)
        assert b"pong" not in read_all(plain)


def test_who_connects_and_never_says_who_he_is_holds_no_more_than_a_few_places(
    serve: Serve, certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a descriptor of the process until its handshake is over; whom the settings trust still gets in."""
    monkeypatch.setattr(tls, "MOST_PROVING", 4)
    monkeypatch.setattr(tls, "HANDSHAKE_S", LIMIT_S)
    good = str(certificates["good.pem"])
    key, friends = str(certificates["good.key"]), ("127.0.0.1",)
    served = serve(tls_certificate=good, tls_key=key, allow=("127.0.0.0/29",), trusted=friends)
    context = ssl.create_default_context(cafile=good)
    with contextlib.ExitStack() as stack:
        early = stack.enter_context(served.connect("127.0.0.1"))  # trusted, and slow
        silent = [stack.enter_context(served.connect(f"127.0.0.{2 + number % 5}")) for number in range(25)]
        stranger = stack.enter_context(served.connect("127.0.0.9"))
        assert stranger.recv(1) == b"", "who is not allowed has no handshake"
        until(lambda: sum(map(is_ended, silent)) == 25 - 3, "all but three are gone", LIMIT_S)
        greedy = [stack.enter_context(served.connect("127.0.0.2")) for _ in range(5)]
        until(lambda: all(map(is_ended, greedy)), "who has as many as the others is turned away", LIMIT_S)
        for plain in (early, stack.enter_context(served.connect())):
            connection = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
            connection.sendall(PING)
            assert connection.recv(1) == b"{"


def is_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended it; what comes behind it has been taken meanwhile."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_certificates_that_cannot_be_used_are_refused(serve: Serve, certificates: dict[str, Path]) -> None:
    good = str(certificates["good.pem"])
    for settings in (
        {"tls_certificate": "/nowhere"},
        {"tls_certificate": good},
        {"tls_certificate": good, "tls_key": str(certificates["other.key"])},
        {"tls_clients": good},
    ):
        with pytest.raises(SettingsError, match=r"wyoming\.tls_"):
            serve(**settings)


@pytest.mark.parametrize("event", [b'{"type": "x"}\n', PING, b'{"type": "audio-stop"}\n'])
@pytest.mark.parametrize("trusted", [False, True])
def test_after_each_event_it_is_the_others_turn(event: bytes, trusted: bool) -> None:
    """Also where a thousand are buffered, of which none makes the reader wait."""
    events, turns = 200, 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        loop = asyncio.get_running_loop()
        service = SimpleNamespace(name="wyoming", loop=loop, is_trusted=lambda *_: trusted, say_cut_off=pytest.fail)
        client = Client(cast(Any, service), reader, writer, cast(Any, None), Voices(), peers.Peers())
        task = loop.create_task(others())
        reader.feed_data(event * events)
        reader.feed_eof()
        await client.run()
        task.cancel()
        far.close()

    asyncio.run(main())
    assert turns >= events
