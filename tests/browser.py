"""Chromium without a window, driven by its own protocol through a pipe: what a person at the page does and sees."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
LIMIT_S = 60.0
LOOK_S = 0.05
FLAGS = (  # it asks nobody outside for anything, and runs as root in a container
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-audio-output",  # plays to a clock: a sound server that another test has started may end meanwhile
    "--hide-scrollbars",
    "--lang=en-GB",
    "--remote-debugging-pipe",
)


def program() -> str:
    """The file of Chromium; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no Chromium: `apt install chromium`")
    return found


class Browser:
    """One Chromium with a page.

    Args:
        folder: for its profile, empty.
        flags: beside those that it always has.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        command = [program(), *FLAGS, f"--user-data-dir={folder}", *flags, "about:blank"]
        ours_in, given_out = os.pipe()
        given_in, ours_out = os.pipe()
        # it reads from 3 and writes to 4, which must not be one of these
        theirs_in, theirs_out = (fcntl.fcntl(given, fcntl.F_DUPFD, 10) for given in (given_in, given_out))
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", line, "-", *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for descriptor in (given_in, given_out, theirs_in, theirs_out):
            os.close(descriptor)
        self._in, self._out = os.fdopen(ours_in, "rb", 0), os.fdopen(ours_out, "wb", 0)
        self._numbers, self._rest = itertools.count(1), b""
        self._events: deque[dict[str, Any]] = deque(maxlen=1000)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Security.setIgnoreCertificateErrors", ignore=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._in.close()
        self._out.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One call of the protocol, and its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == number:
                assert "error" not in told, (method, told["error"])
                result: dict[str, Any] = told["result"]
                return result
            self._events.append(told)

    def problems(self) -> list[str]:
        """What the browser complained of: scripts that failed, and what its policy kept from being loaded."""
        self.evaluate("1")
        found = []
        for told in self._events:
            params = told.get("params", {})
            if told.get("method") == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
            if told.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def forget_problems(self) -> None:
        """Those until now."""
        self._events.clear()

    def goto(self, url: str) -> None:
        """Opens a page, and waits until it is there with what it loads."""
        self.evaluate("window.leaving = true")
        self.call("Page.navigate", url=url)
        self.wait("!window.leaving && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of the page; a promise is waited for."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, condition: str, limit_s: float = LIMIT_S) -> Any:
        """Until an expression of the page is true; fails the test where it never is."""
        until_s = time.monotonic() + limit_s
        while True:
            try:
                if found := self.evaluate(condition):
                    return found
            except AssertionError:  # between two pages there is none
                pass
            shown = self.call("Runtime.evaluate", expression="document.body?.innerText", returnByValue=True)
            assert time.monotonic() < until_s, f"never: {condition}; the page shows {shown['result'].get('value')}"
            time.sleep(LOOK_S)

    def click(self, selector: str) -> None:
        """As a finger does, in the middle of it, where nothing may lie over it."""
        found = json.dumps(selector)
        self.wait(f"!!document.querySelector({found})")
        self.evaluate(f"document.querySelector({found}).scrollIntoView({{ block: 'center' }})")
        x, y, is_free = self.evaluate(
            f"(() => {{ const one = document.querySelector({found}), box = one.getBoundingClientRect();"
            "const x = box.left + box.width / 2, y = box.top + box.height / 2;"
            "const there = document.elementFromPoint(x, y);"
            "return [x, y, one.contains(there) || !!there?.closest('label')?.contains(one)]; })()"
        )
        assert is_free, f"something lies over {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Into a field, letter by letter."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, dark: bool = False, calm: bool = True) -> None:
        """How large the screen is, and which theme the person likes."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, file: Path, whole: bool = False) -> None:
        """What is seen, as PNG."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(told["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = self._in.read(1 << 16)
            assert piece, "Chromium has ended"
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        told: dict[str, Any] = json.loads(line)
        return told
