"""Everything that earmark raises on purpose, in one tree; made for what the caller does next.

::

    EarmarkError
    ├── InstallationError      exit 1: the installation or the device is at fault
    │   ├── RuntimeMissing         no TFLite runtime can be imported
    │   ├── ModelError             a shipped model or its card is damaged, or lacks a signature
    │   ├── DeviceError            no microphone, or it went away
    │   │   └── SoundSystemHangs       only a new process helps
    │   ├── DaemonError            no daemon answers, or it cannot be told
    │   ├── ServiceError           no systemd, no right to tell it, or an interpreter that a service cannot see
    │   ├── CryptographyMissing    an encrypted store, and no library to open it
    │   ├── TrainerMissing         a trainer whose library is not installed
    │   └── StoreUnwritable        the person store or the journal cannot be written: no permission, full disk
    ├── InputError             exit 2: what was given is at fault
    │   ├── AudioError             not audio, truncated, NaN samples, ...
    │   ├── KeywordError           unknown wake word, or a manifest that breaks the rules
    │   ├── ProtocolError          a client sent what is not its protocol, or more than it may
    │   ├── SettingsError          an unknown setting, or a value against its rule
    │   ├── FleetError             a start, a request or a budget of the fleet says no
    │   ├── LearningError          what the daemon heard to learn from cannot be used
    │   ├── WakeError              an entry of the journal cannot be used
    │   │   ├── WakeUnknown            none of that number
    │   │   └── WakeDamaged            a checksum or the format does not hold
    │   └── PersonError            a person in the store cannot be used
    │       ├── PersonUnknown          nobody of that name
    │       ├── PersonDamaged          a checksum or the format does not hold
    │       ├── PersonNewer            written by a later earmark
    │       ├── BundleError            not an exported person, or a damaged one
    │       ├── PersonLocked           encrypted, and the key is wrong or missing
    │       ├── StoreTampered          a sealed store is not as its key left it
    │       └── PersonMismatch         made with another network: enrol again
    └── EnrolmentRefused       exit 3: the recordings would not make a person that works

A message holds the name, the value and the rule, and tells the person what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class EarmarkError(Exception):
    """Base of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class InstallationError(EarmarkError):
    """The installation or the device is at fault, not what the user gave."""


class RuntimeMissing(InstallationError):
    """No TFLite runtime can be imported."""


class ModelError(InstallationError):
    """A shipped model is damaged, does not match its card, or lacks a signature."""


class DeviceError(InstallationError):
    """The microphone cannot be opened, or stopped to deliver."""


class SoundSystemHangs(DeviceError):
    """The sound system does not answer any more; nothing that uses it can be ended in order."""


class DaemonError(InstallationError):
    """No daemon answers, or what it needs is not installed."""


class ServiceError(InstallationError):
    """The service cannot be installed, removed or asked for."""


class CryptographyMissing(InstallationError):
    """A store is encrypted, or is to be, and the library for it is not installed."""


class TrainerMissing(InstallationError):
    """A voice is to be learned in a way whose library is not installed."""


class StoreUnwritable(InstallationError):
    """The person store or the journal cannot be written."""


class InputError(EarmarkError):
    """What was given is at fault."""

    exit_code = 2


class AudioError(InputError):
    """A recording cannot be used as audio."""


class KeywordError(InputError):
    """A wake word is unknown, or its manifest breaks the rules of the format."""


class ProtocolError(InputError):
    """A client sent what is not its protocol, or more than it may."""


class SettingsError(InputError):
    """A setting is unknown, or its value breaks its rule."""


class FleetError(InputError):
    """What other homes sent cannot be used, or what this one would send may not leave."""


class LearningError(InputError):
    """What the daemon heard to learn from cannot be used."""


class WakeError(InputError):
    """An entry of the journal cannot be used."""


class WakeUnknown(WakeError):
    """No entry of that number is in the journal."""


class WakeDamaged(WakeError):
    """A file of the entry fails its checksum or its format."""


class PersonError(InputError):
    """A person in the store cannot be used."""


class PersonUnknown(PersonError):
    """Nobody of that name is in the store."""


class PersonDamaged(PersonError):
    """A file of the person fails its checksum or its format."""


class PersonNewer(PersonError):
    """A file of the person is of a format that only a later earmark knows."""


class BundleError(PersonError):
    """A file is no exported person, or a damaged one."""


class PersonLocked(PersonError):
    """The store is encrypted, and its key is wrong or not to be had."""


class StoreTampered(PersonError):
    """Somebody without the key has changed a sealed store, or put back what it was before."""


class PersonMismatch(PersonError):
    """The person was enrolled with another network than the one in use."""


class EnrolmentRefused(EarmarkError):
    """The recordings would not make a person that works; the message says why, and `faults` the same in parts."""

    exit_code = 3

    def __init__(self, message: str, faults: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.faults = list(faults)


def text_of(error: BaseException) -> str:
    """What an exception says; its type where it says nothing, as `TimeoutError()` and what libraries raise bare."""
    return str(error) or type(error).__name__


def system_text_of(error: OSError) -> str:
    """The same in the system's own words, without number and path."""
    return error.strerror or text_of(error)


NEAR = (
    0.7  # of difflib's ratio: `enrol` and `enroll` have 0.91, `bertha` and `berta` 0.91, `sing` and `settings` 0.67
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """For the end of a message: which of the known words may have been meant; empty where none is near."""
    import difflib  # only who mistyped waits for it

    near = difflib.get_close_matches(word, list(known), n=2, cutoff=NEAR)
    return f": did you mean {' or '.join(near)}?" if near else ""
