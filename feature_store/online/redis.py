"""Histories in Redis: one hash for each generation, one key that names the current one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from feature_store.histories import HistoryTable
from feature_store.online.codec import decode_many, encode_all
from feature_store.online.store import generation_name
from recsys.errors import MissingDependencyError, StorageError
from recsys.types import Histories, Mask

if TYPE_CHECKING:
    from redis import Redis

BATCH = 1000
UNFINISHED_SECONDS = 86_400
GRACE_SECONDS = 3_600


class RedisStore:
    """An OnlineStore on a Redis server.

    A generation that is being written carries an expiry date, so that a killed writer leaves nothing for ever; a
    replaced one stays for an hour, for readers that have just read its name.
    """

    def __init__(self, url: str, *, shop: str, timeout_s: float = 5.0) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: "redis://host:port/number", "rediss://..." or "unix://path".
            shop: stands in every key, so that shops can share a server.
            timeout_s: longest wait for a connection and for one answer, seconds.

        Raises:
            MissingDependencyError: the package `redis` is not installed.
        """
        self.client = connect(url, timeout_s=timeout_s)
        self.url = url
        self.prefix = f"recsys:{shop or 'default'}:histories"

    def materialise(self, table: HistoryTable) -> str:
        """See `OnlineStore`."""
        name = generation_name(table)
        with self._answers():
            former = self.generation()
            if former == name and self.client.exists(self._place(name)):
                return name
            self._fill(name, table)
            swap = self.client.pipeline(transaction=True)
            swap.persist(self._place(name))
            swap.set(f"{self.prefix}:current", name)
            if former and former != name:
                swap.expire(self._place(former), GRACE_SECONDS)
            swap.execute()
        return name

    def generation(self) -> str | None:
        """See `OnlineStore`."""
        with self._answers():
            name = self.client.get(f"{self.prefix}:current")
        return name.decode() if isinstance(name, bytes) else None

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        return decode_many(self._values(user_ids))

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the store has the user."""
        return np.array([value is not None for value in self._values(user_ids)], dtype=np.bool_)

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

    def _values(self, user_ids: Sequence[str]) -> list[bytes | None]:
        """The values of the users; all None where nothing was written yet."""
        name = self.generation()
        if name is None or not user_ids:
            return [None] * len(user_ids)
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
    except ImportError as error:
        raise MissingDependencyError(
            "the package redis is not installed",
            expected="it for an online store in Redis",
            action="pip install 'shoprank[redis]', or use the LMDB store",
        ) from error
    return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
