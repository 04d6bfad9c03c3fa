"""The `recsys` command: help comes from a static table, a command is imported only when it is called."""

import errno
import importlib
import json
import logging
import os
import re
import signal
import sys
from types import FrameType
from typing import Any

from recsys.cli.streams import prepare_streams, say, silence
from recsys.cli.table import COMMANDS, Entry
from recsys.cli.usage import as_refused, as_usage, is_usage
from recsys.errors import RecsysError, StorageError, UsageError
from recsys.room import says_full

PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
INTERRUPTED = 130
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NO_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EBUSY)
CLOSED = (errno.EACCES, errno.EROFS, errno.EPERM)
DISK = (
    (CLOSED, "{place} may not be written or read", "permission", "check its owner"),
    (NO_PLACE, "nothing can be written at {place} ({why})", "a place below a folder", "name another one"),
    ((errno.ENOENT,), "{place} is not there, or no longer", "a file that stays", "check the path and run it again"),
    ((errno.EIO,), "{place} can't be read or written ({why})", "a sound disk", "check the disk"),
)
"""By error number what was found, what was expected, what to do."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 fine, 1 the work failed, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    try:
        code = answer(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        say("stopped by the keyboard\n")
        code = INTERRUPTED
    except BrokenPipeError:
        silence(sys.stdout)
        code = 1
    except Exception as error:  # the last door: whatever comes here leaves as one line
        if os.environ.get("RECSYS_DEBUG"):
            raise
        code = report(as_known(error, command=f"recsys {given[0]}" if given else "recsys"), machine="--json" in given)
    sys.exit(code)


def answer(given: list[str]) -> int:
    """Show help or version, or run the command that is named; give the exit code."""
    if not given or given[0] in ("--help", "-h", "help"):
        show_help()
        return 0 if given else 2
    if given[0] in ("--version", "-V"):
        show_version()
        return 0
    unwind_on_sigterm()
    if os.environ.get("RECSYS_STAGE"):
        end_with_parent()
    return run(given[0], given[1:])


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
    # Taken out, so that a stage's own children don't look for their grandparent.
    if os.environ.pop("RECSYS_PARENT", str(os.getppid())) != str(os.getppid()):
        signal.raise_signal(signal.SIGTERM)  # it ended before it could be watched


def run(name: str, arguments: list[str]) -> int:
    """Import the command's module, read its signature and call it; give its exit code."""
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
    code = command(args=arguments, prog_name=f"recsys {name}", standalone_mode=False)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0


def load(entry: Entry) -> Any:
    """The function, or the group of subcommands, that an entry of the table names."""
    module, _, attribute = entry.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def as_known(error: Exception, *, command: str = "recsys") -> RecsysError:
    """The error as one of ours: wrong usage, full and closed disks by name, the rest as an internal error.

    Bytes of an argument that are no UTF-8 reach a command as lone surrogates, which nothing takes as text.
    """
    if isinstance(error, RecsysError):
        return error
    if is_usage(error):
        return as_usage(error, command=command)
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return as_refused(error, command=command)
    if isinstance(error, UnicodeEncodeError):
        odd = error.object[error.start : error.end].encode("ascii", "backslashreplace").decode()
        return UsageError(
            f"text with {odd}", expected="words, names and paths in UTF-8", action=f"see `{command} --help`"
        )
    if (known := as_storage(error)) is not None:
        return known
    logging.getLogger(__name__).debug("unexpected error", exc_info=error)
    return RecsysError(
        f"internal error {type(error).__name__}: {' '.join(str(error).split())}",
        expected="no such error",
        action="run it again with RECSYS_DEBUG=1 and report the trace",
    )


def as_storage(error: Exception) -> StorageError | None:
    """The failure of a disk or a place on it, by name; None for any other."""
    place = getattr(error, "filename", None) or "the disk"
    if says_full(error):
        return StorageError(f"{place} is full", expected="room to write", action="free space and run it again")
    if not isinstance(error, OSError):
        return None
    why = (error.strerror or "").lower()
    for numbers, found, expected, action in DISK:
        if error.errno in numbers:
            return StorageError(found.format(place=place, why=why), expected=expected, action=action)
    return None


def one_line(text: str) -> str:
    """The text with what would end its line or command the terminal spelled out: names and values come from files."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def report(error: RecsysError, *, machine: bool) -> int:
    """Print the error as one line for people, and as JSON on standard output for machines; give the exit code.

    A stage of another command (RECSYS_STAGE) leaves the line to that command, so that people read it once.
    """
    if not (machine and os.environ.get("RECSYS_STAGE")):
        say(f"error: {one_line(str(error))}\n")
    try:
        if machine:
            body = {"found": error.found, "expected": error.expected, "action": error.action}
            sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, **body}}) + "\n")
        sys.stdout.flush()
    except OSError:
        silence(sys.stdout)  # it may be what failed
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
