"""Who may see the page: one-time codes from the console, and the sessions that they begin.

Both lie in a folder of the service (mode 0700), as sums only. A code is good once, and for ten minutes; `earmark web
--code` makes another one. A session is known by a cookie and ends after thirty days without use, or by logging out.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from earmark.engine.sinks.peers import MOST_PEERS, Bucket, peer_of
from earmark.engine.storage.atomic import make_folder, read_limited, replace_synced
from earmark.engine.storage.owners import as_owner_of
from earmark.engine.storage.user_folders import seals_folder

ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"  # without letters and digits that are read as another one
CODE_LETTERS = 8  # 39 bits: at the rate below one guess in ten minutes is right with a probability of 1e-9
CODE_S = 600.0
SESSION_S = 30 * 86_400.0
MOST_SESSIONS = 32  # who has not come for longest is logged out
SEEN_STEP_S = 3600.0  # so often it is written down that somebody came
MAX_FILE_BYTES = 64 << 10
TRIES, TRIES_A_SECOND = 10.0, 0.1  # of codes, from one address
ALL_TRIES, ALL_TRIES_A_SECOND = 60.0, 1.0  # from all together
REQUESTS, REQUESTS_A_SECOND = 240.0, 40.0  # of one address: a page with all that it loads is 12
CODE_FILE, SESSIONS_FILE = "code.json", "sessions.json"


def web_folder(store: Path) -> Path:
    """Where the page keeps what is its own: beside what is remembered of the store (`seals_folder`)."""
    return seals_folder(store.absolute()).with_name("web")


def new_code(folder: Path, now_s: float | None = None) -> str:
    """Makes the code that is good from now on, as ABCD-EFGH, and forgets the one before.

    Raises:
        OSError: the folder may not be written.
    """
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))
    content = {"sha256": _sum(code), "until_s": (time.time() if now_s is None else now_s) + CODE_S}
    with as_owner_of(folder):
        make_folder(folder)
        replace_synced(folder / CODE_FILE, json.dumps(content).encode())
    return f"{code[: CODE_LETTERS // 2]}-{code[CODE_LETTERS // 2 :]}"


def take_code(folder: Path, typed: str, now_s: float) -> bool:
    """Whether it is the code; then it is none any more."""
    letters = "".join(letter for letter in typed.upper() if letter.isalnum())
    try:
        content = json.loads(read_limited(folder / CODE_FILE, MAX_FILE_BYTES))
        wanted, until_s = str(content["sha256"]), float(content["until_s"])
    except (OSError, ValueError, KeyError, TypeError):  # none was made, or it was taken
        return False
    if now_s > until_s or not hmac.compare_digest(_sum(letters), wanted):
        return False
    (folder / CODE_FILE).unlink(missing_ok=True)
    return True


@dataclass
class Session:
    """Somebody who has logged in."""

    csrf: str
    """What each change must bring, so that no other page can make one."""
    began_s: float
    seen_s: float
    peer: str
    """The address that it began at."""


class Sessions:
    """All of them, on disk by the sums of their tokens.

    Args:
        folder: `web_folder`; None: they are kept in memory only.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._sessions: dict[str, Session] = {}
        if folder is not None:
            with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # then nobody is logged in
                content = json.loads(read_limited(folder / SESSIONS_FILE, MAX_FILE_BYTES))
                self._sessions = {str(key): Session(**facts) for key, facts in content.items()}

    def begin(self, peer: str) -> tuple[str, Session]:
        """A new session: its token, which nobody knew before, and it."""
        token, now_s = secrets.token_urlsafe(32), self._clock()
        session = Session(secrets.token_urlsafe(32), now_s, now_s, peer)
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].seen_s)]
        self._sessions[_sum(token)] = session
        self._keep()
        return token, session

    def of(self, token: str) -> Session | None:
        """The session of a token."""
        session = self._sessions.get(_sum(token)) if token else None
        now_s = self._clock()
        if session is None or now_s - session.seen_s > SESSION_S:
            return None
        if now_s - session.seen_s > SEEN_STEP_S:
            session.seen_s = now_s
            self._keep()
        return session

    def end(self, token: str) -> None:
        """Logs out."""
        if self._sessions.pop(_sum(token), None) is not None:
            self._keep()

    def _keep(self) -> None:
        if self._folder is not None:
            content = {key: asdict(session) for key, session in self._sessions.items()}
            make_folder(self._folder)
            replace_synced(self._folder / SESSIONS_FILE, json.dumps(content).encode())


class Limits:
    """How much an address may ask, and how many codes may be tried.

    Args:
        clock: seconds that nobody sets.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries = Bucket(ALL_TRIES, ALL_TRIES_A_SECOND)
        self._peers: OrderedDict[str, tuple[Bucket, Bucket]] = OrderedDict()

    def may_ask(self, host: str) -> bool:
        """Whether one request more is answered."""
        return self._of(host)[0].take(1, self._clock())

    def may_try(self, host: str) -> bool:
        """Whether one code more is looked at."""
        now_s = self._clock()
        return self._of(host)[1].take(1, now_s) and self._tries.take(1, now_s)

    def _of(self, host: str) -> tuple[Bucket, Bucket]:
        name = peer_of(host)
        if name not in self._peers:
            self._peers[name] = Bucket(REQUESTS, REQUESTS_A_SECOND), Bucket(TRIES, TRIES_A_SECOND)
        self._peers.move_to_end(name)
        if len(self._peers) > MOST_PEERS:
            self._peers.popitem(last=False)
        return self._peers[name]


def _sum(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
