"""Enrolment from a page: a WebSocket on one side, a process of `guide.py` on the other, and nothing kept here.

What the browser's microphone hears comes in binary frames, 16-bit PCM of one channel; its rate comes first, in the
message that begins. One person enrols at a time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.engine.errors import EarmarkError
from earmark.engine.networks.card import builtin_keywords
from earmark.engine.people.store import ANY_PHRASE
from earmark.engine.processes.own import environment_for_own, own_command
from earmark.engine.storage.names import check_new_name

from .guard import SOCKET_PROTOCOL, host_of
from .house import House, Wanted

BEGIN_S = 10.0
END_S = (
    60.0  # that a session gets to keep what is good, when its page is closed: a slow board works on a take for 20 s
)
MODULE = "earmark.enroll.web.guide"
MAX_LINE_BYTES = 1 << 20
LEAST_RATE_HZ, MOST_RATE_HZ = 8_000, 192_000


class Enrolling:
    """The enrolments of a household, one after the other.

    Args:
        house: of which.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._is_taken = False

    async def talk(self, page: WebSocket) -> None:
        """One enrolment, from the first message of a page until it is over or the page is closed."""
        await page.accept(subprotocol=SOCKET_PROTOCOL)
        try:
            given = json.loads(await asyncio.wait_for(page.receive_text(), BEGIN_S))
        except (asyncio.TimeoutError, WebSocketDisconnect, KeyError, ValueError):
            given = None
        if self._is_taken:
            await _refuse(page, "taken", "somebody else is being enrolled at another page")
            await page.close()
            return
        self._is_taken = True
        try:
            wanted, rate_hz = self._wanted(given)
            await run_in_threadpool(
                self._house.audit.add, host_of(page.scope), "enrol", name=wanted.name, keyword=wanted.keyword
            )
            await self._run(page, wanted, rate_hz)
        except WebSocketDisconnect:
            pass
        except EarmarkError as error:
            await _refuse(page, "error", str(error))
        except (ValueError, KeyError, TypeError):
            await _refuse(page, "error", "what is to be enrolled cannot be read: load the page again")
        finally:
            self._is_taken = False
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it was closed already
                await page.close()

    def _wanted(self, given: Mapping[str, Any]) -> tuple[Wanted, int]:
        """What is to be enrolled, and at which rate the browser hears; 0: the daemon hears.

        Raises:
            InputError: the name cannot be used.
            ValueError, KeyError, TypeError: it is nothing of the kind.
        """
        name, keyword, rate_hz = given["name"], given["keyword"], int(given["rate_hz"])
        if not isinstance(name, str) or keyword not in (*builtin_keywords(), ANY_PHRASE):
            raise ValueError("keyword")
        if rate_hz and not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
            raise ValueError("rate_hz")
        check_new_name(name)
        people = self._house.settings.people
        sockets = [] if rate_hz else [str(place) for place in self._house.sockets()]
        store = str(self._house.store.folder)
        return Wanted(name, keyword, store, sockets, people.key_file, people.models), rate_hz

    async def _run(self, page: WebSocket, wanted: Wanted, rate_hz: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *own_command(MODULE, json.dumps(asdict(wanted))),
            env={**environment_for_own(os.environ), **self._house.variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        telling = asyncio.create_task(_tell(process.stdout, page))
        hearing = asyncio.create_task(_hear(page, process.stdin, rate_hz))
        try:
            await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
            process.stdin.close()  # which ends a session whose page was closed
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
        finally:
            for task in (telling, hearing):
                task.cancel()
            await asyncio.gather(telling, hearing, return_exceptions=True)
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _tell(lines: asyncio.StreamReader, page: WebSocket) -> None:
    """What the session says, until it is over."""
    while line := await lines.readline():
        await page.send_text(line.decode().rstrip("\n"))


async def _hear(page: WebSocket, session: asyncio.StreamWriter, rate_hz: int) -> None:
    """Answers, and the sound of the browser's microphone, until the page is closed."""
    while True:
        message = await page.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (pcm := message.get("bytes")) is not None:
            if not rate_hz:
                continue
            told = {"type": "sound", "rate_hz": rate_hz, "pcm": base64.b64encode(pcm).decode()}
        else:
            answer = json.loads(message["text"])["answer"]
            told = {"type": "answer", "answer": "yes" if answer == "yes" else "no"}
        session.write(json.dumps(told).encode() + b"\n")
        await session.drain()


async def _refuse(page: WebSocket, kind: str, why: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await page.send_text(json.dumps({"type": kind, "text": why}))
