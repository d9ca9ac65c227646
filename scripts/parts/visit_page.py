"""scripts/parts/visit_page.py CODE PERSON: visits the page of this machine's service as a browser does.

Logs in, looks at each page, has an export of the person written, learns, asks the doctor, fetches a report, and sets
the sensitivity. Exit code 1 at the first that is not as promised.
"""

from __future__ import annotations

import http.client
import json
import re
import sys

LIMIT_S = 300.0


class Visitor:
    """A browser with its cookie and the token of its session."""

    def __init__(self, port: int) -> None:
        self._port, self._own = port, {"Accept": "text/html"}

    def ask(self, path: str, body: str | None = None) -> str:
        """What is answered to a look, or to a change."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_S)
        origin = {} if body is None else {"Origin": f"http://127.0.0.1:{self._port}"}
        connection.request("GET" if body is None else "POST", path, body, {**self._own, **origin})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 303):
            sys.exit(f"{path}: {answer.status} {text}")
        if path == "/login":
            self._own["Cookie"] = str(answer.headers["set-cookie"]).partition(";")[0]
        elif found := re.search(r'name="csrf" content="([^"]+)"', text):
            self._own["x-csrf-token"] = found[1]
        connection.close()
        return text


def main(code: str, person: str) -> None:
    """The visit."""
    visitor = Visitor(8480)
    visitor.ask("/login", f"code={code}")
    for path in ("/", "/enrol", "/people", f"/person?name={person}", "/wakes", "/health"):
        visitor.ask(path)
    visitor.ask("/people/export", json.dumps({"name": person}))
    visitor.ask("/wakes/learn", "{}")
    findings = json.loads(visitor.ask("/health/doctor", "{}"))["findings"]
    states = {finding["check"]: finding["state"] for finding in findings}
    if states.get("the whole path") != "ok" or "person store" not in states:
        sys.exit(f"the doctor: {states}")
    if "earmark" not in visitor.ask("/health/report"):
        sys.exit("the report is empty")
    visitor.ask("/knob", json.dumps({"knob": "sensitivity", "value": 0.5}))


main(*sys.argv[1:])
