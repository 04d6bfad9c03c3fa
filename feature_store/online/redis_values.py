"""Packed values in Redis: one hash for each generation, one key that names the current one.

Every key carries an expiry date. What is being written expires within a day, a replaced generation within a minute,
the current one with its time to live: whoever stops publishing leaves nothing. A server that throws values away when it
is full (maxmemory-policy) does not do so unnoticed: each hash holds a mark, and where it is missing a read fails. That
something was published is noted on our own disk, too.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from time import time

from feature_store.online.connecting import connect, host_of, warn_of_eviction
from feature_store.online.notes import Note
from feature_store.online.values import Change, Values, in_batches
from recsys.errors import StorageError

MARK = "\x00"
"""The field that every hash has."""
AT_ONCE = 1_000
UNFINISHED_SECONDS = 86_400
GRACE_SECONDS = 60
TRIES = 50


class RedisValues:
    """A ValueStore on a Redis server.

    Args:
        url: "redis://host:port/number", "rediss://..." or "unix://path".
        shop: stands in every key, so that shops can share a server.
        timeout_s: longest wait for a connection and for one answer, seconds.
        clock: seconds since 1970.
        notes: a folder on our own disk that keeps in mind what was put on which server; None has no memory.

    Raises:
        MissingDependencyError: the package `redis` is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        shop: str,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time,
        notes: Path | None = None,
    ) -> None:
        self.client = connect(url, timeout_s=timeout_s)
        self.url = url
        self.host = host_of(self.client, url)
        self.clock = clock
        self.prefix = f"recsys:{shop or 'default'}:features"
        self._last = ""
        self._note = Note(notes, self.client)

    def publish(self, values: Iterable[tuple[str, bytes]], *, ttl_s: float) -> str:
        """See `ValueStore`."""
        name = secrets.token_hex(8)
        with self._answers():
            warn_of_eviction(self.client, self.host, again="publish again")
            former, _ = self._current(self.client.get(self._pointer))
            try:
                self._fill(name, values)
            except BaseException:
                with suppress(Exception):  # the first error is told; the rest expires
                    self.client.unlink(self._place(name))
                raise
            seconds = max(1, round(ttl_s))
            swap = self.client.pipeline(transaction=True)
            swap.expire(self._place(name), seconds)
            swap.set(self._pointer, f"{name} {self.clock() + ttl_s!r}", ex=seconds)
            if former:
                swap.expire(self._place(former), GRACE_SECONDS)
            swap.execute()
        self._note.write()
        return name

    def generation(self) -> str | None:
        """See `ValueStore`."""
        with self._answers():
            name, expires = self._current(self.client.get(self._pointer))
        return name if name and self.clock() < expires else None

    def published(self) -> bool:
        """See `ValueStore`; by what we have read or noted, or else by what is there."""
        return bool(self._last) or self._note.stands or self.generation() is not None

    def read(self, keys: Sequence[str]) -> Values:
        """See `ValueStore`; one way to the server and back, two after a new generation."""
        with self._answers():
            while True:
                asked = self.client.pipeline(transaction=False)
                asked.get(self._pointer)
                asked.hmget(self._place(self._last), [MARK, *keys])
                pointer, values = asked.execute()
                name, expires = self._current(pointer)
                if not name or self.clock() >= expires:
                    return [None] * len(keys)
                if name == self._last:
                    return self._marked(name, values)
                self._last = name

    def update(self, keys: Sequence[str], change: Change) -> bool:
        """See `ValueStore`."""
        from redis.exceptions import WatchError

        with self._answers():
            for _ in range(TRIES):
                with self.client.pipeline(transaction=True) as step, suppress(WatchError):
                    step.watch(self._pointer)  # type: ignore[no-untyped-call]
                    name, expires = self._current(step.get(self._pointer))
                    if not name or self.clock() >= expires:
                        return False
                    step.watch(self._place(name))  # type: ignore[no-untyped-call]
                    found = change(self._marked(name, step.hmget(self._place(name), [MARK, *keys])))  # type: ignore[arg-type]
                    if found is None:
                        return False
                    step.multi()
                    if found:
                        step.hset(self._place(name), mapping=dict(found))  # type: ignore[arg-type]
                    step.execute()
                    return True
        raise StorageError(
            f"{TRIES} others changed the values first", expected="a calm moment", action="it is tried again by itself"
        )

    def delete(self, keys: Sequence[str]) -> int:
        """See `ValueStore`; files of the server's own (RDB, AOF) lose them when it writes them next."""
        name = self.generation()
        if name is None or not keys:
            return 0
        with self._answers():
            return sum(int(self.client.hdel(self._place(name), *some)) for some in in_batches(keys, size=AT_ONCE))

    def keys(self, prefix: str = "") -> list[str]:
        """See `ValueStore`."""
        name = self.generation()
        if name is None:
            return []
        with self._answers():
            found = {key for key, _ in self.client.hscan_iter(self._place(name), count=AT_ONCE)}
        return sorted(text for key in found if (text := key.decode()) != MARK and text.startswith(prefix))

    def _fill(self, name: str, values: Iterable[tuple[str, bytes]]) -> None:
        """Write a generation that expires unless it is finished; StorageError where the server does not keep it."""
        place, count = self._place(name), 0
        for some in in_batches(chain([(MARK, b"1")], values), size=AT_ONCE):
            lines = self.client.pipeline(transaction=False)
            lines.hset(place, mapping=dict(some))
            lines.expire(place, UNFINISHED_SECONDS)
            lines.execute()
            count += len(some)
        if (kept := self.client.hlen(place)) != count:
            raise self._lost(f"{kept} of {count} values are left of what was just written")

    def _marked(self, name: str, values: Values) -> Values:
        """The values without their mark; StorageError where the server has thrown the generation away."""
        if values[0] is None:
            raise self._lost(f"the values of generation {name} are gone before their time")
        return values[1:]

    def _lost(self, found: str) -> StorageError:
        return StorageError(
            f"Redis at {self.host}: {found}",
            expected="a server that keeps what it takes: maxmemory-policy noeviction, and room",
            action="raise maxmemory, then publish again: recsys table publish SHOP",
        )

    def _current(self, pointer: object) -> tuple[str, float]:
        """Name and expiry date out of what the pointer holds."""
        if not isinstance(pointer, bytes):
            return "", 0.0
        name, _, expires = pointer.decode().partition(" ")
        return name, float(expires)

    @property
    def _pointer(self) -> str:
        return f"{self.prefix}:current"

    def _place(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn the client's errors into one line."""
        from redis.exceptions import OutOfMemoryError, RedisError

        try:
            yield
        except OutOfMemoryError as error:
            raise StorageError(
                f"Redis at {self.host} is full and takes nothing more (maxmemory)",
                expected="room for two generations beside one another",
                action="raise maxmemory, or publish fewer features (--only); what was there before stays",
            ) from error
        except RedisError as error:
            raise StorageError(
                f"Redis at {self.host} fails: {error}",
                expected="a server that answers",
                action="start it, or correct the address",
            ) from error
