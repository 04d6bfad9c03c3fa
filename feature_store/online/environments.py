"""LMDB environments, one for each generation of histories: written once, then only read."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import lmdb

from feature_store.forgetting.marks import Forgotten
from feature_store.histories import HistoryTable
from feature_store.online.codec import USERS, decode_many, encode_all
from recsys.digest import file_sha256
from recsys.errors import StorageError
from recsys.storage import write_text

DATA, SIZE = "data.mdb", "size"
GROWTH = 1 << 26
OPEN: WeakValueDictionary[str, Any] = WeakValueDictionary()
OPENING = Lock()


def stamp(folder: Path) -> None:
    """Note the size and the sha256 of a generation's file."""
    data = folder / DATA
    write_text(folder / SIZE, f"{data.stat().st_size} {file_sha256(data)}")


def is_whole(folder: Path, *, verify: bool) -> bool:
    """True where a generation's file has the size, and the bytes, it was written with.

    Reading past its end would end the process.
    """
    try:
        size, _, sha256 = (folder / SIZE).read_text(encoding="utf-8").partition(" ")  # once it was the size alone
        same = (folder / DATA).stat().st_size == int(size)
        return same and (not verify or not sha256 or file_sha256(folder / DATA) == sha256)
    except (FileNotFoundError, ValueError):
        return False


def open_environment(folder: Path) -> Any:
    """Open a finished generation for reading; LMDB allows it once in a process, so that all stores share it."""
    place = str(folder.resolve())
    with OPENING, store_errors(folder):
        environment = OPEN.get(place)
        if environment is None:
            environment = lmdb.open(place, readonly=True, lock=False, readahead=False, create=False)
            OPEN[place] = environment
        return environment


def write_environment(folder: Path, table: HistoryTable) -> None:
    """Write all histories into a fresh environment, in the order of their keys."""
    texts = (table.product_ids, table.segments, table.attributes)
    names = sum(column.str.len_bytes().sum() for column in texts)
    size = GROWTH + 2 * (int(names) + 11 * len(table.product_ids) + 256 * len(table.users))
    environment = lmdb.open(str(folder), map_size=size, lock=False, sync=False)
    try:
        with environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            cursor.putmulti(((user.encode(), value) for user, value in encode_all(table)), append=True)
        environment.sync(True)
    finally:
        environment.close()


def past_users(environment: Any, forgotten: Forgotten) -> list[bytes]:
    """The keys of forgotten users of whom nothing stands there but their past."""
    found = []
    with environment.begin() as transaction:
        keys = (bytes(key) for key in transaction.cursor().iternext(values=False))
        while some := list(islice(keys, USERS)):
            for name, until in forgotten.until(key.decode() for key in some).items():
                newest = decode_many([transaction.get(name.encode())]).timestamps.max(initial=0)
                if newest <= until:
                    found.append(name.encode())
    return found


def copy_environment(former: Path, folder: Path, *, without: Collection[bytes]) -> None:
    """Write a finished generation's records once more, but for some keys."""
    environment = lmdb.open(str(folder), map_size=GROWTH + 2 * (former / DATA).stat().st_size, lock=False, sync=False)
    try:
        with open_environment(former).begin() as reads, environment.begin(write=True) as writes:
            records = ((key, value) for key, value in reads.cursor() if bytes(key) not in without)
            writes.cursor().putmulti(records, append=True)
        environment.sync(True)
    finally:
        environment.close()


@contextmanager
def store_errors(folder: Path | str) -> Iterator[None]:
    """Turn LMDB's errors into one line.

    Raises:
        StorageError: the disk is full, or the store is damaged.
    """
    try:
        yield
    except lmdb.Error as error:
        raise StorageError(
            f"the online store {folder} fails: {error}",
            expected="room on the disk and a whole store",
            action="free space and fill it again: recsys index SHOP",
        ) from error
