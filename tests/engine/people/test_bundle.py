"""A person in one file: what the manifest says of every member is checked, whatever the members say themselves."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from helpers_store import person, sound

from earmark.engine.errors import BundleError, InputError, PersonNewer
from earmark.engine.people import bundle, codec
from earmark.engine.people.vault import Vault

HEADER = "okay_nabu/0003/header.json"
Change = Callable[[dict[str, Any]], object]


def exported(versions: tuple[int, ...] = (3,)) -> bytes:
    tree = {("okay_nabu", number): codec.encode(person("anna", number), [sound(number)]) for number in versions}
    return bundle.to_bytes("anna", tree)


def members_of(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def packed(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def with_manifest(change: Change, content: bytes | None = None) -> bytes:
    """An export with right members, of which the manifest says something else."""
    members = members_of(content or exported())
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    return packed({**members, "manifest.json": json.dumps(manifest).encode()})


def test_the_forger_of_these_tests_changes_nothing_by_itself() -> None:
    assert bundle.from_bytes(with_manifest(lambda manifest: manifest.update())) == bundle.from_bytes(exported())


@pytest.mark.parametrize("member", [HEADER, "okay_nabu/0003/arrays.npz", "okay_nabu/0003/take-01.wav"])
@pytest.mark.parametrize(("key", "value"), [("sha256", "0" * 64), ("bytes", 1), ("sha256", None), ("mode", 0)])
def test_a_sum_that_does_not_hold_is_refused_though_the_person_is_whole(member: str, key: str, value: object) -> None:
    with pytest.raises(BundleError, match=f"the checksum of '{member}' does not hold"):
        bundle.from_bytes(with_manifest(lambda manifest: manifest["files"][member].update({key: value})))


def test_a_member_that_the_manifest_does_not_name_is_refused_and_so_is_a_name_without_one() -> None:
    for change in (
        lambda manifest: manifest["files"].pop(HEADER),
        lambda manifest: manifest["files"].update({"okay_nabu/0004/header.json": manifest["files"][HEADER]}),
    ):
        with pytest.raises(BundleError, match="its members are not those of its manifest"):
            bundle.from_bytes(with_manifest(change))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "another"}, "must be of kind 'earmark person'"),
        ({"format": 0}, "must have kind, name, files, and format 2 where it has a signature"),
        ({"more": 1}, "must have kind, name, files, and format 2 where it has a signature"),
        ({"name": 7}, "must have a name and files"),
        ({"files": {}}, "must have a name and files"),
        ({"name": " anna"}, "no space at its ends"),
        ({"name": "bert"}, "version 3 is of 'anna' for 'okay_nabu'"),
    ],
)
def test_a_manifest_of_something_else_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        bundle.from_bytes(with_manifest(lambda manifest: manifest.update(changes)))


def test_a_later_format_is_said_to_be_newer_and_not_damaged() -> None:
    with pytest.raises(PersonNewer, match="it is of format 3, this earmark knows 2"):
        bundle.from_bytes(with_manifest(lambda manifest: manifest.update(format=3)))


# --- signatures


def signed_export(key: bytes = b"k" * 32) -> bytes:
    pytest.importorskip("cryptography")
    return bundle.to_bytes("anna", {("okay_nabu", 3): codec.encode(person("anna", 3))}, Vault(bytearray(key)))


def test_a_signature_names_the_store_and_two_stores_have_two() -> None:
    own = bundle.from_bytes(signed_export()).signed_by
    assert own == Vault(bytearray(b"k" * 32)).sign(b"")[0]
    assert bundle.from_bytes(signed_export(b"x" * 32)).signed_by not in (None, own)
    assert bundle.from_bytes(exported()).signed_by is None


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(name="anna "),
        lambda manifest: manifest["signature"].update(value="00" * 64),
        lambda manifest: manifest["signature"].update(value="zz"),
        lambda manifest: manifest["signature"].update(key=Vault(bytearray(b"x" * 32)).sign(b"")[0]),
        lambda manifest: manifest["signature"].update(key=7),
        lambda manifest: manifest["signature"].pop("key"),
        lambda manifest: manifest.update(signature=None),
        lambda manifest: manifest.update(signature=[]),
        lambda manifest: manifest.update(format=1),
    ],
)
def test_whatever_is_changed_in_a_signed_export_it_is_refused(change: Change) -> None:
    with pytest.raises(BundleError):
        bundle.from_bytes(with_manifest(change, signed_export()))


def test_another_person_under_the_same_signature_is_refused() -> None:
    """With every checksum right."""
    other = members_of(bundle.to_bytes("anna", {("okay_nabu", 3): codec.encode(person("anna", 4))}))
    manifest = json.loads(members_of(signed_export())["manifest.json"])
    manifest["files"] = json.loads(other.pop("manifest.json"))["files"]
    with pytest.raises(BundleError, match="its signature does not hold: it is not as it was exported"):
        bundle.from_bytes(packed({"manifest.json": json.dumps(manifest).encode(), **other}))


def test_five_versions_are_taken_and_six_are_not() -> None:
    tree = bundle.from_bytes(exported((1, 2, 3, 4, 5))).tree
    assert [number for _, number in tree] == [1, 2, 3, 4, 5]
    with pytest.raises(BundleError, match="6 versions for a wake word, at most 5 are kept"):
        bundle.from_bytes(exported((1, 2, 3, 4, 5, 6)))


def test_what_is_too_large_to_be_imported_again_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_BYTES", len(exported()))
    assert exported()
    monkeypatch.setattr(bundle, "MAX_BYTES", len(exported()) - 1)
    with pytest.raises(InputError, match="leave recordings out"):
        exported()
