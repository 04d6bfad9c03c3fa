"""Log lines for machines and progress bars for people; both go to standard error."""

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def setup_logging(*, verbose: bool = False) -> None:
    """Send this project's log lines to standard error; libraries stay at WARNING."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
    for package in ("recsys", "feature_store", "training", "serving"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Pass the items through behind a progress bar; silent where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)
