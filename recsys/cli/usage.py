"""Wrong usage that the command line's parser finds, as one of our own errors."""

from typing import TYPE_CHECKING, Any

from recsys.errors import UsageError
from recsys.wording import expectation

if TYPE_CHECKING:
    from pydantic import ValidationError

WRONG_VALUE = "Invalid value for "


def is_usage(error: Exception) -> bool:
    """True for the parser's own errors, which share no public base: typer brings its own copy of click."""
    return hasattr(error, "format_message")


def as_usage(error: Any, *, command: str) -> UsageError:
    """The parser's error in one line.

    Args:
        error: one that `is_usage`.
        command: what was called, e.g. "recsys search".
    """
    said = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    action = f"see `{context.command_path if context else command} --help`"
    if said.startswith(WRONG_VALUE):
        place, _, why = said.removeprefix(WRONG_VALUE).partition(": ")
        return UsageError(f"a wrong value for {place}", expected=expectation(why), action=action)
    said = said.partition(" (Possible options")[0]
    return UsageError(lower_first(said), expected=fitting(error, context), action=action)


def fitting(error: Any, context: Any) -> str:
    """What would have been right: the missing argument, the options or subcommands that there are."""
    if options := getattr(error, "possibilities", None):
        return " or ".join(sorted(options))
    if about := getattr(getattr(error, "param", None), "help", None):
        return lower_first(about.split(". ")[0].rstrip("."))
    if subcommands := getattr(getattr(context, "command", None), "commands", None):
        return f"one of {', '.join(subcommands)}"
    return "what the help lists"


def as_refused(error: "ValidationError", *, command: str) -> UsageError:
    """A value that a checked model refused: whatever a command hands to one came with its arguments."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"]) or error.title
    return UsageError(
        f"{place} {fault['input']!r}", expected=expectation(fault["msg"]), action=f"see `{command} --help`"
    )


def lower_first(text: str) -> str:
    """The text as it goes on inside a sentence."""
    return text[:1].lower() + text[1:]
