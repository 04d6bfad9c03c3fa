"""Standard streams that were closed, are full or are read no further: a command works on and leaves with its code."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

STREAMS = ("stdin", "stdout", "stderr")


def prepare_streams() -> None:
    """Make standard streams fit for whatever is said.

    Empty ones come where a command was started with closed ones, so that no file takes their numbers. A character that
    the terminal's encoding does not have is escaped.
    """
    for number, name in enumerate(STREAMS):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def silence(stream: TextIO) -> None:
    """Forget what could not be written to a stream, and all that comes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Write to standard error where that can be written."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)
