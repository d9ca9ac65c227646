"""Satellites that hear their wake word themselves: only commands come, and pass through earmark to the recogniser."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from client import wait_for
from rooms import AUDIO, COMMANDS, ELSEWHERE, RECOGNISER_PORT, RECOGNITION_S, STRANGER

if TYPE_CHECKING:
    from check import Checks

RATE_HZ, CHUNK_SAMPLES = 16_000, 1024
COMMANDS_EACH = 5  # of which the median counts
LATE_MS = 20.0  # so much later the transcript may be there


class Run:
    """A run of a pipeline from the command on, by Home Assistant's websocket."""

    def __init__(self, checks: Checks, pipeline: Any, voice: str) -> None:
        self._ha, self._events = checks.ha, list[dict[str, Any]]()
        self._at_s: dict[str, float] = {}
        parts = [soundfile.read(AUDIO / name, dtype="int16")[0] for name in COMMANDS[voice]]
        self._audio = np.concatenate([*parts, np.zeros(RATE_HZ // 2, np.int16)])
        self._ha.begin(
            "assist_pipeline/run",
            self._take,
            start_stage="stt",
            end_stage="intent",
            pipeline=pipeline,
            input={"sample_rate": RATE_HZ, "no_vad": True},
        )
        begun = wait_for("the pipeline begins", 10, partial(self.of, "run-start"))
        self._handler = begun["runner_data"]["stt_binary_handler_id"]
        wait_for("it listens", 10, partial(self.of, "stt-start"))
        self._sent = 0

    def _take(self, event: dict[str, Any]) -> None:
        self._at_s.setdefault(event["type"], time.monotonic())
        self._events.append(event)

    def of(self, kind: str) -> Any:
        """What the first event of this kind says."""
        return next((event["data"] or {True: True} for event in self._events if event["type"] == kind), None)

    def send(self) -> bool:
        """The next chunk; False: all has been said."""
        chunk = self._audio[self._sent : self._sent + CHUNK_SAMPLES]
        self._sent += CHUNK_SAMPLES
        self._ha.send_audio(self._handler, chunk.tobytes())
        if not len(chunk):
            self._at_s["over"] = time.monotonic()
        return bool(len(chunk))

    def end(self) -> float:
        """Waits for it -> from the end of the audio to the transcript, in ms."""
        wait_for("the run ends", 30, partial(self.of, "run-end"))
        return 1000 * (self._at_s.get("stt-end", float("nan")) - self._at_s["over"])


def say(*runs: Run) -> None:
    """All at once, in real time."""
    start_s, sent, going = time.monotonic(), 0, list(runs)
    while going:
        going = [one for one in going if one.send()]
        sent += CHUNK_SAMPLES
        time.sleep(max(0.0, start_s + sent / RATE_HZ - time.monotonic()))


def _listens() -> bool:
    """Whether somebody is at the recogniser's port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", RECOGNISER_PORT)) == 0


def check(checks: Checks, ok: Callable[..., None]) -> None:
    """All of it; the recogniser behind is up again at its end."""
    house, ha = checks.house, checks.ha
    house.set_up(f'transcribe = "tcp://127.0.0.1:{RECOGNISER_PORT}"\n')
    house.reload()

    def offered() -> Any:
        found = [one for one in ha.command("config/entity_registry/list") if one["platform"] == "earmark"]
        return next((one["entity_id"] for one in found if one["entity_id"].startswith("stt.")), None)

    entity = wait_for("speech-to-text is offered", 20, offered)

    def understood() -> Any:
        engines = ha.command("stt/engine/list", language="en")["providers"]
        return next(one["supported_languages"] for one in engines if one["engine_id"] == entity)

    languages = wait_for("its languages are known", 40, understood)
    ok(f"the daemon has a service behind it: {entity} is offered, for {languages}", languages == ["en"])
    ha.call("automation.turn_on", entity_id="automation.who")
    through = checks.pipeline("okay_nabu", name="through earmark", stt=entity)
    straight = checks.pipeline("okay_nabu", name="straight")

    def told(count: int) -> list[dict[str, Any]]:
        wait_for("each sentence is understood", 20, lambda: len(checks.spoke) >= count)
        return checks.spoke

    del checks.spoke[:]
    both = [Run(checks, through, voice) for voice in ("slt", "rms")]
    say(*both)
    for one in both:
        one.end()
    heard = sorted(one["plain"] for one in told(2))
    answers = [one.of("intent-end")["intent_output"]["response"]["speech"]["plain"]["speech"] for one in both]
    ok(f"two runs at once that begin with the command: {answers}", answers == ["Hello anna", "Hello ben"])
    ok(f"and the automation's action knows both: {heard}", heard == ["anna", "ben"])

    for satellite in ELSEWHERE:
        checks.add_satellite(satellite, "through earmark")
    del checks.spoke[:]
    for satellite in ELSEWHERE:
        house.command(satellite)
    by_device = {each["device"]: each for each in told(2)}
    for satellite in ELSEWHERE:
        names = [by_device[satellite.device][how] for how in ("plain", "by_device", "template")]
        ok(
            f"{satellite.name}: the action, the action by device, and the template: {names}",
            names == [satellite.person] * 3,
        )

    del checks.spoke[:]
    stranger = Run(checks, through, STRANGER)
    say(stranger)
    stranger.end()
    code = (stranger.of("error") or {}).get("code")
    ok(f"a stranger's command: the run ends with {code}", code == "stt-no-text-recognized" and not checks.spoke)

    def more_ms() -> tuple[float, str]:
        late_ms: dict[str, list[float]] = {"through": [], "straight": []}
        for _ in range(COMMANDS_EACH):
            for name, pipeline in (("through", through), ("straight", straight)):
                run = Run(checks, pipeline, "slt")
                say(run)
                late_ms[name].append(run.end())
        a, b = (statistics.median(late_ms[name]) for name in ("through", "straight"))
        return a - b, f"{a:.0f} ms after the audio, without earmark {b:.0f} ms (medians of {COMMANDS_EACH})"

    more, said = more_ms()
    ok(f"the transcript of a recogniser that answers at once: {said}: {more:.0f} ms more", more <= LATE_MS)
    house.end("recogniser")
    house.start("slow recogniser")
    wait_for("it listens", 10, _listens)
    more, said = more_ms()
    ok(f"of one that takes {RECOGNITION_S} s: {said}: {more:.0f} ms more", more <= LATE_MS)

    house.end("slow recogniser")
    codes = []
    for pipeline in (straight, through):
        run = Run(checks, pipeline, "slt")
        say(run)
        run.end()
        codes.append((run.of("error") or {}).get("code"))
    ok(f"the service behind is down: without earmark {codes[0]}, with it {codes[1]}", codes[0] == codes[1])
    house.start("recogniser")
