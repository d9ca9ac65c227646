"""The page for Prometheus: scraped from the real daemon, equal to its status, and unmoved by whoever connects."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from broker import free_port
from helpers_store import environment
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from live import Live
from prometheus_client.parser import text_string_to_metric_families
from sound_server import until

from earmark.engine.commands.status import ask
from earmark.engine.sinks.metrics import MAX_CONNECTIONS, MAX_HEAD_BYTES
from earmark.engine.sinks.stats import LATENCY_BUCKETS_MS

pytestmark = pytest.mark.slow

LIMIT_S = 60.0
MANY = 10_000

Spoken = dict[str, bytes]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def measured(store: Path, *sets: str) -> Iterator[tuple[Live, Path, int]]:
    """A daemon on a pipe that stays open, its socket, and the port of its counters."""
    path, port = store.parent / "s", free_port()
    flags = [part for text in (f"socket.path={path}", f"metrics.port={port}", *sets) for part in ("--set", text)]
    with Live("-", "--store", store, *flags, env=environment()) as daemon:
        daemon.says("listening to -")
        until(lambda: path.exists() and answers(port), "it serves", LIMIT_S)
        yield daemon, path, port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, int]]:
    """One daemon that all hostile clients come to; nobody is enrolled."""
    with measured(tmp_path_factory.mktemp("served") / "people") as (daemon, _, port):
        yield daemon, port
        run = daemon.stop()  # which looks for tracebacks
        assert (run.code, run.err) == (0, "earmark: listening to -")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as page:
        assert page.headers["Content-Type"].startswith("text/plain; version=")
        assert page.headers["Connection"] == "close"
        text = page.read().decode()
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples
            samples[key] = sample.value
    return samples


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def answer(port: int, request: bytes) -> bytes:
    """Everything that comes back until the daemon hangs up."""
    with connected(port) as connection:
        connection.sendall(request)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    got = b""
    try:
        while piece := connection.recv(65_536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def rss_kib(daemon: Live) -> int:
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


# --- the page


def test_the_page_says_what_status_says(slt_store: Path, spoken: Spoken) -> None:
    with measured(slt_store, "hook.command=false", "hook.events=detection") as (daemon, path, port):
        daemon.feed(spoken["slt"] + spoken["rms"] + spoken["slt"])
        for _ in range(3):
            daemon.event()
        until(lambda: ask([path])["sinks"]["hook"]["failed"] == 2, "both hooks ran", LIMIT_S)
        heard = len(spoken["slt"] * 2 + spoken["rms"]) / 2 / 16_000
        until(lambda: ask([path])["audio_s"] == round(heard, 5), "all audio is heard", LIMIT_S)
        before = daemon.status(path)
        page = scrape(port)
        after = daemon.status(path)

        def of(name: str, **labels: str) -> float:
            return page[name, tuple(sorted(labels.items()))]

        assert of("earmark_info", version=before["version"]) == 1
        assert before["uptime_s"] <= of("earmark_uptime_seconds") <= after["uptime_s"]
        assert 0 < of("earmark_cpu_share") <= max(before["cpu_share"], after["cpu_share"]) * 1.5
        assert of("earmark_audio_seconds_total") == before["audio_s"]
        assert of("earmark_device_openings_total") == before["microphone"]["opened"] == 1
        assert of("earmark_microphone_up") == 1
        assert of("earmark_people") == 1
        assert of("earmark_overruns_total") == of("earmark_reloads_total") == of("earmark_device_lost_total") == 0
        events = {
            (count["type"], count["keyword"], count["reason"]): count["count"] for count in before["counts"]["events"]
        }
        assert events == {
            ("detection", "okay_nabu", "known_voice"): 2,
            ("rejection", "okay_nabu", "unknown_voice"): 1,
        }
        for (type_, keyword, reason), count in events.items():
            assert of("earmark_events_total", type=type_, keyword=keyword, reason=reason) == count
        assert sum(name == "earmark_events_total" for name, _ in page) == 2
        assert set(before["sinks"]) == {"socket", "hook", "metrics"}
        for name, sink in before["sinks"].items():
            assert of("earmark_sink_queue_depth", sink=name) == sink["waiting"]
            assert of("earmark_sink_dropped_total", sink=name) == sink["dropped"]
            assert of("earmark_sink_failed_total", sink=name) == sink["failed"]
            assert of("earmark_sink_up", sink=name) == (sink["failure"] is None)
        assert of("earmark_sink_up", sink="hook") == 0
        assert of("earmark_sink_failed_total", sink="hook") == 2
        assert of("earmark_sink_sent_total", sink="socket") == 3
        latency = before["latency_ms"]
        assert of("earmark_event_latency_seconds_count") == latency["count"] == 3
        assert of("earmark_event_latency_seconds_sum") == pytest.approx(latency["sum"] / 1000)
        below = 0
        for edge_ms in LATENCY_BUCKETS_MS:
            below += latency["up_to"][str(edge_ms)]
            assert of("earmark_event_latency_seconds_bucket", le=str(edge_ms / 1000)) == below
        assert of("earmark_event_latency_seconds_bucket", le="+Inf") == 3
        assert daemon.stop().code == 0


def test_no_name_of_a_person_is_on_the_page(slt_store: Path, spoken: Spoken) -> None:
    with measured(slt_store) as (daemon, _, port):
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"
        assert b"slt" not in answer(port, b"GET /metrics HTTP/1.1\r\n\r\n")


def test_reloads_are_on_the_page_and_a_port_can_be_changed(slt_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    ports = [free_port(), free_port()]
    file.write_text(f"metrics.port = {ports[0]}\n")
    with Live("-", "--store", slt_store, "--settings", file, env=environment()) as daemon:
        daemon.says("listening to -")
        for n, port in enumerate([ports[0], ports[1], ports[0]]):
            until(lambda: answers(port), "it serves", LIMIT_S)  # noqa: B023
            assert scrape(port)["earmark_reloads_total", ()] == n
            file.write_text(f"metrics.port = {ports[(n + 1) % 2]}\n")
            daemon.process.send_signal(1)
            daemon.says("reloaded: ", n + 1)
            until(lambda: not answers(port), "the old port is given back", LIMIT_S)  # noqa: B023


def test_it_listens_on_loopback_alone(served: tuple[Live, int]) -> None:
    daemon, port = served
    inodes = set(daemon.descriptors())
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{daemon.process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in inodes and (fields[3] == "0A" or table.startswith("udp")):
                listening.append((table, fields[1]))
    loopback = f"{struct.unpack('=I', socket.inet_aton('127.0.0.1'))[0]:08X}"
    assert listening == [("tcp", f"{loopback}:{port:04X}")]


def test_a_port_that_is_taken_is_said_and_tried_again(slt_store: Path, spoken: Spoken) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = slt_store.parent / "s"
        with Live(
            "-", "--store", slt_store, "--set", f"metrics.port={port}", "--set", f"socket.path={path}"
        ) as daemon:
            daemon.says("sink metrics: open failed")
            daemon.feed(spoken["slt"])
            assert daemon.event()["person"] == "slt"
            taken.close()
            until(lambda: ask([path])["sinks"]["metrics"]["failure"] is None, "it has the port", LIMIT_S)
            assert scrape(port)["earmark_sink_failed_total", (("sink", "metrics"),)] >= 1


# --- other requests


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /metrics?name[]=x HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 200_000, 431),
    ],
)
def test_the_status_of_an_answer(served: tuple[Live, int], request_: bytes, status: int) -> None:
    got = answer(served[1], request_)
    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    head, _, body = got.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert (b"Allow: GET" in head.split(b"\r\n")) == (status == 405)
    assert (b"earmark_uptime_seconds" in body) == (status == 200)


def test_what_an_http_client_makes_of_it(served: tuple[Live, int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=LIMIT_S)
    connection.request("GET", "/elsewhere")
    response = connection.getresponse()
    assert (response.status, response.read()) == (404, b"the only page is /metrics\n")
    connection.close()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{served[1]}/metrics", data=b"x", timeout=LIMIT_S)
    with caught.value:
        assert caught.value.code == 405


# --- hostile clients


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.sampled_from([b"GET ", b"/metrics", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"x" * 9000]),
        ),
        max_size=12,
    )
)
@example(pieces=[])
def test_any_bytes_get_an_answer_or_none(served: tuple[Live, int], pieces: list[bytes]) -> None:
    request = b"".join(pieces)
    with connected(served[1]) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # it has hung up already
            pass
        got = read_all(connection)
    head, end, _ = request.partition(b"\r\n\r\n")
    if end and len(head) + 4 <= MAX_HEAD_BYTES:
        assert got[:9] == b"HTTP/1.1 "
        assert got[9:12] in (b"200", b"400", b"404", b"405")
        assert (got[9:12] == b"200") == head.split(b"\r\n")[0].startswith(
            (b"GET /metrics HTTP/1.", b"GET /metrics? ")
        )
    elif got:
        assert got.startswith(b"HTTP/1.1 431 ")


def test_ten_thousand_connections(served: tuple[Live, int]) -> None:
    """One after another, each with nothing, half a request or an abrupt end."""
    daemon, port = served
    requests = [b"", b"GET /met", b"x" * 100]
    reset = struct.pack("ii", 1, 0)
    sizes_kib = []
    for n in range(MANY):
        if n % (MANY // 5) == 0:
            until(lambda: page_comes(port), "a free place", LIMIT_S)
            sizes_kib.append(rss_kib(daemon))
        with connected(port) as connection:
            if piece := requests[n % 3]:
                connection.sendall(piece)
            if n % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    until(lambda: page_comes(port), "a free place", LIMIT_S)
    assert scrape(port)["earmark_clients_total", (("server", "metrics"),)] >= MANY
    growth_kib = [later - earlier for earlier, later in zip(sizes_kib, sizes_kib[1:])]
    assert min(growth_kib) < 256, "a buffer that finds its size grows once; what is never given back grows each time"
    assert descriptors(daemon) < 16 + MAX_CONNECTIONS


def page_comes(port: int) -> bool:
    return answer(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def descriptors(daemon: Live) -> int:
    return len(daemon.descriptors())


def test_clients_that_never_send_hold_no_place_for_long(slt_store: Path, spoken: Spoken) -> None:
    with measured(slt_store) as (daemon, path, port), ExitStack() as stack:
        before = descriptors(daemon)
        idle = [stack.enter_context(connected(port)) for _ in range(2 * MAX_CONNECTIONS)]
        until(lambda: clients(path) >= MAX_CONNECTIONS + 1, "all places are taken", LIMIT_S)  # one was a probe
        late = stack.enter_context(connected(port))
        late.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"
        assert descriptors(daemon) <= before + MAX_CONNECTIONS + 1, "the others wait outside"  # and a status socket
        for connection in idle:
            assert read_all(connection) == b"", "it hangs up"
        assert read_all(late).startswith(b"HTTP/1.1 200"), "it had to wait for a place"
        assert daemon.stop().code == 0


def clients(path: Path) -> int:
    return sum(n["count"] for n in ask([path])["counts"].get("clients", []) if n["server"] == "metrics")


def test_half_open_readers_delay_nobody(served: tuple[Live, int]) -> None:
    """Sixteen that said nothing kept the page from everybody for five seconds, again and again."""
    _, port = served
    with ExitStack() as stack:
        for _ in range(3 * MAX_CONNECTIONS):
            stack.enter_context(connected(port)).sendall(b"GET /metrics")
        began_s = time.monotonic()
        for _ in range(10):
            assert b"200 OK" in answer(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert time.monotonic() - began_s < LIMIT_S, "each would have waited for five seconds before"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9105", 200),
        ("[::1]:9105", 200),
        ("192.168.1.5", 200),
        (socket.gethostname(), 200),
        (f"{socket.gethostname()}.local:9105", 200),
        ("LOCALHOST.", 200),
        ("attacker.example", 421),
        (f"{socket.gethostname()}.attacker.example", 421),
        ("localhost.attacker.example", 421),
        ("", 421),
        ("127.0.0.1\r\nHost: attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
    ],
)
def test_a_name_that_is_not_this_machines_gets_no_page(served: tuple[Live, int], host: str, status: int) -> None:
    """A page in a browser may give its own name our address, and would read who is at home."""
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert answer(served[1], request.encode()).startswith(f"HTTP/1.1 {status} ".encode())


def test_other_names_are_for_the_settings(slt_store: Path) -> None:
    with measured(slt_store, 'metrics.hosts=["pi.example"]') as (_, _, port):
        assert b"200 OK" in answer(port, b"GET /metrics HTTP/1.1\r\nHost: PI.example:9105\r\n\r\n")
        assert b"421 " in answer(port, b"GET /metrics HTTP/1.1\r\nHost: pi2.example\r\n\r\n")


def test_a_request_that_comes_drop_by_drop_ends_in_time(served: tuple[Live, int]) -> None:
    with connected(served[1]) as connection:
        deadline = time.monotonic() + LIMIT_S
        try:
            while time.monotonic() < deadline:  # each drop alone comes soon enough
                connection.sendall(b"x")
                time.sleep(0.05)
            pytest.fail("it waited for ever")
        except OSError:
            pass
    assert page_comes(served[1])


def test_headers_without_an_end_take_no_memory(served: tuple[Live, int]) -> None:
    daemon, port = served
    page_comes(port)
    before = rss_kib(daemon)
    for _ in range(20):
        with connected(port) as connection:
            try:
                for _ in range(200):
                    connection.sendall(b"X-Header: " + b"y" * 65_536)
            except OSError:
                pass
            read_all(connection)
    assert rss_kib(daemon) - before < 4096
    assert page_comes(port)


def test_one_that_does_not_read_its_answer_is_let_go(served: tuple[Live, int]) -> None:
    daemon, port = served
    before = descriptors(daemon)
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS - 1):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.connect(("127.0.0.1", port))
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(lambda: descriptors(daemon) <= before, "they are let go", LIMIT_S)
        assert page_comes(port)


def test_the_page_is_json_free_of_surprises(served: tuple[Live, int]) -> None:
    """Every number is finite, and every family has its help: what a scraper stores for years."""
    page: dict[str, Any] = {json.dumps(key): value for key, value in scrape(served[1]).items()}
    assert all(value == value and abs(value) < 1e15 for value in page.values())
