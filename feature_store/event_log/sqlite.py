"""The event log in one SQLite file: write-ahead log, one fsync for each commit."""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from time import time_ns

from feature_store.event_log.log import DAY, Event, Part, Stored, check_mask, new_ids
from feature_store.sqlite_file import connect, failures, transaction
from recsys.errors import UsageError
from recsys.storage import locked, sync_folder

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, accepted_at INTEGER NOT NULL,
    user_id TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, number) WHERE user_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS parts (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, rows INTEGER NOT NULL, day INTEGER NOT NULL,
    written INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS log (only INTEGER PRIMARY KEY CHECK (only = 1), identity TEXT NOT NULL, mask TEXT NOT NULL);
"""
CHECKPOINT_PAGES = 8_192
"""Pages of 4 KiB in the write-ahead log after which they are copied into the file."""
PRUNED = 10_000


class SqliteLog:
    """An EventLog in a file, for one host; any number of processes may write to it, one at a time.

    A commit returns when the write-ahead log is on the disk (`synchronous = FULL`). The file is opened at the first
    call.

    Args:
        file: where it stands, or is made.
        mask: fingerprint of the mask of user ids, "" for none; None takes the log as it is.
    """

    def __init__(self, file: Path, *, mask: str | None = None) -> None:
        self.file = file
        self.mask = mask
        self._writing, self._reading = Lock(), Lock()

    @cached_property
    def _writer(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.file.with_suffix(".lock")):
            connection = self._connect()
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            connection.execute(
                "INSERT INTO log VALUES (1, ?, ?) ON CONFLICT DO NOTHING", (secrets.token_hex(4), self.mask or "")
            )
            sync_folder(self.file.parent)
        (found,) = connection.execute("SELECT mask FROM log").fetchone()
        try:
            check_mask(found, wanted=self.mask, place=str(self.file))
        except UsageError:
            connection.close()
            raise
        return connection

    @cached_property
    def _reader(self) -> sqlite3.Connection:
        with self._writing:
            self._writer  # noqa: B018 - makes the file
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.file)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One write that is there as a whole, on the disk, or not at all."""
        with self._errors(), self._writing, transaction(self._writer):
            yield self._writer

    @contextmanager
    def _reads(self) -> Iterator[sqlite3.Connection]:
        with self._errors(), self._reading:
            yield self._reader

    @cached_property
    def identity(self) -> str:
        """See `EventLog`."""
        with self._reads() as connection:
            return str(connection.execute("SELECT identity FROM log").fetchone()[0])

    def append(self, events: Sequence[Event]) -> list[bool]:
        """See `EventLog`."""
        with self._transaction() as connection:
            head = connection.execute("SELECT number, accepted_at FROM events ORDER BY number DESC LIMIT 1").fetchone()
            last, newest = head or (0, 0)
            now = max(time_ns() // 1000, newest)
            done = connection.executemany(
                "INSERT INTO events (event_id, accepted_at, user_id, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (event_id) DO NOTHING",
                ((event.event_id, now, event.user_id, event.body) for event in events),
            )
            if done.rowcount == len(events):
                return [True] * len(events)
            stored = connection.execute("SELECT event_id FROM events WHERE number > ?", (last,)).fetchall()
        return new_ids(events, {event_id for (event_id,) in stored})

    def read(self, *, after: int, until: int) -> list[Stored]:
        """See `EventLog`."""
        with self._reads() as connection:
            rows = connection.execute(
                "SELECT number, accepted_at, body FROM events WHERE number > ? AND number <= ? ORDER BY number",
                (after, until),
            )
            return [Stored(*row) for row in rows]

    def tail(self, user_ids: Sequence[str], *, after: int, limit: int) -> list[list[Stored]]:
        """See `EventLog`."""
        found = []
        with self._reads() as connection:
            for user in user_ids:
                rows = connection.execute(
                    "SELECT number, accepted_at, body FROM events WHERE user_id = ? AND number > ? "
                    "ORDER BY number DESC LIMIT ?",
                    (user, after, limit),
                )
                found.append([Stored(*row) for row in rows][::-1])
        return found

    def parts(self) -> list[Part]:
        """See `EventLog`."""
        with self._reads() as connection:
            rows = connection.execute("SELECT first, last, rows, day, written FROM parts ORDER BY first")
            return [Part(first, last, rows, day, bool(written)) for first, last, rows, day, written in rows]

    def plan(self, *, rows: int) -> Part | None:
        """See `EventLog`."""
        with self._transaction() as connection:
            (reached,) = connection.execute("SELECT coalesce(max(last), 0) FROM parts").fetchone()
            begin = connection.execute(
                "SELECT number, accepted_at FROM events WHERE number > ? ORDER BY number LIMIT 1", (reached,)
            ).fetchone()
            if begin is None:
                return None
            first, day = begin[0], begin[1] // DAY
            last, count = connection.execute(
                "SELECT max(number), count(*) FROM (SELECT number FROM events WHERE number > ? AND accepted_at < ? "
                "ORDER BY number LIMIT ?)",
                (reached, (day + 1) * DAY, rows),
            ).fetchone()
            connection.execute(
                "INSERT INTO parts (first, last, rows, day) VALUES (?, ?, ?, ?)", (first, last, count, day)
            )
        return Part(first, last, count, day, written=False)

    def mark(self, part: Part) -> None:
        """See `EventLog`."""
        with self._transaction() as connection:
            connection.execute("UPDATE parts SET written = 1 WHERE first = ?", (part.first,))

    def prune(self, *, before: int) -> int:
        """See `EventLog`."""
        removed = 0
        while True:
            with self._transaction() as connection:
                done = connection.execute(
                    "DELETE FROM events WHERE number IN (SELECT number FROM events WHERE accepted_at < ? AND number <= "
                    "coalesce((SELECT min(first) - 1 FROM parts WHERE NOT written), (SELECT max(last) FROM parts), 0) "
                    "ORDER BY number LIMIT ?)",
                    (before, PRUNED),
                )
            removed += done.rowcount
            if done.rowcount < PRUNED:
                return removed

    def users(self) -> list[str]:
        """See `EventLog`."""
        with self._reads() as connection:
            rows = connection.execute("SELECT DISTINCT user_id FROM events WHERE user_id IS NOT NULL")
            return [user for (user,) in rows]

    def erase(self, until: Mapping[str, int]) -> int:
        """See `EventLog`; what is deleted is overwritten, and the write-ahead log emptied behind it."""
        if not until:
            return 0
        with self._transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (number INTEGER PRIMARY KEY)")
            connection.execute("DELETE FROM doomed")
            connection.executemany(
                "INSERT OR IGNORE INTO doomed SELECT number FROM events WHERE user_id = ? "
                "AND json_extract(body, '$.timestamp') <= ?",
                until.items(),
            )
            connection.execute(
                "UPDATE parts SET rows = rows - (SELECT count(*) FROM doomed WHERE number BETWEEN first AND last)"
            )
            done = connection.execute("DELETE FROM events WHERE number IN (SELECT number FROM doomed)")
        if done.rowcount:
            with self._errors(), self._writing:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done.rowcount

    def head(self) -> int:
        """See `EventLog`."""
        with self._reads() as connection:
            return int(connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])

    def close(self) -> None:
        """See `EventLog`."""
        for name in ("_writer", "_reader"):
            connection = self.__dict__.pop(name, None)
            if connection is not None:
                connection.close()

    def _errors(self) -> AbstractContextManager[None]:
        return failures(
            f"the event log {self.file} fails",
            full="free space and send the events again",
            broken="check the disk, then send them again",
        )
