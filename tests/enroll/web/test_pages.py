"""What the pages show: the household in words, every name as text, and nothing of a voiceprint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers_store import make_voiceprint, person
from serving_page import EVIL, Served, Visitor, journal_in

from earmark.engine.audio.wav import from_wav
from earmark.engine.people import vault
from earmark.engine.people.store import COSINE, PersonStore
from earmark.enroll.web.texts import FOLDER, Texts, languages, wanted

SCRIPT = "</title><script>alert(1)<"
MARKS = "{{7*7}}{name}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    store = PersonStore(folder / "people")
    for name in ("anna", EVIL, "../" + MARKS):
        store.save(person(name))
    store.save(person("anna", seed=1))
    journal_in(folder, {}, {"type": "detection", "person": "anna", "reason": "known_voice"}, {"keyword": SCRIPT})
    with Served(folder) as served:
        served.journal.label(1, EVIL)
        yield served


@pytest.fixture
def visitor(served: Served) -> Visitor:
    served.now_s += 1000
    return served.log_in()


MODULES = {
    "/": "now",
    "/people": "page",
    "/person": "people",
    "/wakes": "wakes",
    "/wakes/1": "wake",
    "/wakes/3": "wake",
    "/health": "health",
}
PAGES = ["/", "/people", "/person?name=anna", "/wakes", "/wakes/1", "/wakes/3", "/health"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_name_is_text_wherever_it_is_shown(visitor: Visitor, path: str, language: str) -> None:
    """Stored scripts: of people, labels, wake words and files."""
    page = visitor.page(path, Accept_Language=language)
    assert f'<html lang="{language}">' in page
    assert "<img" not in page
    assert re.findall(r"<script[^>]*>", page) == [
        f'<script type="module" src="/static/{MODULES[path.partition("?")[0]]}.mjs">'
    ]
    assert "49{name}" not in page


def test_a_person_with_a_hostile_name_has_a_page_and_can_be_reached(visitor: Visitor) -> None:
    people = visitor.page("/people")
    links = re.findall(r'href="(/person[^"]+)"', people)
    assert len(links) == 3
    for link in links:
        assert "data-name=" in visitor.page(link)


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_number_of_a_voiceprint(visitor: Visitor, served: Served, path: str) -> None:
    """Neither a threshold nor any value of takes, variations or head."""
    page = visitor.page(path)
    anna = PersonStore(served.house.store.folder).load("anna", "okay_nabu")
    for value in (*anna.takes.ravel()[:50], *anna.centroid[:50], anna.threshold):
        assert f"{float(value):.4f}" not in page
    assert "npz" not in page


def test_the_pages_say_in_words_what_happened(visitor: Visitor) -> None:
    wakes = visitor.page("/wakes")
    assert "It stayed asleep" in wakes
    assert "A voice it does not know." in wakes
    assert "It woke for anna" in wakes
    assert "Back to version 1" in visitor.page("/person?name=anna")
    assert "Of 100 tries by strangers about one gets in." not in visitor.page("/person?name=anna"), (
        "it has no such report"
    )


def test_the_sound_of_a_wake_is_what_the_journal_has(visitor: Visitor, served: Served) -> None:
    answer = visitor.ask("GET", "/wakes/2.wav")
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["cache-control"] == "no-store"
    assert np.array_equal(from_wav(answer.content), served.journal.samples(2))
    assert visitor.ask("GET", "/wakes/9.wav").status == 404


def test_what_is_not_there_is_said(visitor: Visitor) -> None:
    for path in ("/person?name=nobody", "/wakes/77"):
        answer = visitor.ask("GET", path, Accept="text/html")
        assert answer.status == 404
        assert "There is nothing here" in answer.text


def test_the_first_page_with_all_that_it_loads_is_small(visitor: Visitor) -> None:
    page = visitor.page("/")
    loaded = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)) | {"/static/page.mjs"}
    total = len(page.encode()) + sum(len(visitor.ask("GET", path).content) for path in loaded)
    assert len(loaded) == 4
    assert total <= 150_000 / 3


def test_what_has_not_changed_is_not_sent_again(visitor: Visitor) -> None:
    tag = visitor.ask("GET", "/static/page.css").headers["etag"]
    again = visitor.ask("GET", "/static/page.css", If_None_Match=tag)
    assert (again.status, again.content) == (304, b"")


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in (FOLDER.parent / "static").iterdir():
        found = re.findall(r"https?://[^\s\"')]+", file.read_text("utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, file


def test_an_encrypted_store_without_its_key_shows_names_and_says_why(tmp_path: Path) -> None:
    store = PersonStore(tmp_path / "people", lambda: bytearray(b"correct horse"))
    store.save(make_voiceprint("anna", "okay_nabu", COSINE, 0))
    from earmark.engine.history import sealing

    with pytest.MonkeyPatch.context() as changed:
        changed.setitem(vault.SCRYPT, "n", 2)
        sealing.encrypt(store, bytearray(b"correct horse"))
    with Served(tmp_path) as served:
        visitor = served.log_in()
        people = visitor.page("/people")
        assert "anna" in people
        assert "names are all that can be shown" in people
        assert "key" in visitor.page("/person?name=anna")
        assert visitor.page("/")


# --- languages


def test_every_language_has_every_text_and_the_same_marks() -> None:
    assert set(languages()) >= {"en", "de"}
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    for language in languages():
        texts = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[key])), key


def test_the_browser_says_which_language() -> None:
    for accept, language in (("de-AT,de;q=0.9,en", "de"), ("fr, de;q=0.5", "de"), ("fr", "en"), ("", "en")):
        assert wanted(accept).language == language
    assert wanted("../../x").language == "en"


def test_a_text_with_a_name_in_braces_stays_as_it_is() -> None:
    assert Texts("en")("event.detection.known", person="{person}{x}") == "It woke for {person}{x}"


def test_every_text_that_a_page_asks_for_is_there_and_every_text_is_asked_for() -> None:
    here = FOLDER.parent
    files = [*here.glob("templates/*.html"), *here.glob("static/*.mjs"), *here.glob("*.py")]
    source = "\n".join(path.read_text("utf-8") for path in files)
    asked = set(re.findall(r"""\bt\(\s*["']([a-z_.-]+[a-z_])["']""", source))
    english = json.loads((FOLDER / "en.json").read_text("utf-8"))
    assert {key for key in asked if key not in english} == set()
    made = ("nav.", "event.", "because.", "mode.", "now.knob.", "wakes.is.", "fault.", "how.")
    made_too = ("enrol.ask.", "enrol.level.", "enrol.verdict.")
    unused = {key for key in english if f'"{key}"' not in source and f"'{key}'" not in source}
    assert {key for key in unused if not key.startswith((*made, *made_too))} == set()
