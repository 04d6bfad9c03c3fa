"""What files of SQLite have in common: how they are opened, written as a whole, and told of when they fail."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.errors import StorageError
from recsys.room import says_full
from recsys.storage import locked, sync_folder

BUSY_SECONDS = 30.0
"""How long another process may hold a file."""


def connect(file: Path) -> sqlite3.Connection:
    """A connection for any thread, one at a time, that begins no transaction by itself."""
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)


def connect_private(file: Path, *, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A connection to a file for its owner alone, with a write-ahead log; file and folder are made where they lack.

    Args:
        file: where it stands.
        prepare: sets up the connection and makes tables, while no other process opens the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(file.with_suffix(".lock")):
        file.touch(mode=0o600)  # SQLite gives its log the same mode
        connection = connect(file)
        connection.execute("PRAGMA journal_mode = WAL")
        prepare(connection)
        sync_folder(file.parent)
    return connection


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit what is written inside, so that it is there as a whole; take all of it back where anything is raised.

    Args:
        database: without an open transaction, opened with `isolation_level=None`.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextmanager
def failures(what: str, *, full: str, broken: str) -> Iterator[None]:
    """Tell of a file that fails inside.

    Args:
        what: fails, in words that end with the verb.
        full: what to do where the disk is full.
        broken: what to do otherwise.

    Raises:
        StorageError: SQLite or the disk failed.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        is_full = says_full(error)
        raise StorageError(
            f"{what}: {'the disk is full' if is_full else error}",
            expected="room on the disk and a whole file",
            action=full if is_full else broken,
        ) from error
