"""Log lines for machines and progress bars for people; both go to standard error."""

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PERSONAL = "RECSYS_LOG_PERSONAL"
"""Where this is 1, log lines may hold what people typed and who they are."""
LEFT_OUT = f"(its text is left out; {PERSONAL}=1 shows it)"


def setup_logging(*, verbose: bool = False) -> None:
    """Send this project's log lines to standard error; libraries stay at WARNING.

    A query or an id can stand in the text of an unexpected error; such texts are left out unless RECSYS_LOG_PERSONAL
    is 1.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    if os.environ.get(PERSONAL) != "1":
        for handler in logging.getLogger().handlers:
            handler.addFilter(without_texts)
    for package in ("recsys", "feature_store", "training", "serving"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def without_texts(record: logging.LogRecord) -> bool:
    """Let a record pass with the places and kinds of its error and of those behind it, not with their texts."""
    if isinstance(record.exc_info, tuple):
        record.exc_text = trace(record.exc_info[1])
    return True


def trace(error: BaseException | None) -> str:
    """Where an error was raised and of which kind it is; before it, the one that it came of."""
    parts: list[str] = []
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{type(error).__name__} {LEFT_OUT}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(reversed(parts))


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Pass the items through behind a progress bar; silent where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)
