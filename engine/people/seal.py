"""Whether a store is sealed, and what of it may be believed: only what its key has written, and only as it left it.

A store is sealed from the moment on in which it has a keyring, until `earmark people decrypt`. Where the keyring is
gone and sealed files are left, or the store is remembered as sealed (index.py), nothing is read and nothing written.

Each change of a sealed store is announced in the index first: while it lasts, what was and what is to come are both
believed. Then it is carried out, and then confirmed. Broken off, the next change with the key looks which of the two
it was. So the disk is at any moment as the index says, and readers need no lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import PersonError, PersonLocked, StoreTampered, text_of
from ..storage.atomic import read_limited, replace_synced, sync_folder
from ..storage.owners import refusal
from . import transaction
from .codec import HEADER_FILE, MAX_FILE_BYTES
from .index import (
    INDEX_FILE,
    MAX_INDEX_BYTES,
    PLAIN,
    Coming,
    Index,
    Marks,
    Remembered,
    Witness,
    decode,
    encode,
    file_mark,
    sealed_marks,
    survey,
)
from .vault import (
    KEYRING_FILE,
    SEALED_SUFFIX,
    Secret,
    Vault,
    is_encrypted,
    keyring_id,
    mark_of,
    new_vault,
    open_vault,
)

WAKES = ".wakes"
"""What the index calls the labels of the journal, which lies elsewhere (history/vouched.py)."""
WHAT_TO_DO = (
    "`earmark people verify` shows all that is not as it was; if you have put a backup back, `--accept` takes "
    "the store as it is"
)


class Seal:
    """What is sealed in one store.

    Args:
        folder: of the store.
        secret: gives its key; None: there is none.
    """

    def __init__(self, folder: Path, secret: Secret | None) -> None:
        self._folder, self._secret = folder, secret or self._no_secret
        self.witness = Witness(folder)
        self._vault: tuple[tuple[int, ...], Vault] | None = None
        self._index: tuple[tuple[int, ...], Index] | None = None

    @property
    def sealed(self) -> bool:
        """Whether the store is sealed.

        Raises:
            StoreTampered: it was, and has no keyring any more.
        """
        if is_encrypted(self._folder):
            return True
        remembered = self.witness.read()
        if remembered is not None and remembered.sealed and not is_encrypted(self._folder):
            raise self._keyring_missing("it was sealed when it was seen last")
        return False

    def require_keyring(self) -> None:
        """Refuses a store in which something is sealed and for which there is no keyring.

        Raises:
            StoreTampered: it is so.
        """
        if self.sealed:
            return
        if any(self._folder.glob(f"[!.]*/*/*/*{SEALED_SUFFIX}")) and not is_encrypted(self._folder):
            raise self._keyring_missing("there are sealed files")

    def vault(self) -> Vault | None:
        """What seals the files of this store; None: it is not sealed.

        Raises:
            StoreTampered: as `sealed`.
            PersonError: its key is wrong or not to be had.
        """
        if not self.sealed:
            return None
        try:
            seen = _seen(self._folder / KEYRING_FILE)
        except FileNotFoundError:  # opened just now
            return self.vault()
        if self._vault is None or self._vault[0] != seen:
            self._vault = seen, open_vault(self._folder, self._secret)
        return self._vault[1]

    def index(self) -> Index | None:
        """The index of this store; None: it is not sealed, or an older earmark has sealed it and nobody changed it.

        Raises:
            StoreTampered: it is missing, none of this store, or older than one that was seen before.
            PersonError: as `vault`.
        """
        vault = self.vault()
        if vault is None:
            return None
        path = self._folder / INDEX_FILE
        try:
            seen = _seen(path)
            if self._index is not None and self._index[0] == seen:
                return self._index[1]
            remembered = self.witness.read()  # before the index, which may be changed meanwhile: never ahead of it
            index = decode(read_limited(path, MAX_INDEX_BYTES), vault)
        except FileNotFoundError:
            return self._without_index(vault)
        except OSError as error:
            raise PersonError(f"{path}: cannot be read: {refusal(error, path)}") from error
        except ValueError as error:
            if not is_encrypted(self._folder) or self.vault() is not vault:  # sealed anew meanwhile
                return self.index()
            raise StoreTampered(f"{path}: {text_of(error)}; {WHAT_TO_DO}") from error
        self._check_counter(vault, index, remembered)
        self._index = seen, index
        return index

    # --- reading

    def read(self, place: Path, name: str) -> bytes:
        """One file of a version, opened if it is sealed.

        Args:
            place: of the version's folder.
            name: of the file, as it is called where nothing is sealed.

        Raises:
            StoreTampered: it is not what the index says, or is not sealed and should be.
            ValueError: its seal does not hold, or it is too large.
            PersonError: as `vault`.
            OSError: it cannot be read.
        """
        vault = self.vault()
        if vault is None:
            with contextlib.suppress(FileNotFoundError):
                return read_limited(place / name, MAX_FILE_BYTES)
            if os.path.lexists(place / (name + SEALED_SUFFIX)) and not is_encrypted(self._folder):
                raise self._keyring_missing("there are sealed files")
            return read_limited(place / name, MAX_FILE_BYTES)
        index = self.index()
        person, word, version = place.parts[-3:]
        marks = None if index is None else index.marks(f"{person}/{word}", version)
        try:
            content = read_limited(place / (name + SEALED_SUFFIX), MAX_FILE_BYTES)
        except FileNotFoundError:
            content = read_limited(place / name, MAX_FILE_BYTES)
            if not any(mark.startswith(PLAIN) for mark in marks or ()):
                raise StoreTampered(
                    f"{place / name}: it is not sealed, and the store is: it is not believed; delete it, or, if it "
                    "is yours, move it away and `earmark people import` it"
                ) from None
            mark = file_mark(content)
        else:
            mark, content = mark_of(content), vault.open(content, f"{person}/{word}/{version}/{name}")
        if name == HEADER_FILE and marks is not None and mark not in marks:
            raise StoreTampered(f"{place}: it is not the version that its key left here; {WHAT_TO_DO}")
        return content

    def check_versions(self, person: str, word: str, versions: list[int]) -> None:
        """Refuses the versions of a voiceprint if one was added or taken away.

        Raises:
            StoreTampered: one was.
            PersonError: as `vault`.
        """
        index = self.index() if self.sealed else None
        if index is None:
            return
        found = {f"{version:04d}" for version in versions}
        wanted = index.of(f"{person}/{word}")
        if found not in [set(marks) for marks in wanted]:
            gone, new = sorted(set(wanted[-1]) - found), sorted(found - set(wanted[-1]))
            what = [
                f"version {', '.join(some)} {verb}" for some, verb in ((gone, "is gone"), (new, "is new")) if some
            ]
            raise StoreTampered(f"{self._folder / person / word}: {' and '.join(what)}; {WHAT_TO_DO}")

    def missing(self) -> list[StoreTampered]:
        """Which voiceprints the index has and the store has not, as errors that say so.

        Raises:
            PersonError: as `index`.
        """
        index = self.index()
        faults = []
        for folder in sorted(index.folders) if index is not None else []:
            person, _, word = folder.partition("/")
            if word and not self._has(person, word):
                try:
                    self.check_versions(person, word, [])
                except StoreTampered as error:
                    faults.append(error)
        return faults

    def _has(self, person: str, word: str) -> bool:
        return transaction.looked(self._folder, person, lambda place: place is not None and (place / word).is_dir())

    # --- changing: whoever calls these holds the lock of the store

    @contextlib.contextmanager
    def changing(self, coming: Callable[[Index], Coming], keyless: bool = False) -> Iterator[None]:
        """Announces in the index what is about to change, and confirms it; nothing where the store is not sealed.

        Args:
            coming: of the index as it is, what things are about to be.
            keyless: go on without the key: what changes is missed afterwards, until somebody accepts it.

        Raises:
            PersonError: as `vault`.
            OSError: the index cannot be written; nothing has changed.
        """
        try:
            vault = self.vault()
            index = None if vault is None else self._settled(vault)
        except PersonError:
            if not keyless:
                raise
            vault = index = None
        if vault is None or index is None:
            yield
            return
        index = self.write(vault, replace(index, coming=coming(index)))
        yield
        self.write(vault, index.after())

    def write(self, vault: Vault, index: Index, remember: bool = True) -> Index:
        """Writes an index with a counter one higher, and remembers it outside the store; returns it.

        Raises:
            OSError: it cannot be written.
        """
        index = replace(index, counter=index.counter + 1)
        path = self._folder / INDEX_FILE
        replace_synced(path, encode(index, vault), beside=self._folder)
        self._index = _seen(path), index
        if remember:
            self.witness.remember(Remembered(vault.id, index.counter))
        return index

    def put(self, folder: str, marks: Marks) -> None:
        """Writes the marks of something that is not in the store itself, and of which nothing else changes.

        Raises:
            PersonError: as `vault`.
            OSError: the index cannot be written.
        """
        vault = self.vault()
        if vault is not None:
            index = self._settled(vault)
            self.write(vault, replace(index, folders={**index.folders, folder: marks}))

    def begin(self, secret: bytes | bytearray) -> None:
        """Seals the store, in which everything is believed as it is now, and nothing else from now on.

        The index is there before the keyring, for with the keyring it must be.

        Raises:
            InputError: the secret is too short or too long.
            CryptographyMissing: the library is not installed.
            OSError: something cannot be written; nothing has changed.
        """
        vault = new_vault()
        content = vault.keyring(secret)
        vault.id = keyring_id(content)
        index = self.write(vault, Index(0, survey(self._folder)), remember=False)
        replace_synced(self._folder / KEYRING_FILE, content, beside=self._folder)
        self.witness.remember(Remembered(vault.id, index.counter))

    def renew_keyring(self, secret: bytes | bytearray) -> None:
        """Gives the store of an older earmark a keyring that says that there is an index, and an index.

        Raises:
            PersonError: as `vault`.
            OSError: something cannot be written.
        """
        vault = self.vault()
        if vault is None or vault.has_index:
            return
        index = self.write(vault, self._settled(vault))
        content = vault.keyring(secret)
        self.witness.remember(Remembered(vault.id, -1))  # until the new one is known
        replace_synced(self._folder / KEYRING_FILE, content, beside=self._folder)
        self.witness.remember(Remembered(keyring_id(content), index.counter))

    def end(self, vault: Vault) -> None:
        """Forgets the key: from now on the store is not sealed.

        Raises:
            OSError: something cannot be removed.
        """
        self.witness.remember(Remembered(vault.id, -1))
        (self._folder / KEYRING_FILE).unlink()
        (self._folder / INDEX_FILE).unlink(missing_ok=True)
        sync_folder(self._folder)

    def accept(self, vault: Vault, readable: Mapping[str, Marks]) -> Index:
        """Takes the store as it is: what was found in it is in the index from now on, and nothing else.

        Args:
            vault: of the store.
            readable: what is sealed with its key and whole.

        Raises:
            OSError: the index cannot be written.
        """
        remembered = self.witness.read()
        counters, labels = [remembered.counter if remembered is not None else 0], {}
        with contextlib.suppress(OSError, ValueError, PersonError):
            before = decode(read_limited(self._folder / INDEX_FILE, MAX_INDEX_BYTES), vault)
            counters.append(before.counter)
            labels = {folder: marks for folder, marks in before.folders.items() if folder == WAKES}
        return self.write(vault, Index(max(0, *counters), {**readable, **labels}))

    def _settled(self, vault: Vault) -> Index:
        """The index as the disk is: after a change that was broken off, and for a store that had none."""
        index = self.index()
        if index is None:
            found = {folder: sealed_marks(marks) for folder, marks in survey(self._folder).items()}
            return self.write(vault, Index(0, {folder: marks for folder, marks in found.items() if marks}))
        return index.settled(survey(self._folder)) if index.coming else index

    # --- the parts of it

    def _without_index(self, vault: Vault) -> Index | None:
        remembered = self.witness.read()
        known = remembered is not None and remembered.id == vault.id and remembered.sealed
        if (vault.has_index or known) and is_encrypted(self._folder):
            raise StoreTampered(f"{self._folder / INDEX_FILE}: it is gone; {WHAT_TO_DO}")
        return None

    def _check_counter(self, vault: Vault, index: Index, remembered: Remembered | None) -> None:
        if remembered is None:
            self.witness.remember(Remembered(vault.id, index.counter))
        elif not remembered.sealed:  # opened, and perhaps sealed anew just now: whoever changes it remembers that
            return
        elif remembered.id != vault.id:
            raise StoreTampered(f"{self._folder}: it is sealed with another keyring than it was; {WHAT_TO_DO}")
        elif remembered.counter > index.counter:
            raise StoreTampered(
                f"{self._folder}: it is an older copy: its index has the counter {index.counter}, and "
                f"{remembered.counter} was seen here before; {WHAT_TO_DO}"
            )
        elif remembered.counter < index.counter:
            self.witness.remember(Remembered(vault.id, index.counter))

    def _no_secret(self) -> bytes:
        raise PersonLocked(f"the store {self._folder} is encrypted: its key is needed")

    def _keyring_missing(self, why: str) -> StoreTampered:
        return StoreTampered(
            f"{self._folder}: {KEYRING_FILE} is missing, and {why}: put it back from a backup; or, if the store is "
            "not to be sealed any more, `earmark people verify --accept`"
        )


def _seen(path: Path) -> tuple[int, ...]:
    """What changes with every replacement of a file.

    Raises:
        FileNotFoundError: it is not there.
    """
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
