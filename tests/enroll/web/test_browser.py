"""The page as a person at a browser has it: seen, clicked, in both themes and sizes, and read by a screen reader."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from conftest import REPOSITORY, Read, Takes
from helpers_store import environment
from live import Live
from serving_page import EVIL, Served, journal_in

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.audio.wav import to_wav
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.enroll.web import access

pytestmark = pytest.mark.slow

AXE = REPOSITORY / ".venv-axe" / "node_modules" / "axe-core" / "axe.min.js"
AXE_VARIABLE = "EARMARK_TEST_AXE"
PHONE, DESK = (390, 844), (1100, 800)
PAGES = ("/", "/enrol", "/people", "/person?name=slt", "/wakes", "/wakes/1", "/health")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def served(slt: Voiceprint, tmp_path: Path) -> Iterator[Served]:
    PersonStore(tmp_path / "people").save(slt)
    journal_in(tmp_path, {}, {"type": "detection", "person": "slt", "reason": "known_voice", "file": EVIL})
    with Served(tmp_path) as served:
        yield served


def daemon_of(folder: Path) -> Live:
    arguments = ("-", "--store", folder / "people", "--set", f"socket.path={folder / 's'}")
    return Live(*arguments, env=environment(XDG_STATE_HOME=str(folder / "state")))


def log_in(browser: Browser, served: Served) -> None:
    """As a person does, with the code from the console."""
    browser.look(*PHONE)
    browser.call("Network.clearBrowserCookies")
    browser.goto(served.origin + "/")
    assert browser.evaluate("location.pathname") == "/login"
    browser.type("#code", access.new_code(served.folder).lower())
    browser.click("main button.main")
    browser.wait("location.pathname === '/' && document.readyState === 'complete'")
    browser.forget_problems()


def test_a_household_is_looked_at_and_changed(
    browser: Browser, served: Served, spoken: dict[str, bytes], tmp_path: Path
) -> None:
    """Live strip, mode, label, sound, a daemon that goes and comes back without a reload, and everything erased."""
    log_in(browser, served)
    browser.wait("document.querySelector('#state').textContent.includes('does not answer')")
    with daemon_of(tmp_path) as first:
        browser.wait("document.querySelector('#state').textContent === 'Listening'")
        first.feed(spoken["slt"])
        browser.wait("Number(document.querySelector('#score').textContent) > 0.5")
        assert browser.evaluate("document.querySelector('#events strong').textContent") == "It woke for slt"
        browser.wait("/^-?\\d+ dB$/.test(document.querySelector('#level').textContent)")
        browser.click("[name=mode][value=label]")
        browser.wait("document.querySelector('#toast').textContent !== ''")
        browser.wait("document.querySelector('[name=mode][value=label]').checked")
        assert first.stop().code == 0
    browser.wait("document.querySelector('#state').textContent.includes('does not answer')")
    assert browser.evaluate("document.querySelector('#modes').disabled")
    with daemon_of(tmp_path) as second:
        browser.wait("document.querySelector('#state').textContent === 'Listening'")
        browser.wait("document.querySelector('[name=mode][value=label]').checked")
        assert second.stop().code == 0

    browser.goto(served.origin + "/wakes/1")
    browser.wait("!document.querySelector('#play').disabled")
    browser.click("#play")
    browser.wait("document.body.dataset.played === '1'")
    browser.click("#labels [data-label='slt']")
    browser.wait("document.querySelector('#labels [data-label=slt]').getAttribute('aria-pressed') === 'true'")
    assert served.journal.read(1).label == "slt"

    browser.goto(served.origin + "/person?name=slt")
    browser.click("[data-do=erase]")
    assert browser.evaluate("document.querySelector('#erase-yes').disabled")
    browser.type("#typed", "slt")
    browser.click("#erase-yes")
    browser.wait("location.pathname === '/people'")
    assert PersonStore(tmp_path / "people").names() == []
    assert browser.problems() == []


def axe() -> str:
    """The program that looks for what keeps people out."""
    file = Path(os.environ.get(AXE_VARIABLE) or AXE)
    if not file.is_file():
        pytest.skip("no axe-core: scripts/test installs it with npm")
    return file.read_text("utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_on_any_page_keeps_anybody_out(
    browser: Browser, served: Served, size: tuple[int, int], dark: bool
) -> None:
    program = axe()
    log_in(browser, served)
    browser.look(*size, dark)
    found: dict[str, Any] = {}
    for path in (*PAGES, "/nowhere"):
        browser.goto(served.origin + path)
        found.update(serious(browser, program, path))
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth"), f"{path} is too wide"
    browser.goto(served.origin + "/person?name=slt")
    browser.click("[data-do=erase]")
    found.update(serious(browser, program, "dialog"))
    browser.call("Network.clearBrowserCookies")
    browser.goto(served.origin + "/login")
    found.update(serious(browser, program, "/login"))
    assert found == {}


def serious(browser: Browser, program: str, where: str) -> dict[str, Any]:
    """What is wrong on a page, by its rule."""
    browser.evaluate(program + "; undefined")
    told = json.loads(browser.evaluate("axe.run({ resultTypes: ['violations'] }).then(JSON.stringify)"))
    bad = [one for one in told["violations"] if one["impact"] in ("serious", "critical")]
    return {f"{where}: {one['id']}": [node["html"][:200] for node in one["nodes"]] for one in bad}


def test_a_page_is_gone_through_with_the_keyboard_alone(browser: Browser, served: Served) -> None:
    log_in(browser, served)
    browser.goto(served.origin + "/people")
    seen = []
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(browser.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
    assert seen[0] == "Skip to the content"
    assert {"earmark", "Now", "Enrol", "People", "Wakes", "Health", "Log out"} <= set(seen)
    assert any(one.startswith("S") for one in seen[7:]), "and the person"


def test_a_voice_is_learned_through_a_microphone_of_the_browser(takes: Takes, read: Read, tmp_path: Path) -> None:
    """The sound of a WAV, again and again, for a microphone: its verdicts are seen, and it can be stopped."""
    said = [read(path) for path in takes("slt", "okay_nabu", "enroll")]
    room = (8 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)).astype(np.int16)
    (tmp_path / "said.wav").write_bytes(to_wav(np.concatenate([np.tile(room, 30), said[0], room, said[1], room])))
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'said.wav'}",
    )
    with Served(tmp_path) as served, Browser(tmp_path / "profile", *flags) as browser:
        log_in(browser, served)
        browser.goto(served.origin + "/enrol")
        browser.type("#name", "anna")
        browser.click("[name=where][value=browser]")
        browser.click("#begin button.main")
        browser.wait("document.querySelector('#say').textContent === 'Quiet, please'")
        browser.wait("/^Take 1 of 5$/.test(document.querySelector('#which').textContent)")
        browser.wait("!document.querySelector('#verdict').hidden", 120)
        browser.click("#stop")
        browser.wait("!document.querySelector('#begin').hidden")
        assert browser.problems() == []
    assert not (tmp_path / "people").exists()
