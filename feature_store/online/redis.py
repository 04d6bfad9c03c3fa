"""Histories in Redis: one hash for each generation, one key that names the current one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import Forgotten
from feature_store.histories import HistoryTable
from feature_store.online.codec import decode_many, encode_all
from feature_store.online.store import PLAIN, Erased, Holds, generation_name
from recsys.errors import MissingDependencyError, StorageError, UsageError
from recsys.types import Histories, Mask

if TYPE_CHECKING:
    from redis import Redis

BATCH = 1000
UNFINISHED_SECONDS = 86_400
GRACE_SECONDS = 3_600


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

    A generation that is being written carries an expiry date, so that a killed writer leaves nothing for ever; a
    replaced one stays for an hour, for readers that have just read its name.
    """

    def __init__(self, url: str, *, shop: str, holds: Holds = PLAIN, timeout_s: float = 5.0) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: "redis://host:port/number", "rediss://..." or "unix://path".
            shop: stands in every key, so that shops can share a server.
            holds: what is noted with a generation that is written.
            timeout_s: longest wait for a connection and for one answer, seconds.

        Raises:
            MissingDependencyError: the package `redis` is not installed.
        """
        self.client = connect(url, timeout_s=timeout_s)
        self.url = url
        self.holds = holds
        self.prefix = f"recsys:{shop or 'default'}:histories"

    def materialise(self, table: HistoryTable) -> str:
        """See `OnlineStore`."""
        name = generation_name(table)
        with self._answers():
            former = self.generation()
            if former != name or not self.has(name):
                self._fill(name, table)
            swap = self.client.pipeline(transaction=True)
            swap.persist(self._place(name))
            swap.set(f"{self.prefix}:current", json.dumps([name, self.holds]))
            if former and former != name:
                swap.expire(self._place(former), GRACE_SECONDS)
            swap.execute()
        return name

    def erase(self, forgotten: Forgotten) -> Erased:
        """See `OnlineStore`; records go from their hashes, which keep their names."""
        erased = 0
        with self._answers():
            places = list(self.client.scan_iter(match=f"{self.prefix}:*", _type="hash")) if forgotten else []
            for place in places:
                records = iter(self.client.hscan_iter(place, count=BATCH))
                while some := dict(islice(records, BATCH)):
                    values = {key.decode(): value for key, value in some.items()}
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
        """See `OnlineStore`."""
        with self._answers():
            pointer = self.client.get(f"{self.prefix}:current")
        if not isinstance(pointer, bytes):
            return None
        name, (position, mask) = json.loads(pointer)
        return Generation(self, name, Holds(Position(*position), mask))

    def has(self, name: str) -> bool:
        """True where the server has a generation of that name."""
        with self._answers():
            return bool(self.client.exists(self._place(name)))

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
            keys = [key for key, _ in self.client.hscan_iter(self._place(name), count=BATCH)]
        return sorted(key.decode() for key in set(keys) if key)

    def _fill(self, name: str, table: HistoryTable) -> None:
        """Write a generation that expires unless it is finished."""
        self.client.delete(self._place(name))
        values = iter(encode_all(table))
        while batch := dict(islice(values, BATCH)):
            lines = self.client.pipeline(transaction=False)
            lines.hset(self._place(name), mapping=batch)  # type: ignore[arg-type]
            lines.expire(self._place(name), UNFINISHED_SECONDS)
            lines.execute()

    def values(self, name: str, user_ids: Sequence[str]) -> list[bytes | None]:
        """The users' values in a generation, None where it has no such user."""
        with self._answers():
            found: list[bytes | None] = []
            for start in range(0, len(user_ids), BATCH):
                found += self.client.hmget(self._place(name), list(user_ids[start : start + BATCH]))  # type: ignore[arg-type]
        return found

    def _place(self, name: str) -> str:
        """The key of a generation."""
        return f"{self.prefix}:{name}"

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
                f"Redis at {self.client.connection_pool.connection_kwargs.get('host', self.url)} fails: {error}",
                expected="a server that answers and has room",
                action="start it, or correct the address",
            ) from error


def connect(url: str, *, timeout_s: float) -> "Redis":
    """A client for the server; it connects at its first call."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingDependencyError(
            "the package redis is not installed",
            expected="it for an online store in Redis",
            action="pip install 'shoprank[redis]', or use the LMDB store",
        ) from error
    try:
        again = Retry(NoBackoff(), 1)  # at once: a connection that lay idle may have been closed
        return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=again)
    except ValueError as error:
        raise UsageError(
            f"an online store at {url.partition(':')[0]}:…",
            expected="an address such as redis://host:6379/0",
            action="correct RECSYS_ONLINE_STORE, or leave it out for LMDB in RECSYS_HOME",
        ) from error
