"""A wake word that knows whose voice it is, for embedded Linux::

    import earmark

    earmark.enrol("anna", ["t1.wav", "t2.wav", "t3.wav", "t4.wav", "t5.wav"]).save()
    for event in earmark.Detector.load("okay_nabu").run("evening.wav"):
        print(event.person, event.time_ms)

`Detector` hears, `enrol` learns a voice, `People` is the store of voices, `Event` is what a detector says. Every
error is an `EarmarkError`, with a message that says what to do. Importing this loads nothing else: each name is
loaded when it is used for the first time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is 4 ms in which Ctrl-C would show a traceback; mypy knows this name
if TYPE_CHECKING:
    from typing import Any

    from earmark.engine.audio.files import FileSource
    from earmark.engine.audio.sources import ArraySource, Source
    from earmark.engine.detector import Detector
    from earmark.engine.errors import (
        AudioError,
        DeviceError,
        EarmarkError,
        EnrolmentRefused,
        InputError,
        InstallationError,
        KeywordError,
        ModelError,
        PersonError,
    )
    from earmark.engine.event import Event
    from earmark.engine.people.store import PersonStore as People
    from earmark.engine.people.voiceprint import Voiceprint
    from earmark.engine.settings.policy import Policy
    from earmark.enroll.enrolment import Enrolment
    from earmark.enroll.front_door import enrol, enrol_speech

    __version__: str

__all__ = [
    "ArraySource",
    "AudioError",
    "Detector",
    "DeviceError",
    "EarmarkError",
    "Enrolment",
    "EnrolmentRefused",
    "Event",
    "FileSource",
    "InputError",
    "InstallationError",
    "KeywordError",
    "ModelError",
    "People",
    "PersonError",
    "Policy",
    "Source",
    "Voiceprint",
    "__version__",
    "enrol",
    "enrol_speech",
]

_ERRORS = "engine.errors"
_PLACES = {  # name -> module below this one, and the name there if it is another
    "ArraySource": "engine.audio.sources",
    "Detector": "engine.detector",
    "Enrolment": "enroll.enrolment",
    "Event": "engine.event",
    "FileSource": "engine.audio.files",
    "People": "engine.people.store:PersonStore",
    "Policy": "engine.settings.policy",
    "Source": "engine.audio.sources",
    "Voiceprint": "engine.people.voiceprint",
    "enrol": "enroll.front_door",
    "enrol_speech": "enroll.front_door",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for the first time (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version  # 25 ms that only those pay who ask

        found: Any = version("earmark")
    elif name in __all__:
        import importlib

        module, _, other = _PLACES.get(name, _ERRORS).partition(":")
        found = getattr(importlib.import_module(f"{__name__}.{module}"), other or name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """What there is, loaded or not."""
    return sorted({*globals(), *__all__})
