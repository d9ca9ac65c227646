"""How soon the daemon hears again after a server's death: `python scripts/studies/recovery.py >
docs/research/recovery.md`.

Needs PulseAudio, as tests/engine/audio/test_microphone.py does. The time counts from the moment at which the
microphone is there again to the moment at which its audio reaches the detector.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from heading import NONE, heading
from live import Live
from sound_server import SoundServer

RUNS = 10
OUTAGES_S = (0.5, 3.0)


def main() -> int:
    """Measures and prints."""
    print(heading("Hearing again", __file__, NONE))
    print(
        "Seconds from the moment at which the microphone of a killed sound server is there again to its first audio."
    )
    print(
        "`parec` is started at that very moment, to compare with. PulseAudio's null sink takes most of the time, for"
    )
    print("its monitor is silent at first. Figures are of this machine.\n")
    print("| server away | runs | daemon: median | longest | parec: median | longest |\n|---|---|---|---|---|---|")
    for outage_s in OUTAGES_S:
        taken: list[float] = []
        recorder: list[float] = []
        with tempfile.TemporaryDirectory() as name:
            home = Path(name)
            home.chmod(0o700)
            with (
                SoundServer(home) as server,
                Live("--device", "mic", "--store", home / "p", env=server.env) as daemon,
            ):
                daemon.says("listening to mic")
                time.sleep(1)
                for run in range(RUNS):
                    server.kill()
                    time.sleep(outage_s)
                    server.start()
                    begin_s = time.monotonic()
                    with subprocess.Popen(
                        ["parec", "--device=mic", "--latency-msec=20"], env=server.env, stdout=subprocess.PIPE
                    ) as parec:
                        other = threading.Thread(target=_first_audio, args=(parec, begin_s, recorder))
                        other.start()
                        daemon.says("microphone 'mic' is back", run + 1)
                        taken.append(time.monotonic() - begin_s)
                        other.join()
                        parec.kill()
                daemon.stop()
        cells = [f"{value:.2f} s" for each in (taken, recorder) for value in (statistics.median(each), max(each))]
        print(f"| {outage_s:g} s | {RUNS} | {' | '.join(cells)} |", flush=True)
    return 0


def _first_audio(parec: subprocess.Popen[bytes], begin_s: float, found: list[float]) -> None:
    assert parec.stdout is not None
    parec.stdout.read(1)
    found.append(time.monotonic() - begin_s)


if __name__ == "__main__":
    sys.exit(main())
