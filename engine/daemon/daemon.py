"""The detector on live audio: the room with a clock, signals and threads.

The main thread takes audio from the source and pushes it through the detector; it waits for nothing but audio. A
microphone is read by a thread of its own, each sink has one, and one more, the keeper, does what takes time: it loads
settings and people again and hands them over as a finished `Household`.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import time
import traceback
from threading import Thread
from types import FrameType
from typing import Any

import numpy as np

from ..audio.devices import require_device
from ..audio.samples import RATE_HZ, Int16
from ..audio.sources import IdleSource, PolledPipe, Source, StdinSource
from ..errors import AudioError, EarmarkError, SettingsError, SoundSystemHangs
from ..event import Event
from ..household import Household, load_household
from ..listener import Listener
from ..people.store import PersonStore
from ..processes.printable import Printable
from ..settings.reading import Loaded
from ..sinks.base import Heard, Notice
from ..sinks.dispatch import Dispatch
from ..sinks.files import ConsoleSink
from ..sinks.places import PROTOCOL
from ..sinks.stats import Stats
from ..storage.user_folders import people_folder
from .kept import Kept, value_of
from .systemd import Notifier
from .unnamed import Names, Unnamed, is_journal
from .watch import StoreWatch

_LOG = logging.getLogger(__name__)

POLL_S = 0.1  # so long a source waits for audio before it lets the daemon look at other things
SILENT_PEAK = 1  # of int16: a microphone that is on is never so quiet, its own noise is louder
NO_DEVICE = "none"
END_S = 5.0  # what sinks get when a pipe has ended: nobody waits for us


def listen(arguments: argparse.Namespace) -> int:
    """Tells the events of a microphone, or of a pipe until its end; SIGINT and SIGTERM stop it with exit 0."""
    names = Names(arguments.loaded.settings)
    is_kept = _keep_standard_error(names)
    try:
        with Daemon(arguments, names) as daemon:
            daemon.run()
    except SoundSystemHangs as error:
        print(f"earmark: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)  # a process that ends in order waits for PortAudio, which would wait for ever
    except EarmarkError:
        raise
    except Exception:
        if not is_kept:
            raise
        traceback.print_exc()  # here, where nobody is named: Python would write it to where everything goes
        return 1
    return 0


class Daemon:
    """Everything that runs while `earmark listen` does; sinks know it as their `Control`."""

    def __init__(self, arguments: argparse.Namespace, names: Names) -> None:
        self._arguments, self._names = arguments, names
        self._kept = Kept()
        self._given: Loaded = arguments.loaded  # without what was changed from outside
        self._changes: dict[str, str] = {}
        self._loaded: Loaded = self._changed_as_before()
        self.stats = Stats()
        self._watch = StoreWatch(self._store)  # before the people are loaded: whoever comes between is noticed
        # `run` opens the networks
        self.household: Household = load_household(self._loaded.settings, ask=True, try_networks=False)
        """As it is now; replaced as a whole, by the keeper."""
        self._notifier = Notifier(os.environ)
        self._source: Source | None = None
        self._reopen = False
        self._stopping = False
        self._silent_samples = 0
        self._problem: str | None = None  # of the microphone, as it was told
        self._shown: tuple[object, ...] = (None, None, None, None)  # what the service manager's line was made of
        self._live = arguments.source != "-"
        console = ConsoleSink(arguments.json, self, names.of if is_journal(sys.stdout, os.environ) else None)
        self._outlets = Dispatch(self, console, self._live)
        self._jobs: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self._keeper = Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Daemon:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._ask_for_reload)
        settings = self._loaded.settings
        self._outlets.replace(self._outlets.prepare(settings), settings)
        self._keeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._notifier.stopping()
        self._outlets.close(END_S if kind is None and not self._stopping else None)

    def run(self) -> None:
        """Until the source ends or a signal comes."""
        listener = Listener(self.household, clips=self.journal)
        while not self._stopping:
            self._reopen = False
            with self._open_source() as self._source:
                self._say_source(self._source)
                try:
                    if self._hear(self._source, listener):
                        break
                except AudioError:  # Ctrl-C ends who writes the pipe with us, perhaps before it has given anything
                    if not self._stopping:
                        raise

    def _hear(self, source: Source, listener: Listener) -> bool:
        """Pushes what the source gives; whether it has ended."""
        overruns = 0
        for block in source:
            if self._stopping:
                self._report(listener, [], source.name, 0.0, at_end=True)
                return True
            if self._reopen:
                return False
            if source.overruns > overruns:
                self.stats.add("overruns", source.overruns - overruns)
                overruns = source.overruns
            if not len(block.samples):
                if isinstance(source, IdleSource):
                    self._notifier.audio()
                elif source.fault:
                    self._notifier.waiting()
                self._tell_status()
                self._tell_microphone()
                continue
            self._notifier.audio()
            listener.follow(self.household, clips=self.journal)
            start_s = time.perf_counter()
            events = listener.push(block.samples)
            computed_s = time.perf_counter() - start_s
            self.stats.heard(len(block.samples))
            self._report(listener, events, source.name, computed_s)
            if self._outlets.follows:
                self._outlets.tell_heard(Heard(listener.samples, block.samples, listener.scores))
            self._watch_silence(block.samples)
            self._tell_status()
            self._tell_microphone()
            self._outlets.raise_output_failure()
            source.gather(listener.patience_samples)
        self._report(listener, listener.finish(), source.name, 0.0, at_end=True)
        return True

    def _report(
        self, listener: Listener, events: list[Event], source: str, computed_s: float, at_end: bool = False
    ) -> None:
        for event in events:
            waited_s = (listener.samples - event.sample) / RATE_HZ
            if event.type not in ("near_miss", "confirmation"):
                self.stats.latency(1000 * (waited_s + computed_s))
            self.publish(Notice(event, source, time.time() - waited_s))
        for event, clip in listener.clips(now=at_end):
            self.publish(Notice(event, source, time.time() - (listener.samples - event.sample) / RATE_HZ, clip))

    # --- what sinks may ask

    @property
    def journal(self) -> bool:
        """Whether notices with a clip are wanted."""
        return self._loaded.settings.journal.enabled

    def publish(self, notice: Notice) -> None:
        """To every sink that wants it."""
        event = notice.event
        if notice.clip is None:
            self.stats.add("events", type=event.type, keyword=event.keyword, reason=event.reason)
        self._outlets.publish(notice)

    def change(self, key: str, value: str, here: bool = False) -> None:
        """A setting, until somebody changes it again."""
        self._jobs.put(("change", key, value, "here" if here else ""))

    def status(self) -> dict[str, Any]:
        """How the daemon is."""
        from importlib.metadata import version

        household, source = self.household, self._source
        return {
            "type": "status",
            "protocol": PROTOCOL,
            "version": version("earmark"),
            "pid": os.getpid(),
            **self.stats.snapshot(),
            "microphone": {
                "name": source.name if source else "",
                "fault": source.fault if source else "not open yet",
                "opened": source.opened if source else 0,
                "silent_s": self._silent_samples // RATE_HZ,
                "problem": self._problem,
            },
            "keywords": [manifest.name for manifest in household.words],
            "mode": household.policy.mode,
            "on_error": household.policy.on_error,
            "sensitivity": household.policy.sensitivity,
            "sensitivity_of": dict(household.policy.sensitivity_of),
            "voice_sensitivity": household.policy.voice_sensitivity,
            "voice_sensitivity_of": dict(household.policy.voice_sensitivity_of),
            "people": household.names,
            "store": self._loaded.settings.people.store or str(people_folder()),
            "faults": list(household.faults),
            "remarks": list(household.remarks),
            "settings_file": str(self._loaded.file) if self._loaded.file else None,
            "sinks": self._outlets.report(),
        }

    # --- the keeper

    def _keep(self) -> None:
        """Reloads on demand, and when the store has changed."""
        while True:
            watch_s = self._loaded.settings.people.watch_s
            try:
                job = self._jobs.get(timeout=watch_s or None)
            except queue.Empty:
                if not self._watch.has_changed():
                    continue
                job = ("people",)
            try:
                self._do(job)
            except EarmarkError as error:
                self.stats.add("reload_failures")
                _LOG.error("%s; everything stays as it was", error)
            except Exception:  # a keeper that is gone would never reload again
                self.stats.add("reload_failures")
                _LOG.exception("the reload failed; everything stays as it was")
            self._outlets.tell_state()

    def _do(self, job: tuple[str, ...]) -> None:
        if job[0] == "reload":
            self._notifier.reloading()
        try:
            is_change = job[0] == "change"
            self._replace(job[0], {job[1]: job[2]} if is_change else {}, here=is_change and job[3:] == ("here",))
        finally:
            if job[0] == "reload":
                self._notifier.reloaded()

    def _changed_as_before(self) -> Loaded:
        """The settings as they were given, with what was changed from outside before this start."""
        changes = self._kept.read(self._given.settings)
        try:
            loaded: Loaded = self._arguments.load_settings(changes) if changes else self._given
        except SettingsError as error:
            _LOG.warning("what was changed from outside before is left out: %s", error)
            return self._given
        for key, value in changes.items():
            given = value_of(self._given.settings, key)
            _LOG.warning("as it was changed from outside before: %s is %s, not %s", key, value, given)
        self._changes = changes
        return loaded

    def _replace(self, why: str, change: dict[str, str], here: bool = False) -> None:
        """Settings, household and sinks, or none of them."""
        old = self._loaded.settings
        given, loaded, changes = self._given, self._loaded, {**self._changes, **change}
        if why != "people":
            given = self._arguments.load_settings({})
            changes = changes if change else self._kept.read(given.settings)
            loaded = self._arguments.load_settings(changes) if changes else given
        audio = loaded.settings.audio
        is_other = (audio.device, audio.channel) != (old.audio.device, old.audio.channel)
        if self._live and is_other and audio.device != NO_DEVICE:
            require_device(audio.device or None, None if audio.channel < 0 else audio.channel)
        self._names.meet(loaded.settings)
        household = load_household(loaded.settings, before=self.household)
        self._names.add(household.names)  # who came in between
        new_sinks = self._outlets.prepare(loaded.settings, old)
        if why == "change":
            self._say_changes(changes)
        remarks = [remark for remark in household.remarks if remark not in self.household.remarks]
        self._names.hidden = not loaded.settings.log.names
        self._given, self._loaded, self.household, self._changes = given, loaded, household, changes
        if change:
            self._kept.write(given.settings, changes, change if here else (), () if here else change)
        if why != "change":
            self.stats.add("reloads")
            _LOG.warning(
                "reloaded: mode %s, known: %s", household.policy.mode, ", ".join(household.names) or "nobody"
            )
        for remark in remarks:
            _LOG.warning("%s", remark)
        microphones = [(one.device, one.stall_s, one.channel) for one in (audio, old.audio)]
        self._reopen = self._reopen or (self._live and microphones[0] != microphones[1])
        self._outlets.replace(new_sinks, loaded.settings)

    def _say_changes(self, changes: dict[str, str]) -> None:
        """What was changed from outside, and from what: whoever wonders why it wakes differently finds it."""
        for key, value in changes.items():
            if self._changes.get(key) != value:
                old = value_of(self._loaded.settings, key)
                _LOG.warning("changed from outside: %s from %s to %s", key, old, value)

    def _store(self) -> PersonStore:
        return PersonStore(self._loaded.settings.people.store or None)

    # --- the source

    def _open_source(self) -> Source:
        audio = self._loaded.settings.audio
        channel = None if audio.channel < 0 else audio.channel
        if self._arguments.source == "-":
            if sys.stdin is None:
                raise AudioError("standard input is closed: `earmark listen -` takes audio from it")
            return StdinSource(PolledPipe(sys.stdin.fileno(), POLL_S), channels=audio.channels, channel=channel)
        if audio.device == NO_DEVICE:
            return IdleSource(lambda: time.sleep(POLL_S))
        from ..audio.microphone import MicrophoneSource  # needs a system library that a pipe does without

        # one that was there when the reload looked, and is not any more, is waited for as if it had been unplugged
        wait = audio.wait_for_device or self._notifier.managed or self._source is not None
        return MicrophoneSource(audio.device or None, wait, audio.stall_s, channel)

    def _say_source(self, source: Source) -> None:
        _LOG.info("known: %s", ", ".join(self.household.names) or "nobody")
        state = "waiting for" if source.fault else "listening to"  # a microphone that may be plugged in later
        print(f"earmark: {state} {source.name}", file=sys.stderr, flush=True)
        for remark in self.household.remarks:
            _LOG.warning("%s", remark)

    def _watch_silence(self, samples: Int16) -> None:
        """Digital silence for a minute is worth a word: a muted microphone looks like a quiet household."""
        before = self._silent_samples
        if not before and abs(int(samples[-1])) > SILENT_PEAK:  # by far the most of all pieces
            return
        limit = self._loaded.settings.audio.silence_warning_s * RATE_HZ
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENT_PEAK)
        self._silent_samples = len(samples) - 1 - int(loud[-1]) if len(loud) else before + len(samples)
        if limit and before < limit <= self._silent_samples:
            _LOG.warning("the microphone has given nothing but zeros for %g s: is it muted?", limit / RATE_HZ)
        if limit and before >= limit and len(loud):
            _LOG.warning("the microphone gives sound again")

    def _tell_microphone(self) -> None:
        """That it is lost or silent, or hears again, where that has changed."""
        limit = self._loaded.settings.audio.silence_warning_s * RATE_HZ
        problem = self._source.fault if self._source else None
        if problem is None and limit and self._silent_samples >= limit:
            problem = f"nothing but zeros for {limit / RATE_HZ:g} s: is it muted?"
        if problem != self._problem:
            self._problem = problem
            self._outlets.tell_microphone()

    def _tell_status(self) -> None:
        """One line for the service manager, made only where something of it has changed."""
        source, household = self._source, self.household
        fault = source.fault if source else None
        shown = (source, fault, household, self._names.hidden)
        if all(new is old for new, old in zip(shown, self._shown)):
            return
        what = f"waiting: {fault}" if fault else f"listening to {source.name if source else ''}"
        known = self._names.counted(household.names)
        if self._notifier.status(self._names.hide(f"{what}; mode {household.policy.mode}; known: {known}")):
            self._shown = shown

    # --- signals: they only leave a mark

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _ask_for_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._jobs.put(("reload",))


def _keep_standard_error(names: Names) -> bool:
    """Gives Python's standard error a descriptor of its own: the one that C libraries write to is away at times.

    Returns:
        Whether the system's journal keeps what is written there, so that names are hidden.
    """
    if sys.stderr is None:
        return False
    own: Any = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    is_kept = is_journal(own, os.environ)
    own = Printable(Unnamed(own, names) if is_kept else own)  # type: ignore[arg-type]  # as a stream as print wants
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(own)
    sys.stderr = own
    return is_kept
