"""Pictures of Home Assistant's own pages with the integration: `pictures.py FOLDER LOGS COMMAND CHROMIUM TO`.

FOLDER, LOGS and COMMAND as of check.py; CHROMIUM is the command that starts a browser there, TO the folder of the
pictures in docs/. The browser is led by its debugging protocol.
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import check
import client
from rooms import SATELLITES, House

BROWSER_PORT = 19222
DRAWN_S = 12.0  # until a page has all that it loads
WIDTH, HEIGHT = 1240, 900


class Browser:
    """One page of a running one."""

    def __init__(self) -> None:
        pages = client.wait_for("the browser answers", 60, self._pages)
        path = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"].split("/", 3)[3]
        home, client.PORT = client.PORT, BROWSER_PORT
        self._socket, self._numbers = client.Socket(f"/{path}"), itertools.count(1)
        client.PORT = home
        self.call("Page.enable")
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    @staticmethod
    def _pages() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{BROWSER_PORT}/json", timeout=5) as answer:
            return json.loads(answer.read())

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol -> its result."""
        number = next(self._numbers)
        self._socket.send(client.TEXT, json.dumps({"id": number, "method": method, "params": parameters}).encode())
        while (message := self._socket.received.get(timeout=60)) is not None:
            if message.get("id") == number:
                return message.get("result")
        raise AssertionError(f"{method}: the browser is gone")

    def picture(self, address: str, path: Path) -> None:
        """Of a page, when it has been drawn."""
        self.call("Page.navigate", url=address)
        time.sleep(DRAWN_S)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)


def main() -> None:
    """A house, a wake, and the pages."""
    work, keep, command, chromium, to = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5], Path(sys.argv[5])
    house = House(work, command)
    configuration = work / "config" / "configuration.yaml"
    configuration.write_text(f"{configuration.read_text()}frontend:\nlogbook:\nhistory:\n")
    browser = subprocess.Popen(chromium, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        checks = check.Checks(house)
        for step in (checks.begin, checks.add, checks.satellites):
            step()
        checks.at_once(*SATELLITES[:2])
        for asked in ("core_config", "analytics", "integration"):  # else every page is that of the first start
            checks.ha.post(f"/api/onboarding/{asked}", {"client_id": client.CLIENT_ID, "redirect_uri": client.BASE})
        greeting = {"path": "earmark/greet_by_name.yaml", "input": {"sentences": ["good morning", "hello"]}}
        checks.ha.post("/api/config/automation/config/greet", {"alias": "Greet by name", "use_blueprint": greeting})
        devices = checks.ha.command("config/device_registry/list")
        device = next(one["id"] for one in devices if one["manufacturer"] == "earmark")
        page = Browser()
        page.call("Page.addScriptToEvaluateOnNewDocument", source=_logged_in(checks.ha))
        page.picture(f"{client.BASE}/config/devices/device/{device}", to / "home_assistant_device.png")
        page.picture(f"{client.BASE}/config/automation/edit/greet", to / "home_assistant_blueprint.png")
    finally:
        browser.kill()
        house.close(keep)


def _logged_in(home: Any) -> str:
    """What the page finds where it keeps who is logged in."""
    tokens = {
        "access_token": home._token,
        "token_type": "Bearer",
        "refresh_token": home._refresh_token,
        "expires_in": 1800,
        "hassUrl": client.BASE,
        "clientId": client.CLIENT_ID,
        "expires": int(time.time() * 1000) + 1_700_000,
    }
    return f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(tokens))})"


if __name__ == "__main__":
    main()
