"""Histories in LMDB: one memory-mapped file for each generation, shared by all readers of the machine."""

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import Forgotten
from feature_store.histories import HistoryTable
from feature_store.online.codec import decode_many
from feature_store.online.environments import (
    copy_environment,
    is_whole,
    open_environment,
    past_users,
    stamp,
    store_errors,
    write_environment,
)
from feature_store.online.store import PLAIN, Erased, Holds, generation_name
from recsys.errors import StorageError
from recsys.storage import atomic_folder, locked, write_text
from recsys.types import Histories, Mask

CURRENT, HOLDS = "current", "holds.json"
PREFIX = "generation-"
KEPT = 2


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
        return is_whole(self.place(name), verify=verify)

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
        return Generation(wanted, open_environment(self.place(wanted)), read_holds(self.place(wanted)))

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

    def erase(self, forgotten: Forgotten) -> Erased:
        """See `OnlineStore`; every generation that holds such a user is written again, and the old one removed."""
        if not (forgotten and self.folder.is_dir()):
            return Erased()
        done: dict[str, str] = {}
        records = 0
        with locked(self.folder / "lock"), store_errors(self.folder):
            for former in sorted(self.folder.glob(f"{PREFIX}*")):
                gone = past_users(open_environment(former), forgotten) if is_whole(former, verify=False) else []
                if gone:
                    name = self._without(former, gone)
                    done[former.name.removeprefix(PREFIX)], records = name, records + len(gone)
                    shutil.rmtree(former)
        return Erased(records, done)

    def _without(self, former: Path, gone: Sequence[bytes]) -> str:
        """A copy of a generation without some users; it takes the other's place where that is the current one."""
        name = secrets.token_hex(8)  # a digest of what went would let others test who it was
        with atomic_folder(self.place(name)) as partial:
            copy_environment(former, partial, without=frozenset(gone))
            stamp(partial)
            write_text(partial / HOLDS, json.dumps(read_holds(former)))
        if self.generation() == former.name.removeprefix(PREFIX):
            write_text(self.folder / CURRENT, name)
        return name

    def _write(self, table: HistoryTable, *, current: bool) -> str:
        name = generation_name(table)
        with locked(self.folder / "lock"), store_errors(self.folder):
            if not self.has(name):
                with atomic_folder(self.place(name)) as partial:
                    write_environment(partial, table)
                    stamp(partial)
            if read_holds(self.place(name)) != self.holds:
                write_text(self.place(name) / HOLDS, json.dumps(self.holds))
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

    def held(self) -> Holds | None:
        """See `OnlineStore`."""
        now = self.now()
        return None if now is None else now.holds

    def place(self, name: str) -> Path:
        """The folder of a generation."""
        return self.folder / f"{PREFIX}{name}"

    def _remove_old(self, name: str) -> None:
        """Keep the generation written last, the current one and the newest of the others.

        Readers of a removed one go on until they let go of it.
        """
        kept = {self.place(one) for one in (name, self.generation()) if one}
        others = [path for path in self.folder.glob(f"{PREFIX}*") if path not in kept]
        for path in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)


def read_holds(folder: Path) -> Holds:
    """What a generation says of its histories; one without a word has plain ids and knows no log."""
    try:
        (identity, number), mask = json.loads((folder / HOLDS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, TypeError):
        return Holds()
    return Holds(Position(identity, number), mask)
