"""`earmark fleet agent`: the only process that sees the people, and the only call it offers is one noised change.

Flower runs code that its server sends. That code gets what this socket gives, and nothing else: the change of the
start, clipped and noised here, after it was booked here. There is no call for takes, embeddings, weights, names or
the ledger.

A line of JSON each way::

    {"call": "change", "round": "7", "start": "…"}           base64 of little-endian float32, in the start's order
    {"change": "…", "epsilon": 2.0}    or    {"error": "…"}
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import logging
import os
import socketserver
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import DaemonError, EarmarkError, FleetError, system_text_of
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.storage.atomic import make_folder

from ..enrolment import Enroller
from .asking import is_answered
from .consent import Consent
from .contribution import change
from .ledger import Entry, Ledger
from .privacy import clipped, epsilon, mu_for, noised

_LOG = logging.getLogger(__name__)

MOST_ROUND = 64  # letters of a round's name
PATIENCE_S = 10.0  # for a client that says nothing
MOST_START = 100.0  # no number of a start is larger: the shipped one's are below 1


@dataclass(frozen=True)
class Terms:
    """What the people of this home agreed to; the server has no say in it."""

    clip: float = 1.0
    """Length of the longest change that leaves, before the noise."""
    epsilon_round: float = 2.0
    """That one round costs, at δ = 1e-5."""
    epsilon_year: float = 8.0

    @property
    def mu(self) -> float:
        """Of one round."""
        return mu_for(self.epsilon_round)

    @property
    def deviation(self) -> float:
        """Of the noise in each number."""
        return 2 * self.clip / self.mu


class Agent:
    """Answers the one call.

    Args:
        store: of the people.
        consent: who of them may take part.
        ledger: where each release is booked first.
        enroller: with the networks that the people were enrolled with.
        terms: of this home.
    """

    def __init__(
        self, store: PersonStore, consent: Consent, ledger: Ledger, enroller: Enroller, terms: Terms
    ) -> None:
        self._store, self._consent, self._ledger, self._enroller = store, consent, ledger, enroller
        self._terms = terms
        self._shape = (enroller.head.embedding_size, enroller.head.projection_size)
        self._last: tuple[str, str, str] | None = None
        self.most_request_bytes = 4 * int(np.prod(self._shape)) * 2  # base64 is 4 of 3

    def answer(self, line: bytes) -> bytes:
        """One answer to one request, whatever that is."""
        try:
            answer = self._change(_request(line))
        except FleetError as error:
            _LOG.warning("%s", error)
            answer = {"error": str(error)}
        except EarmarkError as error:  # it may name a person
            _LOG.warning("%s", error)
            answer = {"error": "this home cannot answer: its agent's log says why"}
        return json.dumps(answer).encode() + b"\n"

    def _change(self, request: dict[str, str]) -> dict[str, object]:
        content = _decoded(request["start"])
        sha256 = hashlib.sha256(content).hexdigest()
        start = self._start(content)
        if self._last is None or self._last[:2] != (request["round"], sha256):  # who asks again is told the same
            self._last = (request["round"], sha256, self._release(request["round"], start, sha256))
        return {"change": self._last[2], "epsilon": round(epsilon(self._terms.mu), 6)}

    def _start(self, content: bytes) -> Float32:
        size = int(np.prod(self._shape))
        if len(content) != 4 * size:
            raise FleetError(f"a start of {len(content)} bytes: this head's has {4 * size}: it is of another model")
        start = np.frombuffer(content, "<f4").reshape(self._shape)
        if not np.all(np.abs(start) <= MOST_START):  # not a number is not, either
            raise FleetError(f"a start with numbers that are none, or beyond ±{MOST_START:g}: it is refused")
        return np.array(start, np.float32)

    def _release(self, name: str, start: Float32, sha256: str) -> str:
        terms = self._terms
        if not self._ledger.left(terms.mu):  # before anything is computed
            raise FleetError(f"the year's budget of ε {terms.epsilon_year:g} is spent: nothing leaves this device")
        people = self._people()
        moved = change(self._enroller, people, start)
        if moved is None:
            raise FleetError("nobody here has consented, or nobody has two takes: `earmark fleet consent NAME`")
        content = noised(clipped(moved, terms.clip), terms.deviation).astype("<f4").tobytes()
        now = self._ledger.now_s()
        entry = Entry(now, name, sha256, terms.mu, terms.clip, terms.deviation, len(people), len(content))
        self._ledger.write(entry)  # it leaves only when that is on disk
        _LOG.info("round %s: a change of %d people leaves, ε %.2f this year", name, len(people), self._ledger.spent())
        return base64.b64encode(content).decode()

    def _people(self) -> list[Voiceprint]:
        return [self._store.load(name, word) for name in self._consent.of(self._store) for word in self._words(name)]

    def _words(self, name: str) -> list[str]:
        return [word for word in self._store.keywords(name) if word != "free-speech"]


def _request(line: bytes) -> dict[str, str]:
    """The one call that there is.

    Raises:
        FleetError: it is another one, or none.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FleetError("a request is one JSON object on a line") from error
    wanted = {"call", "round", "start"}
    if not isinstance(request, dict) or not all(isinstance(each, str) for each in request.values()):
        raise FleetError("a request is one JSON object of texts")
    if request.get("call") != "change" or set(request) != wanted:
        raise FleetError('there is one call, {"call": "change", "round": …, "start": …}: nothing else is to be had')
    if not request["round"].isprintable() or not 0 < len(request["round"]) <= MOST_ROUND:
        raise FleetError(f"round: must have 1 to {MOST_ROUND} printable letters")
    return request


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FleetError("start: must be base64") from error


class _Handler(socketserver.StreamRequestHandler):
    timeout = PATIENCE_S

    def handle(self) -> None:
        """One request a connection."""
        agent = self.server.agent  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):  # who does not speak, or does not listen, is let go
            line = self.rfile.readline(agent.most_request_bytes)
            if line.endswith(b"\n"):
                self.wfile.write(agent.answer(line))


class _Server(socketserver.UnixStreamServer):
    """One client after the other: no two can spend the same budget."""

    def __init__(self, path: Path, agent: Agent) -> None:
        self.agent = agent
        super().__init__(str(path), _Handler)


def serve(path: Path, agent: Agent, group_may: bool) -> socketserver.BaseServer:
    """A server on a socket; `serve_forever` is the caller's.

    Args:
        path: of the socket; one that nobody answers any more is replaced.
        agent: who answers.
        group_may: whether the members of the socket's group may ask, too: in the unit, the user that runs Flower.

    Raises:
        DaemonError: another agent answers there, or the socket cannot be made.
    """
    try:
        make_folder(path.parent)
        if path.is_socket():
            if is_answered(path):
                raise DaemonError(f"{path}: another agent answers there: stop it first")
            path.unlink()
        before = os.umask(0o177 if not group_may else 0o117)
        try:
            return _Server(path, agent)
        finally:
            os.umask(before)
    except OSError as error:
        raise DaemonError(f"{path}: no socket can be made there: {system_text_of(error)}") from error
