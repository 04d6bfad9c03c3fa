"""The `recsys` command: help comes from a static table, a command is imported only when it is called."""

import errno
import importlib
import json
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from recsys.cli.table import COMMANDS, Entry
from recsys.errors import RecsysError, StorageError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
CLOSED = (errno.EACCES, errno.EROFS, errno.EPERM)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 fine, 1 the work failed, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("--help", "-h", "help"):
        show_help()
        sys.exit(0 if given else 2)
    if given[0] in ("--version", "-V"):
        show_version()
        sys.exit(0)
    unwind_on_sigterm()
    if os.environ.get("RECSYS_STAGE"):
        end_with_parent()
    try:
        run(given[0], given[1:])
    except KeyboardInterrupt:
        sys.stderr.write("stopped by the keyboard\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the last door: whatever comes here leaves as one line
        if os.environ.get("RECSYS_DEBUG"):
            raise
        sys.exit(report(as_known(error), machine="--json" in given))


def unwind_on_sigterm() -> None:
    """Let SIGTERM end the command like an exception, so that what is half written is removed; a second one kills."""
    command = os.getpid()

    def leave(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != command:  # a forked worker has nothing of its own to remove
            signal.raise_signal(number)
        os.write(2, b"stopped by SIGTERM\n")
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def end_with_parent() -> None:
    """Let a stage end with the command that runs it, even where that one is killed; Linux alone can do so."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def run(name: str, arguments: list[str]) -> None:
    """Import the command's module, read its signature and call it."""
    if name not in COMMANDS:
        raise UsageError(f"no command `{name}`", expected=f"one of {', '.join(COMMANDS)}", action="see `recsys --help`")
    import typer

    from recsys.logs import setup_logging

    setup_logging(verbose=bool(os.environ.get("RECSYS_DEBUG")))
    command = load(COMMANDS[name])
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name=name, help=command.__doc__)(command)
        command = app
    command(args=arguments, prog_name=f"recsys {name}")


def load(entry: Entry) -> Any:
    """The function, or the group of subcommands, that an entry of the table names."""
    module, _, attribute = entry.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def as_known(error: Exception) -> RecsysError:
    """The error as one of ours: full and closed disks by name, the rest as an internal error."""
    if isinstance(error, RecsysError):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        place = error.filename or "the disk"
        return StorageError(f"{place} is full", expected="room to write", action="free space and run it again")
    if isinstance(error, OSError) and error.errno in CLOSED:
        place = error.filename or "a file"
        return StorageError(f"{place} may not be written or read", expected="permission", action="check its owner")
    logging.getLogger(__name__).debug("unexpected error", exc_info=error)
    return RecsysError(
        f"internal error {type(error).__name__}: {' '.join(str(error).split())}",
        expected="no such error",
        action="run it again with RECSYS_DEBUG=1 and report the trace",
    )


def report(error: RecsysError, *, machine: bool) -> int:
    """Print the error as one line for people, and as JSON on standard output for machines; give the exit code.

    A stage of another command (RECSYS_STAGE) leaves the line to that command, so that people read it once.
    """
    if not (machine and os.environ.get("RECSYS_STAGE")):
        sys.stderr.write(f"error: {error}\n")
    if machine:
        body = {"found": error.found, "expected": error.expected, "action": error.action}
        sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, **body}}) + "\n")
    return error.exit_code


def show_help() -> None:
    """Print the table by panels; nothing heavy is imported."""
    lines = ["Usage: recsys COMMAND [OPTIONS]", "", "From a shop's raw tables to served search and recommendations."]
    panel = ""
    for name, entry in COMMANDS.items():
        if entry.panel != panel:
            panel = entry.panel
            lines += ["", f"{panel}:"]
        lines.append(f"  {name:<11} {entry.help}")
    lines += [
        "",
        "`recsys COMMAND --help` tells more; every command takes --json. State: RECSYS_HOME (./.recsys).",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def show_version() -> None:
    """Print the installed version."""
    from importlib.metadata import version

    sys.stdout.write(f"recsys {version('shoprank')}\n")
