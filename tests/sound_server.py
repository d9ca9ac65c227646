"""A private PulseAudio server without hardware: what is played to `spk` is heard by the microphone `mic`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from helpers_store import environment

ASOUNDRC = """
pcm.mic {{ type pulse device "mic" server "unix:{socket}" hint {{ show on description "virtual microphone" }} }}
"""
NULL_SINK = "module-null-sink sink_name=spk rate=16000 channels=1 format=s16le"
START_S = 20.0


class SoundServer:
    """Can be killed, started again, and lose its microphone, as happens to a real one."""

    def __init__(self, home: Path, room: Path = Path("/dev/zero")) -> None:
        """`room`: what the microphone hears where nothing is played, raw."""
        self._room = room
        self._socket = home / "pa.sock"
        (home / ".asoundrc").write_text(ASOUNDRC.format(socket=self._socket))
        fonts = os.environ.get("MPLCONFIGDIR") or str(Path.home() / ".cache" / "matplotlib")  # found once is enough
        self.env = environment(
            HOME=str(home),
            XDG_STATE_HOME=str(home / ".local" / "state"),
            XDG_RUNTIME_DIR=str(home),
            PULSE_SERVER=f"unix:{self._socket}",
            MPLCONFIGDIR=fonts,
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SoundServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        modules = [f"module-native-protocol-unix socket={self._socket} auth-anonymous=1", NULL_SINK]
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
        self._spawn("pulseaudio", *options, *(word for module in modules for word in ("-L", module)))
        until(lambda: self._run("pactl", "info", check=False) == 0, "PulseAudio answers")
        self._add_source()

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def unplug(self) -> None:
        """The microphone and the monitor behind it, to which PulseAudio would move whoever listens."""
        self._run("pactl", "unload-module", "module-remap-source")
        self._run("pactl", "unload-module", "module-null-sink")

    def plug_in(self) -> None:
        self._run("pactl", "load-module", *NULL_SINK.split())
        self._add_source()

    def _add_source(self) -> None:
        self._run("pactl", "load-module", "module-remap-source", "master=spk.monitor", "source_name=mic")
        self._run("pactl", "suspend-source", "mic", "0")
        # the monitor of an idle sink delivers nothing
        zeros = ["--playback", "--device=spk", "--latency-msec=20", "--rate=16000", "--channels=1", "--format=s16le"]
        self._spawn("pacat", *zeros, str(self._room))

    def suspend(self, yes: bool) -> None:
        """A microphone that is there and gives nothing, as a wedged USB device does."""
        self._run("pactl", "suspend-source", "mic", str(int(yes)))

    def freeze(self) -> None:
        """A server that is there and does not answer: what asks it waits for ever."""
        self._processes[0].send_signal(signal.SIGSTOP)

    def play(self, recording: Path) -> None:
        self._run("paplay", "--device=spk", str(recording))

    def _run(self, *line: str, check: bool = True) -> int:
        done = subprocess.run(
            line, env=self.env, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60
        )
        return done.returncode

    def _spawn(self, *line: str) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._processes.append(subprocess.Popen(line, env=self.env, **quiet))


def require_pulseaudio() -> None:
    """Skips the test where there is none."""
    missing = [program for program in ("pulseaudio", "pacat", "paplay", "pactl") if not shutil.which(program)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: apt install pulseaudio pulseaudio-utils")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        pytest.skip("ALSA's pulse plug-in not found: apt install libasound2-plugins")


def until(ready: Callable[[], object], what: str, limit_s: float = START_S) -> None:
    """Waits until something is so; that it does not become so fails the test."""
    deadline = time.monotonic() + limit_s
    while not ready():
        assert time.monotonic() < deadline, f"waited {limit_s} s in vain: {what}"
        time.sleep(0.02)
