"""Who is heard in a recording, as lines of a CSV: `python csv_sink.py RECORDING HEARD.csv [PEOPLE]`."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import earmark
from earmark.engine.sinks.base import Notice, Outbox, Sink
from earmark.engine.sinks.stats import Stats


class CsvSink(Sink):
    """Appends one line for each event: how far into the recording, who, which wake word, what came of it."""

    name = "csv"

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        """Opens the file to append to it."""
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._lines = csv.writer(self._file)

    def send(self, notice: Notice) -> None:
        """One line, on disk at once."""
        event = notice.event
        self._lines.writerow([event.time_ms, event.person or "", event.keyword, event.type])
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def main() -> int:
    """Runs the recording through the detector; the sink has a thread of its own."""
    recording, target, *people = sys.argv[1:]
    outbox = Outbox(CsvSink(Path(target)), Stats())
    for event in earmark.Detector.load("okay_nabu", store=people[0] if people else None).run(recording):
        outbox.put(Notice(event, recording, time.time()))
    outbox.ask_to_close()
    outbox.join(wait_s=10)
    return 0 if outbox.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
