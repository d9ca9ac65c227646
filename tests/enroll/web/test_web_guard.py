"""Who may see and change what: every way around it that is known is tried on a real port."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_store import person
from serving_page import Answer, Served, Visitor, frame
from sound_server import until

from earmark.engine.people.store import PersonStore
from earmark.engine.sinks.server import is_own_name
from earmark.enroll.web import access, serving
from earmark.enroll.web.certificate import fingerprint
from earmark.enroll.web.guard import MAX_BODY_BYTES


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For all that changes nothing of it."""
    folder = tmp_path_factory.mktemp("page")
    PersonStore(folder / "people").save(person("anna"))
    with Served(folder) as served:
        yield served


@pytest.fixture
def visitor(served: Served) -> Visitor:
    served.now_s += 1000  # whatever was asked before is forgiven
    return served.log_in()


def refused(answer: Answer, status: int, because: str) -> None:
    assert (answer.status, because in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    "path", ["/", "/people", "/person?name=anna", "/wakes", "/wakes/1.wav", "/health", "/health/report"]
)
def test_nobody_sees_a_page_without_a_session(served: Served, path: str) -> None:
    served.now_s += 1000
    stranger = Visitor(served)
    assert stranger.ask("GET", path, Accept="text/html").headers["location"] == "/login"
    refused(stranger.ask("GET", path), 401, "log in first")
    assert stranger.shake_hands()[0] == 403


def test_a_second_browser_without_the_code_sees_nothing(served: Served) -> None:
    served.now_s += 1000
    first, code = Visitor(served), access.new_code(served.folder)
    assert first.ask("POST", "/login", f"code={code}").status == 303
    second = Visitor(served)
    assert second.ask("POST", "/login", f"code={code}").status == 403, "a code is good once"
    refused(second.ask("GET", "/people"), 401, "log in first")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "evil.example:8480", "localhost.evil", "[::1].evil.example"],
)
def test_another_name_than_ours_is_refused(visitor: Visitor, host: str) -> None:
    """A page whose own name was given our address (DNS rebinding) is told nothing, and cannot log in."""
    refused(visitor.ask("GET", "/people", Host=host), 421, "web.hosts")
    refused(visitor.ask("POST", "/login", "code=AAAA", Host=host, Origin=f"http://{host}"), 421, "web.hosts")
    assert visitor.shake_hands(Host=host, Origin=f"http://{host}")[0] == 403


def test_names_of_this_machine_are_served() -> None:
    for host in ("localhost", "LOCALHOST:8480", "192.168.1.5", "[fd00::1]:8480", f"{socket.gethostname()}.local"):
        assert is_own_name(host), host
    assert is_own_name("pi.example", ["Pi.example"])
    assert not is_own_name("pi.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None, "https://127.0.0.1", "http://127.0.0.1:1"])
def test_what_another_page_sends_is_refused(visitor: Visitor, served: Served, origin: str | None) -> None:
    headers = {"X_CSRF_Token": visitor.csrf, "Origin": origin}
    given = json.dumps({"name": "anna", "typed": "anna"})
    refused(visitor.ask("POST", "/people/erase", given, **headers), 403, "our own page")
    refused(visitor.ask("POST", "/login", "code=AAAA-AAAA", Origin=origin), 403, "our own page")
    assert visitor.shake_hands(Origin=origin)[0] == 403
    assert PersonStore(served.house.store.folder).names() == ["anna"]


def test_what_the_browser_says_comes_from_elsewhere_is_refused(visitor: Visitor) -> None:
    given = json.dumps({"name": "anna", "typed": "anna"})
    answer = visitor.ask("POST", "/people/erase", given, X_CSRF_Token=visitor.csrf, Sec_Fetch_Site="cross-site")
    refused(answer, 403, "our own page")


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_a_change_without_the_token_is_refused(visitor: Visitor, served: Served, token: str | None) -> None:
    given = json.dumps({"name": "anna", "typed": "anna"})
    refused(visitor.ask("POST", "/people/erase", given, X_CSRF_Token=token), 403, "token")
    other = served.log_in()
    refused(visitor.ask("POST", "/people/erase", given, X_CSRF_Token=other.csrf), 403, "token")
    assert visitor.shake_hands(Sec_WebSocket_Protocol="earmark")[0] == 403
    assert visitor.shake_hands(Sec_WebSocket_Protocol=f"earmark, csrf.{other.csrf}")[0] == 403
    assert visitor.shake_hands()[0] == 101
    assert PersonStore(served.house.store.folder).names() == ["anna"]


def test_of_ten_thousand_wrong_codes_few_are_looked_at_and_the_right_one_still_is(served: Served) -> None:
    served.now_s += 1000
    limits, attacker = served.limits, Visitor(served)
    said = [attacker.ask("POST", "/login", f"code=WRONG{n:03d}").status for n in range(30)]
    assert said.count(403) == access.TRIES
    assert set(said) == {403, 429}
    looked = sum(limits.may_try(f"10.0.{n % 200}.1") for n in range(10_000 - 30))
    assert looked <= access.ALL_TRIES, "nor does it help to have many addresses"
    served.now_s += 100
    assert served.log_in().page("/people")


def test_a_session_that_somebody_else_chose_means_nothing(served: Served) -> None:
    """Session fixation: whatever cookie a browser brings, logging in gives it another one."""
    served.now_s += 1000
    victim = Visitor(served)
    victim.cookie = "earmark=chosen-by-the-attacker"
    code = access.new_code(served.folder)
    answer = victim.ask("POST", "/login", f"code={code}")
    cookie = answer.headers["set-cookie"]
    assert answer.status == 303
    assert "chosen" not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    attacker = Visitor(served)
    attacker.cookie = "earmark=chosen-by-the-attacker"
    refused(attacker.ask("GET", "/people"), 401, "log in first")
    before = victim.cookie
    code = access.new_code(served.folder)
    assert victim.ask("POST", "/login", f"code={code}").status == 303
    stale = Visitor(served)
    stale.cookie = before
    refused(stale.ask("GET", "/people"), 401, "log in first")


def test_who_logs_out_is_out(visitor: Visitor) -> None:
    cookie = visitor.cookie
    assert visitor.ask("POST", "/logout", "", X_CSRF_Token=visitor.csrf).status == 303
    visitor.cookie = cookie
    refused(visitor.ask("GET", "/people"), 401, "log in first")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../house.py",
        "/static/..%2fhouse.py",
        "/static/%2e%2e/%2e%2e/cli.py",
        "/static//etc/passwd",
        "/static/page.css/../../texts/en.json",
        "/static/.",
        "/static/page.css%00",
        "/wakes/../../etc/passwd",
        "/wakes/-1.wav",
        "/wakes/99999999999999999999.wav",
        "/people/..%2f..%2fetc",
        "/people/..",
    ],
)
def test_no_path_leads_to_another_file(visitor: Visitor, path: str) -> None:
    answer = visitor.ask("GET", path)
    assert answer.status == 404, answer.text
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_a_body_of_any_size_is_refused_before_it_is_read(visitor: Visitor) -> None:
    large = b"x" * (MAX_BODY_BYTES + 1)
    refused(visitor.ask("POST", "/people/erase", large, X_CSRF_Token=visitor.csrf), 413, "more than this page takes")
    refused(visitor.ask("POST", "/login", large), 413, "more than this page takes")


@pytest.mark.parametrize("size", [serving.MAX_FRAME_BYTES + 1, 1 << 20])
def test_a_frame_of_more_than_it_may_have_ends_its_connection(visitor: Visitor, size: int) -> None:
    status, connection = visitor.shake_hands()
    assert status == 101
    with connection:
        connection.sendall(frame(b"x" * size))
        assert closed(connection)
    assert visitor.page("/people")


def closed(connection: socket.socket) -> bool:
    """Reads until the other side has hung up."""
    connection.settimeout(60)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nco",
    ],
)
def test_who_sends_a_letter_a_minute_holds_no_place(
    served: Served, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Slowloris: head, nothing at all, or body. The limit is short here, and counts all of a request as it does."""
    served.now_s += 1000
    monkeypatch.setattr(serving, "HEAD_S", 0.3)
    with served.connect() as connection:
        connection.sendall(begun)
        began_s = time.monotonic()
        assert closed(connection)
        assert time.monotonic() - began_s < 30
    assert served.log_in().page("/people")


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side hangs up before the connection's time limit."""
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    return True


def test_a_page_that_is_open_is_not_taken_for_somebody_slow(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.now_s += 1000
    monkeypatch.setattr(serving, "HEAD_S", 0.2)
    status, connection = served.log_in().shake_hands()
    assert status == 101
    with connection:
        connection.settimeout(1.0)  # five times as long as a request may take
        assert not is_closed(connection)


def test_many_who_hold_connections_keep_nobody_out_for_longer_than_their_patience(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.now_s += 1000
    monkeypatch.setattr(serving, "HEAD_S", 0.5)
    holders = [served.connect() for _ in range(serving.MAX_CONNECTIONS + 8)]
    for holder in holders:
        holder.sendall(b"GET / HTTP/1.1\r\n")
    until(lambda: Visitor(served).ask("GET", "/login").status == 200, "a place is free again")
    for holder in holders:
        holder.close()


def test_an_address_that_asks_without_end_is_told_to_wait_and_another_is_not(served: Served) -> None:
    served.now_s += 1000
    visitor = Visitor(served)
    said = [visitor.ask("GET", "/static/icon.svg").status for _ in range(int(access.REQUESTS) + 3)]
    assert said == [200] * int(access.REQUESTS) + [429] * 3
    assert served.limits.may_ask("192.168.1.9")
    served.now_s += 1
    assert visitor.ask("GET", "/static/icon.svg").status == 200


def test_every_answer_keeps_the_browser_from_running_what_is_not_ours(visitor: Visitor) -> None:
    for path in ("/", "/login", "/people", "/static/page.css", "/nowhere"):
        headers = visitor.ask("GET", path, Accept="text/html").headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_no_page_has_a_script_or_a_style_in_itself() -> None:
    for file in (Path(serving.__file__).parent / "templates").glob("*.html"):
        text = file.read_text("utf-8")
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert text.count("<script") == text.count('<script type="module" src=')


def test_by_https_its_cookie_is_for_https_alone(tmp_path: Path) -> None:
    with Served(tmp_path, secure=True) as served:
        visitor = served.log_in()
        answer = visitor.ask("GET", "/people", Accept="text/html")
        assert answer.headers["strict-transport-security"]
        code = access.new_code(served.folder)
        cookie = visitor.ask("POST", "/login", f"code={code}").headers["set-cookie"]
        assert cookie.startswith("__Host-earmark=")
        assert "Secure" in cookie
        assert visitor.shake_hands()[0] == 101
        pair = served.folder / "certificate.pem", served.folder / "key.pem"
        assert pair[1].stat().st_mode & 0o777 == 0o600
        with served.connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            shown = connection.getpeercert(binary_form=True)
            assert shown
        assert len(fingerprint(pair[0]).split(":")) == 32
        with socket.create_connection(("127.0.0.1", served.port), 60) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert closed(plain)


def test_behind_a_proxy_that_knows_who_asks_only_the_proxy_is_served(tmp_path: Path) -> None:
    """As Home Assistant's ingress: it has logged everybody in, and says below which path it shows us."""
    PersonStore(tmp_path / "people").save(person("anna"))
    with Served(tmp_path, ingress="127.0.0.1") as served:
        visitor, host = Visitor(served), "homeassistant.local:8123"
        behind = {"Host": host, "X_Forwarded_Host": host, "X_Ingress_Path": "/api/hassio_ingress/abc"}
        page = visitor.ask("GET", "/people", Accept="text/html", **behind)
        assert page.status == 200
        assert 'href="/api/hassio_ingress/abc/person?name=anna"' in page.text
        assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
        token = page.text.partition('<meta name="csrf" content="')[2].partition('"')[0]
        given = json.dumps({"name": "anna", "new_name": "carla"})
        wrong = {**behind, "Origin": "https://evil.example", "X_CSRF_Token": token}
        refused(visitor.ask("POST", "/people/rename", given, **wrong), 403, "our own page")
        right = {**behind, "Origin": f"https://{host}", "X_CSRF_Token": token}
        assert visitor.ask("POST", "/people/rename", given, **right).status == 200
        refused(visitor.ask("POST", "/people/rename", given, **{**right, "X_CSRF_Token": "x"}), 403, "token")
        evil = visitor.ask("GET", "/people", Accept="text/html", **{**behind, "X_Ingress_Path": '//evil.example/"><'})
        assert "evil.example" not in evil.text
    with Served(tmp_path, ingress="172.30.32.2") as served:
        refused(Visitor(served).ask("GET", "/"), 403, "the proxy")
