"""A write to a SQLite file that is there as a whole, on the disk, or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Commit what is written inside; take all of it back where anything is raised.

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
