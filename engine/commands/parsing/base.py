"""A parser that helps: it lists what there is to do, shows examples, and says what a mistyped word may mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from ...errors import did_you_mean
from .examples import EXAMPLES

ASKED_ELSEWHERE = {"help": "earmark --help", "version": "earmark --version"}  # commands of other programs
EXIT_CODES = (
    "Exit codes: 0 done, 1 something is wrong with the installation or the device, 2 bad input or usage, 3 refused."
)
Commands = Any
"""What argparse calls `_SubParsersAction`."""


class Parser(argparse.ArgumentParser):
    """argparse's parser with examples in its help, a list of commands where none is named, and suggestions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments; what the parser of a command does not know is said by that parser."""
        found, unknown = self.parse_known_args(args, namespace)
        used: Parser = getattr(found, "parser", self)
        if unknown:
            used.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(map(used.meant, unknown))}")
        if not hasattr(found, "handler"):
            used.print_help(sys.stderr)
            self.exit(2)
        return found

    def meant(self, word: str) -> str:
        """For a message: which option a mistyped one may have been."""
        option = word.split("=")[0]
        if not option.startswith("--"):
            return ""
        if option in self._option_string_actions:
            return f": {option} belongs behind `{self.prog}`"
        return did_you_mean(option, self._option_string_actions)

    def format_help(self) -> str:
        """The help, with examples at its end."""
        text, path = super().format_help(), self.prog.partition(" ")[2]
        lines = EXAMPLES.get(path, ())
        if not lines:
            return text
        width = max(len(line) for line, _ in lines)
        shown = [f"  {line:<{width}}  {what}".rstrip() for line, what in lines]
        return text + "\n" + "\n".join(["examples:", *shown]) + "\n"

    def commands(self) -> Commands | None:
        """Its sub-commands; None: it has none."""
        return next((action for action in self._actions if isinstance(action, argparse._SubParsersAction)), None)

    def leaves(self) -> Iterator[Parser]:
        """The parsers of all commands that do something, in the order of the help."""
        found = self.commands()
        if found is None:
            yield self
            return
        for parser in found.choices.values():
            yield from parser.leaves()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raises ArgumentError for what is none of the choices, with those that are near."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"no command {self.prog} {value}{self._meant_command(action, value)}")
        choices = ", ".join(map(str, action.choices))
        hint = did_you_mean(str(value), map(str, action.choices))
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint} (choose from {choices})")

    def _meant_command(self, action: Commands, word: str) -> str:
        """Commands of that name in a group are meant rather than what is only spelt like it."""
        if self.commands() is action and word in ASKED_ELSEWHERE:
            return f": did you mean `{ASKED_ELSEWHERE[word]}`?"
        same = [leaf.prog for leaf in self.leaves() if leaf.prog.split()[-1] == word.lower()]
        if same:
            return f": did you mean {' or '.join(f'`{name}`' for name in same)}?"
        return did_you_mean(word.lower(), action.choices) or f": `{self.prog}` lists what there is"


class Version(argparse.Action):
    """Looks versions and checksums up only when asked: importlib.metadata is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Prints them and ends."""
        from .. import versions

        for line in versions.lines():
            print(line)
        parser.exit()


def add_group(commands: Commands, name: str, text: str) -> Commands:
    """A command that is nothing but its sub-commands."""
    made = _add_parser(commands, name, text)
    return made.add_subparsers(metavar="COMMAND", title="commands")


def add_command(commands: Commands, name: str, handler: str, text: str) -> Parser:
    """A command with the options that all have.

    Args:
        commands: the group that it belongs to, or all commands.
        name: as it is typed.
        handler: "module:function", which takes the parsed arguments and returns the exit code; loaded when called.
        text: what it does, in one line.
    """
    made = _add_parser(commands, name, text)
    made.set_defaults(handler=handler)
    if name != "evaluate":  # its --json names a file
        made.add_argument("--json", action="store_true", help="machine output: one JSON object a line")
    made.add_argument("-v", "--verbose", action="store_true", help="more on standard error")
    return made


def _add_parser(commands: Commands, name: str, text: str) -> Parser:
    made: Parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.set_defaults(parser=made)
    return made
