"""The pages, made here and sent whole: what is shown of the household, and nothing of anybody's voiceprint."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from earmark.engine.errors import EarmarkError, PersonError, WakeError
from earmark.engine.history.journal_entry import AUDIO_FILE, Entry
from earmark.engine.history.labels import NOISE, NOT_ME
from earmark.engine.networks.card import builtin_keywords, load_manifest
from earmark.engine.people.store import ANY_PHRASE, FREE_SPEECH, PersonStore
from earmark.engine.settings.policy import MODES

from ..training.expected import heard_share
from .access import take_code
from .guard import host_of
from .house import House
from .texts import Texts, wanted

HERE = Path(__file__).parent
TYPES = {".css": "text/css", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
WAKES_SHOWN = 100
EVENTS_SHOWN = 12
SCORES_SHOWN = 200  # of one person, over the weeks that the journal keeps
PARTS = {"person": "people", "wake": "wakes"}
"""Page -> the one of the list above it."""
MAX_CODE_BYTES = 200


class Static:
    """The files that every page loads; there are no others, whatever is asked for."""

    def __init__(self) -> None:
        self._files = {
            path.name: (path.read_bytes(), TYPES[path.suffix])
            for path in sorted((HERE / "static").iterdir())
            if path.suffix in TYPES
        }

    async def get(self, request: Request) -> Response:
        """One of them."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return Response("there is no such file\n", 404, media_type="text/plain")
        content, kind = found
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}  # small, and asked for again: an update is seen at once
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)


class Pages:
    """What is shown.

    Args:
        house: of which.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        loader = jinja2.FileSystemLoader(HERE / "templates")
        self._templates = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    async def now(self, request: Request) -> Response:
        """What it hears."""
        events = await run_in_threadpool(self._last_events, language(request))
        texts = language(request)
        told = {"status": self._house.live.status, "modes": MODES, "events": events, "cutoffs": _cutoffs(self._house)}
        return self._page(request, "now", told, texts.of("now.", "event.", "because.", "live.", "mode."))

    async def people(self, request: Request) -> Response:
        """Who is enrolled."""
        return self._page(request, "people", await run_in_threadpool(self._people), language(request).of("people."))

    async def person(self, request: Request) -> Response:
        """One of them."""
        found = await run_in_threadpool(self._person, request.query_params.get("name", ""))
        if found is None:
            return self._page(request, "missing", {}, {}, 404)
        return self._page(request, "person", found, language(request).of("people.", "person."))

    async def wakes(self, request: Request) -> Response:
        """The journal."""
        texts = language(request)
        told = await run_in_threadpool(self._wakes, texts)
        return self._page(request, "wakes", told, texts.of("wakes."))

    async def wake(self, request: Request) -> Response:
        """One entry of it."""
        texts = language(request)
        found = await run_in_threadpool(self._wake, int(request.path_params["number"]), texts)
        if found is None:
            return self._page(request, "missing", {}, {}, 404)
        return self._page(request, "wake", found, texts.of("wake.", "wakes."))

    async def sound(self, request: Request) -> Response:
        """The sound of one entry, as WAV."""
        number = int(request.path_params["number"])
        try:
            content = await run_in_threadpool(self._house.journal.contents, number)
        except WakeError:
            return Response("there is no such sound\n", 404, media_type="text/plain")
        return Response(content[AUDIO_FILE], media_type="audio/wav")

    async def health(self, request: Request) -> Response:
        """How it is."""
        audit = await run_in_threadpool(self._house.audit.lines, 20)
        told = {"status": self._house.live.status, "problem": self._house.live.problem, "audit": audit}
        return self._page(request, "health", told, language(request).of("health.", "live."))

    async def enrol(self, request: Request) -> Response:
        """Learning a voice."""
        told = {
            "words": [(name, load_manifest(name).wake_word) for name in builtin_keywords()],
            "chosen": self._house.settings.wake.keywords[0],
            "any_phrase": ANY_PHRASE,
            "name": request.query_params.get("name", "")[:80],
        }
        return self._page(request, "enrol", told, language(request).of("enrol.", "fault.", "how."))

    async def login(self, request: Request) -> Response:
        """The code is asked for, or was typed."""
        if request.method == "GET":
            return self._page(request, "login", {"failed": ""}, {})
        guard = request.scope["guard"]
        if not guard.may_try(request.scope):
            return self._page(request, "login", {"failed": "login.slow"}, {}, 429)
        typed = (await request.body())[:MAX_CODE_BYTES].decode("utf-8", "replace")
        now_s = datetime.datetime.now(datetime.timezone.utc).timestamp()
        if not await run_in_threadpool(take_code, self._house.folder, typed.partition("code=")[2], now_s):
            await run_in_threadpool(self._house.audit.add, host_of(request.scope), "wrong code")
            return self._page(request, "login", {"failed": "login.wrong"}, {}, 403)
        await run_in_threadpool(self._house.audit.add, host_of(request.scope), "log in")
        response = RedirectResponse(request.scope["base"] + "/", 303)
        guard.log_in(request.scope, response)
        return response

    async def nowhere(self, request: Request, _: Exception) -> Response:
        """What there is not."""
        if "text/html" in request.headers.get("accept", ""):
            return self._page(request, "missing", {}, {}, 404)
        return Response("there is no such page\n", 404, media_type="text/plain")

    # --- what is on them

    def _last_events(self, texts: Texts) -> list[dict[str, Any]]:
        """Newest first: what this process has heard of, and before that what the journal keeps."""
        heard = list(self._house.live.events)
        oldest = heard[0]["at"] if heard else "9"
        try:
            kept = [e for e in self._house.entries(EVENTS_SHOWN) if isinstance(e, Entry)]
        except WakeError:
            kept = []
        earlier = [dict(entry.event) for entry in kept if str(entry.event["at"]) < oldest]
        return [said(event, texts) for event in [*heard[::-1], *earlier][:EVENTS_SHOWN]]

    def _people(self) -> dict[str, Any]:
        store = self._house.store
        try:
            names = store.names()
            people = [_portrait(store, name) for name in names]
        except EarmarkError as error:
            return {"people": [], "problem": str(error), "locked": False}
        return {"people": people, "problem": "", "locked": any(one["locked"] for one in people)}

    def _person(self, name: str) -> dict[str, Any] | None:
        store = self._house.store
        try:
            if name not in store.names():
                return None
            words = [self._voiceprint(name, keyword) for keyword in store.keywords(name)]
        except PersonError as error:
            return {"name": name, "words": [], "scores": [], "sensitivity": None, "problem": str(error)}
        status = self._house.live.status or {}
        sensitivity = status.get("voice_sensitivity_of", {}).get(name, status.get("voice_sensitivity"))
        return {
            "name": name,
            "words": words,
            "scores": self._scores(name),
            "sensitivity": sensitivity,
            "problem": "",
        }

    def _voiceprint(self, name: str, keyword: str) -> dict[str, Any]:
        store = self._house.store
        person = store.load(name, keyword)
        versions = store.versions(name, keyword)
        together = sum(keyword in store.keywords(other) for other in store.names())
        told: dict[str, Any] = {"heard": None}
        if keyword not in (ANY_PHRASE, FREE_SPEECH):
            told = _promise(person.report, person.enrolled_takes, together)
        learned = [
            {"at": _at(facts["at_s"]), "score": facts["score"], "source": facts["source"]} for facts in person.learned
        ]
        return {
            "keyword": keyword,
            "takes": person.enrolled_takes,
            "learned": learned[::-1],
            "version": versions[-1],
            "versions": versions[-2::-1],
            "recordings": len(store.recordings(name, keyword)),
            **told,
        }

    def _scores(self, name: str) -> list[dict[str, Any]]:
        """When this person was heard, and how alike: oldest first."""
        try:
            entries = [
                entry for entry in self._house.entries(self._house.settings.journal.most) if isinstance(entry, Entry)
            ]
        except WakeError:
            return []
        own = [e for e in entries if e.event["person"] == name and e.event["speaker_score"] is not None]
        return [{"at": e.at.isoformat(), "score": e.event["speaker_score"]} for e in own[:SCORES_SHOWN]][::-1]

    def _wakes(self, texts: Texts) -> dict[str, Any]:
        try:
            entries = list(self._house.entries(WAKES_SHOWN))
            total, problem = len(self._house.journal.numbers()), ""
        except WakeError as error:
            entries, total, problem = [], 0, str(error)
        return {
            "wakes": [_entry(entry, texts) for entry in entries],
            "total": total,
            "problem": problem,
            "enabled": self._house.settings.journal.enabled,
        }

    def _wake(self, number: int, texts: Texts) -> dict[str, Any] | None:
        try:
            entry = self._house.journal.read(number)
        except WakeError:
            return None
        numbers = self._house.journal.numbers()
        place = numbers.index(number) if number in numbers else 0
        try:
            names = self._house.store.names()
        except EarmarkError:
            names = []
        return {
            "wake": _entry(entry, texts),
            "people": names,
            "others": (NOT_ME, NOISE),
            "before": numbers[place - 1] if place else None,
            "after": numbers[place + 1] if place + 1 < len(numbers) else None,
            "word_end_s": entry.word_end / 16_000,
        }

    def _page(
        self, request: Request, name: str, told: Mapping[str, Any], texts: Mapping[str, str], status: int = 200
    ) -> Response:
        """A page whole, in the language that the browser asks for."""
        spoken = language(request)
        response = Response(status_code=status, media_type="text/html")
        session = request.scope.get("session")
        if session is None and self._house.settings.web.ingress:  # the proxy knows who it is
            session = request.scope["guard"].log_in(request.scope, response)
        common = spoken.of("common.", "problem.")
        content = self._templates.get_template(f"{name}.html").render(
            t=spoken,
            page=name,
            part=PARTS.get(name, name),
            base=request.scope["base"],
            csrf=session.csrf if session else "",
            has_session=session is not None,
            has_login=not self._house.settings.web.ingress,
            texts=json.dumps({**common, **texts}, ensure_ascii=False),
            **told,
        )
        response.body = content.encode("utf-8", "replace")
        response.headers["Content-Length"] = str(len(response.body))
        return response


def language(request: Request) -> Texts:
    """The texts that the browser asks for."""
    return wanted(request.headers.get("accept-language", ""))


def said(event: Mapping[str, Any], texts: Texts) -> dict[str, Any]:
    """An event in words, for a page."""
    found, _, setting = str(event["reason"]).partition(":")
    kind = str(event["type"])
    title = texts(f"event.{kind}.known" if event.get("person") else f"event.{kind}", person=event.get("person") or "")
    key = f"because.{found}"
    why = texts(key) if texts.has(key) else found
    if setting and texts.has(f"because.with.{setting}"):
        why = f"{why} {texts(f'because.with.{setting}')}"
    return {
        "type": kind,
        "title": title,
        "why": why,
        "at": str(event.get("at", "")),
        "keyword": str(event["keyword"]),
        "person": event.get("person"),
        "keyword_score": event["keyword_score"],
        "speaker_score": event["speaker_score"],
    }


def _entry(entry: Entry | int, texts: Texts) -> dict[str, Any]:
    if isinstance(entry, int):
        return {"number": entry, "damaged": True}
    told = {**said(entry.event, texts), "at": entry.at.isoformat()}
    return {"number": entry.number, "damaged": False, "label": entry.label, **told}


def _portrait(store: PersonStore, name: str) -> dict[str, Any]:
    """One line of the list."""
    keywords = store.keywords(name)
    try:
        takes = [store.load(name, keyword) for keyword in keywords]
    except PersonError as error:
        return {"name": name, "keywords": keywords, "locked": True, "problem": str(error), "takes": 0, "learned": 0}
    learned = sum(len(one.learned) for one in takes)
    takes_of = max(one.enrolled_takes for one in takes)
    return {"name": name, "keywords": keywords, "locked": False, "problem": "", "takes": takes_of, "learned": learned}


def _promise(report: Mapping[str, Any], takes: int, people: int) -> dict[str, Any]:
    """What to expect, in 100 tries; never 100, for nobody is heard always."""
    if "wanted_far" not in report or "expected_frr" not in report:  # of an older version
        return {"heard": None}
    heard = max(min(round(100 * heard_share(report, takes, people)), 99), 1)
    return {"heard": heard, "missed": 100 - heard, "one_in": round(1 / report["wanted_far"])}


def _at(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")


@functools.cache
def _published(keyword: str) -> float:
    return load_manifest(keyword).probability_cutoff


def _cutoffs(house: House) -> dict[str, float]:
    """The cutoff in force of each wake word, for the strip."""
    policy, found = house.settings.policy(), {}
    for keyword in house.settings.wake.keywords:
        try:
            found[keyword] = round(policy.cutoff(keyword, _published(keyword)), 3)
        except EarmarkError:
            continue
    return found
