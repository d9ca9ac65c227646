"""What can be changed from the page: what becomes of it, that it is written down, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_store import person
from serving_page import Served, Visitor, journal_in

from earmark.engine.people import bundle
from earmark.engine.people.store import PersonStore
from earmark.enroll.web.house import MOST_AUDIT_BYTES, Audit


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    store = PersonStore(tmp_path / "people")
    for name, seed in (("anna", 0), ("anna", 1), ("ben", 2)):
        store.save(person(name, seed=seed))
    journal_in(tmp_path, {}, {"type": "detection", "person": "anna", "reason": "known_voice"}, {"person": "ben"})
    with Served(tmp_path) as served:
        yield served


@pytest.fixture
def visitor(served: Served) -> Visitor:
    return served.log_in()


def test_a_person_gets_another_name_everywhere(visitor: Visitor, served: Served) -> None:
    assert visitor.change("/people/rename", name="anna", new_name="Zoë").json == {"name": "Zoë"}
    assert PersonStore(served.house.store.folder).names() == ["Zoë", "ben"]
    assert served.journal.read(2).event["person"] == "Zoë"
    assert served.house.audit.lines(1)[0]["what"] == "rename"


def test_who_is_erased_is_gone_and_from_the_log_too(visitor: Visitor, served: Served) -> None:
    refused = visitor.change("/people/erase", name="anna", typed="anne")
    assert (refused.status, "type the name" in refused.json["error"]) == (409, True)
    assert visitor.change("/people/export", name="anna").status == 200
    erased = visitor.change("/people/erase", name="anna", typed="anna").json
    assert (erased["versions"], erased["wakes"]) == (2, 1)
    assert PersonStore(served.house.store.folder).names() == ["ben"]
    assert served.journal.numbers() == [1, 3]
    log = served.house.audit.file.read_text()
    assert "erase" in log
    assert '"anna"' not in log
    assert visitor.change("/people/erase", name="anna", typed="anna").status == 404


def test_an_export_stays_on_the_machine(visitor: Visitor, served: Served) -> None:
    told = visitor.change("/people/export", name="anna")
    place = Path(told.json["file"])
    assert place.is_relative_to(served.folder)
    assert place.stat().st_mode & 0o777 == 0o600
    assert bundle.read(place).name == "anna"
    assert len(told.content) < 500


def test_an_earlier_version_counts_again(visitor: Visitor, served: Served) -> None:
    told = visitor.change("/people/rollback", name="anna", keyword="okay_nabu", version=1)
    assert told.json == {"copied": 1, "version": 3}
    assert visitor.change("/people/rollback", name="anna", keyword="okay_nabu", version=9).status == 409
    assert PersonStore(served.house.store.folder).versions("anna", "okay_nabu") == [1, 2, 3]


def test_nothing_learned_cannot_be_taken_back(visitor: Visitor) -> None:
    answer = visitor.change("/people/unlearn", name="anna", keyword="okay_nabu")
    assert (answer.status, "learned nothing" in answer.json["error"]) == (409, True)


def test_a_wake_is_labelled_and_erased(visitor: Visitor, served: Served) -> None:
    told = visitor.change("/wakes/label", numbers=[1, 3], label="ben").json
    assert told == {"labelled": 2, "label": "ben", "learned": True}
    assert [served.journal.read(number).label for number in (1, 2, 3)] == ["ben", None, "ben"]
    assert visitor.change("/wakes/forget", numbers=[1]).json == {"forgotten": 1}
    assert served.journal.numbers() == [2, 3]
    assert visitor.change("/wakes/forget", numbers=[1]).status == 409


@pytest.mark.slow
def test_what_would_be_learned_is_shown_and_changes_nothing(visitor: Visitor, served: Served) -> None:
    before = PersonStore(served.house.store.folder).fingerprint()
    answer = visitor.change("/wakes/preview")
    assert answer.status == 200, answer.text
    assert isinstance(answer.json["updates"], list)
    assert PersonStore(served.house.store.folder).fingerprint() == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/people/rename", "{}"),
        ("/people/rename", "[]"),
        ("/people/rename", "{"),
        ("/people/rename", '{"name": 5, "new_name": "x"}'),
        ("/people/rename", '{"name": "anna", "new_name": "a\\u0000b"}'),
        ("/people/rename", '{"name": "anna", "new_name": "ben"}'),
        ("/people/rename", '{"name": "anna", "new_name": "unknown"}'),
        ("/people/rollback", '{"name": "anna", "keyword": "../x", "version": 1}'),
        ("/people/rollback", '{"name": "anna", "keyword": "okay_nabu", "version": "x"}'),
        ("/wakes/label", '{"numbers": ["x"], "label": "ben"}'),
        ("/wakes/label", '{"numbers": [1], "label": ""}'),
        ("/wakes/label", '{"numbers": 1, "label": "ben"}'),
        ("/wakes/forget", '{"numbers": [-1]}'),
        ("/knob", '{"knob": "hook", "value": "x"}'),
        ("/knob", '{"knob": "person", "value": "x"}'),
        ("/knob", "\\xff"),
    ],
)
def test_what_is_no_change_changes_nothing_and_is_said(
    visitor: Visitor, served: Served, path: str, body: str
) -> None:
    store = PersonStore(served.house.store.folder)
    before = store.fingerprint()
    answer = visitor.ask("POST", path, body, X_CSRF_Token=visitor.csrf)
    assert answer.status in (400, 404, 409), answer.text
    assert answer.json["error"]
    assert store.fingerprint() == before
    assert [served.journal.read(number).label for number in served.journal.numbers()] == [None] * 3


def test_without_a_daemon_a_setting_is_refused_with_why(visitor: Visitor) -> None:
    answer = visitor.change("/knob", knob="mode", value="label")
    assert (answer.status, "no daemon answers" in answer.json["error"]) == (409, True)


def test_nothing_is_changed_that_cannot_be_written_down(visitor: Visitor, served: Served) -> None:
    csrf = visitor.csrf
    served.house.audit.file.unlink()
    served.house.audit.file.mkdir()
    answer = visitor.ask(
        "POST", "/people/rename", json.dumps({"name": "anna", "new_name": "carla"}), X_CSRF_Token=csrf
    )
    assert answer.status == 500
    assert PersonStore(served.house.store.folder).names() == ["anna", "ben"]


def test_the_log_says_who_what_and_when_and_stays_small(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.add("192.168.1.5", "rename", name="anna", to="ben")
    (line,) = audit.lines(5)
    assert {key: line[key] for key in ("who", "what", "name", "to")} == {
        "who": "192.168.1.5",
        "what": "rename",
        "name": "anna",
        "to": "ben",
    }
    assert line["at"].endswith("+00:00")
    assert audit.file.stat().st_mode & 0o777 == 0o600
    audit.file.write_bytes(b'{"what": "x"}\n' * 80_000 + audit.file.read_bytes())
    assert audit.file.stat().st_size > MOST_AUDIT_BYTES
    audit.add("a", "b")
    assert audit.file.stat().st_size < MOST_AUDIT_BYTES
    assert [line["what"] for line in audit.lines(3)] == ["b", "rename", "x"], "the newest stay"
    audit.forget("anna")
    assert "anna" not in audit.file.read_text()
