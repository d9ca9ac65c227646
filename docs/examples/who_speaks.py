"""Who says "okay nabu" in a recording: `python who_speaks.py RECORDING NAME=TAKE,TAKE,… NAME=TAKE,TAKE,…`."""

import sys
import tempfile

import earmark

recording, *people = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    store = earmark.People(folder)
    for person in people:
        name, takes = person.split("=")
        earmark.enrol(name, takes.split(","), keyword="okay_nabu").save(store)
    for event in earmark.Detector.load("okay_nabu", store=store, mode="label").run(recording):
        print(f"{event.time_ms / 1000:6.1f} s  {event.person or 'somebody else'}")
