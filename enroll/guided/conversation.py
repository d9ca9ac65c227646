"""An enrolment as a conversation on a terminal: the session's states asked aloud, the answers heard and judged.

What to ask next is `session.py`'s business, what a recording is worth `hearing.py`'s, how that is said `words.py`'s;
here is only the talking.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.audio.wav import to_wav
from earmark.engine.errors import DeviceError, EnrolmentRefused, InputError, system_text_of
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.store import ANY_PHRASE
from earmark.engine.storage.atomic import make_folder, replace_synced

from ..enrolment import Enroller, Enrolment, Options, Recording
from ..phrase.own import OwnPhrase
from ..takes import measure, words
from ..takes.endpoint import Endpoint
from ..takes.hearing import Hearing
from ..takes.others import Others
from ..takes.quality import Fault
from ..takes.rules import MIN_SNR_DB
from ..training import calibrate
from ..training.train import TakeEmbeddings
from . import tasks
from .kept import Kept, KeptSession
from .listening import somebody_speaks
from .meter import GOOD_DBFS
from .microphones import MicrophoneOfSession
from .progress import Shown, progress
from .refusal import refusal
from .screen import ASK, BAD, GOOD, Screen
from .session import (
    Answered,
    OtherHeard,
    Phase,
    RoomHeard,
    Session,
    TakeHeard,
    advance,
)

ROOM_SAMPLES = 2 * RATE_HZ
ROOM_COUNTDOWN_S = 1  # the key that was pressed before is no part of the room
OTHERS_COUNTDOWN_S = 3  # whoever has typed y goes aside
OTHER_SAMPLES = 30 * RATE_HZ
LOUD_ROOM_DBFS = GOOD_DBFS[0] - MIN_SNR_DB  # above it a voice at the lower end of the good zone is refused as noisy

YES_OR_NO = "Type y and press Enter for yes; Enter alone is no."

LOUD_ROOM = (
    "Press Enter, and the room is heard again. Or type g and press Enter to go on as it is: then speak close to the "
    "microphone."
)
BROKEN_OFF = {
    KeyboardInterrupt: "Stopped.",
    DeviceError: "The microphone went away, so earmark stopped.",
    InputError: "You did not answer, so earmark stopped.",
}


@dataclass
class Heard:
    """What was heard of a person until now."""

    hearing: Hearing
    varied: dict[int, TakeEmbeddings] = field(default_factory=dict)
    """Number of a take -> the take with its copies."""
    reasons: list[str] = field(default_factory=list)
    """Of the bad takes in a row."""


@dataclass(frozen=True)
class Guide:
    """Leads one person through one wake word."""

    name: str
    enroller: Enroller
    keyword: KeywordNetwork | None
    options: Options
    screen: Screen
    microphone: MicrophoneOfSession
    kept: KeptSession | None
    """None: the store is encrypted, and what is kept would lie open beside it."""
    keep_audio: Path | None = None
    quiet: bool = False
    """No progress of the training: a machine reads."""
    other_word: str = ""
    """Name of another wake word, to be tried where this one is not heard."""
    own: OwnPhrase | None = None
    """The phrase, where it is one of the person's own: its takes are not kept, for it is learned from their sound."""

    def run(self) -> Enrolment:
        """Talks until there are enough takes, and makes the voiceprint; nothing is written but the kept session.

        Raises:
            EnrolmentRefused: it would not work; why, and what to do.
            DeviceError: the microphone went away and did not come back.
            InputError: nobody answers.
        """
        heard = self._anew()
        session = self._begin(heard)
        others = Others.nobody(self.enroller.speaker.embedding_size)
        try:
            while not session.over:
                if session.phase is Phase.ROOM:
                    session = self._room(session, heard)
                elif session.phase is Phase.TAKES:
                    session = self._take(session, heard)
                elif session.phase is Phase.MICROPHONE:
                    is_right = self.microphone.is_right()
                    session = advance(session, Answered(is_right))
                    if not is_right:
                        self.microphone.choose_another()
                        heard = self._anew()
                elif session.phase is Phase.MORE_PEOPLE:
                    session = advance(session, Answered(self._anybody_else(session)))
                else:
                    session, found = self._other(session, heard)
                    others = others.and_also(found)
        except (KeyboardInterrupt, DeviceError, InputError) as error:
            self._broken_off(session, error)
            raise
        if session.phase is Phase.GIVEN_UP:
            text = refusal(self.name, self.phrase, self.other_word, session, self._kept_of(session))
            raise EnrolmentRefused(text, session.faults)
        with self._learning() as shown:
            takes = [heard.varied[number] for number in session.takes]
            noisy = float(np.median([heard.hearing.heard[number].crop_snr_db for number in session.takes]))
            made = self.enroller.enrol_takes(
                self.name,
                takes,
                self.keyword,
                self.options,
                others=others,
                faults=session.faults,
                takes_snr_db=noisy,
                watcher=shown,
            )
            if self.own is None:
                return made
            said = [heard.hearing.heard[number].take.analysis for number in session.takes]
            return replace(made, voiceprint=self.own.added_to(made.voiceprint, said, self.options.seed))

    @property
    def phrase(self) -> str:
        """What is to be said, for people."""
        if self.own is not None:
            return f'"{self.own.text}"'
        return f'"{self.keyword.manifest.wake_word}"' if self.keyword else "your phrase"

    def _learning(self) -> Shown:
        """Says that the rest is the machine's to do, and shows how far it is."""
        self.screen.say(f"Thank you, that is all. Learning the voice of {self.name} …")
        return progress(self.quiet, self.options.plan.steps, not self.screen.moves, self.screen.verbose)

    @property
    def _word(self) -> str:
        """Name of the wake word."""
        if self.keyword is not None:
            return self.keyword.manifest.name
        return ANY_PHRASE if self.own is None else self.own.keyword

    def _anew(self) -> Heard:
        return Heard(self.enroller.hearing(self.keyword, self.options))

    def _begin(self, heard: Heard) -> Session:
        """A new session, or the one that was broken off."""
        kept = self.kept.load() if self.kept else None
        if self.kept is None or kept is None:
            return Session()
        if not self._goes_on(len(kept.heard)):
            self.kept.erase()
            return Session()
        heard.hearing.room = kept.room
        numbers = heard.hearing.restore(kept.heard)
        heard.varied.update(zip(numbers, kept.varied))
        session = advance(Session(), RoomHeard(kept.room_dbfs))
        return advance(session, TakeHeard(numbers))

    def _goes_on(self, takes: int) -> bool:
        """Whether it goes on with so many takes of last time."""
        self.screen.say(f"From last time {_takes(takes)} kept.")
        return (
            not self.screen.ask("Go on with them? Enter for yes; n and Enter to begin anew.").lower().startswith("n")
        )

    def _broken_off(self, session: Session, error: BaseException) -> None:
        """What became of it first, then what is kept."""
        why = next(text for kind, text in BROKEN_OFF.items() if isinstance(error, kind))
        self.screen.say(f"{why} {self.name} was not enrolled this time.", BAD)
        kept = self._kept_of(session)
        if kept:
            self.screen.say(kept)

    def _kept_of(self, session: Session) -> str:
        """What is kept of the good takes; empty: there were none."""
        if not session.takes:
            return ""
        if self.own is not None:
            return "The good takes are not kept: a phrase is learned from their sound, and no sound is kept."
        if self.kept is None:
            return "The good takes are not kept: the store of people is encrypted, and they would not be."
        where = self.screen.figures(str(self.kept.path))
        return (
            f"{_takes(len(session.takes))} kept on this machine, without any sound{where}: type the same command "
            "again, and it goes on from there."
        )

    def _room(self, session: Session, heard: Heard) -> Session:
        self._say_room()
        audio = self.microphone.listening
        audio.countdown(ROOM_COUNTDOWN_S)
        samples = audio.record("room", Endpoint(0.0, ROOM_SAMPLES), zone=False)
        if somebody_speaks(samples):
            self._say_spoken()
            samples = audio.record("room", Endpoint(0.0, ROOM_SAMPLES), zone=False)
        if not np.any(samples):
            self._say_silent()
            return advance(session, RoomHeard(None))
        level_dbfs = measure.dbfs(samples)
        if not self._is_room_good(level_dbfs):
            return session
        heard.hearing.room = measure.room_power(samples)
        return advance(session, RoomHeard(level_dbfs))

    def _say_room(self) -> None:
        """What to do while the room is heard."""
        self.screen.say(
            "Now the room. Please nobody speak for three seconds. Switch off what plays or hums: radio, television, "
            "fan.",
            ASK,
        )

    def _say_spoken(self) -> None:
        """That it is heard once more, and why."""
        self.screen.say("Somebody spoke, or a television did. Once more, in silence, please.", BAD)

    def _say_silent(self) -> None:
        """That nothing but zeros came."""
        self.screen.say(words.SILENT_MICROPHONE.live, BAD)

    def _is_room_good(self, level_dbfs: float) -> bool:
        """Says how loud it is; whether it goes on so."""
        figures = self.screen.figures(f"{level_dbfs:.0f} dBFS")
        if level_dbfs < LOUD_ROOM_DBFS:
            self.screen.say(f"The room is quiet{figures}.", GOOD)
            return True
        self.screen.say(
            f"It is loud here{figures}. Switch off what makes the noise, or move the microphone away from it.",
            BAD,
        )
        return self.screen.ask(LOUD_ROOM).lower().startswith("g")

    def _take(self, session: Session, heard: Heard) -> Session:
        number, of = len(session.takes) + 1, session.wanted or 0
        hearing, varied = heard.hearing, heard.varied
        task = self._say_task(session)
        audio = self.microphone.listening
        audio.countdown(task.countdown_s)
        audio.now()
        samples = audio.record("listening", Endpoint(session.room_dbfs or 0.0, task.max_samples))
        before = max(hearing.heard, default=-1)
        event = self._same_phrase(hearing, hearing.take(samples, f"take {number}"), before, session)
        newest = max(hearing.heard, default=-1)
        is_good = newest in event.takes and newest not in session.takes
        heard.reasons = [] if is_good else [*heard.reasons, *(fault.reason for fault in event.faults[-1:])]
        for fault in event.faults:
            self._say_fault(fault, is_earlier=is_good, tip=heard.reasons.count(fault.reason) - 2)
        if is_good:
            self._say_good(hearing, newest, number, of)
            if self.keep_audio is not None:
                phrase = self._word
                write_wav(self.keep_audio / f"{phrase}-{newest + 1}.wav", samples)
        for each in event.takes:
            if each not in varied:
                varied[each] = self.enroller.vary(hearing.heard[each], each, of, self.keyword, self.options)
        if self.kept and event.takes != session.takes and session.room_dbfs is not None and hearing.room is not None:
            good = [hearing.heard[each] for each in event.takes]
            self.kept.save(Kept(good, [varied[each] for each in event.takes], hearing.room, session.room_dbfs))
        return advance(session, event)

    def _say_task(self, session: Session) -> tasks.Task:
        """What to do for the next take."""
        if not session.takes and session.tries == 0:
            self.screen.say(tasks.first(self.phrase, self.screen.beeps))
        task = tasks.task(session, self.phrase, self.screen.beeps)
        self.screen.say(task.text, ASK)
        if task.timing:
            self.screen.say(task.timing, ASK)
        return task

    def _same_phrase(self, hearing: Hearing, event: TakeHeard, before: int, session: Session) -> TakeHeard:
        """Without the newest take, behind number `before`, where it is of something else than the others."""
        newest = max(hearing.heard, default=-1)
        if self.own is None or newest <= before:
            return event
        fault = self.own.is_another(hearing.heard[newest], [hearing.heard[number] for number in session.takes])
        if fault is None:
            return event
        hearing.forget(newest)
        return TakeHeard(session.takes, (fault,))

    def _say_good(self, hearing: Hearing, newest: int, number: int, of: int) -> None:
        take = hearing.heard[newest].take
        score = "" if take.keyword_score is None else f", heard with {take.keyword_score:.2f}"
        above_db = min(take.worst_snr_db, 99)
        figures = self.screen.figures(f"{take.level_dbfs:.0f} dBFS, {above_db:.0f} dB above the noise{score}")
        self.screen.say(f"Take {number} of {of} is good{figures}.", GOOD)

    def _say_fault(self, fault: Fault, is_earlier: bool = False, tip: int = -1) -> None:
        """What was wrong and what to do; from the second time in a row on a tip besides, each time the next."""
        told = words.WORDS[fault.reason]
        text = f"T{fault.file[1:]} is asked for again: it sounded like somebody else." if is_earlier else told.live
        self.screen.say(words.spoken(text, self.phrase, self.name), BAD)
        if self.screen.verbose:
            self.screen.say(fault.figures(), indent="  ")
        elif fault.hint:
            self.screen.say(f"T{fault.hint[1:]}.", indent="  ")
        tips = [one.text for one in told.tips if not one.command]  # here nobody can type a command
        if 0 <= tip < len(tips):
            self.screen.say(words.spoken(tips[tip], self.phrase, self.name), indent="  ")

    def _anybody_else(self, session: Session) -> bool:
        if session.others:
            return self.screen.ask(f"Record one more? {YES_OR_NO}").lower().startswith("y")
        self.screen.say(
            f"That was the last take of {self.name}. If somebody else is here, or a television, their voices can be "
            "recorded too: it then tells them from yours a little better. It works without. No sound of theirs is "
            "kept."
        )
        return self.screen.ask(f"Record somebody else? {YES_OR_NO}").lower().startswith("y")

    def _other(self, session: Session, heard: Heard) -> tuple[Session, Others]:
        self._say_other()
        audio = self.microphone.listening
        audio.countdown(OTHERS_COUNTDOWN_S)
        audio.now()
        samples = audio.record("others", Endpoint(0.0, OTHER_SAMPLES), until_typed=True)
        takes = heard.hearing.heard
        centroid = calibrate.unit_mean(np.array([takes[number].embedding for number in session.takes]))
        file = f"other {len(session.others) + 1}"
        found = self.enroller.hear_others(Recording(file, samples), centroid, self.keyword)
        if isinstance(found, Fault):
            self._say_fault(found)
            return advance(session, OtherHeard(file, found)), Others.nobody(len(centroid))
        self._say_heard(len(found.embeddings))
        return advance(session, OtherHeard(file)), found

    def _say_other(self) -> None:
        """What others are to do."""
        self.screen.say(
            f'Let them speak after "now", best {self.phrase} a few times; a television just plays on. You be silent '
            "meanwhile. Press Enter when they are done; it ends by itself after half a minute.",
            ASK,
        )

    def _say_heard(self, pieces: int) -> None:
        """That others were heard, in so many pieces of speech."""
        figures = self.screen.figures(f"{pieces} pieces of speech")
        self.screen.say(f"They were heard{figures}.", GOOD)


def _takes(count: int) -> str:
    return "1 good take is" if count == 1 else f"{count} good takes are"


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
