"""A shop's users as the project keeps them apart: a key for each, and a tombstone for each who was forgotten.

One small database, for its owner alone. A key makes the user's pseudonym; it is found by a keyed hash of the plain id,
which stands nowhere. To forget somebody is one transaction: the key goes, marks of all names come, a tombstone is
written. From then on nothing that anybody has left leads from the id to the pseudonym: the marks have no order and no
date in common with it.
"""

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from json import dumps
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from feature_store.forgetting.marks import FOREVER, NOBODY, Forgotten, mark_of
from feature_store.forgetting.pseudonyms import KEY_BYTES, lookup, pseudonym
from feature_store.masking import Mask
from feature_store.sqlite_file import connect_private, failures, transaction
from recsys.errors import StorageError, UsageError

SCHEMA = """
CREATE TABLE IF NOT EXISTS people (
    only INTEGER PRIMARY KEY CHECK (only = 1), identity TEXT NOT NULL, fingerprint TEXT NOT NULL,
    changes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS keys (lookup TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (mark TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (
    step TEXT PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0,
    compacted INTEGER NOT NULL DEFAULT 0);
"""
PREFIX = "users:"
"""Before the identity, where the fingerprint of a shop-wide key could stand as well."""
SOME = 10_000
"""Users who are looked up in one statement."""


class ForgottenMeanwhileError(StorageError):
    """Somebody was forgotten between the reading of some rows and the naming of their users."""


class Tombstone(NamedTuple):
    """One user who was forgotten; who it was stands nowhere.

    Attributes:
        step: 32 hex digits, which the ledger's line has, too.
        at: when, microseconds since 1970-01-01 UTC.
        by: who asked for it.
        done: whether log, histories and registry were seen to.
        compacted: whether the files of the event log were.
    """

    step: str
    at: int
    by: str
    done: bool
    compacted: bool


class People:
    """Keys and tombstones in one SQLite file; nothing is made before somebody needs a key or is forgotten.

    Deleted keys are overwritten (`secure_delete`), and the write-ahead log is emptied behind them.

    Args:
        file: where it stands, or is made.
        load_mask: gives the shop-wide key, which makes lookups and marks; asked once, when it is needed.
    """

    def __init__(self, file: Path, *, load_mask: Callable[[], Mask]) -> None:
        self.file = file
        self._load_mask = load_mask
        self._lock = Lock()
        self._seen = NOBODY

    @property
    def exists(self) -> bool:
        """True where the file was made."""
        return self.file.exists()

    @cached_property
    def mask(self) -> Mask:
        """The shop-wide key."""
        return self._load_mask()

    @cached_property
    def fingerprint(self) -> str:
        """Tells two of them apart: names made of the keys in one say nothing in another."""
        with self._open() as database:
            return PREFIX + str(database.execute("SELECT identity FROM people").fetchone()[0])

    def pseudonyms(self, user_ids: Sequence[str], *, make: bool, known: Forgotten = NOBODY) -> dict[str, str]:
        """The users' pseudonyms by plain id.

        Args:
            user_ids: plain ids.
            make: give those a key who have none, on the disk before this returns; else they are left out.
            known: those whose rows were left out before the users are named.

        Raises:
            StorageError: the disk is full or the file fails.
            UsageError: the shop-wide key is missing, or another one than at first.
            ForgottenMeanwhileError: others were forgotten since, and one of these would get a key; nobody got any.
        """
        if not user_ids or not (make or self.exists):
            return {}
        wanted = {user: lookup(self.mask.key, user) for user in user_ids}
        with self._open() as database:
            found = read_keys(database, [*wanted.values()])
            missing = [(one, secrets.token_bytes(KEY_BYTES)) for one in wanted.values() if one not in found]
            if make and missing:
                with transaction(database):
                    refuse_stale(database, known)
                    database.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", missing)
                found |= read_keys(database, [one for one, _ in missing])
        return {user: pseudonym(found[one], user) for user, one in wanted.items() if one in found}

    def forgotten(self) -> Forgotten:
        """Everybody forgotten so far, by whichever process; nobody where there is no file."""
        if not self.exists:
            return NOBODY
        with self._open() as database:
            (changes,) = database.execute("SELECT changes FROM people").fetchone()
            if changes != self._seen.changes:
                marks = dict(database.execute("SELECT mark, until FROM forgotten"))
                self._seen = Forgotten(self.mask.key, marks, changes)
        return self._seen

    def forget(self, names: Mapping[str, Sequence[str]], *, by: str, at: int, until: int) -> list[Tombstone]:
        """Destroy the keys of users, mark all their names and write a tombstone for each: all of it, or nothing.

        Args:
            names: by plain id, the names beside it and the pseudonym under which the shop may know the user.
            by: who asks for it.
            at: the clock, microseconds since 1970-01-01 UTC.
            until: what happened up to this moment is hidden under ids and masked ids.

        Raises:
            StorageError: the disk is full or the file fails; nobody was forgotten.
        """
        lookups = {user: lookup(self.mask.key, user) for user in names}
        stones = [Tombstone(secrets.token_hex(16), at, by, done=False, compacted=False) for _ in names]
        with self._open() as database:
            with transaction(database):
                keys = read_keys(database, [*lookups.values()])
                called = [(name, until) for user, others in names.items() for name in (user, *others)]
                called += [(pseudonym(keys[one], user), FOREVER) for user, one in lookups.items() if one in keys]
                database.executemany(
                    "INSERT INTO forgotten VALUES (?, ?) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                    [(mark_of(self.mask.key, name), moment) for name, moment in called],
                )
                database.executemany("DELETE FROM keys WHERE lookup = ?", [(one,) for one in keys])
                database.executemany("INSERT INTO tombstones VALUES (?, ?, ?, ?, ?)", stones)
                database.execute("UPDATE people SET changes = changes + 1")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return stones

    def tombstones(self) -> list[Tombstone]:
        """All tombstones, oldest first."""
        if not self.exists:
            return []
        with self._open() as database:
            rows = database.execute("SELECT step, at, by, done, compacted FROM tombstones ORDER BY at, step").fetchall()
        return [Tombstone(step, at, by, bool(done), bool(compacted)) for step, at, by, done, compacted in rows]

    def note(self, stones: Sequence[Tombstone], *, what: str) -> None:
        """Note that tombstones are `done`, or `compacted`."""
        column = {"done": "done", "compacted": "compacted"}[what]
        if stones:
            with self._open() as database, transaction(database):
                update = f"UPDATE tombstones SET {column} = 1 WHERE step = ?"  # noqa: S608 - one of the two above
                database.executemany(update, [(one.step,) for one in stones])

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            connection = self.__dict__.pop("_connection", None)
            if connection is not None:
                connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, for one thread at a time."""
        told = failures(
            f"the users' keys in {self.file} fail",
            full="free space and run it again",
            broken="check the disk, then run it again",
        )
        with told, self._lock:
            yield self._connection

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        fingerprint = self.mask.fingerprint

        def prepare(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.executescript(SCHEMA)
            connection.execute(
                "INSERT INTO people (only, identity, fingerprint) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
                (secrets.token_hex(8), fingerprint),
            )

        connection = connect_private(self.file, prepare=prepare)
        (found,) = connection.execute("SELECT fingerprint FROM people").fetchone()
        if found != fingerprint:
            connection.close()
            raise UsageError(
                f"the shop's key is not the one that {self.file} was made with ({fingerprint})",
                expected=f"the key with fingerprint {found}, without which nobody stays forgotten",
                action=f"bring back {self.file.with_suffix('.key')}, or set RECSYS_MASK_KEY to the same key",
            )
        return connection


def refuse_stale(database: sqlite3.Connection, known: Forgotten) -> None:
    """Refuse to go on with rows of which some may be a forgotten user's.

    Raises:
        ForgottenMeanwhileError: others were forgotten than those known.
    """
    (changes,) = database.execute("SELECT changes FROM people").fetchone()
    if changes != known.changes:
        raise ForgottenMeanwhileError(
            "a user was forgotten while rows were read", expected="rows read afterwards", action="run it again"
        )


def read_keys(database: sqlite3.Connection, lookups: Sequence[str]) -> dict[str, bytes]:
    """The keys that there are, by lookup."""
    found: dict[str, bytes] = {}
    for start in range(0, len(lookups), SOME):
        some = dumps(lookups[start : start + SOME])
        rows = database.execute(
            "SELECT lookup, key FROM keys WHERE lookup IN (SELECT value FROM json_each(?))", (some,)
        )
        found.update(rows)
    return found
