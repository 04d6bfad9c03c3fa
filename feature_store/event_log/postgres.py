"""The event log in PostgreSQL: a schema for each shop, one round trip and one commit for each batch."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feature_store.event_log.log import DAY, Event, Part, Stored, check_mask, new_ids
from recsys.errors import MissingDependencyError, StorageError, UsageError
from recsys.room import says_full
from recsys.settings import NAMELESS

if TYPE_CHECKING:
    from psycopg import Connection

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS {schema};
SET search_path TO {schema};
CREATE TABLE IF NOT EXISTS events (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL UNIQUE,
    accepted_at bigint NOT NULL, user_id text, body text NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user_id, number) WHERE user_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS parts (
    first bigint PRIMARY KEY, last bigint NOT NULL, rows bigint NOT NULL, day bigint NOT NULL,
    written boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS log (
    only_one boolean PRIMARY KEY CHECK (only_one), identity text NOT NULL, mask text NOT NULL);
"""
INSERT = """
INSERT INTO events (event_id, accepted_at, user_id, body)
SELECT event_id, greatest(%s, (SELECT accepted_at FROM events ORDER BY number DESC LIMIT 1)), user_id, body
FROM unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS given (event_id, user_id, body, place) ORDER BY place
ON CONFLICT (event_id) DO NOTHING RETURNING event_id
"""
TAIL = """
SELECT place, number, accepted_at, body FROM unnest(%s::text[]) WITH ORDINALITY AS asked (user_id, place),
LATERAL (SELECT number, accepted_at, body FROM events WHERE events.user_id = asked.user_id AND number > %s
         ORDER BY number DESC LIMIT %s) AS newest ORDER BY place, number
"""
ERASE = """
DELETE FROM events USING unnest(%s::text[], %s::bigint[]) AS gone (user_id, until)
WHERE events.user_id = gone.user_id AND (events.body::json ->> 'timestamp')::bigint <= gone.until
RETURNING events.number
"""
TAKE_OFF = """
UPDATE parts SET rows = parts.rows - taken.rows FROM (
    SELECT first, count(*) AS rows FROM parts, unnest(%s::bigint[]) AS gone (number)
    WHERE number BETWEEN first AND last GROUP BY first) AS taken
WHERE parts.first = taken.first
"""
CONNECT_SECONDS = 5
OPTIONS = "-c synchronous_commit=on -c statement_timeout=60000 -c lock_timeout=30000"
DISK_FULL = "53100"
"""Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
ORDER = 0x72656373
"""The advisory lock under which one transaction at a time takes numbers, so that they ascend as commits do."""


class PostgresLog:
    """An EventLog on a PostgreSQL server, for any number of hosts.

    A commit returns when the server has it on its disk (`synchronous_commit = on`; a server run with `fsync = off`
    breaks that promise by itself). Connects at the first call, and again after a failure.

    Args:
        url: "postgresql://user@host:port/database".
        shop: names the schema.
        mask: as of `SqliteLog`.

    Raises:
        MissingDependencyError: the package `psycopg` is not installed.
    """

    def __init__(self, url: str, *, shop: str, mask: str | None = None) -> None:
        self.psycopg = driver()
        self.url, self.mask = url, mask
        self.schema = f"recsys_{shop or NAMELESS}"
        self._lock = Lock()
        self._connection: Connection[Any] | None = None
        self._identity = ""

    @property
    def identity(self) -> str:
        """See `EventLog`."""
        if not self._identity:
            with self._transaction():
                pass
        return self._identity

    @contextmanager
    def _transaction(self, *, ordered: bool = False) -> "Iterator[Connection[Any]]":
        """One transaction, committed at the end; `ordered`: the only one that takes numbers or plans ranges."""
        with self._lock:
            try:
                connection = self._connected()
                with connection.transaction():
                    if ordered:
                        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (ORDER, self.schema))
                    yield connection
            except self.psycopg.Error as error:
                self._drop()
                full = says_full(error) or error.sqlstate == DISK_FULL
                why = "its disk is full" if full else " ".join(str(error).split())
                raise StorageError(
                    f"the event log at {self._place} fails: {why}",
                    expected="a server that answers and has room",
                    action="free space there" if full else "start it, or correct RECSYS_EVENT_LOG",
                ) from error

    def _connected(self) -> "Connection[Any]":
        if self._connection is not None and not self._connection.closed:
            return self._connection
        sql = self.psycopg.sql
        connection: Connection[Any] = self.psycopg.connect(
            self.url, autocommit=True, connect_timeout=CONNECT_SECONDS, options=OPTIONS
        )
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (ORDER, self.schema))
            connection.execute(sql.SQL(SCHEMA).format(schema=sql.Identifier(self.schema)))
            connection.execute(
                "INSERT INTO log VALUES (true, %s, %s) ON CONFLICT DO NOTHING", (secrets.token_hex(4), self.mask or "")
            )
            row = connection.execute("SELECT identity, mask FROM log").fetchone()
        self._connection = connection
        self._identity, found = row if row is not None else ("", "")
        try:
            check_mask(found, wanted=self.mask, place=self._place)
        except UsageError:
            self._drop()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(self.psycopg.Error):
                self._connection.close()
            self._connection = None

    @property
    def _place(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"

    def append(self, events: Sequence[Event]) -> list[bool]:
        """See `EventLog`."""
        if not events:
            return []
        columns = [[event[place] for event in events] for place in range(3)]
        with self._transaction(ordered=True) as connection:
            stored = connection.execute(INSERT, (time_ns() // 1000, *columns)).fetchall()
        if len(stored) == len(events):
            return [True] * len(events)
        return new_ids(events, {event_id for (event_id,) in stored})

    def read(self, *, after: int, until: int) -> list[Stored]:
        """See `EventLog`."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT number, accepted_at, body FROM events WHERE number > %s AND number <= %s ORDER BY number",
                (after, until),
            ).fetchall()
        return [Stored(*row) for row in rows]

    def tail(self, user_ids: Sequence[str], *, after: int, limit: int) -> list[list[Stored]]:
        """See `EventLog`."""
        found: list[list[Stored]] = [[] for _ in user_ids]
        asked = ["" if "\x00" in user else user for user in user_ids]  # no id here has NUL, and the server takes none
        with self._transaction() as connection:
            for place, *row in connection.execute(TAIL, (asked, after, limit)).fetchall():
                found[place - 1].append(Stored(*row))
        return found

    def parts(self) -> list[Part]:
        """See `EventLog`."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT first, last, rows, day, written FROM parts ORDER BY first").fetchall()
        return [Part(*row) for row in rows]

    def plan(self, *, rows: int) -> Part | None:
        """See `EventLog`."""
        with self._transaction(ordered=True) as connection:
            begin = connection.execute(
                "SELECT number, accepted_at FROM events WHERE number > (SELECT coalesce(max(last), 0) FROM parts) "
                "ORDER BY number LIMIT 1"
            ).fetchone()
            if begin is None:
                return None
            first, day = begin[0], begin[1] // DAY
            last, count = connection.execute(
                "SELECT max(number), count(*) FROM (SELECT number FROM events WHERE number >= %s AND accepted_at < %s "
                "ORDER BY number LIMIT %s) AS part",
                (first, (day + 1) * DAY, rows),
            ).fetchone() or (0, 0)
            connection.execute(
                "INSERT INTO parts (first, last, rows, day) VALUES (%s, %s, %s, %s)", (first, last, count, day)
            )
        return Part(first, last, count, day, written=False)

    def mark(self, part: Part) -> None:
        """See `EventLog`."""
        with self._transaction() as connection:
            connection.execute("UPDATE parts SET written = true WHERE first = %s", (part.first,))

    def prune(self, *, before: int) -> int:
        """See `EventLog`."""
        with self._transaction() as connection:
            return connection.execute(
                "DELETE FROM events WHERE accepted_at < %s AND number <= "
                "coalesce((SELECT min(first) - 1 FROM parts WHERE NOT written), (SELECT max(last) FROM parts), 0)",
                (before,),
            ).rowcount

    def users(self) -> list[str]:
        """See `EventLog`."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT DISTINCT user_id FROM events WHERE user_id IS NOT NULL").fetchall()
        return [user for (user,) in rows]

    def erase(self, until: Mapping[str, int]) -> int:
        """See `EventLog`; when the space is written over is the server's to say (VACUUM, its own log, backups)."""
        if not until:
            return 0
        with self._transaction(ordered=True) as connection:
            gone = [number for (number,) in connection.execute(ERASE, ([*until], [*until.values()])).fetchall()]
            connection.execute(TAKE_OFF, (gone,))
        return len(gone)

    def head(self) -> int:
        """See `EventLog`."""
        with self._transaction() as connection:
            row = connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """See `EventLog`."""
        with self._lock:
            self._drop()


def driver() -> Any:
    """The package psycopg with its submodule `sql`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import psycopg.sql
    except ImportError as error:
        raise MissingDependencyError(
            "the package psycopg is not installed",
            expected="it for an event log in PostgreSQL",
            action="pip install 'shoprank[postgres]', or unset RECSYS_EVENT_LOG to keep events in RECSYS_HOME",
        ) from error
    return psycopg
