"""Writes the manual page from the texts of the parser and the settings: `python scripts/parts/man_page.py [FILE]`.

By default engine/commands/parsing/earmark.1, which an installation puts where `man` finds it. tests/test_help.py
fails where that is not what this writes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from earmark.engine.commands.parser import command_line
from earmark.engine.commands.parsing.base import Parser
from earmark.engine.commands.parsing.examples import EXAMPLES
from earmark.engine.settings.schema import keys

PAGE = Path(__file__).parents[2] / "engine" / "commands" / "parsing" / "earmark.1"
SETUP = Path(__file__).parents[2] / "setup.cfg"
EXITS = (
    ("0", "done"),
    ("1", "something is wrong with the installation or the device"),
    ("2", "bad input or usage"),
    ("3", "enrolment refused"),
    ("130", "ended by Ctrl-C"),
)
FILES = (
    ("~/.config/earmark/earmark.toml", "settings; else /etc/earmark/earmark.toml"),
    ("~/.local/share/earmark/people", "the people; of the service /var/lib/earmark/people"),
    ("~/.local/share/earmark/wakes", "the journal, where it is kept"),
    ("~/.local/state/earmark/sessions", "takes of an enrolment that was broken off"),
)
ENVIRONMENT = (
    ("EARMARK_SETTINGS", "the file of the settings; empty: none"),
    ("EARMARK_SECTION_KEY", "a setting: EARMARK_MQTT_HOST is mqtt.host"),
    ("EARMARK_PASSPHRASE", "of an encrypted store"),
    ("XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME", "where the folders above are"),
)


def plain(text: str) -> str:
    """A text as roff shows it: no escapes, no requests, hyphens that can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return re.sub(r"^\.", r"\\&.", escaped)


def tagged(name: str, text: str) -> Iterator[str]:
    """A name, and below it what it is."""
    yield ".TP"
    yield f".B {plain(name)}"
    yield plain(text) or "\\&"


def options_of(parser: Parser) -> Iterator[str]:
    """Arguments and options, as `--help` calls them."""
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        yield from tagged(formatter._format_action_invocation(action), action.help or "")


def command(parser: Parser) -> Iterator[str]:
    """A command with its options and examples."""
    yield f".SS {parser.prog}"
    yield plain(parser.description or "")
    yield from options_of(parser)
    yield from examples(parser.prog.partition(" ")[2])


def examples(path: str) -> Iterator[str]:
    """What is typed, and what that does."""
    for line, what in EXAMPLES.get(path, ()):
        yield ".PP"
        yield (
            f".RS 4\n.EX\n{plain(line)}\n.EE\n{plain(what)}\n.RE" if what else f".RS 4\n.EX\n{plain(line)}\n.EE\n.RE"
        )


def page() -> Iterator[str]:
    """All of it."""
    parser = command_line()
    version = re.search(r"^version = (.*)$", SETUP.read_text("utf-8"), flags=re.MULTILINE)
    assert version
    yield '.\\" Written by scripts/parts/man_page.py from the texts of the parser: change those.'
    yield f'.TH EARMARK 1 "" "earmark {version[1]}"'
    yield ".SH NAME"
    yield f"earmark \\- {plain('a wake word that knows whose voice it is')}"
    yield ".SH SYNOPSIS"
    yield ".B earmark\n.I COMMAND\n[\\fIOPTIONS\\fR]"
    yield ".SH EXAMPLES"
    yield from examples("")
    yield ".SH COMMANDS"
    for leaf in parser.leaves():
        yield from command(leaf)
    yield ".SH SETTINGS"
    yield plain("In the file as [section] and key, in the environment and with --set as below; their defaults:")
    for name, key in keys():
        yield from tagged(name, key.metadata["text"])
    for title, rows in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXITS)):
        yield f".SH {title}"
        for name, text in rows:
            yield from tagged(name, text)


def main() -> int:
    """Writes the page."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text("\n".join(page()) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
