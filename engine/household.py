"""What a daemon needs to know: wake words, people, policy. Loaded as a whole, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .networks import runtime
from .networks.card import MODELS_DIR, Card, KeywordManifest, load_card, load_manifest
from .networks.keyword import KeywordNetwork
from .people.keys import secret_from
from .people.loading import Loaded, load_people, not_heard, phrases_of
from .people.store import PersonStore, Voiceprint
from .phrases.spotter import PhraseManifest
from .settings.policy import Policy
from .settings.schema import Settings
from .verifier import Verifier


@dataclass(frozen=True)
class Household:
    """One state of it; nobody changes it."""

    manifests: tuple[KeywordManifest, ...]
    people: tuple[Voiceprint, ...]
    policy: Policy
    folder: Path
    """Of speaker network and head."""
    cards: tuple[Card, Card]
    """Theirs."""
    faults: tuple[str, ...] = ()
    """People of the store who cannot be used, and why."""
    remarks: tuple[str, ...] = ()
    """Who cannot wake it although enrolled, or that nobody can, and a setting that does nothing; what to do."""
    settings: Settings = field(default_factory=Settings)
    """All of them, as they were when it was loaded."""
    loaded: Loaded = field(default_factory=Loaded, compare=False, repr=False)
    """What the next one need not read again."""

    @property
    def delegate(self) -> runtime.Delegate:
        """Whether the speaker network may use the runtime's."""
        return self.settings.people.speaker_delegate  # type: ignore[return-value]  # the schema checks it

    @property
    def networks(self) -> object:
        """Where it differs, speaker network and head are opened anew."""
        return self.folder, self.cards, runtime.uses_delegate(self.delegate)

    @property
    def phrases(self) -> list[PhraseManifest]:
        """Wake words that people have made for themselves."""
        return phrases_of(self.people)

    @property
    def words(self) -> list[KeywordManifest]:
        """All that wakes it."""
        return [*self.manifests, *self.phrases]

    @property
    def names(self) -> list[str]:
        """Who is known, each once."""
        return sorted({person.name for person in self.people})


def load_household(
    settings: Settings, ask: bool = False, try_networks: bool = True, before: Household | None = None
) -> Household:
    """What the settings name.

    A person who cannot be used is left out and said, so that one damaged file does not silence a household.

    Args:
        settings: in force.
        ask: whether somebody on the terminal may be asked for the passphrase of the people.
        try_networks: open each network once. Who makes a `Listener` of the household at once can do without: that
            opens them too, and opening them twice costs a start 30 ms and 4 MB.
        before: the household as it was: only who has changed is read, and no network of it is tried again.

    Raises:
        EarmarkError: a wake word, the networks or the policy cannot be used; or there are people in the store and
            none of them can.
    """
    manifests = tuple(load_manifest(name) for name in dict.fromkeys(settings.wake.keywords))
    folder = Path(settings.people.models) if settings.people.models else MODELS_DIR
    speaker, head = load_card("speaker", folder), load_card("head", folder)
    store = PersonStore(settings.people.store or None, secret_from(settings.people.key_file, ask=ask))
    loaded = Loaded(before.loaded if before is not None else None)
    people, faults = load_people(store, manifests, speaker, head, loaded)
    remarks = not_heard(store, [manifest.name for manifest in manifests], bool(settings.people.store))
    if settings.people.speaker_delegate == "on" and not runtime.DELEGATE_IS_SMALL:
        remarks.append(f"people.speaker_delegate = on does nothing under {runtime.NAME}: set auto, or install LiteRT")
    household = Household(
        manifests,
        tuple(people),
        settings.policy(),
        folder,
        (speaker, head),
        tuple(map(str, faults)),
        tuple(remarks),
        settings,
        loaded,
    )
    if try_networks:  # what cannot be opened is told now, not when a stream wants it
        for manifest in manifests:
            if before is None or manifest not in before.manifests:
                KeywordNetwork(manifest)
        if before is None or not before.people or household.networks != before.networks:
            Verifier(people, folder=folder, delegate=household.delegate)
    return household
