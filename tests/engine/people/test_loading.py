"""A reload reads only who has changed, and finds whatever a first load would find."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_store import forge, make_voiceprint, npz, weak_keys

from earmark.engine.history import sealing
from earmark.engine.household import Household, load_household
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.store import COSINE, PersonStore, Voiceprint
from earmark.engine.settings.schema import People, Settings
from earmark.engine.verifier import Verifier

NAMES = ("anna", "ben", "carla", "slt")


@pytest.fixture
def store(slt: Voiceprint, tmp_path: Path) -> PersonStore:
    """slt, and three whose numbers are random."""
    store = PersonStore(tmp_path / "people")
    store.save(slt)
    for seed, name in enumerate(NAMES[:-1]):
        store.save(replace(make_voiceprint(name, kind=COSINE, seed=seed), binding=slt.binding))
    return store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those who are read."""
    names: list[str] = []
    load = PersonStore.load

    def counted(store: PersonStore, name: str, keyword: str, version: int | None = None) -> Voiceprint:
        names.append(name)
        return load(store, name, keyword, version)

    monkeypatch.setattr(PersonStore, "load", counted)
    return names


def loaded(store: PersonStore, before: Household | None = None) -> Household:
    return load_household(Settings(people=People(store=str(store.folder))), try_networks=False, before=before)


def other_takes(store: PersonStore, slt: Voiceprint) -> None:
    store.save(replace(make_voiceprint("ben", kind=COSINE, seed=9), binding=slt.binding))


def goes_back(store: PersonStore, slt: Voiceprint) -> None:
    other_takes(store, slt)
    store.rollback("ben", "okay_nabu")


def is_damaged(store: PersonStore, _: Voiceprint) -> None:
    """In its place, with the size and the time of before."""
    file = store.folder / "ben" / "okay_nabu" / "0001" / "arrays.npz"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-300] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def is_forged(store: PersonStore, _: Voiceprint) -> None:
    forge(store.folder / "ben" / "okay_nabu" / "0001", arrays=npz())


def is_erased(store: PersonStore, _: Voiceprint) -> None:
    store.remove("ben")


def is_copied_over(store: PersonStore, _: Voiceprint) -> None:
    shutil.rmtree(store.folder / "ben")
    shutil.copytree(store.folder / "carla", store.folder / "ben")


@pytest.mark.parametrize("change", [other_takes, goes_back, is_damaged, is_forged, is_erased, is_copied_over])
def test_whoever_has_changed_is_found_as_by_a_first_load_and_nobody_else_is_read(
    change: Callable[[PersonStore, Voiceprint], None], store: PersonStore, slt: Voiceprint, read: list[str]
) -> None:
    before = loaded(store)
    assert sorted(read) == sorted(NAMES)
    change(store, slt)
    anew = loaded(store)
    read.clear()
    after = loaded(store, before)
    assert set(read) <= {"ben"}
    assert (after.names, after.faults) == (anew.names, anew.faults)
    found, wanted = ({one.name: one for one in household.people} for household in (after, anew))
    assert found.keys() == wanted.keys()
    for name, one in found.items():
        assert one.takes.tobytes() == wanted[name].takes.tobytes()
    kept = {one.name: one for one in before.people}
    assert all(found[name] is kept[name] for name in found if name != "ben")
    read.clear()
    again = loaded(store, after)
    assert set(read) == ({"ben"} if after.faults else set()), "who cannot be used is tried again"
    assert [id(one) for one in again.people] == [id(one) for one in after.people]


def test_a_sealed_store_is_believed_no_more_than_at_first(
    store: PersonStore, slt: Voiceprint, read: list[str]
) -> None:
    """An older version that somebody took away is noticed, though the files of the newest are the same."""
    other_takes(store, slt)
    with weak_keys():
        sealing.encrypt(store, b"a passphrase")
        key = store.folder.parent / "key"
        key.write_bytes(b"a passphrase")
        key.chmod(0o600)
        settings = Settings(people=People(store=str(store.folder), key_file=str(key)))
        before = load_household(settings, try_networks=False)
        assert before.names == sorted(NAMES)
        read.clear()
        assert load_household(settings, try_networks=False, before=before).names == sorted(NAMES)
        assert read == []
        shutil.rmtree(store.folder / "ben" / "okay_nabu" / "0001")
        after = load_household(settings, try_networks=False, before=before)
    assert after.names == ["anna", "carla", "slt"]
    assert len(after.faults) == 1
    assert "version 0001 is gone" in after.faults[0]


def test_a_reload_tries_only_networks_that_it_did_not_have(
    store: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(KeywordNetwork, "__init__", lambda _, manifest: tried.append(manifest.name))
    monkeypatch.setattr(Verifier, "__init__", lambda *_, **__: tried.append("speaker"))
    settings = Settings(people=People(store=str(store.folder)))
    before = load_household(settings)
    assert tried == ["okay_nabu", "speaker"]
    tried.clear()
    after = load_household(settings, before=before)
    assert tried == []
    both = replace(settings, wake=replace(settings.wake, keywords=("okay_nabu", "alexa")))
    load_household(both, before=after)
    assert tried == ["alexa"]
    tried.clear()
    tiny = replace(settings, people=replace(settings.people, models="tests/models"))
    load_household(replace(tiny, people=replace(tiny.people, store=str(store.folder.parent / "none"))), before=after)
    assert tried == ["speaker"]
