"""The served log: features that services have answered with, in one SQLite file of a shop, for its owner alone.

A row is one key of one answer. Any number of processes write to it, each step as a whole; a killed one leaves what was
written before. It stays below a size, and drops what is old.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.online_features.reading import Read
from feature_store.point_in_time.definitions import DAY, ENTITIES, Entity
from feature_store.sqlite_file import connect_private, failures, transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS kinds (kind TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS served (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, newest INTEGER NOT NULL, log TEXT NOT NULL,
    place INTEGER NOT NULL, kind TEXT NOT NULL, user_id TEXT, keys TEXT NOT NULL, worths BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS served_to_user ON served (user_id) WHERE user_id IS NOT NULL;
"""
KEEP_DAYS = 7.0
ROOM = 256 * 1024 * 1024
"""Bytes that the rows may take."""
SOME = 10_000
"""Rows that are looked up, or dropped, in one statement."""


class Kind(NamedTuple):
    """What many rows have in common.

    Attributes:
        entity: whose features they are.
        features: by name the version of the definition, in the order of the values.
        made: when the generation was published, microseconds since 1970.
        at: what was known by then was published, likewise.
        oldest: users, queries and pairs of which all was older were left out of the publication, likewise.
        forgotten: how often users had been forgotten before it.
        mask: fingerprint of the key that masks user ids, "" where they are plain.
    """

    entity: Entity
    features: dict[str, str]
    made: int
    at: int
    oldest: int
    forgotten: int
    mask: str

    @classmethod
    def of(cls, read: Read) -> "Kind":
        """The kind of what was read."""
        about = read.about
        features = {name: about.features[name] for name in read.names}
        return cls(read.entity, features, about.made, about.at, about.oldest, about.forgotten, about.mask)

    def packed(self) -> str:
        """As it is stored."""
        return json.dumps(self._asdict())


class ServedRow(NamedTuple):
    """One key of one answer, without its values.

    Attributes:
        number: ascending in the order of writing.
        at: the instant as of which the features were, microseconds since 1970.
        newest: what was known by then was in them, likewise.
        position: how far into the event log they reached.
        kind: names the row's kind.
    """

    number: int
    at: int
    newest: int
    position: Position
    kind: str


class ServedLog:
    """The served log of one shop; the file is made at the first write.

    Every call may raise StorageError, and then has done nothing.

    Args:
        file: where it stands, or is made.
        keep_days: older rows go.
        room: bytes that its rows may take; the oldest go first.
    """

    def __init__(self, file: Path, *, keep_days: float = KEEP_DAYS, room: int = ROOM) -> None:
        self.file = file
        self.keep_days = keep_days
        self.room = room
        self._lock = Lock()

    @property
    def exists(self) -> bool:
        """True where something was written."""
        return self.file.exists()

    def append(self, reads: Sequence[Read], *, forgotten: Forgotten = NOBODY) -> int:
        """Write what was read, without rows of forgotten users; how many rows, one for each key."""
        rows, kinds = [], {}
        for read in reads:
            packed = Kind.of(read).packed()
            name = sha256(packed.encode()).hexdigest()[:16]
            kinds[name] = packed
            about = (read.now, read.newest, read.position.identity, read.position.number, name)
            named = ENTITIES[read.entity][0] == "user_id"
            hidden = forgotten.until({key[0] for key in read.keys}) if named else {}
            for key, values in zip(read.keys, np.ascontiguousarray(read.values, dtype="<f4"), strict=True):
                if not named or hidden.get(key[0], -1) < read.now:
                    rows.append((*about, key[0] if named else None, json.dumps(list(key)), values.tobytes()))
        with self._transaction() as database:
            database.executemany("INSERT OR IGNORE INTO kinds VALUES (?, ?)", kinds.items())
            database.executemany(
                "INSERT INTO served (at, newest, log, place, kind, user_id, keys, worths) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._bound(database, now=max((read.now for read in reads), default=0))
        return len(rows)

    def newest(self) -> int | None:
        """The latest instant of a row, microseconds since 1970; None without rows."""
        if not self.exists:
            return None
        with self._open() as database:
            found: int | None = database.execute("SELECT max(at) FROM served").fetchone()[0]
        return found

    def rows(self, *, since: int) -> list[ServedRow]:
        """The rows of an instant and later, in the order of writing."""
        with self._open() as database:
            found = database.execute(
                "SELECT number, at, newest, log, place, kind FROM served WHERE at >= ? ORDER BY number", (since,)
            ).fetchall()
        return [
            ServedRow(number, at, newest, Position(log, place), kind) for number, at, newest, log, place, kind in found
        ]

    def kinds(self) -> dict[str, Kind]:
        """All kinds by name."""
        with self._open() as database:
            found = database.execute("SELECT kind, content FROM kinds").fetchall()
        return {name: Kind(**json.loads(content)) for name, content in found}

    def values(self, numbers: Sequence[int]) -> dict[int, tuple[list[str], bytes]]:
        """By number the key and the values (float32, little end first) of rows; what is gone by now is left out."""
        found: dict[int, tuple[list[str], bytes]] = {}
        with self._open() as database:
            for start in range(0, len(numbers), SOME):
                rows = database.execute(
                    "SELECT number, keys, worths FROM served WHERE number IN (SELECT value FROM json_each(?))",
                    (json.dumps([*numbers[start : start + SOME]]),),
                )
                found.update({number: (json.loads(keys), worths) for number, keys, worths in rows})
        return found

    def users(self) -> list[str]:
        """Everyone of whom there is a row, once, as the log names them."""
        if not self.exists:
            return []
        with self._open() as database:
            return [user for (user,) in database.execute("SELECT DISTINCT user_id FROM served WHERE user_id NOT NULL")]

    def erase(self, until: Mapping[str, int]) -> int:
        """Delete rows of users for good; what is deleted is overwritten. How many went.

        Args:
            until: by user as the log names them, the last moment (microseconds since 1970) that goes.
        """
        if not until or not self.exists:
            return 0
        with self._transaction() as database:
            database.execute("PRAGMA secure_delete = ON")
            done = database.executemany("DELETE FROM served WHERE user_id = ? AND at <= ?", until.items())
        with self._open() as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done.rowcount

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            connection = self.__dict__.pop("_connection", None)
            if connection is not None:
                connection.close()

    def _bound(self, database: sqlite3.Connection, *, now: int) -> None:
        """Drop what is older than `keep_days`, and the oldest rows as long as the file holds more than `room`."""
        first: tuple[int] | None = database.execute("SELECT at FROM served ORDER BY number LIMIT 1").fetchone()
        if first and first[0] < (border := now - round(self.keep_days * DAY)):
            database.execute("DELETE FROM served WHERE at < ?", (border,))
        while taken(database) > self.room:
            oldest = "SELECT number FROM served ORDER BY number LIMIT max(1, (SELECT count(*) / 10 FROM served))"
            if not database.execute(f"DELETE FROM served WHERE number IN ({oldest})").rowcount:  # noqa: S608 - no input
                return

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as database, transaction(database):
            yield database

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The file, for one thread at a time."""
        told = failures(
            f"the served log {self.file} fails",
            full="free space",
            broken="remove the file: it holds samples alone, and is made again",
        )
        with told, self._lock:
            yield self._connection

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        return connect_private(self.file, prepare=prepare)


def prepare(connection: sqlite3.Connection) -> None:
    """Set up a connection, and make the tables where they lack."""
    connection.execute("PRAGMA synchronous = NORMAL")  # a lost second of samples is no loss
    connection.executescript(SCHEMA)


def taken(database: sqlite3.Connection) -> int:
    """Bytes that rows take in the file."""
    (pages,), (free,), (size,) = (
        database.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
