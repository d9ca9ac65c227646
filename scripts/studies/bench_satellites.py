"""How many satellites one core carries: `python scripts/studies/bench_satellites.py`.

Prints a part of docs/research/benchmarks.md. The daemon is kept on one core; eight clients send it speech in real
time by the Wyoming protocol, in chunks of 20 ms and of 64. Two minutes, hardly any of it busy.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_peers import AUDIO_OF, WORD

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.processes.own import own_command
from earmark.enroll.commands import live

CLIENTS = 8
LEAD_S, MEASURED_S = 6, 30
CHUNKS_MS = (20, 64)
START_S = 60.0


def main() -> int:
    """Measures and prints."""
    print("## Many satellites\n")
    print(f"Measured by `scripts/studies/bench_satellites.py`: {CLIENTS} clients that send speech in real time.\n")
    print("| chunks | share of a core a client | clients a core |\n|---|---|---|")
    for chunk_ms in CHUNKS_MS:
        share = _share(chunk_ms) / CLIENTS
        print(f"| {chunk_ms} ms | {100 * share:.2f} % | {1 / share:.0f} |", flush=True)
    return 0


def _share(chunk_ms: int) -> float:
    """Of one core, all clients together."""
    data, size = AUDIO_OF["speech"](60).tobytes(), 2 * RATE_HZ * chunk_ms // 1000
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/wyoming"
        line = own_command("earmark.cli", "listen", "--device", "none", "--mode", "label", "--keyword", WORD)
        line += ["--store", folder, "--set", f'wyoming.uris=["unix://{place}"]']
        environment = {**os.environ, "EARMARK_SETTINGS": "", "OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
            try:
                clients = [_connected(place) for _ in range(CLIENTS)]
                for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {max(os.sched_getaffinity(0))})
                start_s, looks = time.monotonic(), []
                for number in range((LEAD_S + MEASURED_S) * 1000 // chunk_ms):
                    time.sleep(max(0.0, start_s + number * chunk_ms / 1000 - time.monotonic()))
                    at = number * size % (len(data) - size) // 2 * 2
                    chunk = _event("audio-chunk", data[at : at + size], rate=RATE_HZ, width=2, channels=1)
                    for client in clients:
                        client.sendall(chunk)
                    if number == LEAD_S * 1000 // chunk_ms:
                        looks = [(time.monotonic(), live.account(daemon.pid)[0])]
                looks.append((time.monotonic(), live.account(daemon.pid)[0]))
            finally:
                daemon.kill()
    return (looks[1][1] - looks[0][1]) / (looks[1][0] - looks[0][0])


def _connected(place: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    end_s = time.monotonic() + START_S
    while True:
        try:
            client.connect(place)
            break
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.1)
    client.sendall(_event("detect", names=[WORD]) + _event("audio-start", rate=RATE_HZ, width=2, channels=1))
    return client


def _event(kind: str, payload: bytes = b"", **data: object) -> bytes:
    header = {"type": kind, "data": data, **({"payload_length": len(payload)} if payload else {})}
    return json.dumps(header).encode() + b"\n" + payload


if __name__ == "__main__":
    sys.exit(main())
