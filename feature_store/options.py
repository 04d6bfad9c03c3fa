"""Options and arguments that several commands share."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from recsys.errors import UsageError

Shop = Annotated[
    Path, typer.Argument(help="The shop folder: products; users, events, queries and judgments if there are any.")
]
Home = Annotated[
    Path | None, typer.Option("--home", help="The folder with all state; RECSYS_HOME or ./.recsys if left out.")
]
Log = Annotated[
    str | None,
    typer.Option(
        "--log", help="postgresql://… that keeps the log; RECSYS_EVENT_LOG or a file in RECSYS_HOME if left out."
    ),
]
Online = Annotated[
    str | None,
    typer.Option(
        "--online",
        help="redis://… that serving hosts read from; RECSYS_ONLINE_STORE or LMDB in RECSYS_HOME if left out.",
    ),
]
EngineName = Literal["local", "ray"]
Machine = Annotated[bool, typer.Option("--json", help="Print one JSON report.")]


def parse_instant(text: str | None, *, option: str = "--as-of") -> datetime | None:
    """An instant in UTC out of ISO 8601 text; a date is its first moment, a time without a zone is UTC.

    Args:
        text: what was given.
        option: the name under which it was given.

    Raises:
        UsageError: it is no date, or in UTC none of the years 1 to 9999.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{option} {text}",
            expected="a date such as 2026-03-01 or 2026-03-01T12:00:00Z, in UTC of the years 1 to 9999",
            action="correct it",
        ) from error


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`--set k=v` options as a mapping.

    Raises:
        UsageError: one has no `=`.
    """
    found = {}
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not mark or not key:
            raise UsageError(f"--set {pair}", expected="key=value", action="write it as --set test_days=28")
        found[key.strip()] = value.strip()
    return found
