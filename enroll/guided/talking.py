"""Half a minute of free speech at the microphone: a person who is enrolled says anything."""

from __future__ import annotations

import argparse
import functools

from earmark.engine.audio.samples import RATE_HZ

from ..recordings import Recording
from ..takes.endpoint import Endpoint
from .listening import Listening
from .microphones import MicrophoneOfSession
from .screen import ASK, Screen

TALK_SAMPLES = 30 * RATE_HZ  # what MOST_PIECES of speech need, with pauses
COUNTDOWN_S = 3


def record_talk(screen: Screen, listening: Listening, name: str) -> Recording:
    """Asks for it, and records; it is kept nowhere.

    Raises:
        DeviceError: the microphone went away and did not come back.
    """
    screen.say(
        f'After "now", let {name} talk for half a minute: what is on the table, what there was for lunch. Pauses do '
        "no harm. Press Enter to end it sooner; it ends by itself. No sound of it is kept.",
        ASK,
    )
    listening.countdown(COUNTDOWN_S)
    listening.now()
    samples = listening.record("talking", Endpoint(0.0, TALK_SAMPLES), until_typed=True)
    screen.say("Thank you, that is all.")
    return Recording("what was said", samples)


def talk_at_the_microphone(arguments: argparse.Namespace, screen: Screen) -> Recording:
    """The same, at the microphone that the command line or the settings name, or that is chosen.

    Raises:
        DeviceError: there is none, or it went away.
        InputError: nobody answers.
    """
    from earmark.engine.audio.microphone import MicrophoneSource  # needs a system library that files do without

    channel = arguments.loaded.settings.audio.channel if arguments.channel is None else arguments.channel
    open_source = functools.partial(MicrophoneSource, channel=None if channel < 0 else channel)
    with MicrophoneOfSession(screen, arguments.device, open_source) as microphone:
        return record_talk(screen, microphone.listening, arguments.name)
