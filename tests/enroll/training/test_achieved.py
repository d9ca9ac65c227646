"""What an enrolment says that it achieved: counts at the threshold, and the table for people."""

from __future__ import annotations

import numpy as np

from earmark.engine.people.store import COSINE, TRAINED
from earmark.enroll.training.achieved import Achieved, lines

QUARTERS = np.array([0.0, 0.25, 0.5, 0.75], np.float32)
NONE = np.zeros(0, np.float32)


def test_what_scores_the_threshold_is_accepted_of_the_person_and_of_strangers() -> None:
    values = Achieved(0.5, QUARTERS, QUARTERS, NONE).to_json()
    assert values["threshold"] == 0.5
    assert (values["frr"]["rejected"], values["frr"]["of"]) == (2, 4)
    assert values["far"] == {"accepted": 2, "of": 4, "share": 0.5}


def test_the_interval_is_that_of_so_few_takes() -> None:
    assert Achieved(0.5, np.ones(5, np.float32), QUARTERS, NONE).to_json()["frr"]["ci95"] == [0, 0.5218]
    assert Achieved(0.5, NONE, QUARTERS, NONE).to_json()["frr"]["ci95"] == [0, 1], "one take says nothing"


def test_the_kept_kind_comes_first_and_is_marked() -> None:
    report = {
        COSINE: Achieved(0.25, QUARTERS, QUARTERS, NONE).to_json(),
        TRAINED: Achieved(0.5, NONE, QUARTERS, NONE).to_json(),
    }
    for kept, other in ((TRAINED, COSINE), (COSINE, TRAINED)):
        _, first, second = lines(report, kept, {COSINE: "plain", TRAINED: "head"})
        names = {COSINE: "plain", TRAINED: "head"}
        assert first.split()[:2] == ["*", names[kept]]
        assert second.split()[0] == names[other]
    _, head, cosine = lines(report, TRAINED, {COSINE: "plain", TRAINED: "head"})
    assert "one take says nothing" in head
    assert "2 of 4 (50.0 %)" in head
    assert "1 of 4 (1 to 81 %)" in cosine
    assert "3 of 4 (75.0 %)" in cosine
