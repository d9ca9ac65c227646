"""The command line: what there is to say; who does it is loaded only when it is said."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from earmark.engine.commands.parser import command_line
from earmark.engine.processes.printable import Printable

FLAGS = {  # what a flag is called in the settings
    "keyword": "wake.keywords",
    "mode": "wake.mode",
    "confirm": "wake.confirm",
    "store": "people.store",
    "key_file": "people.key_file",
    "models": "people.models",
    "device": "audio.device",
    "device_channel": "audio.channel",
    "address": "web.address",
    "port": "web.port",
}


def process() -> int:
    """Runs the command of `sys.argv`, in a process of its own; returns the exit code."""
    from earmark.engine.processes import passphrase
    from earmark.engine.processes.own import forget_relative_path, let_nobody_else_write
    from earmark.engine.processes.private import keep_private

    let_nobody_else_write()
    forget_relative_path()
    why = keep_private()
    if why and sys.stderr is not None:
        print(f"earmark: others may read keys and voices in the memory of this process: {why}", file=sys.stderr)
    try:
        passphrase.take()
    except (OSError, ValueError, OverflowError) as error:
        from earmark.engine.errors import text_of

        if sys.stderr is not None:
            why = text_of(error)
            print(f"earmark: {passphrase.SOCKET_VARIABLE}: no passphrase comes that way: {why}", file=sys.stderr)
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be any bytes
    streams = sys.stdout, sys.stderr
    # what a file, a name or a client chose must not move the cursor of who reads it
    sys.stdout, sys.stderr = (Printable(stream) if stream is not None else None for stream in streams)
    try:
        return _main(argv)
    finally:
        sys.stdout, sys.stderr = streams


def _main(argv: Sequence[str] | None) -> int:
    parser, code = command_line(), 0
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    try:
        try:
            code = _run(parser.parse_args(argv))
        finally:  # --help exits, and has something to write all the same
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of our standard output went away, as `| head` does
        _drop_output()
    except OSError as error:  # a full disk behind our standard output, for one
        from earmark.engine.errors import text_of

        closed = error.errno == errno.EBADF  # `>&-`, which __main__ has opened for reading alone
        print(f"earmark: {'standard output is closed' if closed else text_of(error)}", file=sys.stderr)
        _drop_output()
        code = 1
    return code


def _complete(parser: argparse.ArgumentParser) -> None:
    """A shell asks how a line goes on: answers, and ends the process; without the extra `completion` nothing does."""
    with contextlib.suppress(ImportError):
        import argcomplete

        argcomplete.autocomplete(parser)


def _run(arguments: argparse.Namespace) -> int:
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="earmark: %(message)s")
    # The matrices here are small: BLAS threads would only wait for each other, and burn a second core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from earmark.engine.errors import EarmarkError  # here so that --help needs nothing at all

    try:
        if any(hasattr(arguments, flag) for flag in FLAGS):
            _apply_settings(arguments)
        run = _handler(arguments.handler)
        with _interruptible():
            return run(arguments)
    except EarmarkError as error:
        print(f"earmark: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # as a shell says it: ended by SIGINT


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt in here, where `__main__` has made it end the process at once."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _apply_settings(arguments: argparse.Namespace) -> None:
    """Fills what no flag says from the environment and the settings file; keeps how to do it again for a reload.

    Raises:
        SettingsError: a setting is unknown or against its rule.
    """
    from pathlib import Path

    from earmark.engine.settings.reading import load

    flags = {key: getattr(arguments, flag, None) for flag, key in FLAGS.items()}
    flags = {key: value for key, value in flags.items() if value is not None}
    flags.update(getattr(arguments, "set", None) or [])
    file = getattr(arguments, "settings", None)
    arguments.load_settings = lambda changes: load(Path(file) if file else None, os.environ, {**flags, **changes})
    arguments.loaded = arguments.load_settings({})
    for flag, key in FLAGS.items():
        if hasattr(arguments, flag):
            section, name = key.split(".")
            value = getattr(getattr(arguments.loaded.settings, section), name)
            setattr(arguments, flag, list(value) if isinstance(value, tuple) else value or None)


def _drop_output() -> None:
    """What is still buffered for standard output goes nowhere, without a word when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _handler(place: str) -> Callable[[argparse.Namespace], int]:
    """The function named "module:function"; importing it is what costs."""
    module, function = place.split(":")
    handler: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
    return handler


if __name__ == "__main__":
    sys.exit(process())
