"""An enrolment as a conversation on a terminal: the session's states asked aloud, the answers heard and judged.

What to ask next is `session.py`'s business, what a recording is worth `hearing.py`'s; here is only the talking.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.devices import no_microphone
from earmark.engine.audio.offset import OffsetRemover, remark_on
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.audio.sources import Source
from earmark.engine.audio.wav import to_wav
from earmark.engine.errors import DeviceError, EnrolmentRefused, InputError, system_text_of
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.loading import binding_of
from earmark.engine.people.store import ANY_PHRASE, PersonStore
from earmark.engine.storage.atomic import make_folder, replace_synced

from ..enrolment import Enroller, Enrolment, Options, Recording
from ..takes import measure
from ..takes.endpoint import Endpoint
from ..takes.hearing import Hearing
from ..takes.others import Others
from ..takes.quality import ADVICE, Fault
from ..training import calibrate
from ..training.train import TakeEmbeddings
from .kept import Kept, KeptSession
from .progress import progress
from .screen import ASK, BAD, GOOD, Screen
from .session import Answered, OtherHeard, Phase, RoomHeard, Session, TakeHeard, advance

ROOM_SAMPLES = 2 * RATE_HZ
CHECK_SAMPLES = 3 * RATE_HZ
COUNTDOWN_S, MOVING_COUNTDOWN_S = 2, 5  # five seconds to walk two metres
OTHER_SAMPLES = 30 * RATE_HZ
LOST_BLOCKS = 200  # of nothing, 50 ms each: ten seconds in which a microphone may come back
METER_SAMPLES = RATE_HZ // 10

HOW = {
    "as_usual": "as you usually would",
    "two_metres": "from two metres away",
    "softly": "softly",
    "aside": "while you look aside",
}
GIVEN_UP = {
    **ADVICE,
    "silent_microphone": "the microphone gives nothing but zeros: unmute it (alsamixer, pactl), or choose another",
    "too_few_takes": "begin again when you have a minute",
}


@dataclass(frozen=True)
class Guide:
    """Leads one person through one wake word."""

    name: str
    enroller: Enroller
    keyword: KeywordNetwork | None
    options: Options
    screen: Screen
    source: Source
    kept: KeptSession | None
    """None: the store is encrypted, and what is kept would lie open beside it."""
    keep_audio: Path | None = None
    quiet: bool = False
    """No progress of the training: a machine reads."""

    def run(self) -> Enrolment:
        """Talks until there are enough takes, and makes the voiceprint; nothing is written but the kept session.

        Raises:
            EnrolmentRefused: it would not work; why, and what to do.
            DeviceError: the microphone went away and did not come back.
            InputError: nobody answers.
        """
        hearing = self.enroller.hearing(self.keyword, self.options)
        audio = _Audio(self.source, self.screen)
        session, varied = self._begin(hearing)
        others = Others.nobody(self.enroller.speaker.embedding_size)
        try:
            while not session.over:
                if session.phase is Phase.ROOM:
                    session = self._room(session, hearing, audio)
                elif session.phase is Phase.TAKES:
                    session = self._take(session, hearing, audio, varied)
                elif session.phase is Phase.MORE_PEOPLE:
                    session = advance(session, Answered(self._anybody_else(session)))
                else:
                    session, heard = self._other(session, hearing, audio)
                    others = others.and_also(heard)
        except (KeyboardInterrupt, DeviceError, InputError):
            self._broken_off(session)
            raise
        if session.phase is Phase.GIVEN_UP:
            self._broken_off(session)
            raise EnrolmentRefused(
                f"{self.name!r} was not enrolled: {session.why}: {GIVEN_UP[session.why]}", session.faults
            )
        self.screen.say("Thank you, that is all. Learning …")
        with progress(self.quiet, self.options.plan.steps, plain=not self.screen.moves) as shown:
            takes = [varied[number] for number in session.takes]
            noisy = float(np.median([hearing.heard[number].crop_snr_db for number in session.takes]))
            return self.enroller.enrol_takes(
                self.name,
                takes,
                self.keyword,
                self.options,
                others=others,
                faults=session.faults,
                takes_snr_db=noisy,
                watcher=shown,
            )

    @property
    def phrase(self) -> str:
        """What is to be said, for people."""
        return self.keyword.manifest.wake_word if self.keyword else "your phrase"

    def _begin(self, hearing: Hearing) -> tuple[Session, dict[int, TakeEmbeddings]]:
        """A new session, or the one that was broken off."""
        kept = self.kept.load() if self.kept else None
        if self.kept is None or kept is None:
            return Session(), {}
        question = f"{len(kept.heard)} good takes are kept from a session that was broken off. Go on with them? [Y/n]"
        if self.screen.ask(question).lower().startswith("n"):
            self.kept.erase()
            return Session(), {}
        hearing.room = kept.room
        numbers = hearing.restore(kept.heard)
        session = advance(Session(), RoomHeard(kept.room_dbfs))
        return advance(session, TakeHeard(numbers)), dict(zip(numbers, kept.varied))

    def _broken_off(self, session: Session) -> None:
        if session.takes and self.kept is None:
            self.screen.say("The takes so far are not kept: the store is encrypted, and they would lie open.")
        elif session.takes and self.kept:
            self.screen.say(
                f"{len(session.takes)} good takes are kept for going on with the same command: as embeddings, no "
                f"sound, readable for you alone, in {self.kept.path}"
            )
        self.screen.say(f"Nothing in the store has changed: {self.name} is as before.")

    def _room(self, session: Session, hearing: Hearing, audio: _Audio) -> Session:
        self.screen.say("First the room: please nobody speak for two seconds.", ASK)
        samples = audio.record("room", Endpoint(0.0, ROOM_SAMPLES))
        if not np.any(samples):
            self.screen.say("✗ nothing but zeros: is the microphone muted?", BAD)
            return advance(session, RoomHeard(None))
        hearing.room = measure.room_power(samples)
        level_dbfs = measure.dbfs(samples)
        self.screen.say(f"✓ the room is at {level_dbfs:.0f} dBFS", GOOD)
        return advance(session, RoomHeard(level_dbfs))

    def _take(self, session: Session, hearing: Hearing, audio: _Audio, varied: dict[int, TakeEmbeddings]) -> Session:
        number, of = len(session.takes) + 1, session.wanted or 0
        self.screen.say(f'Take {number} of {of}: say "{self.phrase}" {HOW[session.how]}, after "now".', ASK)
        moving = session.how == "two_metres" and session.tries == 0
        audio.countdown(MOVING_COUNTDOWN_S if moving else COUNTDOWN_S)
        self.screen.say("  now")
        samples = audio.record("listening", Endpoint(session.room_dbfs or 0.0))
        event = hearing.take(samples, f"take {number}")
        for fault in event.faults:
            self.screen.say(f"✗ {_spoken(fault)}", BAD)
        newest = max(hearing.heard, default=-1)
        if newest in event.takes and newest not in session.takes:
            take = hearing.heard[newest].take
            score = "" if take.keyword_score is None else f", heard with {take.keyword_score:.2f}"
            above_db = min(take.worst_snr_db, 99)
            self.screen.say(
                f"✓ take {number}: {take.level_dbfs:.0f} dBFS, {above_db:.0f} dB above the noise{score}", GOOD
            )
            if self.keep_audio is not None:
                phrase = self.keyword.manifest.name if self.keyword else ANY_PHRASE
                write_wav(self.keep_audio / f"{phrase}-{newest + 1}.wav", samples)
        for each in event.takes:
            if each not in varied:
                varied[each] = self.enroller.vary(hearing.heard[each], each, of, self.keyword, self.options)
        if self.kept and event.takes != session.takes and session.room_dbfs is not None and hearing.room is not None:
            heard = [hearing.heard[each] for each in event.takes]
            self.kept.save(Kept(heard, [varied[each] for each in event.takes], hearing.room, session.room_dbfs))
        return advance(session, event)

    def _anybody_else(self, session: Session) -> bool:
        if session.others:
            return self.screen.ask("Anybody else? [y/N]").lower().startswith("y")
        self.screen.say(
            "Is somebody else there, or a television? What they say on this microphone teaches whom not to take for "
            f'you; best is "{self.phrase}" a few times. Only embeddings are used, and they are not kept.'
        )
        return self.screen.ask("Record somebody else? [y/N]").lower().startswith("y")

    def _other(self, session: Session, hearing: Hearing, audio: _Audio) -> tuple[Session, Others]:
        self.screen.say(f"Up to {OTHER_SAMPLES // RATE_HZ} seconds; Enter ends it. Now.", ASK)
        samples = audio.record("others", Endpoint(0.0, OTHER_SAMPLES), until_typed=True)
        centroid = calibrate.unit_mean(np.array([hearing.heard[number].embedding for number in session.takes]))
        file = f"other {len(session.others) + 1}"
        found = self.enroller.hear_others(Recording(file, samples), centroid, self.keyword)
        if isinstance(found, Fault):
            self.screen.say(f"✗ {_spoken(found)}", BAD)
            return advance(session, OtherHeard(file, found)), Others.nobody(len(centroid))
        self.screen.say(f"✓ {len(found.embeddings)} pieces of speech", GOOD)
        return advance(session, OtherHeard(file)), found


class _Audio:
    """The microphone with a meter; counts in samples."""

    def __init__(self, source: Source, screen: Screen) -> None:
        self._source, self._screen = source, screen
        self._blocks = iter(source)
        self._offset = OffsetRemover()
        self._unshown = 0

    def pieces(self) -> Iterator[Int16]:
        """What is heard from now on.

        Raises:
            DeviceError: nothing for ten seconds, or the source has ended.
        """
        self._source.skip()
        empty = 0
        for block in self._blocks:
            empty = 0 if len(block.samples) else empty + 1
            if empty > LOST_BLOCKS:
                raise DeviceError(f"the microphone gives nothing: {self._source.fault or 'is it unplugged?'}")
            samples = self._offset.push(block.samples)
            if len(samples):
                yield samples
        raise DeviceError(f"{self._source.name}: the audio has ended")

    def record(self, label: str, endpoint: Endpoint, until_typed: bool = False) -> Int16:
        """(n,) int16 until the endpoint, or a typed line, says that it is over."""
        heard = [np.zeros(0, np.int16)]
        for samples in self.pieces():
            heard.append(samples)
            self._show(label, heard)
            if endpoint.push(samples) or (until_typed and self._screen.typed() is not None):
                break
        self._screen.still()
        return np.concatenate(heard)

    def countdown(self, seconds: int) -> None:
        """Waits, counted in what the microphone hears."""
        heard = [np.zeros(0, np.int16)]
        count, shown = 0, 0
        for samples in self.pieces():
            count += len(samples)
            heard.append(samples)
            left = seconds - count // RATE_HZ
            self._show("ready  ", heard, f"{left} …")
            if left != shown and left > 0:
                shown = left
                self._screen.tick(f"  {left} …")
            if left <= 0:
                break
        self._screen.still()

    def check(self) -> str | None:
        """Shows the level until a line is typed; the line. None where nothing can move: three seconds are enough."""
        heard, count = [np.zeros(0, np.int16)], 0
        for samples in self.pieces():
            heard.append(samples)
            count += len(samples)
            self._show("level", heard)
            typed = self._screen.typed()
            if typed is not None or (count >= CHECK_SAMPLES and not self._screen.moves):
                break
        self._screen.still()
        loudest = max(measure.dbfs(piece) for piece in heard[1:])
        self._screen.say(f"  the loudest was {loudest:.0f} dBFS")
        remark = remark_on(self._offset.offset)
        if remark:
            self._screen.say(f"  this microphone has {remark}")
        return typed

    def _show(self, label: str, heard: list[Int16], left: str = "") -> None:
        """Moves the meter ten times a second: more would only fill a slow line."""
        self._unshown += len(heard[-1])
        if self._unshown >= METER_SAMPLES:
            self._unshown = 0
            self._screen.meter(label, measure.dbfs(np.concatenate(heard[-10:])[-METER_SAMPLES:]), left)


def choose_microphone(screen: Screen, wanted: str | None, open_source: Callable[[str | None], Source]) -> Source:
    """The microphone that is named, or the one that the person chooses, with a look at its level.

    Raises:
        DeviceError: there is none, or it cannot be opened.
        InputError: nobody answers.
    """
    from earmark.engine.audio.microphone import input_devices  # needs a system library that `--from` does without

    while True:
        device = wanted
        if device is None:
            found = input_devices()
            if not found:
                raise DeviceError(f"{no_microphone()}; or use --from FILE…")
            device = found[0]["name"] if len(found) == 1 else _chosen(screen, found)
        source = open_source(device)
        screen.say(f"Microphone: {device}. Say something: the level should move. Enter goes on{_OTHER[not wanted]}.")
        typed = _Audio(source, screen).check()
        if wanted is None and typed and typed.lower().startswith("n"):
            source.close()
            continue
        return source


_OTHER = {True: ", n and Enter chooses another", False: ""}


def _chosen(screen: Screen, found: list[dict[str, Any]]) -> str:
    for number, device in enumerate(found, 1):
        screen.say(f"  {number}  {device['name']}{'  (default)' if device['default'] else ''}")
    while True:
        answer = screen.ask("Which microphone? A number, or Enter for the default.")
        if not answer:
            return next((str(device["name"]) for device in found if device["default"]), str(found[0]["name"]))
        if answer.isdigit() and 1 <= int(answer) <= len(found):
            return str(found[int(answer) - 1]["name"])
        screen.say(f"{answer} must be a number from 1 to {len(found)}", BAD)


def guided(
    arguments: argparse.Namespace,
    enroller: Enroller,
    keywords: list[KeywordNetwork | None],
    options: Options,
    store: PersonStore,
    screen: Screen,
) -> Iterator[tuple[Enrolment, Callable[[], None]]]:
    """One enrolment for each wake word, and what erases its kept session once it is saved."""
    from earmark.engine.audio.microphone import MicrophoneSource  # needs a system library that `--from` does without

    channel = arguments.loaded.settings.audio.channel if arguments.channel is None else arguments.channel
    microphone = functools.partial(MicrophoneSource, channel=None if channel < 0 else channel)
    with choose_microphone(screen, arguments.device, microphone) as source:
        for keyword in keywords:
            phrase = keyword.manifest.name if keyword else ANY_PHRASE
            sha256 = keyword.manifest.model_sha256 if keyword else ""
            bound = {**asdict(binding_of(sha256, enroller.speaker.card, enroller.head.card)), "seed": options.seed}
            kept = None if store.encrypted else KeptSession(store.folder, arguments.name, phrase, bound)
            keep_audio = Path(arguments.keep_audio) if arguments.keep_audio else None
            guide = Guide(
                arguments.name, enroller, keyword, options, screen, source, kept, keep_audio, arguments.json
            )
            yield guide.run(), kept.erase if kept else _nothing


def _nothing() -> None:
    """Nothing was kept."""


def write_wav(path: Path, samples: Int16) -> None:
    """(n,) int16 as a WAV file, mode 0600, in a folder of mode 0700.

    Raises:
        InputError: it cannot be written.
    """
    try:
        make_folder(path.parent)
        replace_synced(path, to_wav(samples))
    except OSError as error:
        raise InputError(f"{path}: the take cannot be kept: {system_text_of(error)}") from error


def _spoken(fault: Fault) -> str:
    """A fault for people."""
    return f"{fault.reason.replace('_', ' ')}: {fault.what_and_what_to_do()}"
