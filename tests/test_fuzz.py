"""No file, however it was made, ends in anything but an error of our own; nothing outside the store is touched."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import MADE, RECORDINGS, Ground, Outcome, flips, sums, tar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.engine.errors import BundleError, PersonNewer
from earmark.engine.people import bundle

FORMATS = (
    "profile: header",
    "profile: header, signed anew",
    "profile: arrays, signed anew",
    "profile: recording, signed anew",
    "profile: sealed",
    "store: keyring",
    "store: plan",
    "export",
    "export, signed anew",
    "settings",
    "trial list",
    *(f"recording: {container} {subtype}" for container, subtype in RECORDINGS),
)
MANY = 60


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def test_every_format_is_tried(ground: Ground) -> None:
    assert tuple(ground.reads()) == FORMATS
    assert set(MADE) <= set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_an_honest_file_is_read(ground: Ground, name: str) -> None:
    content, read = ground.reads()[name]
    outcome = Outcome()
    ground.judge(read, content, outcome)
    assert (outcome.accepted, outcome.wrong) == (1, [])


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_are_refused_or_harmless(ground: Ground, name: str) -> None:
    content, read = ground.reads()[name]
    outcome = Outcome()
    for changed in flips(content, MANY, seed=1):
        ground.judge(read, changed, outcome)
    assert outcome.wrong == []
    assert outcome.refused


@pytest.mark.parametrize("name", MADE)
def test_what_is_put_together_wrongly_is_refused_or_harmless(ground: Ground, name: str) -> None:
    read = ground.reads()[name][1]

    @settings(max_examples=MANY, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(MADE[name])
    def judged(content: bytes) -> None:
        outcome = Outcome()
        ground.judge(read, content, outcome)
        assert outcome.wrong == []

    judged()


# --- archives by name


def with_member(ground: Ground, change: Callable[[tarfile.TarInfo], None], data: bytes = b"") -> bytes:
    """An honest export with one member more, which its manifest names."""
    with tarfile.open(fileobj=io.BytesIO(ground.bundle())) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive.getmembers()]  # type: ignore[union-attr]
    info = tarfile.TarInfo("okay_nabu/0001/take-02.wav")
    info.size = len(data)
    change(info)
    manifest = json.loads(members[0][1])
    manifest["files"][info.name] = sums(data)
    text = json.dumps(manifest).encode()
    members[0][0].size = len(text)
    return tar([(members[0][0], text), *members[1:], (info, data)])


NO_FILE, NO_PLACE, NOT_LISTED = "is no plain file", "is not WAKE_WORD/VERSION/FILE", "version 1 for 'okay_nabu' has"
HARMFUL: dict[str, tuple[str, Callable[[tarfile.TarInfo], None]]] = {
    "symbolic link": (NO_FILE, lambda info: vars_of(info, type=tarfile.SYMTYPE, linkname="../../../outside.txt")),
    "hard link": (NO_FILE, lambda info: vars_of(info, type=tarfile.LNKTYPE, linkname="okay_nabu/0001/header.json")),
    "hard link outside": (NO_FILE, lambda info: vars_of(info, type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "character device": (NO_FILE, lambda info: vars_of(info, type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "block device": (NO_FILE, lambda info: vars_of(info, type=tarfile.BLKTYPE, devmajor=8, devminor=0)),
    "pipe": (NO_FILE, lambda info: vars_of(info, type=tarfile.FIFOTYPE)),
    "folder": (NO_FILE, lambda info: vars_of(info, type=tarfile.DIRTYPE)),
    "sparse file": (NO_FILE, lambda info: vars_of(info, type=tarfile.GNUTYPE_SPARSE)),
    "path upwards": ("not a person", lambda info: vars_of(info, name="../outside.txt")),
    "path upwards inside": (NO_PLACE, lambda info: vars_of(info, name="okay_nabu/../header.json")),
    "wake word upwards": (NO_PLACE, lambda info: vars_of(info, name="../0001/header.json")),
    "absolute path": (NO_PLACE, lambda info: vars_of(info, name="/0001/header.json")),
    "another file": (NO_PLACE, lambda info: vars_of(info, name="okay_nabu/0001/bashrc")),
    "keyring": ("not a person", lambda info: vars_of(info, name=".keyring.json")),
    "hidden wake word": (NO_PLACE, lambda info: vars_of(info, name=".pending/0001/header.json")),
    "unlisted recording": (NOT_LISTED, lambda info: vars_of(info)),
}


def vars_of(info: tarfile.TarInfo, **values: object) -> None:
    for key, value in values.items():
        setattr(info, key, value)


@pytest.mark.parametrize("fault", HARMFUL)
def test_a_harmful_member_refuses_the_whole_file(ground: Ground, fault: str) -> None:
    message, change = HARMFUL[fault]
    content = with_member(ground, change)
    with pytest.raises(BundleError, match=message):
        bundle.from_bytes(content)
    outcome = Outcome()
    ground.judge(ground.imported, content, outcome)
    assert (dict(outcome.refused), outcome.wrong) == ({"BundleError": 1}, [])
    assert ground.store.names() == ["anna"]


def test_bombs_are_not_unpacked(ground: Ground, tmp_path: Path) -> None:
    huge = 1 << 40
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = 200 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    many = tar([(tarfile.TarInfo(f"okay_nabu/0001/{number}"), b"") for number in range(bundle.MAX_MEMBERS + 10)])
    sparse = tmp_path / "sparse.tar"
    sparse.touch()
    os.truncate(sparse, bundle.MAX_BYTES + 1)
    tracemalloc.start()
    try:
        for content in (
            packed.getvalue(),
            with_member(ground, lambda info: vars_of(info, size=huge)),
            with_member(ground, lambda info: vars_of(info, type=tarfile.GNUTYPE_SPARSE, size=huge)),
            many,
        ):
            with pytest.raises(BundleError):
                bundle.from_bytes(content)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(BundleError, match="larger than"):
        bundle.read(sparse)


def test_an_export_of_a_later_earmark_is_not_called_damaged() -> None:
    text = b'{"kind": "earmark person", "format": 3, "what": "nobody knows"}'
    info = tarfile.TarInfo(bundle.MANIFEST)
    info.size = len(text)
    with pytest.raises(PersonNewer, match="of format 3, this earmark knows 2: install a newer earmark"):
        bundle.from_bytes(tar([(info, text)]))


@given(st.binary(max_size=2000))
def test_no_bytes_are_an_export(content: bytes) -> None:
    with pytest.raises(BundleError, match="not a person exported by earmark"):
        bundle.from_bytes(content)
