"""Trial lists as people write them: any dialect of CSV, and what is named twice."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.errors import InputError
from earmark.enroll.evaluation.trials import SEPARATORS, TrialList, read_trials

ROWS = [
    ("a.wav", "Zoë", "hello there", "enroll"),
    ("b.wav", "Zoë", "hello there", "test"),
    ("sub dir/c.wav", "bob", "hello there", "test"),
    ("d.wav", "", "", "negative"),
]


def flat(trials: TrialList) -> set[tuple[str, str, str, str]]:
    named = {
        (path.name, speaker, phrase, role)
        for phrase, speakers in trials.people.items()
        for speaker, roles in speakers.items()
        for role, paths in roles.items()
        for path in paths
    }
    return named | {(path.name, "", "", "negative") for path in trials.negatives}


def written(separator: str, header: list[str], ends: str, quoted: bool) -> str:
    text = io.StringIO()
    if quoted or separator == " ":
        writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=csv.QUOTE_ALL)
    else:
        writer = csv.writer(text, delimiter=separator, lineterminator=ends)
    writer.writerow(header)
    writer.writerows(ROWS)
    return text.getvalue()


@given(
    separator=st.sampled_from(list(SEPARATORS)),
    upper=st.sampled_from([str, str.upper, str.title]),
    ends=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    before=st.sampled_from(["", "\n", "sep=;\n"]),
)
def test_any_dialect_is_the_same_list(
    tmp_path_factory: pytest.TempPathFactory,
    separator: str,
    upper: type[str],
    ends: str,
    quoted: bool,
    encoding: str,
    before: str,
) -> None:
    file = tmp_path_factory.mktemp("list") / "trials.csv"
    header = [upper(name) for name in ("path", "speaker", "phrase", "role")]
    file.write_bytes((before + written(separator, header, ends, quoted)).encode(encoding))
    assert flat(read_trials(file)) == {(Path(path).name, *rest) for path, *rest in ROWS}


@pytest.mark.parametrize(
    "text",
    [
        " path , speaker ,phrase, role \n a.wav , anna , hi , Enroll \n",
        "role;phrase;path;speaker;remark\nENROLL;hi;a.wav;anna;loud\n",
        "path,speaker,phrase,role\na.wav,anna,hi,enroll,\n,,,\n\n",
        "path  speaker  phrase  role\na.wav   anna  hi  enroll\n",
    ],
)
def test_spaces_case_order_other_columns_and_empty_rows_change_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trials.csv"
    file.write_text(text, "utf-8")
    assert flat(read_trials(file)) == {("a.wav", "anna", "hi", "enroll")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "columns path, phrase, role, speaker"),
        (b"file,who,phrase,role\n", "its first line is 'file,who,phrase,role'"),
        (b"path,speaker,phrase,role\na,b.wav,anna,hi,enroll\n", "line 2: 5 values, the first line has 4"),
        (b"path,speaker,phrase,role\n\na.wav,anna\n", "line 3: role='' must be one of enroll, test, negative"),
        (b"path,speaker,phrase,role\na.wav,,hi,test\n", "line 2: it has no speaker"),
        (b"path,speaker,phrase,role\n,anna,hi,test\n", "line 2: it has no path"),
        ("path,speaker,phrase,role\na.wav,Zoë,hi,test\n".encode("latin-1"), "line 2 is not UTF-8"),
        (b"path,path,speaker,phrase,role\n", "has the column path twice"),
    ],
)
def test_what_is_no_list_is_refused_with_what_was_found(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "trials.csv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_trials(file)


def test_a_recording_that_is_named_twice_is_said_and_counts_once_for_the_same(tmp_path: Path) -> None:
    for name, content in (("a.wav", b"one"), ("b.wav", b"two"), ("other.wav", b"three")):
        (tmp_path / name).write_bytes(content)
    shutil.copy(tmp_path / "a.wav", tmp_path / "copy.wav")
    (tmp_path / "link.wav").symlink_to("b.wav")
    rows = [
        "path,speaker,phrase,role",
        "a.wav,anna,hi,enroll",
        "./a.wav,anna,hi,enroll",
        "copy.wav,anna,hi,test",
        "b.wav,bob,hi,test",
        "link.wav,anna,hi,test",
        "b.wav,,,negative",
        "other.wav,anna,hi,test",
        "missing.wav,anna,hi,test",
        "missing.wav,anna,hi,test",
    ]
    (tmp_path / "trials.csv").write_text("\n".join(rows), "utf-8")
    trials = read_trials(tmp_path / "trials.csv")
    said = [line.replace(f"{tmp_path}/", "") for line in trials.repeated]
    both = "and counts as both: correct one line"
    assert said == [
        "line 3: a.wav: the same recording as in line 2 (enroll of anna, hi); it counts once",
        "line 4: copy.wav: the same recording as in line 2 (enroll of anna, hi); here it is test of anna, hi, "
        + both,
        f"line 6: link.wav: the same recording as in line 5 (test of bob, hi); here it is test of anna, hi, {both}",
        f"line 7: b.wav: the same recording as in line 5 (test of bob, hi); here it is negative, {both}",
        "line 10: missing.wav: the same recording as in line 9 (test of anna, hi); it counts once",
    ]
    assert len(trials.people["hi"]["anna"]["enroll"]) == 1
    assert len(trials.people["hi"]["anna"]["test"]) == 4
