"""The people on disk: voiceprints, one for each wake word, in several versions.

A store is a folder::

    anna/                      one folder a person, mode 0700
      okay_nabu/               one a wake word (or `any-phrase`, `free-speech`)
        0001/                  one a version; the highest counts, the others are kept for going back
          header.json          what it is, which networks it belongs to, checksums; mode 0600
          arrays.npz           plain arrays, never a pickle
          take-01.wav, …       the recordings, only where they were to be kept
    .keyring.json              where the store is encrypted; its files are called `….sealed` then (vault.py)
    .index.sealed              and what there is in it (index.py, seal.py)
    .pending/                  a change of several people that is not finished (transaction.py)
    .lock                      held by whoever changes something

A version is written beside its place (files, fsync, folder fsync) and then renamed into it, so whatever happens
there is the old one or the new one. A voiceprint is biometric data: it never leaves the store unasked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..audio.samples import Int16
from ..errors import (
    InputError,
    InstallationError,
    PersonDamaged,
    PersonError,
    PersonLocked,
    PersonNewer,
    PersonUnknown,
    StoreTampered,
    did_you_mean,
    text_of,
)
from ..storage.atomic import make_folder, put_in_place
from ..storage.locked import LOCK_FILE, LockedFolder
from ..storage.names import folder_name, is_real, name_of
from ..storage.owners import refusal
from ..storage.user_folders import people_folder
from . import transaction
from .codec import ARRAYS_FILE, HEADER_FILE, decode, decode_recordings, encode, recording_files
from .index import all_written, header_mark, replaced
from .seal import Seal
from .vault import Secret, Vault, as_written
from .voiceprint import ANY_PHRASE, COSINE, FREE_SPEECH, TRAINED, Binding, Voiceprint, check_binding

__all__ = [  # with what belongs to a person, so that one import is enough
    "ANY_PHRASE",
    "COSINE",
    "FREE_SPEECH",
    "TRAINED",
    "Binding",
    "PersonStore",
    "Tree",
    "Voiceprint",
    "check_binding",
    "folder_name",
]

KEPT_VERSIONS = 5
READ_TRIES = 20  # a folder that was moved between two looks is looked for again; nobody moves one so often

Contents = Mapping[str, bytes]
"""The files of a version by their names, as they are without encryption."""
Tree = Mapping[tuple[str, int], Contents]
"""All that there is of a person: wake word and number of the version -> its files."""

_T = TypeVar("_T")


class PersonStore:
    """The people of one folder; creates it on the first save.

    Args:
        folder: of the store; None: the user's.
        secret: gives the key of an encrypted store when it is needed; None: there is none.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, secret: Secret | None = None) -> None:
        self.folder = Path(folder) if folder is not None else people_folder()
        self._locked = LockedFolder(self.folder, self.folder / LOCK_FILE)
        self.seal = Seal(self.folder, secret)

    # --- reading

    @property
    def encrypted(self) -> bool:
        """Whether what is written from now on is sealed, and nothing else is believed.

        Raises:
            StoreTampered: it was, and its keyring is missing.
        """
        return self.seal.sealed

    def names(self) -> list[str]:
        """Everybody with at least one voiceprint, in alphabetical order."""
        return sorted(name for name in map(name_of, transaction.people_in(self.folder)) if self._keywords(name))

    def keywords(self, name: str) -> list[str]:
        """The wake words that a person is enrolled for.

        Raises:
            PersonUnknown: there is nobody of that name.
        """
        found = self._keywords(name)
        if not found:
            names = self.names()
            known = ", ".join(names) or "nobody"
            raise PersonUnknown(
                f"no person {name!r} in {self.folder}{did_you_mean(name, names) or ':'} enrolled: {known}"
            )
        return found

    def versions(self, name: str, keyword: str) -> list[int]:
        """The kept versions, oldest first; the last one counts."""
        word = folder_name(keyword)

        def look(person: Path | None) -> list[int]:
            real = person is not None and is_real(person / word, self.folder)
            return transaction.versions_in(person / word)[-KEPT_VERSIONS:] if person is not None and real else []

        return transaction.looked(self.folder, folder_name(name), look)

    def fingerprint(self) -> frozenset[tuple[str, str, int, int]]:
        """Person, wake word, newest version and its place on the disk: another one after every change."""
        names = map(folder_name, self.names())
        look = partial(transaction.newest_in, self.folder)
        return frozenset().union(*(transaction.looked(self.folder, name, look) for name in names))

    def load(self, name: str, keyword: str, version: int | None = None) -> Voiceprint:
        """A voiceprint: the newest version, or another one.

        Raises:
            PersonUnknown: there is none.
            PersonDamaged: a checksum or the format does not hold.
            PersonNewer: a later earmark wrote it.
            PersonLocked: the store is encrypted, and the key is wrong or not to be had.
        """

        def read(place: Path) -> Voiceprint:
            voiceprint = decode({file: self.seal.read(place, file) for file in (HEADER_FILE, ARRAYS_FILE)})
            if (folder_name(voiceprint.name), folder_name(voiceprint.keyword)) != place.parts[-3:-1]:
                raise ValueError(f"it is of {voiceprint.name!r} for {voiceprint.keyword!r} and was copied here")
            return voiceprint

        return self._read(name, keyword, version, read)

    def recordings(self, name: str, keyword: str, version: int | None = None) -> list[Int16]:
        """The recordings kept with a version, (n,) int16 at 16 kHz each; often none.

        Raises:
            PersonError: as `load`.
        """
        return self._read(name, keyword, version, lambda place: decode_recordings(self._files(place)))

    def contents(self, name: str, keyword: str, version: int | None = None) -> Contents:
        """The files of a version, opened, checked.

        Raises:
            PersonError: as `load`.
        """

        def read(place: Path) -> Contents:
            files = self._files(place)
            decode_recordings(files)
            return files

        self.load(name, keyword, version)
        return self._read(name, keyword, version, read)

    def tree(self, name: str) -> Tree:
        """Everything of a person, checked.

        Raises:
            PersonError: as `load`, of any version.
        """
        return {
            (keyword, version): self.contents(name, keyword, version)
            for keyword in self.keywords(name)
            for version in self.versions(name, keyword)
        }

    # --- changing

    def save(
        self, voiceprint: Voiceprint, recordings: Sequence[Int16] = (), check: Callable[[], None] | None = None
    ) -> Path:
        """Writes a new version and drops versions older than the last five; returns its folder.

        Args:
            voiceprint: of a person who need not be there yet.
            recordings: what the takes were found in, (n,) int16 at 16 kHz each, if they are to be kept; they go with
                this version: a later one that is to have them must be given them again.
            check: called when nobody else can change the store any more; where it raises, nothing is written.

        Raises:
            InputError: the name cannot be used, or there are too many recordings.
            PersonLocked: the store is encrypted, and the key is wrong or not to be had.
            StoreUnwritable: the disk is full, or the folder may not be written; nothing has changed.
        """
        folder_name(voiceprint.name)
        folder_name(voiceprint.keyword)
        files = encode(voiceprint, recordings)
        with self.changing(f"{voiceprint.name!r} could not be saved", "make room or allow writing, and enrol again"):
            if check is not None:
                check()
            return self._add_version(voiceprint.name, voiceprint.keyword, files)

    def rollback(self, name: str, keyword: str, version: int | None = None) -> tuple[int, int]:
        """Makes an earlier version the newest again: a copy of it with a new number, so that this too can be undone.

        Args:
            name: of the person.
            keyword: the wake word.
            version: the one to go back to; None: the last but one.

        Returns:
            The number of the version that was copied, and that of the copy.

        Raises:
            InputError: there is no earlier version, or not this one.
            PersonError: as `load`; nothing has changed.
            StoreUnwritable: as `save`.
        """
        self.load(name, keyword)  # raises, and makes no store
        with self.changing(f"{name!r} could not be rolled back", "make room or allow writing"):
            versions = self.versions(name, keyword)
            if version is None and len(versions) > 1:
                version = versions[-2]
            self.load(name, keyword)  # raises where the person was erased meanwhile
            if version not in versions[:-1]:
                earlier, newest = ", ".join(map(str, versions[:-1])) or "none", versions[-1]
                wanted = "no earlier version" if version is None else f"version {version} is not an earlier one"
                raise InputError(f"{name!r} ({keyword}): {wanted}: the newest is {newest}, before it: {earlier}")
            return version, int(self._add_version(name, keyword, self.contents(name, keyword, version)).name)

    def remove(self, name: str) -> int:
        """Erases every version of every voiceprint of a person; returns how many versions that were.

        Raises:
            PersonUnknown: there is nobody of that name; what an earlier removal left is deleted all the same.
            StoreUnwritable: the files may not be removed.
        """
        if not self.folder.is_dir():
            self.keywords(name)  # raises, and makes no store
        with self.changing(f"{name!r} could not be erased", "allow writing", erasing=True):
            place = self.folder / folder_name(name)
            count = sum(len(transaction.versions_in(place / folder_name(key))) for key in self.keywords(name))
            with self.seal.changing(lambda index: replaced(index, {folder_name(name): {}}), keyless=True):
                away = self._locked.move_away(place)
                self._locked.sync()
        with self._locked.changing(f"{name!r} is not in {self.folder} any more, but delete {away}", "allow writing"):
            self._locked.sweep_all()
        return count

    def exchange(
        self, what: str, put: Callable[[], Mapping[str, Tree]], remove: Iterable[str] = (), plain: bool = False
    ) -> None:
        """Replaces people and erases others in one step, which is made whole or not at all.

        Args:
            what: is done, for a message: "'anna' could not be renamed".
            put: called when nobody else can change the store any more; gives everything of each person.
            remove: names of others.
            plain: do not seal, in an encrypted store either.

        Raises:
            PersonError: what `put` raises; nothing has changed.
            StoreUnwritable: as `save`.
        """
        with self.changing(what, "make room or allow writing"):
            people, marks = all_written(put(), None if plain else self.vault())
            coming = {**{folder_name(name): {} for name in remove}, **marks}
            with self.seal.changing(lambda index: replaced(index, coming)):
                transaction.exchange(self._locked, people, map(folder_name, remove))
            self._locked.sweep()

    def tidy(self) -> None:
        """Finishes and deletes what killed processes left.

        Raises:
            StoreUnwritable: the folder may not be written.
        """
        if self.folder.is_dir():
            with self.changing("the store could not be tidied", "allow writing", erasing=True):
                pass

    def leftovers(self) -> int:
        """How many things a killed process left, which the next change finishes and deletes."""
        return len(self._locked.leftovers()) + os.path.lexists(self.folder / transaction.PENDING)

    # --- the parts of it

    def _add_version(self, name: str, keyword: str, files: Contents) -> Path:
        """What is missing of person, wake word and version, built aside, renamed into its place in one step."""
        place = self.folder / folder_name(name) / folder_name(keyword)
        if not is_real(place, self.folder):
            raise OSError("its folder is a link")
        kept = transaction.versions_in(place)
        version = (kept[-1] if kept else 0) + 1
        top = new = place / f"{version:04d}"
        while not top.parent.is_dir():
            top = top.parent
        with self._locked.temporary() as temporary:
            written = as_written(files, new.relative_to(self.folder).as_posix(), self.vault())
            built = Path(temporary, "new")
            make_folder(built)
            inside = new.relative_to(top)
            transaction.write_tree(built, {f"{inside}/{file}": content for file, content in written.items()})
            marks = {f"{old:04d}": None for old in kept[: -(KEPT_VERSIONS - 1)]}
            coming = {f"{folder_name(name)}/{folder_name(keyword)}": {**marks, new.name: header_mark(written)}}
            with self.seal.changing(lambda _: coming):
                put_in_place(built, top)
        with contextlib.suppress(OSError):  # they do not count any more: what is left is deleted by the next change
            for old in kept[: -(KEPT_VERSIONS - 1)]:
                self._locked.move_away(place / f"{old:04d}")
            self._locked.sweep()
        return new

    @contextlib.contextmanager
    def changing(self, what: str, what_to_do: str, erasing: bool = False) -> Iterator[None]:
        """Alone among all processes that change this store, with what others left unfinished done.

        Raises:
            StoreUnwritable: instead of an OSError, with `what` and `what_to_do`.
            StoreTampered: the keyring is missing, and not only something is to be erased.
        """
        with self._locked.changing(f"{what} in {self.folder}", f"nothing was changed: {what_to_do}"):
            if not erasing:
                self.seal.require_keyring()
            transaction.finish(self._locked)
            self._locked.sweep()
            yield

    def _read(self, name: str, keyword: str, version: int | None, read: Callable[[Path], _T]) -> _T:
        """What `read` makes of a version's folder; whatever is wrong with it as an error that says so."""
        tries = 0
        while True:
            versions = self.versions(name, keyword)
            if not versions or version not in (None, *versions):
                wanted = f"{keyword!r}" if version is None else f"{keyword!r} in version {version}"
                words = self.keywords(name)
                near = did_you_mean(keyword, [word for word in words if word != keyword])
                raise PersonUnknown(
                    f"{name!r} is not enrolled for {wanted}{near or ':'} enrolled for {', '.join(words)}"
                )
            number = versions[-1] if version is None else version
            place = self._version(name, keyword, number)
            if place is None:  # erased between the two looks
                continue
            try:
                self.seal.check_versions(folder_name(name), folder_name(keyword), versions)
                return read(place)
            except StoreTampered:
                if tries == READ_TRIES:  # else it may have changed between two looks
                    raise
            except (FileNotFoundError, NotADirectoryError) as error:
                gone = self._version(name, keyword, number) != place or not os.path.lexists(place)
                if not gone or tries == READ_TRIES:
                    raise PersonError(f"{place}: cannot be read: {refusal(error, place)}") from error
            except OSError as error:
                raise PersonError(f"{place}: cannot be read: {refusal(error, place)}") from error
            except (PersonLocked, PersonNewer) as error:
                raise type(error)(f"{place}: {error}") from error
            except (PersonError, InstallationError):
                raise
            except Exception as error:  # what json, zipfile and numpy raise on bytes made to harm is no closed list
                raise PersonDamaged(
                    f"{place}: damaged: {text_of(error)}; remove that folder to go back to the version before, or "
                    "enrol again"
                ) from error
            tries += 1

    def _files(self, place: Path) -> Contents:
        header = self.seal.read(place, HEADER_FILE)
        names = [ARRAYS_FILE, *recording_files(header)]
        return {HEADER_FILE: header, **{name: self.seal.read(place, name) for name in names}}

    def vault(self) -> Vault | None:
        """What seals the files of this store; None: it is not encrypted.

        Raises:
            PersonError: its key is wrong or not to be had.
        """
        return self.seal.vault()

    def _place(self, name: str, keyword: str) -> Path | None:
        person = transaction.place_of(self.folder, folder_name(name))
        return person and person / folder_name(keyword)

    def _version(self, name: str, keyword: str, version: int) -> Path | None:
        place = self._place(name, keyword)
        return place and place / f"{version:04d}"

    def _keywords(self, name: str) -> list[str]:
        return transaction.looked(self.folder, folder_name(name), partial(transaction.keywords_in, self.folder))
