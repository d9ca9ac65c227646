"""People whom an earlier earmark enrolled: tests/golden/people is what it wrote, byte for byte."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.engine.detector import Detector
from earmark.engine.errors import PersonMismatch
from earmark.engine.people.codec import decode, encode
from earmark.engine.people.store import TRAINED, PersonStore


@pytest.fixture
def earlier(golden_dir: Path, tmp_path: Path) -> PersonStore:
    """The store of version 0.1.0, before the modules were moved into rooms."""
    return PersonStore(shutil.copytree(golden_dir / "people", tmp_path / "people"))


def test_they_load_and_say_that_they_are_of_other_networks(earlier: PersonStore) -> None:
    person = earlier.load("slt", "okay_nabu")
    assert (person.kind, len(person.takes), person.copies.shape) == (TRAINED, 5, (5, 6, 192))
    assert person.threshold == pytest.approx(0.658, abs=1e-6)
    np.testing.assert_allclose(np.linalg.norm(person.takes, axis=1), 1, atol=1e-5)
    with pytest.raises(PersonMismatch, match=r"another speaker and head network .*`earmark enroll slt` again"):
        Detector.load("okay_nabu", earlier)


def test_they_are_written_as_they_were(earlier: PersonStore) -> None:
    """Neither a name nor a number of the format has changed."""
    files = earlier.contents("slt", "okay_nabu")
    assert meaning(encode(decode(files))) == meaning(files)


def meaning(files: Mapping[str, bytes]) -> dict[str, Any]:
    """All but what Python's zipfile adds to arrays, which differs from 3.11.3 to 3.11.4, and the sums over that."""
    header = json.loads(files["header.json"])
    sums = ("arrays_sha256", "header_sha256")
    with zipfile.ZipFile(io.BytesIO(files["arrays.npz"])) as arrays:
        members = [(name, arrays.read(name)) for name in arrays.namelist()]
    rest = {name: content for name, content in files.items() if name not in ("header.json", "arrays.npz")}
    return {**rest, "header": [pair for pair in header.items() if pair[0] not in sums], "arrays": members}
