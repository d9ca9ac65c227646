"""How soon the daemon hears again after its sound server is killed and comes back: `python scripts/recovery.py`.

Needs PulseAudio, as tests/test_capture.py does. The time counts from the moment at which the microphone is there
again to the moment at which its audio reaches the detector.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from live import Live
from sound_server import SoundServer

RUNS = 10
OUTAGES_S = (0.5, 3.0)


def main() -> int:
    """Measures and prints."""
    print("| server away | runs | median | longest |\n|---|---|---|---|")
    for outage_s in OUTAGES_S:
        taken = []
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
                    daemon.says("microphone 'mic' is back", run + 1)
                    taken.append(time.monotonic() - begin_s)
                daemon.stop()
        print(f"| {outage_s:g} s | {RUNS} | {statistics.median(taken):.2f} s | {max(taken):.2f} s |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
