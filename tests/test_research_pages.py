"""The pages of docs/research: each says with which network it was measured, when, and by which script."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY
from test_documents import sentences, words
from test_imports import DOOR, FLOORS

RESEARCH = REPOSITORY / "docs" / "research"
INDEX = RESEARCH / "index.md"  # tells of the pages and of the corpora; measures nothing
PAGES = sorted(path for path in RESEARCH.iterdir() if path.suffix in (".md", ".txt") and path != INDEX)
ALL_PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
ROOMS = ("engine", "enroll", "models", "scripts", "docs", "tests")
CODE = sorted(
    path
    for room in ROOMS
    for path in (REPOSITORY / room).rglob("*")
    if path.is_file() and (path.suffix in (".py", ".md") or room == "scripts") and path != Path(__file__)
    if "__pycache__" not in path.parts
)
OLDER = "Measured with an older network"
NO_NETWORK, NO_SCRIPT = "no network", "none; not repeatable"
NICKNAMES = ("asc", "dsp", "gsc", "wuw")
MOST_WORDS = 35  # of a sentence: it is understood when read once
MOST_LINES = {"architecture.md": 150, "how_it_works.md": 200}
HEX = r"[0-9a-f]"


def ids(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def fields(page: Path) -> dict[str, str]:
    """The lines `* key: value` under a page's title, or `# key: value` at the top of a log; a value may be
    wrapped."""
    text = page.read_text("utf-8")
    if page.suffix == ".txt":
        return dict(re.findall(r"^# (\w+): (.*)$", text.split("\n$ ", 1)[0], flags=re.MULTILINE))
    title, head = text.split("\n\n")[:2]
    assert re.fullmatch(r"# .+", title), f"{page.name} begins with its title"
    return {
        key: " ".join(value.split()) for key, value in re.findall(r"^\* (\w+): ((?:.|\n(?!\*))*)", head, re.MULTILINE)
    }


def hashes(text: str) -> set[str]:
    return set(re.findall(rf"`({HEX}{{12}})`", text))


def cards(name: str) -> dict[str, str]:
    """Where a model lies -> its sha256: the shipped one and those of the folds."""
    models = REPOSITORY / "models"
    folders = {
        "shipped": models,
        **{f"fold {folder.name}": folder for folder in sorted((models / "folds").iterdir())},
    }
    found = {}
    for where, folder in folders.items():
        card = json.loads((folder / f"{name}.json").read_text("utf-8"))
        assert hashlib.sha256((folder / card["file"]).read_bytes()).hexdigest() == card["sha256"]
        found[where] = card["sha256"][:12]
    return found


def faults(page: Path) -> Iterator[str]:
    """What is wrong with a page's heading."""
    found = fields(page)
    for key in ("network", "measured", "script"):
        if key not in found:
            yield f"no line `{key}:`"
            return
    for key, model in (("network", "speaker"), ("head", "head")):
        if key not in found:
            continue
        value, now = found[key], cards(model)
        named = hashes(value)
        if key == "network" and not named and value != NO_NETWORK:
            yield f"names no network, and does not say `{NO_NETWORK}`"
        for where, digits in re.findall(rf"(shipped|fold \d) `({HEX}{{12}})`", value):
            if now[where] != digits:
                yield f"says {where} `{digits}`, which is `{now[where]}`"
        older = named - set(now.values())
        if older and OLDER not in found["network"]:
            yield f"{sorted(older)} is another {model} than what is here: the line must say {OLDER!r}"
        if key == "network" and OLDER in value and not older:
            yield f"says {OLDER!r}, and names none"
    if not re.search(r"\b20\d\d-\d\d-\d\d\b", found["measured"]):
        yield "no date"
    scripts = re.findall(r"`(scripts/[\w/.]+)`", found["script"])
    yield from (f"{script} does not exist" for script in scripts if not (REPOSITORY / script).is_file())
    if not scripts and not found["script"].startswith(NO_SCRIPT):
        yield f"names no script, and does not say {NO_SCRIPT!r}"


def test_the_pages_are_found() -> None:
    names = {path.name for path in PAGES}
    assert names >= {"accuracy.md", "arm64.md", "soak.md", "check_install.txt", "enrolment_session.txt"}
    assert len(names) > 20


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_each_page_says_network_day_and_script(page: Path) -> None:
    assert list(faults(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_network_of_a_log_is_in_the_heading(page: Path) -> None:
    """What `earmark --version` printed while it was measured."""
    logged = set(
        re.findall(rf"^sha256 ({HEX}{{12}}){HEX}{{52}}  speaker\.tflite$", page.read_text("utf-8"), re.MULTILINE)
    )
    assert logged <= hashes(fields(page)["network"])


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        ("shipped `123456789abc`", "says shipped"),
        ("`123456789abc`", "another speaker"),
        (f"shipped `{{shipped}}`. {OLDER}", "names none"),
        ("the best one", "names no network"),
    ],
)
def test_a_heading_that_is_wrong_is_noticed(network: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    network = network.format(shipped=cards("speaker")["shipped"])
    page.write_text(
        f"# Page\n\n* network: {network}\n* measured: 2026-11-25\n* script: `scripts/test`\n\nText.\n", "utf-8"
    )
    assert fault in " ".join(faults(page))


@pytest.mark.parametrize("networks", ["SHIPPED", "FOLD_NETWORKS", "NONE"])
def test_the_studies_write_a_heading_that_holds(networks: str, tmp_path: Path) -> None:
    place = REPOSITORY / "scripts" / "studies" / "heading.py"
    heading = runpy.run_path(str(place))
    page = tmp_path / "page.md"
    page.write_text(
        heading["heading"]("Page", str(place), heading[networks], head=True, corpora=True) + "\nText.\n", "utf-8"
    )
    assert list(faults(page)) == []
    assert fields(page)["script"] == "`scripts/studies/heading.py`"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_script_of_a_page_writes_its_heading(page: Path) -> None:
    scripts = re.findall(r"`(scripts/[\w/.]+)`", fields(page)["script"])
    for script in scripts if page.name != "arm64.md" else []:  # that one prints a section
        assert "heading" in (REPOSITORY / script).read_text("utf-8"), script


def test_the_index_names_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w.]+)\)", INDEX.read_text("utf-8")))
    assert {page.name for page in PAGES} - linked == set()


@pytest.mark.parametrize("file", CODE, ids=ids)
def test_what_was_measured_once_names_a_script_or_is_called_not_repeatable(file: Path) -> None:
    for paragraph in re.split(r"\n\s*\n", file.read_text("utf-8")):
        if re.search(r"measured\W+(?:#\W+)?once", paragraph, flags=re.IGNORECASE):
            assert re.search(r"scripts/\w+|not\s+repeatable", paragraph), (
                f"a script, or 'not repeatable':\n{paragraph}"
            )


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
def test_no_sentence_has_more_than_35_words(page: Path) -> None:
    assert [each for each in sentences(page.read_text("utf-8")) if words(each) > MOST_WORDS] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
@pytest.mark.parametrize("name", NICKNAMES)
def test_a_corpus_is_explained_before_its_short_name_is_used(page: Path, name: str) -> None:
    """Where it stands first it stands in bold, and who speaks there follows."""
    text = re.sub(r"\]\([^)]*\)", "]", page.read_text("utf-8"))
    first = re.search(rf"\b{name}\b", text)
    if first:
        assert re.match(
            rf"\*\*{name}\*\*(?: \| [^|]*?:)? .{{,40}}(?:people|students|callers|bed)", text[first.start() - 2 :]
        )


@pytest.mark.parametrize("name", MOST_LINES)
def test_the_pages_for_developers_stay_short(name: str) -> None:
    assert len((REPOSITORY / "docs" / name).read_text("utf-8").splitlines()) <= MOST_LINES[name]


def rooms(package: str) -> dict[str, list[str]]:
    """room of a package -> the modules that docs/architecture.md names there, in the page's order."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    table = text.split(f"| room of `{package}/` |")[1].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    return {re.sub(r"[`/ ]", "", room): re.findall(r"`(\w+)`", held) for room, held in rows}


def test_the_map_has_the_floors_that_the_imports_are_held_to() -> None:
    assert list(rooms("engine")) == [floor.replace(DOOR, "thedoor") for floor in FLOORS if floor != "errors"]


@pytest.mark.parametrize("package", ["engine", "enroll"])
def test_the_map_names_modules_where_they_are(package: str) -> None:
    drawn = rooms(package)
    there = {path.name for path in (REPOSITORY / package).iterdir() if (path / "__init__.py").is_file()}
    assert set(drawn) == there | {"thedoor"}
    for room, modules in drawn.items():
        folder = REPOSITORY / package / ("" if room == "thedoor" else room)
        assert [name for name in modules if not (folder / f"{name}.py").is_file()] == []
