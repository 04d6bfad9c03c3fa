"""Histories in LMDB: one memory-mapped file for each generation, shared by all readers of the machine."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from feature_store.event_log.parts import Position
from feature_store.histories import HistoryTable
from feature_store.online.codec import decode_many, encode_all
from feature_store.online.store import PLAIN, Holds, generation_name
from recsys.digest import file_sha256
from recsys.errors import StorageError
from recsys.storage import atomic_folder, locked, write_text
from recsys.types import Histories, Mask

CURRENT, HOLDS = "current", "holds.json"
DATA, SIZE = "data.mdb", "size"
PREFIX = "generation-"
GROWTH = 1 << 26
KEPT = 2
OPEN: WeakValueDictionary[str, Any] = WeakValueDictionary()
OPENING = Lock()


@dataclass(frozen=True, slots=True)
class Generation:
    """A HistorySource over one finished generation: as long as it is held, what it reads stays the same.

    Attributes:
        name: of the generation.
        environment: LMDB's, open for reading.
        holds: what it says of its histories.
    """

    name: str
    environment: Any
    holds: Holds = PLAIN

    def read(self, user_ids: Sequence[str]) -> Histories:
        """Histories of the users in the order asked; unknown users have none."""
        return decode_many(self._values(user_ids))

    def known(self, user_ids: Sequence[str]) -> Mask:
        """bool [users], True where the generation has the user."""
        return np.array([value is not None for value in self._values(user_ids)], dtype=np.bool_)

    def user_ids(self) -> list[str]:
        """All users, sorted."""
        with store_errors(self.environment.path()), self.environment.begin() as transaction:
            return [key.decode() for key in transaction.cursor().iternext(values=False)]

    def _values(self, user_ids: Sequence[str]) -> list[bytes | None]:
        longest = self.environment.max_key_size()
        keys = [user.encode() for user in user_ids]
        with store_errors(self.environment.path()), self.environment.begin() as transaction:
            return [transaction.get(key) if 0 < len(key) <= longest else None for key in keys]


class LmdbStore:
    """An OnlineStore in a folder; readers follow a new generation at their next read, without a restart.

    Args:
        folder: where the generations stand.
        holds: what is noted with a generation that is written.
    """

    def __init__(self, folder: Path, *, holds: Holds = PLAIN) -> None:
        self.folder = folder
        self.holds = holds
        self._lock = Lock()
        self._opened: Generation | None = None

    def materialise(self, table: HistoryTable) -> str:
        """See `OnlineStore`; one writer at a time, the generation before the last is removed."""
        return self._write(table, current=True)

    def set_aside(self, table: HistoryTable) -> str:
        """Write a generation that is read by its name alone (`pin`), and give that; the current one stays."""
        return self._write(table, current=False)

    def generation(self) -> str | None:
        """See `OnlineStore`."""
        try:
            return (self.folder / CURRENT).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def has(self, name: str, *, verify: bool = True) -> bool:
        """True where a whole generation of that name stands; without `verify` only its length is compared."""
        return is_whole(self._place(name), verify=verify)

    def pin(self, name: str | None = None, *, verify: bool = True) -> Generation:
        """A generation to read from however long it takes: the one named, else the current one.

        Args:
            name: of the generation; None takes the current one.
            verify: hash its file first, about a second for each gigabyte; without it only its length is compared.

        Raises:
            StorageError: there is none, or it is not as it was written.
        """
        wanted = name or self.generation()
        if wanted is None or not self.has(wanted, verify=verify):
            raise StorageError(
                f"no whole histories {wanted or ''} in {self.folder}".replace("  ", " "),
                expected="those that `recsys index` writes",
                action="run `recsys index SHOP`",
            )
        return Generation(wanted, open_environment(self._place(wanted)), read_holds(self._place(wanted)))

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
        now = self.now()
        return now.user_ids() if now else []

    def _write(self, table: HistoryTable, *, current: bool) -> str:
        name = generation_name(table)
        with locked(self.folder / "lock"), store_errors(self.folder):
            if not self.has(name):
                with atomic_folder(self._place(name)) as partial:
                    write_environment(partial, table)
                    data = partial / DATA
                    write_text(partial / SIZE, f"{data.stat().st_size} {file_sha256(data)}")
            if read_holds(self._place(name)) != self.holds:
                write_text(self._place(name) / HOLDS, json.dumps(self.holds))
            if current and self.generation() != name:
                write_text(self.folder / CURRENT, name)
            self._remove_old(name)
        return name

    def now(self) -> Generation | None:
        """The generation that `current` names, opened once; the one before closes with its last reader."""
        name = self.generation()
        with self._lock:
            if name is not None and (self._opened is None or self._opened.name != name):
                self._opened = self.pin(name, verify=False)  # a request waits for it
            return self._opened

    def _place(self, name: str) -> Path:
        """The folder of a generation."""
        return self.folder / f"{PREFIX}{name}"

    def _remove_old(self, name: str) -> None:
        """Keep the generation written last, the current one and the newest of the others.

        Readers of a removed one go on until they let go of it.
        """
        kept = {self._place(one) for one in (name, self.generation()) if one}
        others = [path for path in self.folder.glob(f"{PREFIX}*") if path not in kept]
        for path in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


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


def read_holds(folder: Path) -> Holds:
    """What a generation says of its histories; one without a word has plain ids and knows no log."""
    try:
        (identity, number), mask = json.loads((folder / HOLDS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, TypeError):
        return Holds()
    return Holds(Position(identity, number), mask)


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
