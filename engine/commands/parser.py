"""What there is to say on the command line: commands, options, and which function does each."""

from __future__ import annotations

import argparse
from typing import Any

from .option_values import natural, positive, rt60_s, setting, share, unit

# As settings/policy.py and event.py have them: importing those would add a sixth to what `--help` takes, 8 ms
# (tests/test_cli.py holds them together)
MODES = ("only", "prefer", "label")
EVENT_TYPES = ("detection", "rejection", "near_miss")
DEFAULT_KEYWORD = "okay_nabu"
EXIT_CODES = (
    "Exit codes: 0 done, 1 something is wrong with the installation or the device, 2 bad input or usage, 3 refused."
)


class _Version(argparse.Action):
    """Looks versions and checksums up only when asked: importlib.metadata is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from . import versions

        for line in versions.lines():
            print(line)
        parser.exit()


def command_line() -> argparse.ArgumentParser:
    """All of it; nothing is loaded for it but argparse."""
    parser = argparse.ArgumentParser(
        prog="earmark",
        description="A wake word that knows whose voice it is.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show versions and the checksums of the networks")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    enroll = _command(
        commands,
        "enroll",
        "earmark.enroll.commands.enroll_commands:enroll",
        "learn a voice, in a conversation or from recordings",
    )
    enroll.add_argument("name", metavar="NAME", help="of the person")
    enroll.add_argument(
        "--from",
        dest="files",
        nargs="+",
        default=[],
        metavar="FILE",
        help="recordings of the wake word, five or more; nothing is asked then",
    )
    enroll.add_argument(
        "--others",
        nargs="+",
        default=[],
        metavar="FILE",
        help="other people at the same microphone, best saying the wake word, or the television; of any length",
    )
    enroll.add_argument(
        "--device", metavar="NAME", help="microphone of the conversation, by its name or a part of it"
    )
    _add_channel(enroll, "of the recordings, or of the microphone")
    enroll.add_argument("--plain", action="store_true", help="a conversation in plain lines, without colours")
    enroll.add_argument("--keep-audio", metavar="DIR", help="keep the recorded takes there; else no sound is kept")
    enroll.add_argument("--plot", metavar="PICTURE.png", help="draw the scores and the threshold")
    phrase = enroll.add_mutually_exclusive_group()
    _add_keyword(phrase)
    phrase.add_argument(
        "--any-phrase", action="store_true", help="no keyword network: one phrase a file, whatever it is"
    )
    enroll.add_argument("--far", type=share, default=0.01, help="wanted share of accepted strangers (0.01)")
    enroll.add_argument(
        "--sensitivity", type=unit, default=0.5, help="of the keyword network: more hears a high or soft voice (0.5)"
    )
    enroll.add_argument("--min-takes", type=positive, default=3, metavar="N", help="fewer good takes are refused (3)")
    enroll.add_argument(
        "--seed", type=natural, default=0, help="of the augmentation; the same seed gives the same file (0)"
    )
    _add_store(enroll)
    _add_models(enroll)

    replay = _command(
        commands, "replay", "earmark.engine.commands.replay:replay", "what the detector would say of recordings"
    )
    replay.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg; any rate, width and channels")
    _add_channel(replay, "of the recordings")
    _add_keyword(replay)
    _add_mode(replay)
    _add_store(replay)
    _add_models(replay)

    listen = _command(
        commands, "listen", "earmark.engine.daemon.daemon:listen", "detect live, until SIGINT or SIGTERM"
    )
    source = listen.add_mutually_exclusive_group()
    source.add_argument("source", nargs="?", choices=["-"], help="raw 16 kHz mono s16le from standard input")
    source.add_argument(
        "--device", metavar="NAME", help="microphone, by its name or a part of it; none: only satellites"
    )
    _add_channel(listen, "of the microphone, or of a pipe (which has audio.channels)", dest="device_channel")
    _add_settings(listen)
    _add_keyword(listen)
    _add_mode(listen)
    _add_store(listen)
    _add_models(listen)

    plot = _command(
        commands,
        "plot",
        "earmark.enroll.commands.enroll_commands:plot",
        "draw a recording's timeline: scores, decisions, who",
    )
    plot.add_argument("file", metavar="FILE")
    plot.add_argument("--out", required=True, metavar="PICTURE.png")
    _add_channel(plot, "of the recording")
    _add_keyword(plot)
    _add_mode(plot)
    _add_store(plot)
    _add_models(plot)

    evaluate = _command(
        commands,
        "evaluate",
        "earmark.enroll.commands.evaluate_command:evaluate",
        "error rates on recordings of your own people",
    )
    evaluate.add_argument(
        "trials",
        metavar="TRIALS.csv",
        help="columns path,speaker,phrase,role; role: enroll, test or negative; paths relative to the file",
    )
    phrase = evaluate.add_mutually_exclusive_group()
    _add_keyword(phrase)
    phrase.add_argument(
        "--any-phrase", action="store_true", help="no keyword network: one phrase a file, whatever it is"
    )
    evaluate.add_argument("--takes", type=positive, metavar="N", help="enrol with at most so many takes (all)")
    _add_channel(evaluate, "of all recordings")
    evaluate.add_argument("--noise", metavar="DIR", help="noise from these recordings is mixed into the test rows")
    evaluate.add_argument("--snr-db", type=float, default=10.0, metavar="DB", help="speech to noise (10)")
    evaluate.add_argument("--room", type=rt60_s, metavar="RT60_S", help="test rows are heard in such a room")
    evaluate.add_argument("--telephone", action="store_true", help="test rows pass a telephone line (300-3400 Hz)")
    evaluate.add_argument("--gain-db", type=float, default=0.0, metavar="DB", help="test rows are louder or quieter")
    evaluate.add_argument("--far", type=share, default=0.01, help="wanted share of accepted strangers (0.01)")
    evaluate.add_argument("--plot", metavar="PICTURE.png", help="draw the detection error trade-off")
    evaluate.add_argument("--json", metavar="OUT", help="write the results there; - is standard output")
    evaluate.add_argument("--per-person", action="store_true", help="rates of each person; in --json every score too")
    _add_models(evaluate)

    _add_daemon_commands(commands)

    _add_people_commands(commands)
    _command(commands, "devices", "earmark.engine.commands.replay:devices", "microphones")
    bench = _command(
        commands, "bench", "earmark.enroll.commands.bench:bench", "what each stage costs on this machine"
    )
    _add_keyword(bench)
    bench.add_argument("--against", metavar="PEER", help="compare with this program's own loop: pymicro-wakeword")
    bench.add_argument("--plot", metavar="PICTURE.png", help="draw what runs always")
    _add_models(bench)
    doctor = _command(
        commands, "doctor", "earmark.engine.commands.doctor:doctor", "check models, audio devices and the store"
    )
    _add_store(doctor)
    doctor.add_argument("--bundle", metavar="FILE", help="write a text file for a report, without voices and names")
    return parser


ANEW = "enroll.commands.retrain_commands"  # what trains voiceprints anew


def _add_people_commands(commands: Any) -> None:
    people = _command(commands, "people", "", "who is enrolled: to see, rename, move, take back, lock and erase")
    what = people.add_subparsers(metavar="WHAT", required=True)

    def command(
        name: str, function: str, text: str, module: str = "engine.commands.people_commands"
    ) -> argparse.ArgumentParser:
        made = _command(what, name, f"earmark.{module}:{function}", text)
        _add_store(made)
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
        "--signed-by", metavar="KEY", help="only if it is signed with this key, as `people verify` shows it there"
    )
    rollback = command("rollback", "rollback", "make an earlier version the newest again")
    rollback.add_argument("--to", type=positive, metavar="N", help="this version (the last but one)")
    rollback.add_argument("--keyword", dest="words", action="append", metavar="NAME", help="wake word; repeatable")
    _add_models(imported)
    for one in (show, remove, rename, export, rollback):
        one.add_argument("name", metavar="NAME")
    rename.add_argument("new_name", metavar="NEW_NAME")
    retrain = command("retrain", "retrain", "make voiceprints anew with the networks in use", ANEW)
    retrain.add_argument("names", nargs="*", metavar="NAME", help="(everybody)")
    merge = command("merge", "merge_people", "make one person of two names, if they sound alike", ANEW)
    merge.add_argument("name", metavar="NAME", help="stays")
    merge.add_argument("other", metavar="OTHER", help="is erased; its takes go to NAME")
    merge.add_argument("--force", action="store_true", help="even if they do not sound like one person")
    for one in (retrain, merge):
        _add_keyword(one)
        _add_models(one)
    encrypt = command("encrypt", "encrypt", "seal everybody, and what waits to be learned")
    encrypt.epilog = (
        "The key is what --key-file holds, EARMARK_PASSPHRASE, or a passphrase that is asked for twice. Without it "
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


def _add_daemon_commands(commands: Any) -> None:
    settings = _command(commands, "settings", "", "what the daemon is told")
    what = settings.add_subparsers(metavar="WHAT", required=True)
    show = _command(
        what, "show", "earmark.engine.commands.settings_commands:show", "every setting, explained, as TOML"
    )
    _add_settings(show)
    check = _command(
        what, "check", "earmark.engine.commands.settings_commands:check", "whether a settings file can be used"
    )
    check.add_argument("file", nargs="?", metavar="FILE", help="the one that would be used, if none is given")

    service = _command(commands, "service", "", "let systemd run the daemon")
    what = service.add_subparsers(metavar="WHAT", required=True)
    place = "earmark.engine.commands.service.commands"
    install = _command(what, "install", f"{place}:install", "begin: from now on and after each start")
    install.add_argument("--python", metavar="FILE", help="interpreter with earmark in it (the one that runs this)")
    uninstall = _command(
        what,
        "uninstall",
        "earmark.engine.commands.service.commands:uninstall",
        "end; people and settings stay where they are",
    )
    state = _command(what, "status", f"{place}:status", "what systemd and the daemon say of it")
    for command in (install, uninstall):
        command.add_argument("--dry-run", action="store_true", help="only show what would be done")
        command.add_argument("--root", metavar="DIR", help="of an image: write below it, and start nothing")
    for command in (install, uninstall, state):
        command.add_argument("--user", action="store_true", help="your own service, with your sound server")

    _add_wakes_commands(commands)

    _add_learn_commands(commands)

    status = _command(commands, "status", "earmark.engine.commands.status:status", "how the running daemon is")
    _add_settings(status)


def _add_wakes_commands(commands: Any) -> None:
    wakes = _command(commands, "wakes", "", "what woke the daemon and what nearly did, from its journal")
    what = wakes.add_subparsers(metavar="WHAT", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        function = "wakes_list" if name == "list" else name
        made = _command(what, name, f"earmark.engine.commands.wakes_commands:{function}", text)
        _add_settings(made)
        return made

    listed = command("list", "every entry: number, time, wake word, who, why, label")
    listed.add_argument("--type", choices=EVENT_TYPES, help="only of this type")
    listed.add_argument("--person", metavar="NAME", help="only where the daemon named this person")
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
    label.add_argument(
        "label",
        metavar="me|not-me|noise|NAME",
        help="me: whom it named, or who alone is enrolled; not-me: a stranger",
    )


def _add_learn_commands(commands: Any) -> None:
    learn = _command(commands, "learn", "", "what is learned on from what woke the daemon (settings: [learning])")
    what = learn.add_subparsers(metavar="WHAT", required=True)
    listed = _command(
        what, "list", "earmark.engine.commands.learn_commands:show_all", "what was learned, and what waits"
    )
    now = _command(
        what, "now", "earmark.enroll.commands.learn_now:now", "learn what waits, one wake of each person a day"
    )
    now.add_argument("--dry-run", action="store_true", help="say what would be learned, and change nothing")
    undo = _command(
        what, "undo", "earmark.engine.commands.learn_commands:undo", "take the last update of a person back, exactly"
    )
    undo.add_argument("--for", dest="keyword_of", metavar="WORD", help="the wake word, where there are several")
    undo.add_argument("--all", action="store_true", help="everything since the enrolment")
    forget = _command(
        what, "forget", "earmark.engine.commands.learn_commands:forget", "erase what waits to be learned"
    )
    forget.add_argument("--all", action="store_true", help="everybody's, strangers' too")
    listed.add_argument("name", metavar="NAME", nargs="?", help="only of this person")
    undo.add_argument("name", metavar="NAME")
    forget.add_argument("name", metavar="NAME", nargs="?")
    for command in (listed, now, undo, forget):
        _add_settings(command)
        _add_store(command)
    _add_models(now)


class _Plot(argparse.Action):
    """Pictures are drawn in another module than everything else about an entry."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: Any = None) -> None:
        namespace.plot, namespace.handler = values, "earmark.enroll.commands.enroll_commands:show_wake"


def _command(commands: Any, name: str, handler: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + "."
    )
    if handler:
        command.set_defaults(handler=handler)
        if name != "evaluate":  # its --json names a file
            command.add_argument("--json", action="store_true", help="machine output: one JSON object a line")
        command.add_argument("-v", "--verbose", action="store_true", help="more on standard error")
    return command


def _add_keyword(command: Any) -> None:
    command.add_argument(
        "--keyword",
        action="append",
        metavar="NAME|MANIFEST.json",
        help=f"wake word: a built-in name or a microWakeWord v2 manifest; repeatable ({DEFAULT_KEYWORD})",
    )


def _add_channel(command: argparse.ArgumentParser, where: str, dest: str = "channel") -> None:
    command.add_argument(
        "--channel",
        dest=dest,
        type=natural,
        metavar="N",
        help=f"only this channel {where}, from 0 (those that hold the voice)",
    )


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settings",
        metavar="FILE.toml",
        help="(~/.config/earmark/earmark.toml, or /etc/earmark/earmark.toml)",
    )
    command.add_argument(
        "--set",
        action="append",
        type=setting,
        metavar="KEY=VALUE",
        help="one setting; repeatable (mqtt.host=broker)",
    )


def _add_mode(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mode",
        choices=MODES,
        help="only: known people wake (default); prefer: everyone wakes, known people by name; label: only name",
    )


def _add_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", metavar="DIR", help="of the people (~/.local/share/earmark/people)")
    command.add_argument(
        "--key-file", metavar="FILE", help="key of an encrypted store; else EARMARK_PASSPHRASE, or it is asked for"
    )


def _add_models(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--models", metavar="DIR", help="speaker network, head and cohort of your own, each with its card (built in)"
    )
