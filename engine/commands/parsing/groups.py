"""The commands that come in groups: people, settings, service, mqtt, wakes, learn."""

from __future__ import annotations

import argparse
from typing import Any

from .base import Commands, Parser, add_command, add_group
from .options import (
    EVENT_TYPES,
    add_keyword,
    add_models,
    add_person,
    add_settings,
    add_store,
    measure,
    positive,
)

ANEW = "enroll.commands.retrain_commands"  # what trains voiceprints anew
COMMANDS = "earmark.engine.commands"


def add_people(commands: Commands) -> None:
    """Who is enrolled."""
    what = add_group(commands, "people", "who is enrolled: to see, rename, move, take back, lock and erase")

    def command(name: str, function: str, text: str, module: str = "engine.commands.people_commands") -> Parser:
        made = add_command(what, name, f"earmark.{module}:{function}", text)
        add_store(made)
        return made

    command("list", "show_all", "everybody")
    show = command("show", "show", "what is known of one person, but not the voice itself")
    remove = command("remove", "remove", "erase a person, what waits to be learned, and that voice in the journal")
    remove.add_argument("--only-recordings", action="store_true", help="keep the voiceprints, erase the sound")
    rename = command("rename", "rename", "give a person another name, in the journal too")
    export = command("export", "export", "copy a person into one file, unencrypted")
    export.add_argument("--to", required=True, metavar="FILE.tar", help="a new file, mode 0600")
    export.add_argument("--no-recordings", action="store_true", help="voiceprints only, if recordings were kept")
    imported = command(
        "import", "import_file", "take a person from a file that `export` made", "enroll.commands.import_command"
    )
    imported.add_argument("file", metavar="FILE.tar")
    imported.add_argument("--as", dest="new_name", metavar="NAME", help="under another name")
    imported.add_argument("--replace", action="store_true", help="erase who has that name")
    imported.add_argument(
        "--unjudged",
        action="store_true",
        help="even if it is of other networks than those in use, so that nobody can say whom it lets in",
    )
    imported.add_argument(
        "--signed-by", metavar="KEY", help="only if it is signed with this key, as `people verify` shows it there"
    )
    add_models(imported)
    rollback = command("rollback", "rollback", "make an earlier version the newest again")
    rollback.add_argument("--to", type=positive, metavar="N", help="this version (the last but one)")
    rollback.add_argument("--keyword", dest="words", action="append", metavar="NAME", help="wake word; repeatable")
    for one in (show, remove, rename, export, rollback):
        add_person(one)
    rename.add_argument("new_name", metavar="NEW_NAME")
    retrain = command("retrain", "retrain", "make voiceprints anew with the networks in use", ANEW)
    add_person(retrain, "names", nargs="*", help="(everybody)")
    merge = command("merge", "merge_people", "make one person of two names, if they sound alike", ANEW)
    add_person(merge, help="stays")
    add_person(merge, "other", "OTHER", help="is erased; its takes go to NAME")
    merge.add_argument("--force", action="store_true", help="even if they do not sound like one person")
    for one in (retrain, merge):
        add_keyword(one)
        add_models(one)
    encrypt = command("encrypt", "encrypt", "seal everybody, and what waits to be learned")
    encrypt.epilog = (
        "The key is what --key-file holds, EARMARK_PASSPHRASE, or a passphrase that is asked for twice. Without it\n"
        "everybody must be enrolled again. A store that is encrypted already is completed, with its own key."
    )
    command("decrypt", "decrypt", "open everything again, and forget the key")
    command("tidy", "tidy", "finish and delete what killed processes left")
    verify = command(
        "verify",
        "verify",
        "whether all of the store is whole, and as its key left it",
        "engine.commands.diagnosis.verify",
    )
    verify.add_argument("--accept", action="store_true", help="take it as it is: a backup that you have put back")


def add_daemon(commands: Commands) -> None:
    """What the daemon is told, and tells."""
    what = add_group(commands, "settings", "what the daemon is told")
    show = add_command(what, "show", f"{COMMANDS}.settings_commands:show", "every setting, explained, as TOML")
    add_settings(show)
    check = add_command(what, "check", f"{COMMANDS}.settings_commands:check", "whether a settings file can be used")
    check.add_argument("file", nargs="?", metavar="FILE", help="the one that would be used, if none is given")

    what = add_group(commands, "service", "let systemd run the daemon")
    install = add_command(
        what, "install", f"{COMMANDS}.service.commands:install", "begin: from now on and after each start"
    )
    install.add_argument("--python", metavar="FILE", help="interpreter with earmark in it (the one that runs this)")
    uninstall = add_command(
        what, "uninstall", f"{COMMANDS}.service.commands:uninstall", "end; people and settings stay where they are"
    )
    state = add_command(
        what, "status", f"{COMMANDS}.service.commands:status", "what systemd and the daemon say of it"
    )
    for command in (install, uninstall):
        command.add_argument("--dry-run", action="store_true", help="only show what would be done")
        command.add_argument("--root", metavar="DIR", help="of an image: write below it, and start nothing")
    for command in (install, uninstall, state):
        command.add_argument("--user", action="store_true", help="your own service, with your sound server")

    what = add_group(commands, "mqtt", "what the daemon has left at its broker")
    forget = add_command(
        what, "forget", f"{COMMANDS}.service.broker:forget", "take the device, and all that the broker keeps, back"
    )
    forget.add_argument("--topic", metavar="TOPIC", help="of a daemon of before (that of the settings)")
    add_settings(forget)

    add_wakes(commands)
    add_learn(commands)

    status = add_command(commands, "status", f"{COMMANDS}.status:status", "how the running daemon is")
    add_settings(status)


def add_wakes(commands: Commands) -> None:
    """The journal."""
    what = add_group(commands, "wakes", "what woke the daemon and what nearly did, from its journal")

    def command(name: str, text: str) -> Parser:
        function = "wakes_list" if name == "list" else name
        made = add_command(what, name, f"{COMMANDS}.wakes_commands:{function}", text)
        add_settings(made)
        return made

    listed = command("list", "every entry: number, time, wake word, who, why, whose command followed, label")
    listed.add_argument("--type", choices=EVENT_TYPES, help="only of this type")
    add_person(listed, "--person", help="only where the daemon named this person, for the wake word or the command")
    listed.add_argument("--label", metavar="LABEL", help="only with this label: not-me, noise or a name")
    listed.add_argument("--last", type=positive, metavar="N", help="only the newest N")
    show = command("show", "everything about one entry")
    show.add_argument(
        "--plot",
        action=_Plot,
        metavar="PICTURE.png",
        help="draw its waveform with the keyword score",
    )
    play = command("play", "play the sound of one entry")
    export = command("export", "copy sound and event of entries into a folder")
    export.add_argument("numbers", nargs="+", type=positive, metavar="N")
    export.add_argument("--to", required=True, metavar="DIR", help="nothing in it is overwritten")
    forget = command("forget", "erase entries")
    forget.add_argument("numbers", nargs="*", type=positive, metavar="N")
    forget.add_argument("--all", action="store_true", help="every entry")
    label = command("label", "say who an entry really was, for later training")
    for one in (show, play, label):
        one.add_argument("number", type=positive, metavar="N")
    add_person(
        label, "label", "me|not-me|noise|NAME", help="me: whom it named, or who alone is enrolled; not-me: a stranger"
    )


def add_learn(commands: Commands) -> None:
    """Learning on."""
    what = add_group(commands, "learn", "what is learned on from what woke the daemon (settings: [learning])")
    module = f"{COMMANDS}.learn_commands"
    listed = add_command(what, "list", f"{module}:show_all", "what was learned, and what waits")
    now = add_command(
        what, "now", "earmark.enroll.commands.learn_now:now", "learn what waits, one wake of each person a day"
    )
    now.add_argument("--dry-run", action="store_true", help="say what would be learned, and change nothing")
    undo = add_command(what, "undo", f"{module}:undo", "take the last update of a person back, exactly")
    undo.add_argument("--for", dest="keyword_of", metavar="WORD", help="the wake word, where there are several")
    undo.add_argument("--all", action="store_true", help="everything since the enrolment")
    forget = add_command(what, "forget", f"{module}:forget", "erase what waits to be learned")
    forget.add_argument("--all", action="store_true", help="everybody's, strangers' too")
    add_person(listed, nargs="?", help="only of this person")
    add_person(undo)
    add_person(forget, nargs="?")
    for command in (listed, now, undo, forget):
        add_settings(command)
        add_store(command)
    add_models(now)


def add_fleet(commands: Commands) -> None:
    """Learning with other homes."""
    what = add_group(commands, "fleet", "learn with other homes, without sharing voices; off unless you consent")

    def command(name: str, function: str, text: str) -> Parser:
        return add_command(what, name, f"earmark.enroll.commands.fleet_commands:{function}", text)

    agent = command("agent", "agent", "answer on a socket: how this home would change the head's start")
    agent.add_argument("--clip", type=measure, default=1.0, help="length of the longest change that leaves (1)")
    agent.add_argument("--epsilon-round", type=measure, default=2.0, help="that one round may cost (2)")
    agent.add_argument("--group", action="store_true", help="the socket's group may ask too, as in the unit")
    consent = command("consent", "consent", "let a person take part, or no more")
    add_person(consent)
    consent.add_argument("--withdraw", action="store_true", help="no more, from the next round on")
    status = command("status", "status", "what left this device, when, and how much it told")
    join = command("join", "join_round", "take part in one round, and end")
    join.add_argument("--superlink", required=True, metavar="HOST:PORT", help="the fleet's server")
    join.add_argument("--certificates", required=True, metavar="FILE", help="that its certificate is checked with")
    join.add_argument("--key", required=True, metavar="FILE", help="this home's private key")
    join.add_argument("--wait-s", type=positive, default=3600, metavar="S", help="for a round to come (3600)")
    join.add_argument("--same-user", action="store_true", help="even if this user can read the people")
    take = command("take", "take", "try a published start on the people here, and make models of it if it is better")
    take.add_argument("start", metavar="DIR", help="with start.json, start.f32 and start.sig")
    take.add_argument("--signed-by", required=True, metavar="KEY", help="public key, 64 hexadecimal digits")
    key = command("key", "key", "make the key that a server signs its starts with")
    key.add_argument("file", metavar="FILE", help="a new file for the private key; the public one is printed")
    for each in (agent, status):
        each.add_argument("--epsilon-year", type=measure, default=8.0, help="budget of a year, at δ = 1e-5 (8)")
    for each in (agent, status, join):
        each.add_argument("--socket", metavar="FILE", help="of the agent")
    for each in (agent, consent, status, take):
        each.add_argument("--folder", metavar="DIR", help="of consents and ledger (~/.local/share/earmark/fleet)")
    for each in (agent, consent, take):
        add_store(each)
    for each in (agent, take):
        add_models(each)


class _Plot(argparse.Action):
    """Pictures are drawn in another module than everything else about an entry."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        namespace.plot, namespace.handler = values, "earmark.enroll.commands.enroll_commands:show_wake"
