"""The person store: nothing is lost, nothing strange gets in, nobody is read wrongly."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from disks import FullDisk, allocating_less_than, mounted_tmpfs
from helpers_store import (
    BINDING,
    arrays_of,
    assert_same,
    environment,
    forge,
    load_all,
    make_voiceprint,
    npz,
    save_cosine,
    snapshot,
)
from hypothesis import given
from hypothesis import strategies as st
from turns import mine

from earmark.engine.errors import (
    InputError,
    PersonDamaged,
    PersonError,
    PersonMismatch,
    PersonNewer,
    PersonUnknown,
    StoreUnwritable,
)
from earmark.engine.people.codec import MAX_FILE_BYTES
from earmark.engine.people.store import ANY_PHRASE, COSINE, TRAINED, PersonStore, check_binding, folder_name

NAMES = [
    "anna",
    "Anna",
    "Ännchen von Tharau",
    "Łukasz Żółć",
    "山田 太郎",
    "a/b",
    "../x",
    "..",
    ".",
    "...",
    ".new-x",
    "/etc/passwd",
    "~",
    "~root",
    "100%",
    "%2e%2e",
    "a\\b",
    "C:",
    "-rf",
    "$(reboot)",
    "anna.bak",
    "0001",
    "n" * 200,
]
TEMPLATE = make_voiceprint(kind=COSINE)


@pytest.fixture
def store(tmp_path: Path) -> PersonStore:
    return PersonStore(tmp_path / "people")


@pytest.fixture
def version(store: PersonStore) -> Path:
    """A stored trained voiceprint, to be damaged."""
    return store.save(make_voiceprint())


@pytest.fixture
def small(store: PersonStore) -> Path:
    """A stored cosine voiceprint: a tenth of the bytes."""
    return store.save(TEMPLATE)


def load(version: Path) -> Any:
    return PersonStore(version.parents[2]).load("anna", "okay_nabu")


# --- saving and loading


@pytest.mark.parametrize("kind", [TRAINED, COSINE])
def test_a_voiceprint_comes_back_to_the_last_bit(store: PersonStore, kind: str) -> None:
    wanted = make_voiceprint(kind=kind)
    store.save(wanted)
    found = store.load("anna", "okay_nabu")
    assert_same(found, replace(wanted, weights=found.weights) if kind == COSINE else wanted)
    assert found.weights.projection.size == (0 if kind == COSINE else 192 * 128)


def test_the_projection_is_kept_to_float16_as_promised(store: PersonStore) -> None:
    wanted = make_voiceprint()
    exact = wanted.weights.projection + np.float32(1e-6)
    store.save(replace(wanted, weights=replace(wanted.weights, projection=exact)))
    found = store.load("anna", "okay_nabu").weights.projection
    np.testing.assert_array_equal(found, exact.astype(np.float16).astype(np.float32))


def test_versions_count_up_and_five_are_kept(store: PersonStore) -> None:
    for number in range(1, 9):
        folder = store.save(make_voiceprint(kind=COSINE, seed=number))
        assert folder.name == f"{number:04d}"
        assert store.load("anna", "okay_nabu").report["seed"] == number
    assert store.versions("anna", "okay_nabu") == [4, 5, 6, 7, 8]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["0004", "0005", "0006", "0007", "0008"]


def test_versions_are_numbers_and_not_texts(store: PersonStore) -> None:
    """The ten thousandth is newer than 9999, though as a text it comes before it."""
    first = store.save(make_voiceprint(kind=COSINE, seed=1))
    first.rename(first.with_name("9999"))
    assert store.save(make_voiceprint(kind=COSINE, seed=2)).name == "10000"
    assert store.versions("anna", "okay_nabu") == [9999, 10_000]
    assert store.load("anna", "okay_nabu").report["seed"] == 2
    assert store.rollback("anna", "okay_nabu") == (9999, 10_001)
    assert store.load("anna", "okay_nabu").report["seed"] == 1
    for seed in range(3, 6):
        store.save(make_voiceprint(kind=COSINE, seed=seed))
    assert store.versions("anna", "okay_nabu") == [10_000, 10_001, 10_002, 10_003, 10_004]
    assert not first.with_name("9999").exists()


def test_more_versions_than_are_kept_do_not_count(store: PersonStore) -> None:
    """As where a crash kept the old ones from being deleted: the next change does it."""
    newest = store.save(make_voiceprint(kind=COSINE))
    for number in range(2, 8):
        shutil.copytree(newest, newest.with_name(f"{number:04d}"))
    assert store.versions("anna", "okay_nabu") == [3, 4, 5, 6, 7]
    with pytest.raises(PersonUnknown, match="version 2"):
        store.load("anna", "okay_nabu", 2)
    store.save(make_voiceprint(kind=COSINE))
    assert sorted(path.name for path in newest.parent.iterdir()) == ["0004", "0005", "0006", "0007", "0008"]


def test_removing_the_newest_version_goes_back_to_the_one_before(store: PersonStore) -> None:
    save_cosine(store.folder)
    newest = store.save(make_voiceprint(kind=COSINE, seed=1))
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    assert store.load("anna", "okay_nabu").report["seed"] == 0


def test_wake_words_of_a_person_are_kept_apart(store: PersonStore) -> None:
    for keyword in ("okay_nabu", "alexa", ANY_PHRASE):
        store.save(make_voiceprint(keyword=keyword, kind=COSINE))
    assert store.keywords("anna") == ["alexa", "any-phrase", "okay_nabu"]
    assert [person.keyword for person in load_all(store)] == ["alexa", "any-phrase", "okay_nabu"]


def test_the_same_voiceprint_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        PersonStore(tmp_path / folder).save(make_voiceprint())
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_a_person(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        PersonStore(tmp_path / "new" / "people").save(TEMPLATE)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert len(modes) == 8
    assert all(mode == (0o600 if path.is_file() else 0o700) for path, mode in modes.items()), modes


# --- names


@pytest.mark.parametrize("name", NAMES)
def test_every_name_stays_inside_the_store_and_comes_back(tmp_path: Path, name: str) -> None:
    store = PersonStore(tmp_path / "outer" / "people")
    save_cosine(store.folder, "somebody else")
    folder = store.save(replace(TEMPLATE, name=name))
    assert folder.resolve().parents[2] == store.folder.resolve()
    assert {path.name for path in tmp_path.rglob("*") if path.is_dir()} >= {folder_name(name)}
    assert [path.name for path in (tmp_path / "outer").iterdir()] == ["people"]
    assert store.names() == sorted([name, "somebody else"])
    assert store.load(name, "okay_nabu").name == name
    assert store.remove(name) == 1
    assert store.names() == ["somebody else"]


@given(st.text(max_size=60))
def test_a_name_is_refused_or_one_plain_folder_of_its_own(name: str) -> None:
    try:
        folder = folder_name(name)
    except InputError:
        assert not name.isprintable() or name != name.strip() or not name or len(name.encode()) > 60
        return
    assert folder.isascii()
    assert not set(folder) & set("/\\.\0 ")
    assert len(folder) <= 255
    assert folder == folder_name(unicodedata.normalize("NFC", name))


@given(st.text("aAäß/.%~ 2eE", max_size=8), st.text("aAäß/.%~ 2eE", max_size=8))
def test_two_names_never_share_a_folder(one: str, other: str) -> None:
    with contextlib.suppress(InputError):
        assert (folder_name(one) == folder_name(other)) == (one == other)


def test_a_decomposed_name_is_the_same_person(store: PersonStore) -> None:
    save_cosine(store.folder, unicodedata.normalize("NFD", "Zoë"))
    assert store.names() == [unicodedata.normalize("NFC", "Zoë")]
    store.load(unicodedata.normalize("NFC", "Zoë"), "okay_nabu")


@pytest.mark.parametrize(
    "name", ["", " ", " anna", "anna ", "an\nna", "an\tna", "an\0na", "\x1b[31m", "\ud800", "ä" * 40]
)
def test_a_bad_name_is_refused_before_anything_is_written(store: PersonStore, name: str) -> None:
    with pytest.raises(InputError, match=r"name .* (must have printable|is too long)"):
        store.save(replace(TEMPLATE, name=name))
    assert not store.folder.exists()


def test_folders_that_the_store_did_not_make_are_nobody(store: PersonStore, small: Path) -> None:
    anna = small.parents[1]
    for name in ("anna.bak", "an na", "%61nna", "lost+found", "%FF", "%00", "%20"):
        stranger = anna.with_name(name) / "okay_nabu" / "0001"
        stranger.mkdir(parents=True)
    for name in ("²", "٣", "1", "00001", "0001.bak", "-001", "+0002", " 0002"):
        small.with_name(name).mkdir()
    (store.folder / "notes.txt").write_text("not a folder")
    assert store.names() == ["anna"]
    assert store.versions("anna", "okay_nabu") == [1]
    assert_same(load(small), replace(TEMPLATE, weights=load(small).weights))
    assert store.save(TEMPLATE).name == "0002"


def test_a_copied_folder_is_not_another_person(store: PersonStore, small: Path) -> None:
    for name, keyword in (("bob", "okay_nabu"), ("anna", "alexa")):
        target = store.folder / name / keyword / "0001"
        target.mkdir(parents=True)
        for file in small.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        with pytest.raises(PersonDamaged, match="is of 'anna' for 'okay_nabu' and was copied"):
            store.load(name, keyword)


# --- who is there


def test_an_unknown_person_is_told_who_is_enrolled(store: PersonStore) -> None:
    with pytest.raises(PersonUnknown, match=r"no person 'anna' in .*: enrolled: nobody"):
        store.keywords("anna")
    for name in ("bob", "carl"):
        save_cosine(store.folder, name)
    for ask in (store.keywords, store.remove, lambda name: store.load(name, "okay_nabu")):
        with pytest.raises(PersonUnknown, match=r"no person 'anna' in .*: enrolled: bob, carl"):
            ask("anna")
    with pytest.raises(PersonUnknown, match=r"'bob' is not enrolled for 'alexa': enrolled for okay_nabu"):
        store.load("bob", "alexa")


def test_remove_erases_every_version_of_one_person_only(store: PersonStore) -> None:
    save_cosine(store.folder, "bob")
    before = snapshot(store.folder)
    for keyword in ("okay_nabu", "alexa"):
        for seed in range(3):
            store.save(make_voiceprint(keyword=keyword, kind=COSINE, seed=seed))
    assert store.remove("anna") == 6
    assert snapshot(store.folder) == before


@pytest.mark.parametrize("part", ["keyword", "speaker", "head"])
def test_a_voiceprint_of_another_network_is_refused_with_what_to_do(part: str) -> None:
    other = replace(BINDING, **{part: "0" * 64})
    message = rf"'anna' .*another {part} network .*instead of 000000000000…\): `earmark enroll anna` again"
    with pytest.raises(PersonMismatch, match=message):
        check_binding(TEMPLATE, other)
    check_binding(TEMPLATE, BINDING)


def test_any_phrase_belongs_to_no_keyword_network() -> None:
    anybody = replace(TEMPLATE, keyword=ANY_PHRASE, binding=replace(BINDING, keyword=""))
    check_binding(anybody, BINDING)
    with pytest.raises(PersonMismatch, match="speaker and head network"):
        check_binding(anybody, replace(BINDING, speaker="0" * 64, head="0" * 64))


# --- damage


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_of_the_header_is_believed(small: Path, mask: int) -> None:
    path, wanted = small / "header.json", load(small)
    content = path.read_bytes()
    refused, tried = 0, mine(range(len(content)))
    for position in tried:
        path.write_bytes(content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :])
        try:
            assert_same(load(small), wanted)  # white space, and the case of \u00eb, mean nothing
        except PersonDamaged:
            refused += 1
    assert refused > 0.9 * len(tried)


def test_no_flipped_byte_of_the_arrays_is_believed(small: Path) -> None:
    path = small / "arrays.npz"
    content = path.read_bytes()
    for position in [*range(0, len(content), 29), len(content) - 1]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x01]) + content[position + 1 :])
        with pytest.raises(PersonDamaged, match="the arrays' checksum does not hold"):
            load(small)


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_flipped_bytes_with_a_right_checksum_are_refused_or_harmless(small: Path, mask: int) -> None:
    """The zip and npy headers, byte for byte; of the numbers themselves only now and then one."""
    content = (small / "arrays.npz").read_bytes()
    numbers = TEMPLATE.takes.tobytes()
    start = content.index(numbers)
    telling = [at for at in range(len(content)) if not start <= at < start + len(numbers) or at % 401 == 0]
    for position in mine(telling):
        forge(small, arrays=content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :])
        with contextlib.suppress(PersonDamaged):
            found = load(small)
            assert (found.takes.shape[1], found.centroid.shape) == (192, (192,))
            assert np.isfinite(found.takes).all()


@pytest.mark.parametrize("file", ["header.json", "arrays.npz"])
def test_a_truncated_or_missing_file_is_refused(version: Path, file: str) -> None:
    content = (version / file).read_bytes()
    for size in [0, 1, 2, 30, len(content) // 2, len(content) - 2]:
        (version / file).write_bytes(content[:size])
        with pytest.raises(PersonDamaged, match=r"0001: damaged: .*; remove that folder to go back"):
            load(version)
    (version / file).unlink()
    with pytest.raises(PersonError, match="0001: cannot be read: No such file"):
        load(version)


@pytest.mark.parametrize("file", ["header.json", "arrays.npz"])
def test_an_oversized_file_is_not_even_read(version: Path, file: str) -> None:
    os.truncate(version / file, 100 * MAX_FILE_BYTES)  # sparse: takes no room
    with allocating_less_than(3 * MAX_FILE_BYTES), pytest.raises(PersonDamaged, match="larger than 4194304 bytes"):
        load(version)


def test_a_zip_bomb_is_not_unpacked(version: Path) -> None:
    bomb = io.BytesIO()
    arrays: dict[str, Any] = {**arrays_of(make_voiceprint()), "takes": np.zeros((100_000, 192), np.float32)}
    np.savez_compressed(bomb, **arrays)
    assert len(bomb.getvalue()) < MAX_FILE_BYTES
    forge(version, arrays=bomb.getvalue())
    with allocating_less_than(3 * MAX_FILE_BYTES), pytest.raises(PersonDamaged, match="must not be packed"):
        load(version)


@pytest.mark.parametrize("rows", [10**7, 10**12, 10**30])
def test_an_array_that_lies_about_its_size_is_refused(small: Path, rows: int) -> None:
    arrays = (small / "arrays.npz").read_bytes()
    shape, lie = b"(5, 192), }".ljust(45), f"({rows}, 192), }}".ljust(45).encode()
    lying = repack(arrays, "takes.npy", lambda npy: npy.replace(shape, lie))
    assert lie in lying
    forge(small, arrays=lying)
    with pytest.raises(PersonDamaged):
        load(small)


class Tripwire:
    """Its pickle creates a file when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def test_a_pickle_is_never_opened(version: Path, tmp_path: Path) -> None:
    trap = tmp_path / "unpickled"
    objects = np.array([Tripwire(trap)], dtype=object)
    arrays = arrays_of(make_voiceprint())
    pickled = {
        "as an array": npz(**{**arrays, "takes": objects}),
        "as a file": repack(npz(**arrays), "takes.npy", lambda _: pickle.dumps(Tripwire(trap))),
        "as the whole": pickle.dumps(Tripwire(trap)),
    }
    for how, content in pickled.items():
        forge(version, arrays=content)
        with pytest.raises(PersonDamaged):
            load(version)
        assert not trap.exists(), how


BAD_ARRAYS: dict[str, dict[str, Any]] = {
    "double": {"takes": np.ones((5, 192), np.float64)},
    "double that overflows": {"centroid": np.full(192, 1e300)},
    "half": {"takes": np.ones((5, 192), np.float16)},
    "int": {"takes": np.ones((5, 192), np.int32)},
    "text": {"takes": np.full((5, 192), "1.0")},
    "complex": {"centroid": np.ones(192, np.complex64)},
    "big-endian": {"bias": np.ones(1, ">f4")},
    "single projection": {"projection": np.ones((192, 128), np.float32)},
    "no takes": {"takes": np.ones((0, 192), np.float32)},
    "flat takes": {"takes": np.ones(192, np.float32)},
    "narrow takes": {"takes": np.ones((5, 256), np.float32)},
    "narrow centroid": {"centroid": np.ones(256, np.float32)},
    "scalar": {"centroid": np.float32(1)},
    "narrow prototype": {"prototype": np.ones(64, np.float32)},
    "no prototype": {"prototype": np.ones(0, np.float32)},
    "turned projection": {"projection": np.ones((128, 192), np.float16)},
    "two biases": {"bias": np.ones(2, np.float32)},
    "NaN": {"takes": np.full((5, 192), np.nan, np.float32)},
    "infinite": {"projection": np.full((192, 128), np.inf, np.float16)},
    "one more": {"extra": np.ones(1, np.float32)},
    "none": {"takes": None},
}


@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_wrong_arrays_with_a_right_checksum_are_refused(version: Path, fault: str) -> None:
    arrays = {**arrays_of(make_voiceprint()), **BAD_ARRAYS[fault]}
    forge(version, arrays=npz(**{name: array for name, array in arrays.items() if array is not None}))
    with pytest.raises(PersonDamaged, match=r"(takes|centroid|prototype|projection|bias) is |must be exactly"):
        load(version)


def test_arrays_must_fit_the_kind(version: Path) -> None:
    forge(version, {"kind": COSINE})
    with pytest.raises(PersonDamaged, match="kind 'cosine'"):
        load(version)


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "another format": {"format": 0},
    "format true": {"format": True},
    "format text": {"format": "1"},
    "extra key": {"extra": 1},
    "another name": {"name": "bob"},
    "name number": {"name": 5},
    "name nothing": {"name": ""},
    "name control": {"name": "a\nb"},
    "keyword list": {"keyword": ["okay_nabu"]},
    "unknown kind": {"kind": "logistic"},
    "kind null": {"kind": None},
    "threshold text": {"threshold": "0.5"},
    "threshold null": {"threshold": None},
    "threshold NaN": {"threshold": float("nan")},
    "threshold infinite": {"threshold": float("-inf")},
    "threshold unreachable": {"threshold": 1.5},
    "threshold bool": {"threshold": True},
    "report list": {"report": []},
    "report null": {"report": None},
    "binding null": {"binding": None},
    "binding text": {"binding": "k"},
    "binding list": {"binding": [1, 2, 3]},
    "binding short": {"binding": {"keyword": "k", "speaker": "s"}},
    "binding long": {"binding": {"keyword": "k", "speaker": "s", "head": "h", "frontend": "f"}},
    "binding numbers": {"binding": {"keyword": 1, "speaker": 2, "head": 3}},
    "binding nested": {"binding": {"keyword": {}, "speaker": [], "head": None}},
    "sum number": {"arrays_sha256": 5},
}


@pytest.mark.parametrize("fault", BAD_HEADERS)
def test_a_wrong_header_with_a_right_checksum_is_refused(version: Path, fault: str) -> None:
    forge(version, BAD_HEADERS[fault])
    with pytest.raises(PersonDamaged, match="0001: damaged: "):
        load(version)


def test_a_voiceprint_of_a_later_earmark_is_not_called_damaged(version: Path) -> None:
    forge(version, {"format": 4, "what nobody knows yet": 1})
    with pytest.raises(PersonNewer, match=r"0001: it is of format 4, this earmark knows 3: install a newer earmark"):
        load(version)


@pytest.mark.parametrize(
    "key", ["format", "name", "keyword", "kind", "threshold", "binding", "report", "arrays_sha256"]
)
def test_a_missing_header_key_is_refused(version: Path, key: str) -> None:
    forge(version, without=[key])
    with pytest.raises(PersonDamaged):
        load(version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        '"x"',
        "{}",
        "{" * 100_000,
        "[" * 100_000,
        '{"format": ' * 5_000,
        '{"format": 1}',
        "\ufeff{}",
    ],
    ids=lambda text: repr(text)[:12],
)
def test_a_header_that_is_no_header_is_refused(version: Path, text: str) -> None:
    (version / "header.json").write_text(text, "utf-8")
    with pytest.raises(PersonDamaged):
        load(version)


def test_a_header_nested_as_deep_as_json_goes_is_read_or_refused(version: Path) -> None:
    for depth in (50, 400, 900, 5_000):
        with contextlib.suppress(RecursionError):  # of the forger's own json
            forge(version, {"report": json.loads('{"a": ' * depth + "1" + "}" * depth)})
            with contextlib.suppress(PersonDamaged):
                load(version)


# --- links and leftovers


@pytest.mark.parametrize("level", [1, 0], ids=["person", "wake word"])
def test_a_linked_folder_is_not_followed(store: PersonStore, small: Path, tmp_path: Path, level: int) -> None:
    linked = small.parents[level]
    outside = tmp_path / "outside"
    linked.rename(outside)
    linked.symlink_to(outside)
    before = snapshot(outside)
    assert store.names() == []
    assert store.versions("anna", "okay_nabu") == []
    for ask in (store.keywords, store.remove, lambda name: store.load(name, "okay_nabu")):
        with pytest.raises(PersonUnknown):
            ask("anna")
    with pytest.raises(StoreUnwritable, match="link"):
        store.save(TEMPLATE)
    assert snapshot(outside) == before


def test_a_linked_version_is_not_followed(store: PersonStore, small: Path) -> None:
    small.with_name("0002").symlink_to(small)
    assert store.versions("anna", "okay_nabu") == [1]


@pytest.mark.parametrize("file", ["header.json", "arrays.npz"])
def test_what_is_no_plain_file_is_refused(small: Path, tmp_path: Path, file: str) -> None:
    (small / file).rename(tmp_path / file)
    (small / file).symlink_to(tmp_path / file)
    with pytest.raises(PersonDamaged, match=f"{file} is not a file"):
        load(small)
    (small / file).unlink()
    os.mkfifo(small / file)  # opening it would wait for ever
    with pytest.raises(PersonDamaged, match=f"{file} is not a file"):
        load(small)


def test_leftovers_of_a_killed_process_are_ignored_and_swept_by_a_save(store: PersonStore, small: Path) -> None:
    left = store.folder / ".new-abc"
    left.mkdir()
    (left / "header.json").write_text("half")
    (store.folder / ".old-link").symlink_to(small)
    assert store.names() == ["anna"]
    assert store.versions("anna", "okay_nabu") == [1]
    assert store.save(TEMPLATE).name == "0002"
    assert store.leftovers() == 0
    assert load(small).name == "anna"


# --- what cannot be written


@pytest.mark.parametrize(
    ("fails_at", "already"), [(call, already) for already, calls in ((0, 6), (1, 4), (5, 4)) for call in range(calls)]
)
def test_a_disk_full_at_any_write_changes_nothing(
    store: PersonStore, monkeypatch: pytest.MonkeyPatch, fails_at: int, already: int
) -> None:
    save_cosine(store.folder, "bob")
    for seed in range(already):
        store.save(make_voiceprint(kind=COSINE, seed=seed))
    before = snapshot(store.folder)
    full = FullDisk(fails_at)
    monkeypatch.setattr(os, "fsync", full)
    message = "'anna' could not be saved in .*: No space left on device; nothing was changed: make room"
    with pytest.raises(StoreUnwritable, match=message):
        store.save(TEMPLATE)
    assert snapshot(store.folder) == before
    store.save(TEMPLATE)  # now it does not fail
    assert full.calls == fails_at + 1 + (4 if already else 6)  # so that the numbers above are all there are


@pytest.mark.parametrize("limit", [0, 1, 2048, 4096])
def test_a_write_that_ends_in_the_middle_changes_nothing(store: PersonStore, limit: int) -> None:
    save_cosine(store.folder)
    before = snapshot(store.folder)
    with largest_file(limit), pytest.raises(StoreUnwritable, match="File too large; nothing was changed"):
        store.save(TEMPLATE)
    assert snapshot(store.folder) == before


def test_a_really_full_disk_changes_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted_tmpfs(disk, "128k"):
        store = PersonStore(disk / "people")
        save_cosine(store.folder, "bob")
        free = os.statvfs(disk).f_bavail * 4
        outcomes = set()
        for kilobytes in range(0, 40, 4):
            filler = disk / "filler"
            filler.write_bytes(bytes((free - kilobytes) * 1024))
            before = snapshot(store.folder)
            try:
                store.save(TEMPLATE)
                store.remove("anna")
                outcomes.add("saved")
            except StoreUnwritable as error:
                assert "No space left" in str(error)  # noqa: PT017  both outcomes are right
                outcomes.add("refused")
            filler.unlink()
            assert snapshot(store.folder) == before
        assert outcomes == {"saved", "refused"}


def test_a_store_in_a_place_that_cannot_be_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "people", Path("/dev/null/people"), Path("/proc/people")):
        store = PersonStore(folder)
        assert store.names() == []
        with pytest.raises(StoreUnwritable, match="could not be saved in"):
            store.save(TEMPLATE)


NOT_ROOT = """
import os, sys
from earmark.engine.errors import EarmarkError
from earmark.engine.people.store import PersonStore
from helpers_store import make_voiceprint
store, person = PersonStore(sys.argv[1]), make_voiceprint()
os.setgid(65534)
os.setuid(65534)
for ask in (store.names, lambda: store.load("anna", "okay_nabu"), lambda: store.save(person)):
    try:
        ask()
    except EarmarkError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_store_of_somebody_else_is_said_to_be_so(small: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOT_ROOT, small.parents[2]],
        env=environment(PYTHONPATH=str(REPOSITORY / "tests")),
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith("PersonError")
    assert second.startswith("PersonError")
    assert third.startswith("StoreUnwritable")
    assert all("Permission denied" in line for line in (first, second, third)), done.stdout


KILLED_WHILE_SAVING = """
import os, random, signal, sys, time
from earmark.engine.people.store import PersonStore
from helpers_store import COSINE, assert_same, load_all, make_voiceprint
store = PersonStore(sys.argv[1])
people = [make_voiceprint(name, kind=COSINE) for name in ("anna", "bob", "carl")]
for person in people:
    store.save(person)
random.seed(1)
left = 0
for _ in range(60):
    child = os.fork()
    if not child:
        while True:
            for person in people:
                store.save(person)
    time.sleep(random.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left += len(list(store.folder.glob(".new-*")))
    found = load_all(store)
    assert [person.name for person in found] == ["anna", "bob", "carl"]
    for person in found:
        assert (person.takes == people[0].takes).all() and person.report == people[0].report
for person in people:
    store.save(person)
assert not store.leftovers()
print(left, max(max(store.versions(p.name, p.keyword)) for p in people))
"""


def test_killed_at_any_moment_of_a_save_everybody_still_loads(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path / "people"],
        env=environment(PYTHONPATH=str(REPOSITORY / "tests")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left, versions = map(int, done.stdout.split())
    assert left > 0, "the kills hit no save in its middle"
    assert versions > 1, "no save ever came to its end"


# --- helpers


@contextlib.contextmanager
def largest_file(limit_bytes: int) -> Iterator[None]:
    """The system refuses to write a file beyond a size, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def repack(arrays: bytes, name: str, change: Any) -> bytes:
    """The npz with one of its files changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(arrays)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, change(content) if info.filename == name else content)
    return out.getvalue()
