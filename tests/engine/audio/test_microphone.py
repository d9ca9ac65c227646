"""A real capture path without hardware: PulseAudio, ALSA's plug-in, PortAudio, and the daemon as a subprocess."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import live
import numpy as np
import pytest
import soundfile
from conftest import Takes
from live import LIMIT_S, Live
from sound_server import SoundServer, require_pulseaudio, until

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.errors import DeviceError
from earmark.engine.people.store import PersonStore, Voiceprint

try:
    import sounddevice

    from earmark.engine.audio import microphone
except (DeviceError, OSError) as error:  # as on a machine without PortAudio
    pytest.skip(str(error), allow_module_level=True)


def in_real_time(test: Callable[..., None]) -> Callable[..., None]:
    """Sound that is played comes late where others work hard."""
    marked: Callable[..., None] = pytest.mark.alone(pytest.mark.slow(test))
    return marked


@pytest.fixture(scope="module")
def store(slt: Voiceprint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    PersonStore(folder).save(slt)
    return folder


@pytest.fixture(scope="module")
def recordings(takes: Takes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """voice -> "okay nabu" as a WAV file that paplay can play."""
    folder = tmp_path_factory.mktemp("recordings")
    for voice in ("slt", "rms"):
        soundfile.write(folder / f"{voice}.wav", read_audio(takes(voice, "okay_nabu", "test")[0]), RATE_HZ)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    require_pulseaudio()
    home = tmp_path / "pulse"
    home.mkdir(mode=0o700)
    with SoundServer(home) as server:
        yield server


@pytest.fixture
def daemon(server: SoundServer, store: Path, tmp_path: Path) -> Iterator[Live]:
    with Live(
        "--device", "mic", "--store", store, "--set", f"socket.path={tmp_path / 's'}", env=server.env
    ) as daemon:
        daemon.says("listening to mic")
        yield daemon


def assert_heard(daemon: Live, server: SoundServer, recordings: dict[str, Path]) -> None:
    server.play(recordings["slt"])
    event = daemon.event()
    assert (event["type"], event["person"], event["reason"]) == ("detection", "slt", "known_voice")
    assert event["file"] == "mic"


@in_real_time
def test_the_right_person_is_heard_and_another_voice_rejected(
    daemon: Live, server: SoundServer, recordings: dict[str, Path], tmp_path: Path
) -> None:
    assert_heard(daemon, server, recordings)
    server.play(recordings["rms"])
    event = daemon.event()
    assert (event["type"], event["person"], event["reason"]) == ("rejection", None, "unknown_voice")
    status = daemon.status(tmp_path / "s")
    assert status["microphone"] == {
        "name": "mic",
        "fault": None,
        "opened": 1,
        "silent_s": status["microphone"]["silent_s"],
        "problem": None,
    }
    assert status["people"] == ["slt"]
    assert {(count["type"], count["reason"], count["count"]) for count in status["counts"]["events"]} == {
        ("detection", "known_voice", 1),
        ("rejection", "unknown_voice", 1),
    }
    assert status["latency_ms"]["count"] == 2
    assert "overruns" not in status["counts"]
    run = daemon.stop()
    assert (run.code, run.out, run.err) == (0, "", "earmark: listening to mic")
    assert not (tmp_path / "s").exists()


@in_real_time
def test_a_sound_server_that_is_killed_and_comes_back(
    daemon: Live, server: SoundServer, recordings: dict[str, Path], tmp_path: Path
) -> None:
    assert_heard(daemon, server, recordings)
    server.kill()
    daemon.says("cannot be opened: No input device matching 'mic'")
    assert daemon.status(tmp_path / "s")["microphone"]["fault"]
    server.start()
    daemon.says("microphone 'mic' is back")
    assert_heard(daemon, server, recordings)
    status = daemon.status(tmp_path / "s")
    assert (status["microphone"]["fault"], status["microphone"]["opened"]) == (None, 2)
    assert status["counts"]["events"][0]["count"] == 2  # what was counted before is still counted
    run = daemon.stop()
    assert run.code == 0
    assert run.err.count("is back") == 1
    assert run.err.count("No input device matching") == 1  # said once, not at each try


@in_real_time
def test_a_microphone_that_is_unplugged_and_plugged_in_again(
    daemon: Live, server: SoundServer, recordings: dict[str, Path]
) -> None:
    assert_heard(daemon, server, recordings)
    server.unplug()
    daemon.says("microphone 'mic'")
    server.plug_in()
    daemon.says("microphone 'mic' is back")
    assert_heard(daemon, server, recordings)
    assert daemon.stop().code == 0


@in_real_time
def test_a_microphone_that_stops_to_deliver_is_opened_again_and_again(
    daemon: Live, server: SoundServer, recordings: dict[str, Path], tmp_path: Path
) -> None:
    assert_heard(daemon, server, recordings)
    server.suspend(True)
    daemon.says("microphone 'mic': nothing for 1 s: is it unplugged?; trying again")
    daemon.says("microphone 'mic': nothing for 3 s")  # it was opened again, in vain
    server.suspend(False)
    daemon.says("microphone 'mic' is back")
    assert_heard(daemon, server, recordings)
    assert daemon.status(tmp_path / "s")["microphone"]["opened"] == 2
    assert daemon.stop().code == 0


@in_real_time
def test_a_sound_system_that_hangs_ends_the_process_so_that_another_begins(
    daemon: Live, server: SoundServer, recordings: dict[str, Path]
) -> None:
    assert_heard(daemon, server, recordings)
    server.freeze()
    run = daemon.wait()
    assert run.code == 1
    assert "the sound system has not answered for 5 s" in run.err


BROKEN = """
import sys
from earmark import cli
from earmark.engine.audio.microphone import MicrophoneSource
def broken(self):
    raise RuntimeError("a bug of the capture thread")
MicrophoneSource._read = broken
sys.exit(cli.main(sys.argv[1:]))
"""


@in_real_time
def test_a_capture_thread_that_ends_by_a_bug_ends_the_process_so_that_another_begins(
    server: SoundServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "command", lambda *line: [sys.executable, "-c", BROKEN, *map(str, line)])
    with Live("--device", "mic", "--store", store, env=server.env) as daemon:
        assert daemon.process.wait(LIMIT_S) == 1
        daemon.says("RuntimeError: a bug of the capture thread")


@in_real_time
def test_a_service_waits_for_a_microphone_that_comes_late(
    server: SoundServer, store: Path, recordings: dict[str, Path]
) -> None:
    server.kill()
    wait: list[str | Path] = ["--device", "mic", "--store", store, "--set", "audio.wait_for_device=true"]
    with Live(*wait, env=server.env) as daemon:
        daemon.says("trying again")
        daemon.says("waiting for mic")
        server.start()
        daemon.says("microphone 'mic' is back")
        assert_heard(daemon, server, recordings)
        assert daemon.stop().code == 0


def test_a_channel_that_a_microphone_does_not_have_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload asks for it before it gives up the one that works."""
    monkeypatch.setattr(sounddevice, "query_devices", lambda *_: {"max_input_channels": 2})
    microphone.require_listed("mic", 1)
    with pytest.raises(DeviceError, match="microphone 'mic': there is no channel 2: it has 2 channels"):
        microphone.require_listed("mic", 2)


@in_real_time
def test_a_reload_to_a_microphone_that_does_not_exist_keeps_the_one_that_works(
    server: SoundServer, store: Path, recordings: dict[str, Path], tmp_path: Path
) -> None:
    asoundrc, file = Path(server.env["HOME"]) / ".asoundrc", tmp_path / "earmark.toml"
    file.write_text('[audio]\ndevice = "mic"\n')
    with Live(
        "--settings", file, "--store", store, "--set", f"socket.path={tmp_path / 's'}", env=server.env
    ) as daemon:
        daemon.says("listening to mic")
        file.write_text('[audio]\ndevice = "kitchen"\n[wake]\nmode = "label"\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("microphone 'kitchen' cannot be opened: ")
        daemon.says("; everything stays as it was")
        assert_heard(daemon, server, recordings)
        status = daemon.status(tmp_path / "s")
        assert (status["microphone"]["name"], status["mode"], status["microphone"]["opened"]) == ("mic", "only", 1)
        # plugged in since the daemon began: PortAudio in its process does not know it
        asoundrc.write_text(asoundrc.read_text() + asoundrc.read_text().replace("pcm.mic", "pcm.kitchen"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("listening to kitchen")
        server.play(recordings["slt"])
        assert daemon.event()["file"] == "kitchen"
        assert daemon.stop().code == 0


@in_real_time
def test_a_muted_microphone_is_said(server: SoundServer, store: Path, recordings: dict[str, Path]) -> None:
    settings: list[str | Path] = ["--device", "mic", "--store", store, "--set", "audio.silence_warning_s=0.5"]
    with Live(*settings, env=server.env) as daemon:
        daemon.says("nothing but zeros for 0.5 s: is it muted?")
        assert_heard(daemon, server, recordings)
        daemon.says("the microphone gives sound again")
        assert daemon.stop().code == 0


@in_real_time
def test_an_ended_device_that_runs_too_fast_is_no_microphone(server: SoundServer, store: Path) -> None:
    """ALSA's null device, to which configurations fall back, gives audio as fast as it is read."""
    asoundrc = Path(server.env["HOME"]) / ".asoundrc"
    asoundrc.write_text(asoundrc.read_text() + 'pcm.fast { type null hint { show on description "fast" } }\n')
    with Live("--device", "fast", "--store", store, env=server.env) as daemon:
        daemon.says("that is no microphone; trying again")
        assert daemon.stop().code == 0


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, None),
        ("USB", "USB"),
        ("default", "default"),
        ("plughw:CARD=Device,DEV=1", "(hw:2,1)"),
        ("hw:CARD=PCH", "(hw:0,0)"),
        ("plughw:2", "(hw:2,0)"),
        ("hw:1,3", "(hw:1,3)"),
        ("plughw:CARD=Absent", "(hw:Absent,0)"),
    ],
)
def test_alsa_names_are_found_as_portaudio_lists_them(name: str | None, found: str | None, tmp_path: Path) -> None:
    for number, card in ((0, "PCH"), (2, "Device")):
        (tmp_path / f"card{number}").mkdir()
        (tmp_path / f"card{number}" / "id").write_text(f"{card}\n")
    assert microphone._portaudio_name(name, tmp_path) == found


class Stopping:
    """Instead of an event: writes down how long it is waited for, and is set after some times."""

    def __init__(self, times: int) -> None:
        self.waited_s: list[float] = []
        self._times = times

    def is_set(self) -> bool:
        return len(self.waited_s) == self._times

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)

    def set(self) -> None:
        """It ends by itself."""


class AtOnce:
    """Instead of a thread: all of it in the one that starts it."""

    def __init__(self, target: Callable[[], None], **_more: object) -> None:
        self.start = target

    def is_alive(self) -> bool:
        return False


def test_a_device_that_is_away_is_looked_for_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: object) -> None:
        raise DeviceError("away")

    stopping = Stopping(5)
    monkeypatch.setattr(microphone.MicrophoneSource, "_open", away)
    monkeypatch.setattr(microphone, "threading", SimpleNamespace(Event=lambda: stopping, Thread=AtOnce))
    with microphone.MicrophoneSource("nowhere", wait=True) as source:
        assert source.fault == "away"
    assert stopping.waited_s == [0.2, 0.4, 0.5, 0.5, 0.5]


class Array:
    """A device of six channels, each with a constant of its own: a thousand times its number."""

    allowed: tuple[tuple[int, int], ...] = ()
    """(rate, channels) that it can be opened with."""
    opened: list[tuple[int, int]]
    slow_s: float
    """So long it takes to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *allowed: tuple[int, int]) -> None:
        self.allowed, self.opened, self.given_back = allowed, [], False
        self.slow_s = 0.0
        info = {"index": 0, "name": "array", "default_samplerate": 48_000.0, "max_input_channels": 6}
        monkeypatch.setattr(sounddevice, "query_devices", lambda *_: info)
        monkeypatch.setattr(sounddevice, "InputStream", self.open)

    def open(self, samplerate: int, channels: int, **_: object) -> Any:
        if (samplerate, channels) not in self.allowed:
            raise sounddevice.PortAudioError("Invalid number of channels")
        self.opened.append((samplerate, channels))
        frames = np.repeat(1000 * np.arange(channels, dtype=np.int16)[None], samplerate // 50, axis=0)
        return SimpleNamespace(
            start=lambda: None,
            read_available=samplerate,
            read=lambda count: (frames[:count], False),
            abort=lambda **_: time.sleep(self.slow_s),
            close=self.close,
        )

    def close(self, **_: object) -> None:
        self.given_back = True

    def hear(self, channel: int | None) -> int:
        """A sample of what is delivered."""
        with microphone.MicrophoneSource("array", channel=channel) as source:
            pieces = (block.samples for block in source if len(block.samples))
            return int(np.concatenate([next(pieces) for _ in range(10)])[1500])


@pytest.mark.parametrize(
    ("allowed", "channel", "opened", "heard"),
    [
        ([(16_000, 1), (16_000, 3), (48_000, 6)], None, (16_000, 1), 0),
        ([(16_000, 1), (16_000, 3), (48_000, 6)], 2, (16_000, 3), 2000),
        ([(48_000, 6)], 2, (48_000, 6), 2000),
        ([(48_000, 3), (48_000, 6)], 2, (48_000, 3), 2000),
        ([(48_000, 6)], 0, (48_000, 6), 0),
        ([(48_000, 6)], None, (48_000, 6), 2500),  # nothing but constants: the mean of all
    ],
)
def test_a_channel_of_a_device_is_heard(
    monkeypatch: pytest.MonkeyPatch,
    allowed: list[tuple[int, int]],
    channel: int | None,
    opened: tuple[int, int],
    heard: int,
) -> None:
    array = Array(monkeypatch, *allowed)
    assert array.hear(channel) == pytest.approx(heard, abs=2)
    assert array.opened == [opened]


def test_a_channel_that_a_device_has_not_got_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Array(monkeypatch, (16_000, 1))
    with pytest.raises(DeviceError, match="microphone 'array': there is no channel 6: it has 6 channels, 0 to 5"):
        microphone.MicrophoneSource("array", wait=True, channel=6)


def test_a_device_that_is_slow_to_be_given_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio crashes a process that ends meanwhile."""
    array = Array(monkeypatch, (16_000, 1))
    array.slow_s = 1.0
    array.hear(None)
    assert array.given_back


def test_a_device_that_nobody_gives_back_is_given_back_when_python_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    array, at_exit = Array(monkeypatch, (16_000, 1)), list[Callable[[], None]]()
    monkeypatch.setattr(microphone, "atexit", SimpleNamespace(register=at_exit.append, unregister=at_exit.remove))
    microphone.MicrophoneSource("array")
    (give_back,) = at_exit
    assert not array.given_back
    give_back()
    assert array.given_back
    assert at_exit == []


def test_a_device_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "HANG_S", 0.2)
    array = Array(monkeypatch, (16_000, 1))
    array.slow_s = 2.0
    array.hear(None)
    assert not array.given_back


def test_what_is_gathered_comes_as_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    Array(monkeypatch, (16_000, 1))
    source = microphone.MicrophoneSource("array")
    with source:
        blocks = iter(source)
        assert len(next(blocks).samples) == 320
        until(lambda: source._blocks.full(), "blocks in the queue")
        source.gather(1600)
        assert len(next(blocks).samples) == microphone.GATHERED_BLOCKS * 320
        source.gather(0)
        assert len(next(blocks).samples) == 320
