"""Files that can't be read and disks that can't be written: a library's own error becomes one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from recsys.errors import ShopError, StorageError
from recsys.room import says_full

KINDS = {".parquet": "Parquet", ".csv": "CSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines"}


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """Name the file that a reader stumbles over.

    Raises:
        ShopError: the file is truncated, damaged or of another format than its name says.
        StorageError: working files written meanwhile fill the disk.
    """
    try:
        with writable(place):
            yield
    except pl.exceptions.NoDataError as error:
        raise no_rows(place) from error
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own, which says what it is; Polars' have no number, as of a gzip file that was cut
        cause = str(error).strip().split("\n")[0].rstrip(".")
        encoded = "utf-8" in cause.lower() or "utf8" in cause.lower()
        raise ShopError(
            f"{place} can't be read: {cause}",
            expected=f"a whole {KINDS.get(place.suffix, 'data')} file{' in UTF-8' if encoded else ''}",
            action=f"export the table again{', encoded as UTF-8' if encoded else ''}",
        ) from error


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """Tell a full disk from other errors of Polars; those pass through.

    Raises:
        StorageError: the disk is full.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if not says_full(error):
            raise
        raise StorageError(
            f"the disk is full while working on {place}",
            expected="room for the shop's tables once more, beside the result",
            action="free space, or put RECSYS_HOME on another disk, and run it again",
        ) from error


def no_rows(place: Path) -> ShopError:
    """The error for a table that is there but empty."""
    return ShopError(
        f"{place} has no rows",
        expected="at least one row",
        action="fill the table or remove the file, if it may be absent",
    )
