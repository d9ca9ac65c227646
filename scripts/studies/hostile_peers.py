"""A daemon with 64 hostile clients: `python scripts/studies/hostile_peers.py > docs/research/hostile_peers.md`.

Its own microphone is a pipe in real time; a friend, who stands for Home Assistant, streams the same recording in real
time, on a new connection each time. Both must hear all that is said in it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from broker import free_port
from heading import ROOT, heading
from helpers_store import environment
from live import Live
from sound_server import until

import earmark
from earmark.engine.audio.files import read_audio

FRIEND, PIECE_SAMPLES, RATE_HZ = "127.0.0.1", 1600, 16_000
TEXT = """\
Called with `--minutes {minutes}`. The recording is `tests/audio/scene.flac`, 48.7 s with three wakes of the enrolled
voice. Of the 64 hostile clients, on 16 addresses, a quarter each:

* *silent*: connects, asks what there is, and says nothing more; connects again when it is cut off;
* *fast*: sends silence as fast as it can;
* *wakes*: sends wake words of the enrolled voice and of strangers as fast as it can;
* *garbage*: sends what is no protocol, or half an event, and connects again at once.

`wyoming.clients` is 32, so half of them find no place. The friend is in `wyoming.trusted`, they are not.
"""


def main() -> int:
    """Runs and prints; exit 1 where something that was said was not heard."""
    parser = argparse.ArgumentParser(description="Attack the wake service while it is used.")
    parser.add_argument("--minutes", type=float, default=10.0, help="(10)")
    minutes = parser.parse_args().minutes
    audio = ROOT / "tests" / "audio"
    scene = read_audio(audio / "scene.flac").astype("<i2").tobytes()
    words = b"".join(
        read_audio(path).astype("<i2").tobytes() + bytes(RATE_HZ)
        for voice in ("slt", "rms", "awb")
        for path in sorted(audio.glob(f"{voice}_okay_nabu_test_*.flac"))
    )
    rounds = max(1, round(60 * minutes * RATE_HZ * 2 / len(scene)))
    with tempfile.TemporaryDirectory() as folder:
        store, port, control = Path(folder) / "people", free_port(), Path(folder) / "s"
        earmark.enrol("slt", sorted(audio.glob("slt_okay_nabu_enroll_*.flac"))).save(store)
        sets = [f'wyoming.uris=["tcp://0.0.0.0:{port}"]', f'wyoming.trusted=["{FRIEND}"]', f"socket.path={control}"]
        flags = [part for text in sets for part in ("--set", text)]
        with Live("-", "--store", store, *flags, env=environment()) as daemon:
            daemon.says("listening to -")
            until(lambda: answered(port), "the service", 60)
            stop = threading.Event()
            kinds = (silent, fast, wakes, garbage)
            for number in range(64):
                source = f"127.0.1.{number % 16 + 1}"
                work = (kinds[number // 16], port, source, words, stop)
                threading.Thread(target=again_and_again, args=work, daemon=True).start()
            heard: list[str] = []
            friend = threading.Thread(target=befriend, args=(port, scene, rounds, heard))
            friend.start()
            for _ in range(rounds):
                in_real_time(scene, daemon.feed)
            friend.join()
            status = daemon.status(control)
            stop.set()
            daemon.process.stdin.close()  # type: ignore[union-attr]
            daemon.process.wait(60)
            print(*daemon.lines, sep="\n", file=sys.stderr)
            events = [daemon._events.get() for _ in range(daemon._events.qsize())]
    own = sum(event["person"] == "slt" and event["file"] == "-" for event in events)
    counts = {
        name: sum(one["count"] for one in status["counts"].get(name, []) if one.get("server") == "wyoming")
        for name in ("clients", "turned_away", "limited")
    }
    print(heading("Hostile peers", __file__))
    print(TEXT.format(minutes=f"{minutes:g}"))
    print("| what | count |\n|---|---|")
    print(f"| wakes in the own microphone, of {3 * rounds} | {own} |")
    print(f"| wakes of the friend, of {3 * rounds} | {len(heard)} |")
    print(f"| connections that sent audio | {counts['clients']} |")
    print(f"| turned away or cut off | {counts['turned_away']} |")
    print(f"| events of theirs that were not passed on | {counts['limited']} |")
    print(f"| CPU, share of a core | {status['cpu_share']:.2f} |")
    return 0 if own == len(heard) == 3 * rounds else 1


def answered(port: int) -> bool:
    """Whether it serves."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b'{"type": "ping"}\n')
        return connection.recv(1) == b"{"
    return False


def chunk(samples: bytes) -> bytes:
    """An event with audio."""
    data = {"rate": RATE_HZ, "width": 2, "channels": 1}
    return (
        json.dumps({"type": "audio-chunk", "data": data, "payload_length": len(samples)}).encode() + b"\n" + samples
    )


def in_real_time(content: bytes, give: Callable[[bytes], object]) -> None:
    """Hands a recording over as a microphone does."""
    began_s = time.monotonic()
    for start in range(0, len(content), 2 * PIECE_SAMPLES):
        time.sleep(max(0.0, began_s + start / 2 / RATE_HZ - time.monotonic()))
        give(content[start : start + 2 * PIECE_SAMPLES])


def befriend(port: int, scene: bytes, rounds: int, heard: list[str]) -> None:
    """Streams the recording again and again, and keeps who was detected; says on standard error what went wrong."""
    for number in range(rounds):
        got, began_s = b"", time.monotonic()
        try:
            with socket.create_connection((FRIEND, port), 30) as connection:
                connection.sendall(b'{"type": "detect"}\n')
                in_real_time(scene, lambda piece: connection.sendall(chunk(piece)))
                connection.sendall(b'{"type": "audio-stop"}\n')
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65_536):
                    got += piece
        except OSError as error:
            print(f"round {number}, after {time.monotonic() - began_s:.1f} s: {error}", file=sys.stderr)
        heard += ["slt"] * got.count(b'"speaker": "slt"')


Kind = Callable[[socket.socket, bytes], None]


def again_and_again(kind: Kind, port: int, source: str, words: bytes, stop: threading.Event) -> None:
    """Connects, does harm, and connects again."""
    while not stop.is_set():
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), 30, source_address=(source, 0))
            with connection:
                kind(connection, words)
        time.sleep(0.05)


def silent(connection: socket.socket, _words: bytes) -> None:
    """Says nothing after its first word."""
    connection.settimeout(None)
    connection.sendall(b'{"type": "describe"}\n')
    while connection.recv(65_536):
        pass


def fast(connection: socket.socket, _words: bytes) -> None:
    """Silence, as fast as it can."""
    while True:
        connection.sendall(chunk(bytes(65_536)))


def wakes(connection: socket.socket, words: bytes) -> None:
    """Wake words, as fast as it can."""
    while True:
        for start in range(0, len(words), 65_536):
            connection.sendall(chunk(words[start : start + 65_536]))


def garbage(connection: socket.socket, _words: bytes) -> None:
    """What is no protocol, or half of an event."""
    connection.sendall(
        random.choice((random.randbytes(2000), b'{"type": "ping"', chunk(bytes(99))[:-9], b"\n" * 999))
    )
    connection.recv(1)


if __name__ == "__main__":
    sys.exit(main())
