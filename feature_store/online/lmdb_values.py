"""Packed values in LMDB: a generation is one memory-mapped file that never changes, and a second one with what did.

FOLDER/current              names the generation that is read
       generation-NAME/     data.mdb, its size, when it expires
                  fresh/    what was updated since; read first, thrown away with the generation

Any number of processes read and update at once. A process that is killed leaves the last good generation, and of an
update all or nothing.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from threading import Lock
from time import time
from typing import Any

import lmdb

from feature_store.online.environments import DATA, SIZE, is_whole, open_environment
from feature_store.online.lmdb import CURRENT, PREFIX
from feature_store.online.lmdb_files import beginning, make_fresh, open_fresh, write_base
from feature_store.online.values import LONGEST_KEY, Change, Values
from recsys.digest import file_sha256
from recsys.errors import StorageError
from recsys.storage import atomic_folder, locked, write_text

FRESH, EXPIRES = "fresh", "expires"
ROOM = 1 << 32
"""Bytes that updates of one generation may take."""
AGAIN = "publish again: recsys table publish SHOP"


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation, open.

    Attributes:
        name: its name.
        base: as it was published.
        fresh: what was updated since.
        expires: seconds since 1970 from which on it is not read.
    """

    name: str
    base: Any
    fresh: Any
    expires: float

    def values(self, fresh: Any, keys: Sequence[str]) -> Values:
        """The newest values, as a transaction of `fresh` sees them."""
        names = [key.encode() for key in keys]
        asked = [name for name in names if 0 < len(name) <= LONGEST_KEY]
        cursor = fresh.cursor()
        newest = dict(cursor.getmulti(asked)) if cursor.first() else {}
        if left := [name for name in asked if name not in newest]:
            with self.base.begin() as base:
                newest |= base.cursor().getmulti(left)
        return [newest.get(name) for name in names]

    def entries(self, fresh: Any) -> Iterator[tuple[bytes, bytes]]:
        """All keys, ascending, with their newest values."""
        with self.base.begin() as base:
            both = merge(
                ((key, 0, value) for key, value in fresh.cursor()), ((key, 1, value) for key, value in base.cursor())
            )
            for key, found in groupby(both, key=lambda one: one[0]):
                yield key, next(found)[2]


class LmdbValues:
    """A ValueStore in a folder.

    Args:
        folder: where the generations stand.
        room: bytes that updates of one generation may take.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, *, room: int = ROOM, clock: Callable[[], float] = time) -> None:
        self.folder = folder
        self.room = room
        self._pointer = str(folder / CURRENT)
        self.clock = clock
        self._lock = Lock()
        self._opened: Generation | None = None

    def publish(self, values: Iterable[tuple[str, bytes]], *, ttl_s: float) -> str:
        """See `ValueStore`; one publisher at a time, the generation before the last is removed."""
        with locked(self.folder / "lock"):
            encoded = ((key.encode(), value) for key, value in values)
            return self._write(encoded, expires=self.clock() + ttl_s)

    def generation(self) -> str | None:
        """See `ValueStore`."""
        now = self._now()
        return None if now is None else now.name

    def published(self) -> bool:
        """See `ValueStore`."""
        return self._named() is not None

    def read(self, keys: Sequence[str]) -> Values:
        """See `ValueStore`."""
        now = self._now()
        if now is None:
            return [None] * len(keys)
        with self._errors(), now.fresh.begin() as fresh:
            return now.values(fresh, keys)

    def update(self, keys: Sequence[str], change: Change) -> bool:
        """See `ValueStore`."""
        now = self._now()
        if now is None:
            return False
        with self._errors(), now.fresh.begin(write=True) as fresh:
            found = change(now.values(fresh, keys))
            for key, value in (found or {}).items():
                fresh.put(key.encode(), value)
        return found is not None

    def delete(self, keys: Sequence[str]) -> int:
        """See `ValueStore`; all others are written anew, so that no file holds the deleted ones any more."""
        gone = {key.encode() for key in keys}
        with locked(self.folder / "lock"):
            now = self._now()
            if now is None:
                return 0
            with self._errors(), now.fresh.begin(write=True) as fresh:  # held, so that no update is lost
                found = sum(value is not None for value in now.values(fresh, list(set(keys))))
                if found:
                    left = (entry for entry in now.entries(fresh) if entry[0] not in gone)
                    name = self._write(left, expires=now.expires)
            if found:
                self._remove(keep=[name])
        return found

    def keys(self, prefix: str = "") -> list[str]:
        """See `ValueStore`."""
        now = self._now()
        if now is None:
            return []
        with self._errors(), now.base.begin() as base, now.fresh.begin() as fresh:
            found = {key for one in (base, fresh) for key in beginning(one.cursor(), prefix.encode())}
        return sorted(key.decode() for key in found)

    def _write(self, values: Iterable[tuple[bytes, bytes]], *, expires: float) -> str:
        """Write a generation, let `current` name it, and remove all but the one before it."""
        former, name = self._named(), secrets.token_hex(8)
        with self._errors(), atomic_folder(self._place(name)) as partial:
            write_base(partial, values)
            data = partial / DATA
            write_text(partial / SIZE, f"{data.stat().st_size} {file_sha256(data)}")
            write_text(partial / EXPIRES, repr(expires))
            make_fresh(partial / FRESH, room=self.room)
        write_text(self.folder / CURRENT, name)
        self._remove(keep=[name, *([former] if former else [])])
        return name

    def _remove(self, *, keep: Sequence[str]) -> None:
        """Remove all other generations; their readers go on until they let go of them."""
        kept = {self._place(name) for name in keep}
        for path in self.folder.glob(f"{PREFIX}*"):
            if path not in kept:
                rmtree(path, ignore_errors=True)

    def _now(self) -> Generation | None:
        """The generation that is read, opened once; None where there is none, or it has expired."""
        with self._lock:
            name = self._named()
            while name is not None and (self._opened is None or self._opened.name != name):
                try:
                    self._opened = self._open(name)
                except StorageError:
                    if (later := self._named()) == name:
                        raise
                    name = later  # a publisher came in between
            return self._opened if name and self._opened and self.clock() < self._opened.expires else None

    def _open(self, name: str) -> Generation:
        place = self._place(name)
        if not is_whole(place, verify=False):
            raise StorageError(f"no whole values {name} in {self.folder}", expected="those published", action=AGAIN)
        with self._errors():
            expires = float((place / EXPIRES).read_text(encoding="utf-8"))
            return Generation(name, open_environment(place), open_fresh(place / FRESH, room=self.room), expires)

    def _named(self) -> str | None:
        try:
            with open(self._pointer, "rb", buffering=0) as file:  # at every read, so not by way of Path
                return file.read().decode().strip()
        except FileNotFoundError:
            return None

    def _place(self, name: str) -> Path:
        return self.folder / f"{PREFIX}{name}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn LMDB's errors into one line."""
        try:
            yield
        except lmdb.MapFullError as error:
            raise StorageError(
                f"the updates in {self.folder} fill the {self.room:,} bytes that they may take",
                expected="a new generation before that, as the night makes it",
                action=f"{AGAIN}; until then its values stay as they are",
            ) from error
        except (lmdb.Error, OSError, ValueError) as error:
            raise StorageError(
                f"the online values in {self.folder} fail: {error}",
                expected="room on the disk and whole files",
                action=f"free space and {AGAIN}",
            ) from error
