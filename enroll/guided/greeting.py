"""The first words of a conversation."""

from __future__ import annotations

from earmark.engine.networks.keyword import KeywordNetwork

from ..phrase.own import OwnPhrase
from .screen import ASK, Screen
from .session import WANTED_TAKES

PRONOUNCED = {"okay_nabu": "oh-kay nah-boo"}


def greet(
    screen: Screen,
    name: str,
    keywords: list[KeywordNetwork | None],
    is_kept: bool = True,
    own: OwnPhrase | None = None,
) -> None:
    """Says what will happen, and which words are to be said; `is_kept`: good takes are, where it is broken off."""
    said = []
    for keyword in keywords:
        if keyword is None:
            said.append("a phrase of your own" if own is None else f'"{own.text}"')
        else:
            spoken = PRONOUNCED.get(keyword.manifest.name)
            said.append(f'"{keyword.manifest.wake_word}"' + (f" (say: {spoken})" if spoken else ""))
    words_are, it = ("The wake word is", "it") if len(said) == 1 else ("The wake words are, in this order,", "each")
    screen.say(
        f"Hello! earmark will now learn the voice of {name}. That is called enrolling, and takes about "
        "three minutes.",
        ASK,
    )
    screen.say(
        f"{words_are} {', '.join(said)}: it wakes the machine. You will say {it} {WANTED_TAKES} times, each "
        "time a little differently. First come the microphone and the room. All that it hears stays on this machine."
    )
    kept = "what was good is kept then, and the same command goes on with it" if is_kept else "nothing is kept then"
    screen.say(f"To stop, press Ctrl and C at any time: {kept}.")
    screen.space()
