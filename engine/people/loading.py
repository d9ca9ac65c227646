"""Which people of a store can be asked about which wake words, with the networks in use."""

from __future__ import annotations

import functools
import logging
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from ..errors import PersonDamaged, PersonError, PersonUnknown, did_you_mean
from ..networks.card import Card, KeywordManifest
from ..networks.trained.kinds import HEAD
from ..phrases.model import PhraseModel, is_phrase
from ..phrases.network import features_sha256
from ..phrases.spotter import PhraseManifest, manifest_of
from ..storage.locked import LOCK_FILE
from ..storage.names import folder_name
from ..storage.owners import refusal
from .store import PersonStore
from .voiceprint import TRAINED, WITHOUT_NETWORK, Binding, Voiceprint, check_binding

_LOG = logging.getLogger(__name__)


def open_people(store: PersonStore | str | os.PathLike[str] | None) -> PersonStore:
    """A store as it is; a folder as a store; None: the user's own, where nobody need be enrolled yet.

    Raises:
        PersonError: there is no such folder.
    """
    if isinstance(store, PersonStore):
        return store
    if store is not None:
        require_store(Path(store), f"`earmark.enrol(…).save({os.fspath(store)!r})` makes one")
    return PersonStore(store)


def require_store(folder: Path, what_makes_one: str) -> None:
    """Raises PersonError where there is no such folder; a mistyped one is no store in which nobody is enrolled."""
    try:
        there = folder.is_dir()
    except OSError as error:  # a folder above it may not be entered
        raise PersonError(f"{folder}: cannot be read: {refusal(error, folder)}") from error
    if not there:
        raise PersonError(f"no store of people in {folder}{_near(folder)}; {what_makes_one}")


def _near(folder: Path) -> str:
    """A folder of a similar name beside the one that is not there."""
    try:
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()]
    except OSError:
        return ""
    return did_you_mean(folder.name, beside)


def other_store(folder: Path) -> str:
    """For a message that nobody is enrolled in a folder: the one above or below it in which somebody is."""
    parents = folder.resolve().parents
    for near in (folder / "people", folder / "earmark" / "people", *parents[:3]):
        try:
            if (near / LOCK_FILE).is_file() and PersonStore(near).names():
                return f"; a store with people is {near}"
        except PersonError:
            continue
    return ""


def not_heard(store: PersonStore, words: Iterable[str], is_named: bool) -> list[str]:
    """Why nobody, or not everybody, of a store can wake what listens to these words; what to do, a line each.

    Args:
        store: the people.
        words: names of the wake words.
        is_named: whether somebody said where the store is, and must say it again to enrol.

    Raises:
        PersonError: the store cannot be read.
    """
    words = list(words)
    people = {name: store.keywords(name) for name in store.names()}
    enrol = "earmark enroll NAME" + (f" --store {shlex.quote(str(store.folder))}" if is_named else "")
    if not people:
        return [f"nobody is enrolled in {store.folder}{other_store(store.folder)}: `{enrol}`"]
    lines = []
    words += {word for enrolled in people.values() for word in enrolled if is_phrase(word)}  # they are always heard
    if not any(set(words) & set(enrolled) for enrolled in people.values()):
        lines.append(f"nobody is enrolled for {' or '.join(words)}: `{enrol}`")
    for name, enrolled in people.items():
        if set(words) & set(enrolled):
            continue
        others = [word for word in enrolled if word not in WITHOUT_NETWORK]
        if others:
            lines.append(
                f"{name} is enrolled for {', '.join(others)}, which is not listened to: "
                f"`--keyword {others[0]}`, or wake.keywords in the settings"
            )
        else:
            lines.append(f"{name} is enrolled with --any-phrase, and can wake nothing")
    return lines


def binding_of(keyword_sha256: str, speaker: Card, head: Card) -> Binding:
    """The networks in use; `keyword_sha256` is empty for any phrase."""
    return Binding(keyword_sha256, speaker.sha256, head.sha256)


def check_networks(voiceprint: Voiceprint, keyword_sha256: str, speaker: Card, head: Card) -> None:
    """Refuses a voiceprint that the networks in use cannot be asked with.

    Raises:
        PersonMismatch: it was made with others.
        PersonDamaged: it says that it was made with these, and its numbers are not as many as theirs.
    """
    check_binding(voiceprint, binding_of(keyword_sha256, speaker, head))
    size, projected = (int(head.parameters[key]) for key in ("embedding_size", "projection_size"))
    found = {"takes": voiceprint.takes.shape[1:]}
    wanted: dict[str, tuple[int, ...]] = {"takes": (size,)}
    if voiceprint.kind == TRAINED and voiceprint.trainer == HEAD:  # of another, `meaning` and `codec` have looked
        found.update(projection=voiceprint.weights.projection.shape, bias=voiceprint.weights.bias.shape)
        wanted.update(projection=(size, projected), bias=(1,))
    for name, shape in wanted.items():
        if found[name] != shape:
            raise PersonDamaged(
                f"{voiceprint.name!r} ({voiceprint.keyword}) cannot be of these networks: {name} has {found[name]}, "
                f"they make {shape}: `earmark enroll {voiceprint.name}` again, or `earmark people rollback`"
            )


class Loaded:
    """Voiceprints that were loaded, and of which files: who is loaded again with it is read only where those changed.

    Args:
        before: of the last time; None: everybody is read.
    """

    def __init__(self, before: Loaded | None = None) -> None:
        self._before = before._found if before is not None else {}
        self._found: dict[tuple[str, str], tuple[object, Voiceprint]] = {}

    def load(self, store: PersonStore, name: str, keyword: str) -> Voiceprint:
        """As `PersonStore.load`: the same object as before, where its files are the same.

        Raises:
            PersonError: as that.
        """
        files = _files_of(store, name, keyword)  # before they are read: what comes meanwhile is seen next time
        known_files, voiceprint = self._before.get((name, keyword), (None, None))
        if voiceprint is None or files is None or files != known_files:
            voiceprint = store.load(name, keyword)
        self._found[name, keyword] = (files, voiceprint)
        return voiceprint

    def settle(self) -> None:
        """All are loaded: who is not among them any more is forgotten."""
        self._before = {}


def _files_of(store: PersonStore, name: str, keyword: str) -> object:
    """Of the newest version: where it lies, and inode, size and times of its files; None: it must be read.

    The time of the last change of an inode (ctime) is the kernel's: nobody sets it back.
    """
    person, word = folder_name(name), folder_name(keyword)
    try:
        versions = store.versions(name, keyword)
        store.seal.check_versions(person, word, versions)
        place = store.folder / person / word / f"{versions[-1]:04d}"
        with os.scandir(place) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except (OSError, IndexError, PersonError):  # whatever it is, `load` says it
        return None
    return place, {file: (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for file, s in found.items()}


def usable_people(
    store: PersonStore,
    keywords: Iterable[KeywordManifest],
    speaker: Card,
    head: Card,
    loaded: Loaded | None = None,
) -> tuple[list[Voiceprint], list[PersonError]]:
    """The voiceprints of a store for the given wake words, and why others cannot be used.

    Phrases of people's own are among them, any phrase, and free speech.

    With `loaded` only those are read that it does not have.
    """
    loaded = Loaded() if loaded is None else loaded
    keyword_sha256 = {manifest.name: manifest.model_sha256 for manifest in keywords}
    phrases_sha256 = functools.lru_cache(features_sha256)  # read where somebody has a phrase
    people: list[Voiceprint] = []
    faults: list[PersonError] = [*store.seal.missing()] if store.encrypted else []
    for name in store.names():
        try:
            for keyword in store.keywords(name):
                if keyword in WITHOUT_NETWORK or keyword in keyword_sha256 or is_phrase(keyword):
                    voiceprint = loaded.load(store, name, keyword)
                    sha256 = phrases_sha256() if is_phrase(keyword) else keyword_sha256.get(keyword, "")
                    check_networks(voiceprint, sha256, speaker, head)
                    people.append(voiceprint)
        except PersonUnknown:  # erased since the names were read: as wished
            continue
        except PersonError as error:
            faults.append(error)
    loaded.settle()
    return people, faults


def phrases_of(people: Iterable[Voiceprint]) -> list[PhraseManifest]:
    """The phrases of these people as wake words, each once, in the order of their names."""
    models: dict[str, list[PhraseModel]] = {}
    for person in people:
        if person.phrase is not None:
            models.setdefault(person.keyword, []).append(person.phrase)
    return [manifest_of(keyword, models[keyword]) for keyword in sorted(models)]


def load_people(
    store: PersonStore,
    keywords: Iterable[KeywordManifest],
    speaker: Card,
    head: Card,
    loaded: Loaded | None = None,
) -> tuple[list[Voiceprint], list[PersonError]]:
    """As `usable_people`; who cannot be used is left out and said, so that one bad file does not silence a household.

    Raises:
        PersonError: there are people in the store, and none of them can be used.
    """
    people, faults = usable_people(store, keywords, speaker, head, loaded)
    if faults and not people:
        raise faults[0]
    for fault in faults:
        _LOG.error("%s (the others are known)", fault)
    return people, faults
