"""Histories in Redis: one hash for each generation, one key that names the current one.

Every key carries an expiry date: whoever runs `recsys index` no more leaves nothing for ever. The name of the current
generation outlives it, and each hash holds a mark, so that histories which have expired, or which a full server has
thrown away (maxmemory-policy), are told as such: nobody takes their users for unknown. Where the name is lost, too, a
note on our own disk says that there was one.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import Forgotten
from feature_store.histories import HistoryTable
from feature_store.online.codec import decode_many, encode_all
from feature_store.online.connecting import connect, host_of, warn_of_eviction
from feature_store.online.notes import Note
from feature_store.online.store import PLAIN, Erased, Holds, generation_name
from recsys.errors import StorageError
from recsys.types import Histories, Mask

MARK = b"\xff"
"""The field that every hash has; it is no text, and so no user."""
BATCH = 1000
UNFINISHED_SECONDS = 86_400
GRACE_SECONDS = 3_600
TTL_SECONDS = 7 * 86_400.0
NAME_SECONDS = 90 * 86_400
"""How much longer than its generation a name stays."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A HistorySource over one generation; one that was replaced is read for an hour more.

    Attributes:
        store: where it stands.
        name: its name.
        holds: what it says of its histories.
    """

    store: "RedisStore"
    name: str
    holds: Holds

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        return decode_many(self.store.values(self.name, user_ids))

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the generation has the user."""
        return np.array([value is not None for value in self.store.values(self.name, user_ids)], dtype=np.bool_)


class RedisStore:
    """An OnlineStore on a Redis server.

    A generation that is being written expires within a day, so that a killed writer leaves nothing for ever; a
    replaced one stays for an hour, for readers that have just read its name; the current one has its time to live.
    """

    def __init__(
        self,
        url: str,
        *,
        shop: str,
        holds: Holds = PLAIN,
        timeout_s: float = 5.0,
        ttl_s: float = TTL_SECONDS,
        notes: Path | None = None,
    ) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: "redis://host:port/number", "rediss://..." or "unix://path".
            shop: stands in every key, so that shops can share a server.
            holds: what is noted with a generation that is written.
            timeout_s: longest wait for a connection and for one answer, seconds.
            ttl_s: after so many seconds in which it was not written again, a generation vanishes.
            notes: a folder on our own disk that keeps in mind what was put on which server; None has no memory.

        Raises:
            MissingDependencyError: the package `redis` is not installed.
        """
        self.client = connect(url, timeout_s=timeout_s)
        self.url = url
        self.host = host_of(self.client, url)
        self.holds = holds
        self.seconds = max(1, round(ttl_s))
        self._seen = False
        self._note = Note(notes, self.client)
        self.prefix = f"recsys:{shop or 'default'}:histories"

    def materialise(self, table: HistoryTable) -> str:
        """See `OnlineStore`."""
        name = generation_name(table)
        with self._answers():
            warn_of_eviction(self.client, self.host, again="run recsys index again")
            former = self._pointer()[0]
            if former != name or not self.has(name):
                self._fill(name, table)
            swap = self.client.pipeline(transaction=True)
            swap.expire(self._place(name), self.seconds)
            pointer = json.dumps([name, self.holds, self.seconds])
            swap.set(f"{self.prefix}:current", pointer, ex=self.seconds + NAME_SECONDS)
            if former and former != name:
                swap.expire(self._place(former), GRACE_SECONDS)
            swap.execute()
        self._note.write(self.holds)
        return name

    def erase(self, forgotten: Forgotten) -> Erased:
        """See `OnlineStore`; records go from their hashes, which keep their names."""
        erased = 0
        with self._answers():
            places = list(self.client.scan_iter(match=f"{self.prefix}:*", _type="hash")) if forgotten else []
            for place in places:
                records = iter(self.client.hscan_iter(place, count=BATCH))
                while some := dict(islice(records, BATCH)):
                    values = {key.decode(): value for key, value in some.items() if key != MARK}
                    gone = [
                        name
                        for name, until in forgotten.until(values).items()
                        if decode_many([values[name]]).timestamps.max(initial=0) <= until
                    ]
                    erased += self.client.hdel(place, *gone) if gone else 0
        return Erased(erased)

    def generation(self) -> str | None:
        """See `OnlineStore`."""
        now = self.now()
        return None if now is None else now.name

    def now(self) -> Generation | None:
        """See `OnlineStore`; StorageError where the server has lost what was there before."""
        with self._answers():
            name, holds, _ = self._pointer()
        if not name and (self._seen or self._note.stands):
            raise self._lost("the name of the histories is gone")
        self._seen = bool(name)
        return Generation(self, name, holds) if name else None

    def held(self) -> Holds | None:
        """See `OnlineStore`."""
        with self._answers():
            name, holds, _ = self._pointer()
        noted = None if name else self._note.words
        return holds if name else noted and holds_of(noted)

    def has(self, name: str) -> bool:
        """True where the server has a generation of that name."""
        with self._answers():
            return bool(self.client.hexists(self._place(name), MARK))

    def stands(self, name: str) -> bool:
        """True where a generation is the current one, and has more than half of its time left."""
        with self._answers():
            current, _, seconds = self._pointer()
            left = self.client.ttl(self._place(name))
        return current == name and self.has(name) and int(left) * 2 > seconds

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        now = self.now()
        return now.read(user_ids) if now else decode_many([None] * len(user_ids))

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the store has the user."""
        now = self.now()
        return now.known(user_ids) if now else np.zeros(len(user_ids), dtype=np.bool_)

    def user_ids(self) -> list[str]:
        """All users, sorted; none where nothing was written yet."""
        name = self.generation()
        if name is None:
            return []
        with self._answers():
            keys = {key for key, _ in self.client.hscan_iter(self._place(name), count=BATCH)}
        if MARK not in keys:
            raise self._lost(f"the histories of generation {name} are gone")
        return sorted(key.decode() for key in keys - {MARK, b""})

    def _pointer(self) -> tuple[str, Holds, int]:
        """The current generation, "" where none is named, what it holds, and its time to live in seconds."""
        pointer = self.client.get(f"{self.prefix}:current")
        if not isinstance(pointer, bytes):
            return "", PLAIN, 0
        name, holds, *seconds = json.loads(pointer)
        return name, holds_of(holds), sum(seconds)

    def _fill(self, name: str, table: HistoryTable) -> None:
        """Write a generation that expires unless it is finished; StorageError where the server does not keep it."""
        place, count = self._place(name), 0
        self.client.delete(place)
        values: Iterator[tuple[str | bytes, bytes]] = chain([(MARK, b"")], encode_all(table))
        while batch := dict(islice(values, BATCH)):
            lines = self.client.pipeline(transaction=False)
            lines.hset(place, mapping=batch)  # type: ignore[arg-type]
            lines.expire(place, UNFINISHED_SECONDS)
            lines.execute()
            count += len(batch)
        if (kept := self.client.hlen(place)) != count:
            raise self._lost(f"{kept} of {count} histories are left of what was just written")

    def values(self, name: str, user_ids: Sequence[str]) -> list[bytes | None]:
        """The users' values in a generation, None where it has no such user; StorageError where it is gone."""
        with self._answers():
            found: list[bytes | None] = []
            for start in range(0, max(1, len(user_ids)), BATCH):  # of nobody, too: are they there?
                asked = [MARK, *user_ids[start : start + BATCH]]
                values: list[bytes | None] = self.client.hmget(self._place(name), asked)  # type: ignore[arg-type,assignment]
                if values[0] is None:
                    raise self._lost(f"the histories of generation {name} are gone")
                found += values[1:]
        return found

    def _place(self, name: str) -> str:
        """The key of a generation."""
        return f"{self.prefix}:{name}"

    def _lost(self, found: str) -> StorageError:
        return StorageError(
            f"Redis at {self.host}: {found}",
            expected="an index within `[online] ttl_days`, and a server that keeps what it takes: room, and "
            "maxmemory-policy noeviction",
            action="run recsys index SHOP again",
        )

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn the client's errors into one line.

        Raises:
            StorageError: the server does not answer, or it is full.
        """
        from redis.exceptions import RedisError

        try:
            yield
        except RedisError as error:
            raise StorageError(
                f"Redis at {self.host} fails: {error}",
                expected="a server that answers and has room",
                action="start it, or correct the address",
            ) from error


def holds_of(words: Sequence[Any]) -> Holds:
    """What a generation says of its histories, out of JSON."""
    position, mask = words
    return Holds(Position(*position), mask)
