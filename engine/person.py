"""A person on disk: voiceprints, one for each wake word, and the store that keeps them.

A store is a folder::

    anna/                    one folder a person, mode 0700
      okay_nabu/             one a wake word (or `any-phrase`)
        0001/                one a version; the highest counts, the others are kept for going back
          header.json        what it is, which networks it belongs to, checksums; mode 0600
          arrays.npz         plain arrays, never a pickle

A version is written beside its place (files, fsync, folder fsync) and then renamed into it, so whatever happens
there is the old one or the new one. A voiceprint is biometric data: it never leaves the store unasked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from .atomic import make_folder, read_limited, sync_folder, temporary_folder, write_synced
from .codec import ARRAYS_FILE, HEADER_FILE, MAX_FILE_BYTES, decode, encode
from .errors import PersonDamaged, PersonError, PersonNewer, PersonUnknown, StoreUnwritable
from .layout import default_folder, folder_name, folders_in, is_version, names_of
from .voiceprint import ANY_PHRASE, COSINE, TRAINED, Binding, Voiceprint, check_binding

__all__ = [  # with what belongs to a person, so that one import is enough
    "ANY_PHRASE",
    "COSINE",
    "TRAINED",
    "Binding",
    "PersonStore",
    "Voiceprint",
    "check_binding",
    "default_folder",
    "folder_name",
]

KEPT_VERSIONS = 5


class PersonStore:
    """The people of one folder; creates it on the first save."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    def names(self) -> list[str]:
        """Everybody with at least one voiceprint, in alphabetical order."""
        return sorted(names_of(path for path in folders_in(self.folder) if self._keywords(path)))

    def keywords(self, name: str) -> list[str]:
        """The wake words that a person is enrolled for.

        Raises:
            PersonUnknown: there is nobody of that name.
        """
        found = self._keywords(self._person_folder(name))
        if not found:
            known = ", ".join(self.names()) or "nobody"
            raise PersonUnknown(f"no person {name!r} in {self.folder}: enrolled: {known}")
        return found

    def versions(self, name: str, keyword: str) -> list[int]:
        """The kept versions, oldest first; the last one counts."""
        place = self._place(name, keyword)
        return (
            sorted(int(path.name) for path in folders_in(place) if is_version(path)) if self._is_real(place) else []
        )

    def fingerprint(self) -> frozenset[tuple[str, str, int]]:
        """Person, wake word, newest version of everything there is: another one after every change."""
        found: set[tuple[str, str, int]] = set()
        for name in self.names():
            with contextlib.suppress(PersonUnknown):  # erased meanwhile
                for keyword in self.keywords(name):
                    found.update((name, keyword, version) for version in self.versions(name, keyword)[-1:])
        return frozenset(found)

    def load(self, name: str, keyword: str) -> Voiceprint:
        """The newest version of a voiceprint.

        Raises:
            PersonUnknown: there is none.
            PersonDamaged: a checksum or the format does not hold.
        """
        versions = self.versions(name, keyword)
        if not versions:
            raise PersonUnknown(f"{name!r} is not enrolled for {keyword!r}: enrolled for {self.keywords(name)}")
        return _read(self._place(name, keyword) / f"{versions[-1]:04d}")

    def save(self, voiceprint: Voiceprint) -> Path:
        """Writes a new version and drops versions older than the last five; returns its folder.

        Raises:
            InputError: the name cannot be used.
            StoreUnwritable: the disk is full, or the folder may not be written; nothing has changed.
        """
        place = self._place(voiceprint.name, voiceprint.keyword)
        try:
            if not self._is_real(place):
                raise OSError(errno.ELOOP, "its folder is a link")
            make_folder(place)
            for left in place.glob(".new-*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            versions = self.versions(voiceprint.name, voiceprint.keyword)
            target = place / f"{(versions[-1] if versions else 0) + 1:04d}"
            with temporary_folder(place) as temporary:
                for file_name, content in encode(voiceprint).items():
                    write_synced(Path(temporary, file_name), content)
                sync_folder(temporary)
                Path(temporary).rename(target)
            try:
                sync_folder(place)
            except OSError:
                shutil.rmtree(target, ignore_errors=True)
                raise
        except OSError as error:
            for folder in (place, place.parent):
                with contextlib.suppress(OSError):  # only an empty one goes
                    folder.rmdir()
            raise StoreUnwritable(
                f"{voiceprint.name!r} could not be saved in {self.folder}: {error.strerror}; "
                "nothing was changed: make room or allow writing, and enrol again"
            ) from error
        for old in versions[: -(KEPT_VERSIONS - 1)]:
            shutil.rmtree(place / f"{old:04d}", ignore_errors=True)
        return target

    def remove(self, name: str) -> int:
        """Erases every version of every voiceprint of a person; returns how many versions that were.

        Raises:
            PersonUnknown: there is nobody of that name.
            StoreUnwritable: the files may not be removed.
        """
        count = sum(len(self.versions(name, keyword)) for keyword in self.keywords(name))
        try:
            shutil.rmtree(self._person_folder(name))
            sync_folder(self.folder)
        except OSError as error:
            raise StoreUnwritable(f"{name!r} could not be erased from {self.folder}: {error.strerror}") from error
        return count

    def _person_folder(self, name: str) -> Path:
        return self.folder / folder_name(name)

    def _place(self, name: str, keyword: str) -> Path:
        return self._person_folder(name) / folder_name(keyword)

    def _keywords(self, person: Path) -> list[str]:
        if not self._is_real(person):
            return []
        return sorted(names_of(path for path in folders_in(person) if any(map(is_version, folders_in(path)))))

    def _is_real(self, folder: Path) -> bool:
        """Whether nothing between the store and a folder inside it is a link, which could point anywhere."""
        between = folder.relative_to(self.folder).parts
        with contextlib.suppress(PermissionError):  # who lists the folder will say so
            return not any(self.folder.joinpath(*between[: n + 1]).is_symlink() for n in range(len(between)))
        return True


def _read(version: Path) -> Voiceprint:
    try:
        voiceprint = decode(
            {name: read_limited(version / name, MAX_FILE_BYTES) for name in (HEADER_FILE, ARRAYS_FILE)}
        )
        if (folder_name(voiceprint.name), folder_name(voiceprint.keyword)) != version.parts[-3:-1]:
            raise ValueError(f"it is of {voiceprint.name!r} for {voiceprint.keyword!r} and was copied here")
        return voiceprint
    except OSError as error:
        raise PersonError(f"{version}: cannot be read: {error.strerror}") from error
    except PersonNewer as error:
        raise PersonNewer(f"{version}: {error}") from error
    except Exception as error:  # what json, zipfile and numpy raise on bytes made to harm is no closed list
        raise PersonDamaged(
            f"{version}: damaged: {error}; remove that folder to go back to the version before, or enrol again"
        ) from error
