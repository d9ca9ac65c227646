"""What there is to say on the command line: commands, options, and which function does each.

How the parser helps, the options that commands share, and the commands that come in groups are in `parsing/`.
"""

from __future__ import annotations

from ..networks.trained.kinds import HEAD, TRAINERS
from .parsing.base import EXIT_CODES, Parser, Version, add_command
from .parsing.groups import add_daemon, add_fleet, add_people
from .parsing.options import (
    add_channel,
    add_confirm,
    add_keyword,
    add_mode,
    add_models,
    add_person,
    add_phrase,
    add_settings,
    add_store,
    natural,
    positive,
    rt60_s,
    share,
    unit,
)

CODECS = ("mu-law", "gsm")  # those of enroll/training/telephone.py, which is loaded when it is called


def command_line() -> Parser:
    """All of it; nothing is loaded for it but argparse."""
    parser = Parser(prog="earmark", description="A wake word that knows whose voice it is.", epilog=EXIT_CODES)
    parser.add_argument("--version", action=Version, nargs=0, help="show versions and the checksums of the networks")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    enroll = add_command(
        commands,
        "enroll",
        "earmark.enroll.commands.enroll_commands:enroll",
        "learn a voice, in a conversation or from recordings",
    )
    add_person(enroll, help="of the person")
    enroll.add_argument(
        "--from",
        dest="files",
        nargs="+",
        default=[],
        metavar="FILE",
        help="recordings of the wake word, three at least, better five; nothing is asked then",
    )
    enroll.add_argument(
        "--others",
        nargs="+",
        default=[],
        metavar="FILE",
        help="other people at the same microphone, best saying the wake word, or the television; of any length",
    )
    enroll.add_argument(
        "--talk",
        nargs="*",
        metavar="FILE",
        help="half a minute of anything else by the person, so that commands are known too, from files or at the "
        "microphone; without --from it is added to who is enrolled",
    )
    enroll.add_argument(
        "--device", metavar="NAME", help="microphone of the conversation, by its name or a part of it"
    )
    add_channel(enroll, "of the recordings, or of the microphone")
    enroll.add_argument("--plain", action="store_true", help="a conversation in plain lines, without colours")
    enroll.add_argument("--no-beep", action="store_true", help='no beep of the terminal at "now"')
    enroll.add_argument("--keep-audio", metavar="DIR", help="keep the recorded takes there; else no sound is kept")
    enroll.add_argument("--plot", metavar="PICTURE.png", help="draw the scores and the threshold")
    add_phrase(
        enroll,
        "whatever is said, one utterance a file: to measure voices, for nothing wakes by it",
        own='a wake word of your own, as "ahoy house": learned from the takes, for this person alone',
    )
    enroll.add_argument(
        "--trainer",
        choices=TRAINERS,
        default=HEAD,
        help="how the voice is learned (head); see docs/on-device-training.md",
    )
    enroll.add_argument("--far", type=share, default=0.01, help="wanted share of accepted strangers (0.01)")
    enroll.add_argument(
        "--sensitivity", type=unit, default=0.5, help="of the keyword network: more hears a high or soft voice (0.5)"
    )
    enroll.add_argument("--min-takes", type=positive, default=3, metavar="N", help="fewer good takes are refused (3)")
    enroll.add_argument(
        "--seed", type=natural, default=0, help="of the augmentation; the same seed gives the same file (0)"
    )
    add_store(enroll)
    add_models(enroll)

    replay = add_command(
        commands, "replay", "earmark.engine.commands.replay:replay", "what the detector would say of recordings"
    )
    replay.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg; any rate, width and channels")
    add_channel(replay, "of the recordings")
    add_keyword(replay)
    add_mode(replay)
    add_confirm(replay)
    add_store(replay)
    add_models(replay)

    listen = add_command(
        commands, "listen", "earmark.engine.daemon.daemon:listen", "detect live, until SIGINT or SIGTERM"
    )
    source = listen.add_mutually_exclusive_group()
    source.add_argument("source", nargs="?", choices=["-"], help="raw 16 kHz mono s16le from standard input")
    source.add_argument(
        "--device", metavar="NAME", help="microphone, by its name or a part of it; none: only satellites"
    )
    add_channel(listen, "of the microphone, or of a pipe (which has audio.channels)", dest="device_channel")
    add_settings(listen)
    add_keyword(listen)
    add_mode(listen)
    add_confirm(listen)
    add_store(listen)
    add_models(listen)

    plot = add_command(
        commands,
        "plot",
        "earmark.enroll.commands.enroll_commands:plot",
        "draw a recording's timeline: scores, decisions, who",
    )
    plot.add_argument("file", metavar="FILE")
    plot.add_argument("--out", required=True, metavar="PICTURE.png")
    add_channel(plot, "of the recording")
    add_keyword(plot)
    add_mode(plot)
    add_confirm(plot)
    add_store(plot)
    add_models(plot)

    evaluate = add_command(
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
    add_phrase(evaluate, "no keyword network: one phrase a file, whatever it is")
    evaluate.add_argument("--takes", type=positive, metavar="N", help="enrol with at most so many takes (all)")
    add_channel(evaluate, "of all recordings")
    evaluate.add_argument("--noise", metavar="DIR", help="noise from these recordings is mixed into the test rows")
    evaluate.add_argument("--talker", metavar="DIR", help="somebody of these recordings talks during the test rows")
    evaluate.add_argument("--talkers", type=positive, default=1, metavar="N", help="so many at once (1); 4: babble")
    evaluate.add_argument("--snr-db", type=float, default=10.0, metavar="DB", help="speech to noise or talkers (10)")
    evaluate.add_argument("--room", type=rt60_s, metavar="RT60_S", help="test rows are heard in such a room")
    evaluate.add_argument("--direct-db", type=float, metavar="DB", help="direct to reverberant (drawn from -3 to 8)")
    evaluate.add_argument("--first-part", type=share, default=1.0, metavar="SHARE", help="so much of a word is said")
    evaluate.add_argument("--microphone", metavar="NAME", help="test rows come through it; any draws one for each")
    evaluate.add_argument("--clip-db", type=float, default=0.0, metavar="DB", help="so far over full scale")
    evaluate.add_argument("--telephone", choices=CODECS, help="test rows pass a telephone line of 8 kHz")
    evaluate.add_argument("--takes-telephone", choices=CODECS, help="enroll rows pass such a line")
    evaluate.add_argument("--gain-db", type=float, default=0.0, metavar="DB", help="test rows are louder or quieter")
    evaluate.add_argument("--trainer", choices=TRAINERS, default=HEAD, help="how the voices are learned (head)")
    evaluate.add_argument("--far", type=share, default=0.01, help="wanted share of accepted strangers (0.01)")
    evaluate.add_argument("--keep", metavar="DIR", help="enrolments stay there for the next run, in other conditions")
    evaluate.add_argument("--threads", type=positive, metavar="N", help="at a time (one a processor); 15 MB each")
    evaluate.add_argument("--plot", metavar="PICTURE.png", help="draw the detection error trade-off")
    evaluate.add_argument("--json", metavar="OUT", help="write the results there; - is standard output")
    evaluate.add_argument("--per-person", action="store_true", help="rates of each person; in --json every score too")
    add_models(evaluate)

    add_daemon(commands)
    add_people(commands)
    add_fleet(commands)

    web = add_command(
        commands, "web", "earmark.enroll.commands.web_command:web", "a page for a phone or a browser, until SIGINT"
    )
    web.add_argument("--code", action="store_true", help="only make a new code to log in with, and print it")
    web.add_argument("--address", metavar="ADDRESS", help="where it listens (127.0.0.1); 0.0.0.0: for the network")
    web.add_argument("--port", type=positive, metavar="PORT", help="(8480)")
    add_settings(web)
    add_store(web)

    add_command(commands, "devices", "earmark.engine.commands.replay:devices", "microphones")
    bench = add_command(
        commands, "bench", "earmark.enroll.commands.bench:bench", "what each stage costs on this machine"
    )
    add_keyword(bench)
    bench.add_argument("--against", metavar="PEER", help="compare with this program's own loop: pymicro-wakeword")
    bench.add_argument("--runs", type=positive, default=5, metavar="N", help="measure each stage so often (5)")
    bench.add_argument("--live", action="store_true", help="instead the daemon in real time, which takes minutes")
    bench.add_argument("--plot", metavar="PICTURE.png", help="draw what runs always")
    add_models(bench)
    doctor = add_command(
        commands, "doctor", "earmark.engine.commands.doctor:doctor", "check models, audio devices and the store"
    )
    add_store(doctor)
    doctor.add_argument(
        "--microphone", action="store_true", help="record for a second too: it fails where nothing can be recorded"
    )
    doctor.add_argument(
        "--loudspeaker", action="store_true", help="play a tone too: it fails where nothing can be played"
    )
    doctor.add_argument("--bundle", metavar="FILE", help="write a text file for a report, without voices and names")
    return parser
