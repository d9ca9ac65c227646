# PYTHON_ARGCOMPLETE_OK: where argcomplete is activated for all commands, it looks for this
"""`earmark` and `python -m earmark`: how a command begins and ends, whatever standard streams it is given.

Ctrl-C while modules are loaded ends the process as it ends any other program, without a traceback: Python's own
handler, which raises KeyboardInterrupt, is in force only while a command runs (cli.py). Before the first line here
the interpreter starts, which nothing of ours can change.

`python -m` has put the working folder before everything else, and whatever lies there would be loaded.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command of `sys.argv`; returns the exit code."""
    try:
        if __name__ == "__main__":
            from earmark.engine.processes.own import forget_working_folder

            forget_working_folder()  # from here on nothing comes from the working folder
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in what a shell started with `&`
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        return 130  # as a shell says it: ended by SIGINT
    _open_closed_streams()
    from earmark.cli import process

    return process()


def _open_closed_streams() -> None:
    """What was closed (`<&-`, `>&-`, `2>&-`) is opened again, so that no file of ours becomes a standard stream.

    Standard input is at its end then. Writing to standard output fails, as it does elsewhere (POSIX allows a closed
    one, and what was to be told is lost): that is an error. Nobody wants to read standard error: it goes nowhere.
    """
    import os

    for name, descriptor, mode, flags in (
        ("stdin", 0, "r", os.O_RDONLY),
        ("stdout", 1, "w", os.O_RDONLY),
        ("stderr", 2, "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            stream = open(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


if __name__ == "__main__":
    sys.exit(main())
