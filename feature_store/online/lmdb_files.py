"""LMDB's files of packed values: one that is written once, one that is updated by many processes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from feature_store.online.environments import GROWTH
from feature_store.online.values import in_batches

READERS = 1024
"""Processes and threads that may read what is updated at once."""
AT_ONCE = 10_000
UPDATED: WeakValueDictionary[str, Any] = WeakValueDictionary()
OPENING = Lock()


def beginning(cursor: Any, prefix: bytes) -> Iterator[bytes]:
    """The keys that begin so, ascending."""
    if cursor.set_range(prefix):
        for key in cursor.iternext(values=False):
            if not key.startswith(prefix):
                return
            yield key


def write_base(folder: Path, values: Iterable[tuple[bytes, bytes]]) -> None:
    """Write values into a fresh environment that grows as it must."""
    environment = lmdb.open(str(folder), map_size=GROWTH, lock=False, sync=False)
    try:
        for some in in_batches(values, size=AT_ONCE):
            while True:
                try:
                    with environment.begin(write=True) as transaction:
                        transaction.cursor().putmulti(some)
                    break
                except lmdb.MapFullError:
                    environment.set_mapsize(2 * environment.info()["map_size"])
        environment.sync(True)
    finally:
        environment.close()


def make_fresh(folder: Path, *, room: int) -> None:
    """Make an empty file for updates."""
    folder.mkdir()
    lmdb.open(str(folder), map_size=room, max_readers=READERS).close()


def open_fresh(folder: Path, *, room: int) -> Any:
    """Open what was updated of a generation; LMDB allows it once in a process, so that all stores share it.

    A commit may be lost with the machine, never with the process, and never in part: the position in the event log
    goes with it, so that the events are added again.
    """
    place = str(folder.resolve())
    with OPENING:
        environment = UPDATED.get(place)
        if environment is None:
            environment = lmdb.open(place, map_size=room, max_readers=READERS, metasync=False, create=False)
            environment.reader_check()  # places of killed readers
            UPDATED[place] = environment
        return environment
