"""What can be changed from the page: each is written into the audit log first, then done; the answer is JSON."""

from __future__ import annotations

import asyncio
import datetime
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.engine.errors import EarmarkError, InputError, PersonUnknown, system_text_of, text_of
from earmark.engine.history import erasure, vouched
from earmark.engine.history.labels import check_label
from earmark.engine.history.updates import take_back
from earmark.engine.people import bundle
from earmark.engine.settings.reading import toml_text
from earmark.engine.storage.atomic import make_folder
from earmark.engine.storage.names import folder_name

from .guard import SOCKET_PROTOCOL, host_of
from .house import House
from .live import change
from .pages import language, said

Given = Mapping[str, Any]
Done = Callable[[Given, "Asked"], dict[str, Any]]
KNOBS = {"mode": "wake.mode", "sensitivity": "wake.sensitivity", "voice": "people.sensitivity"}
"""What a page calls a setting -> its key."""
EXPORTS = "exports"
MOST_LABELLED = 100


class Asked:
    """Who asks for a change: it is written down by `log`, before anything is done."""

    def __init__(self, house: House, who: str) -> None:
        self._house, self.who = house, who

    def log(self, what: str, **facts: Any) -> None:
        """One line of the audit log."""
        self._house.audit.add(self.who, what, **facts)


class Changes:
    """The changes.

    Args:
        house: of which.
    """

    def __init__(self, house: House) -> None:
        self._house = house

    def endpoint(self, do: Done) -> Callable[[Request], Any]:
        """A change as an endpoint: JSON in, and what became of it."""

        async def answer(request: Request) -> Response:
            try:
                given = json.loads(await request.body() or b"{}")
                if not isinstance(given, dict):
                    raise InputError("the change must be an object of JSON")
                asked = Asked(self._house, host_of(request.scope))
                return JSONResponse(await run_in_threadpool(do, given, asked))
            except PersonUnknown as error:
                return _failed(404, str(error))
            except (ValueError, KeyError, TypeError) as error:
                return _failed(400, f"the change cannot be read: {type(error).__name__}")
            except EarmarkError as error:
                return _failed(409, str(error))
            except OSError as error:
                return _failed(500, f"it could not be written: {system_text_of(error)}")

        return answer

    # --- people

    def rename(self, given: Given, asked: Asked) -> dict[str, Any]:
        """Another name for somebody, everywhere."""
        name, new_name = _name(given, "name"), _name(given, "new_name")
        asked.log("rename", name=name, to=new_name)
        erasure.rename(self._house.store, self._house.journal, name, new_name)
        self._move_sensitivity(name, new_name)
        return {"name": new_name}

    def erase(self, given: Given, asked: Asked) -> dict[str, Any]:
        """Everything of somebody; the name has to be typed."""
        name = _name(given, "name")
        if given.get("typed") != name:
            raise InputError(f"type the name {name!r} to erase this person")
        asked.log("erase", name=name)
        erased = erasure.erase(self._house.store, self._house.journal, name)
        self._move_sensitivity(name, None)
        self._house.audit.forget(name)
        return {"versions": erased.versions, "wakes": erased.wakes, "waiting": erased.waiting}

    def export(self, given: Given, asked: Asked) -> dict[str, Any]:
        """A person into a file of this machine: a voiceprint does not go to a browser."""
        name = _name(given, "name")
        folder = self._house.folder / EXPORTS
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
        place = folder / f"{folder_name(name)}-{stamp}.tar"
        asked.log("export", name=name, file=str(place))
        content = bundle.to_bytes(name, self._house.store.tree(name), self._house.store.vault())
        make_folder(folder)
        bundle.write(place, content)
        return {"file": str(place), "bytes": len(content)}

    def rollback(self, given: Given, asked: Asked) -> dict[str, Any]:
        """An earlier version counts again."""
        name, keyword, version = _name(given, "name"), str(given["keyword"]), int(given["version"])
        asked.log("rollback", name=name, keyword=keyword, version=version)
        copied, made = self._house.store.rollback(name, keyword, version)
        return {"copied": copied, "version": made}

    def unlearn(self, given: Given, asked: Asked) -> dict[str, Any]:
        """What was learned last is taken back."""
        name, keyword = _name(given, "name"), str(given["keyword"])
        asked.log("take back what was learned", name=name, keyword=keyword)
        version, gone = take_back(self._house.store, name, keyword)
        return {"version": version, "taken_back": len(gone)}

    # --- wakes

    def label(self, given: Given, asked: Asked) -> dict[str, Any]:
        """Who it was, of one entry or several."""
        numbers = [int(number) for number in given["numbers"]][:MOST_LABELLED]
        who = check_label(str(given["label"]))
        asked.log("label", wakes=numbers, label=who)
        learned = True
        for number in numbers:
            learned = vouched.label(self._house.journal, self._house.store, number, who)[1] and learned
        return {"labelled": len(numbers), "label": who, "learned": learned}

    def forget(self, given: Given, asked: Asked) -> dict[str, Any]:
        """Erases entries."""
        numbers = [int(number) for number in given["numbers"]]
        asked.log("forget wakes", wakes=numbers)
        return {"forgotten": self._house.journal.forget(numbers)}

    def preview(self, _: Given, __: Asked) -> dict[str, Any]:
        """What would be learned, of the labels and of what waits; nothing is changed."""
        return {"updates": self._house.run("learn", "now", "--dry-run")}

    def learn(self, _: Given, asked: Asked) -> dict[str, Any]:
        """Learns it."""
        asked.log("learn")
        return {"updates": self._house.run("learn", "now")}

    # --- health

    def doctor(self, _: Given, __: Asked) -> dict[str, Any]:
        """What the doctor finds."""
        return {"findings": self._house.run("doctor", may_fail=True)}

    async def report(self, _: Request) -> Response:
        """The text for a report of a fault, without voices and names, as a file."""

        def made() -> str:
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "report.txt"
                self._house.run("doctor", "--bundle", str(place), may_fail=True)
                return place.read_text("utf-8")

        headers = {"Content-Disposition": 'attachment; filename="earmark-report.txt"'}
        try:
            return PlainTextResponse(await run_in_threadpool(made), headers=headers)
        except (EarmarkError, OSError) as error:
            return PlainTextResponse(f"the report could not be made: {text_of(error)}\n", 500)

    # --- the daemon

    async def knob(self, request: Request) -> Response:
        """Mode and sensitivities, which hold at once and stay so."""
        try:
            given = json.loads(await request.body())
            knob, value = str(given["knob"]), given["value"]
            name = str(given.get("name", ""))
            if knob == "person":
                key, text = "people.sensitivity_of", self._table({**self._sensitivities(), name: float(value)})
            else:
                key, text = KNOBS[knob], str(value)
        except (ValueError, KeyError, TypeError) as error:
            return _failed(400, f"the change cannot be read: {type(error).__name__}")
        asked = Asked(self._house, host_of(request.scope))
        try:
            await run_in_threadpool(asked.log, "set", key=key, value=value, **({"name": name} if name else {}))
            await change(self._house.sockets(), key, text)
        except EarmarkError as error:
            return _failed(409, str(error))
        except OSError as error:
            return _failed(500, f"it could not be written: {system_text_of(error)}")
        return JSONResponse({"key": key})

    async def live(self, socket: WebSocket) -> None:
        """What the daemon says, as it comes, until the page is closed."""
        await socket.accept(subprotocol=SOCKET_PROTOCOL)
        texts = language(Request({**socket.scope, "type": "http"}))
        queue = self._house.live.join()

        async def tell() -> None:
            while True:
                told = await queue.get()
                if "reason" in told:
                    told = {**told, "said": said(told, texts)}
                await socket.send_text(json.dumps(told, ensure_ascii=False))

        telling = asyncio.create_task(tell())
        try:
            while True:  # a page says nothing here: what it sends is read, and forgotten
                await socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            pass
        finally:
            telling.cancel()
            self._house.live.leave(queue)

    async def log_out(self, request: Request) -> Response:
        """Ends the session."""
        guard = request.scope["guard"]
        guard.log_out(request.scope)
        await run_in_threadpool(self._house.audit.add, host_of(request.scope), "log out")
        response = RedirectResponse(request.scope["base"] + "/login", 303)
        response.delete_cookie(guard.cookie, path="/", secure=guard.is_secure, httponly=True, samesite="strict")
        return response

    def _sensitivities(self) -> dict[str, float]:
        return dict((self._house.live.status or {}).get("voice_sensitivity_of", {}))

    def _table(self, numbers: Mapping[str, float]) -> str:
        return "{" + ", ".join(f"{toml_text(name)} = {number:g}" for name, number in numbers.items()) + "}"

    def _move_sensitivity(self, name: str, new_name: str | None) -> None:
        """Whoever has another name keeps the own sensitivity; whoever is gone has none any more."""
        numbers = self._sensitivities()
        if name not in numbers:
            return
        number = numbers.pop(name)
        if new_name is not None:
            numbers[new_name] = number
        asyncio.run(change(self._house.sockets(), "people.sensitivity_of", self._table(numbers)))


def _name(given: Given, key: str) -> str:
    """A name as it may be one.

    Raises:
        InputError: it may not.
    """
    name = given[key]
    if not isinstance(name, str):
        raise InputError(f"{key} must be a name")
    folder_name(name)
    return name


def _failed(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
