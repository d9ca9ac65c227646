"""Keys and passphrases are zeroed where Python lets one."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_store import KEY, make_voiceprint, weak_keys

from earmark import cli
from earmark.engine.commands import people_commands
from earmark.engine.errors import PersonLocked
from earmark.engine.history import sealing
from earmark.engine.people import vault
from earmark.engine.people.keys import encoded, new_secret_from, secret_from
from earmark.engine.people.store import PersonStore

pytest.importorskip("cryptography", reason="cryptography is not installed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PersonStore]:
    plain = PersonStore(tmp_path / "people")
    plain.save(make_voiceprint())
    with weak_keys():
        sealing.encrypt(plain, KEY)
        vault.forget_keys()
        yield plain
    vault.forget_keys()


@pytest.mark.parametrize("given", [KEY, b"wrong horse"])
def test_what_was_given_is_zeroed_whether_or_not_it_opens(store: PersonStore, given: bytes) -> None:
    secret = bytearray(given)
    opened = PersonStore(store.folder, lambda: secret)
    if given == KEY:
        assert opened.load("anna", "okay_nabu").name == "anna"
    else:
        with pytest.raises(PersonLocked, match="wrong key"):
            opened.load("anna", "okay_nabu")
    assert secret == bytes(len(given))


def test_the_keys_of_stores_are_zeroed_at_the_end(store: PersonStore) -> None:
    PersonStore(store.folder, lambda: KEY).load("anna", "okay_nabu")
    (key,) = vault._OPENED.values()
    assert any(key)
    vault.forget_keys()
    assert key == bytes(vault.KEY_BYTES)
    assert vault._OPENED == {}


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_key_file_is_read_into_what_can_be_zeroed(tmp_path: Path, mark: bytes, end: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(mark + KEY + end)
    file.chmod(0o600)
    for secret in (secret_from(str(file), {})(), new_secret_from(str(file), {})):
        assert isinstance(secret, bytearray)
        assert secret == KEY
    assert encoded("e\u0301") == "é".encode()


def test_encrypting_zeroes_the_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PersonStore(tmp_path).save(make_voiceprint())
    secrets: list[bytearray] = []

    def given(*_: object) -> bytearray:
        secrets.append(bytearray(KEY))
        return secrets[-1]

    monkeypatch.setattr(people_commands, "new_secret_from", given)
    with weak_keys():
        assert cli.main(["people", "encrypt", "--store", str(tmp_path)]) == 0
    assert json.loads((tmp_path / vault.KEYRING_FILE).read_bytes())["format"] == vault.FORMAT
    assert secrets == [bytearray(len(KEY))]
    vault.forget_keys()
