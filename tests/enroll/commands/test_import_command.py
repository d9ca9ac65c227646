"""An import believes nothing that a voiceprint says of itself: it is asked about every shipped stranger."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_store import KEY, opened, snapshot, unit, weak_keys

from earmark.cli import main
from earmark.engine.errors import BundleError, PersonMismatch
from earmark.engine.history import sealing
from earmark.engine.people import bundle, codec
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.enroll.enrolment import Enroller
from earmark.enroll.training.strangers import let_in

pytestmark = pytest.mark.usefixtures("one_enroller")


def everybodys(person: Voiceprint, enroller: Enroller) -> Voiceprint:
    """The mean of all strangers, of unit length, and a head that projects everything onto one line."""
    mean = unit(enroller.cohort.embeddings.mean(axis=0))
    columns = person.weights.projection.shape[1]
    projection = np.repeat(mean[:, None], columns, axis=1).astype(np.float16).astype(np.float32)
    weights = replace(person.weights, projection=projection)
    return replace(person, centroid=mean, prototype=unit(np.ones(columns)), weights=weights)


def write(file: Path, person: Voiceprint) -> Path:
    bundle.write(file, bundle.to_bytes(person.name, {(person.keyword, 1): codec.encode(person)}))
    return file


def imported(file: Path, store: Path, *more: str) -> int:
    return main(["people", "import", str(file), "--store", str(store), *more])


def test_an_honest_voiceprint_is_imported_to_the_last_byte(
    slt: Voiceprint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PersonStore(tmp_path / "one").save(slt)
    file = write(tmp_path / "slt.tar", slt)
    assert imported(file, tmp_path / "two") == 0
    assert capsys.readouterr().err == ""
    assert snapshot(tmp_path / "one" / "slt") == snapshot(tmp_path / "two" / "slt")


@pytest.mark.parametrize(("threshold", "wanted_far"), [(0.01, 0.01), (0.6, 0.999), (0.61, 0.01)])
def test_a_voice_that_is_everybodys_is_refused_whatever_it_says_of_itself(
    slt: Voiceprint,
    enroller: Enroller,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    threshold: float,
    wanted_far: float,
) -> None:
    report = {**slt.report, "wanted_far": wanted_far}
    file = write(tmp_path / "all.tar", replace(everybodys(slt, enroller), threshold=threshold, report=report))
    assert imported(file, tmp_path / "store") == BundleError.exit_code
    said = capsys.readouterr().err
    assert re.search(r"'slt' \(okay_nabu\) would let in \d+\.\d % of \d+ strangers, 5 % are allowed", said)
    assert not (tmp_path / "store").exists()


def test_who_lets_in_is_counted_by_the_scores_of_the_detector(slt: Voiceprint, enroller: Enroller) -> None:
    found = let_in(slt, enroller)
    assert found.share < 0.02
    assert (found.of, found.voiceprint.threshold) == (len(enroller.cohort), slt.threshold)
    all_in = let_in(replace(everybodys(slt, enroller), threshold=0.61), enroller)
    assert all_in.share > 0.05
    assert all_in.accepted == round(all_in.share * all_in.of)


def test_a_threshold_below_that_of_the_takes_is_raised_and_said(
    slt: Voiceprint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = replace(slt, threshold=0.01, report={**slt.report, "wanted_far": 0.01})
    assert imported(write(tmp_path / "low.tar", low), tmp_path / "store") == 0
    assert f"the threshold is {slt.threshold:.3f}, as its takes give it, and not 0.010" in capsys.readouterr().err
    assert PersonStore(tmp_path / "store").load("slt", "okay_nabu").threshold == pytest.approx(slt.threshold)


def test_a_threshold_that_learning_has_raised_stays(slt: Voiceprint, enroller: Enroller) -> None:
    high = replace(slt, threshold=slt.threshold + 0.05)
    assert let_in(high, enroller).voiceprint.threshold == high.threshold


def test_of_other_networks_nobody_can_say(slt: Voiceprint, enroller: Enroller) -> None:
    with pytest.raises(PersonMismatch):
        let_in(replace(slt, binding=replace(slt.binding, head="h" * 64)), enroller)


def test_what_nobody_can_judge_is_refused_unless_somebody_asks_for_it(
    slt: Voiceprint, enroller: Enroller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else whoever names networks that come into use later is let in unasked, and everybody with them."""
    forged = replace(everybodys(slt, enroller), threshold=0.01)
    for part in ("speaker", "head"):
        file = write(tmp_path / f"{part}.tar", replace(forged, binding=replace(slt.binding, **{part: "e" * 64})))
        assert imported(file, tmp_path / "store") == BundleError.exit_code
        assert "perhaps everybody; nothing was changed" in capsys.readouterr().err
        assert not (tmp_path / "store").exists()
    assert imported(file, tmp_path / "store", "--unjudged") == 0
    assert (
        "slt (okay_nabu, version 1) is of other networks than those in use: taken unjudged" in capsys.readouterr().err
    )
    file = write(tmp_path / "all.tar", forged)
    assert imported(file, tmp_path / "other", "--unjudged") == BundleError.exit_code, "of these it can be said"


def test_an_older_version_that_nobody_can_judge_is_left_out(
    slt: Voiceprint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = codec.encode(replace(slt, binding=replace(slt.binding, head="e" * 64)))
    tree = {("okay_nabu", 1): other, ("okay_nabu", 2): codec.encode(slt)}
    bundle.write(tmp_path / "slt.tar", bundle.to_bytes("slt", tree))
    assert imported(tmp_path / "slt.tar", tmp_path / "store") == 0
    assert "slt (okay_nabu, version 1) is of other networks than those in use: left out" in capsys.readouterr().err
    assert PersonStore(tmp_path / "store").versions("slt", "okay_nabu") == [2]
    bundle.write(tmp_path / "late.tar", bundle.to_bytes("slt", {("okay_nabu", 3): other, **tree}))
    assert imported(tmp_path / "late.tar", tmp_path / "late") == BundleError.exit_code


def test_a_store_says_who_signed_and_judges_what_it_has_signed_itself(
    slt: Voiceprint,
    enroller: Enroller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("EARMARK_PASSPHRASE", KEY.decode())
    store, file = tmp_path / "people", tmp_path / "slt.tar"
    PersonStore(store).save(replace(slt, threshold=0.4))  # of an earlier rule
    PersonStore(store).save(replace(everybodys(slt, enroller), name="mallory", threshold=0.61))
    with weak_keys():
        sealing.encrypt(PersonStore(store), KEY)
    assert main(["people", "export", "slt", "--to", str(file), "--store", str(store), "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["signed_by"]
    assert imported(file, store, "--as", "again") == 0
    assert "signed by this very store" in capsys.readouterr().out
    assert opened(store).load("again", "okay_nabu").threshold == pytest.approx(slt.threshold)
    assert main(["people", "export", "mallory", "--to", str(tmp_path / "m.tar"), "--store", str(store)]) == 0
    assert imported(tmp_path / "m.tar", store, "--as", "more") == BundleError.exit_code
    assert "more" not in PersonStore(store).names()
    capsys.readouterr()
    assert imported(file, store, "--as", "other", "--signed-by", "ab" * 32) == BundleError.exit_code
    assert f"it is signed by {key}, not by {'ab' * 32}; nothing was changed" in capsys.readouterr().err
    assert imported(file, tmp_path / "elsewhere", "--signed-by", key) == 0
    assert f"signed by {key}" in capsys.readouterr().out
    unsigned = write(tmp_path / "unsigned.tar", slt)
    assert imported(unsigned, tmp_path / "third", "--signed-by", key) == BundleError.exit_code
    assert "it is signed by nobody" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
