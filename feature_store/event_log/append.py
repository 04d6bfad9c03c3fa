"""Files of events into the log: batch by batch, each on the disk before the next; what is refused is set aside."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from feature_store.config import ShopConfig
from feature_store.event_log.door import FORGOTTEN, Door
from feature_store.event_log.files import ShopRows, read_rows
from feature_store.event_log.log import EventLog
from feature_store.event_log.shapes.names import Shape
from recsys.digest import file_sha256
from recsys.errors import ShopError
from recsys.logs import progress
from recsys.storage import atomic_file

BATCH = 5_000


@dataclass(slots=True)
class Appended:
    """What came of some files.

    Attributes:
        rows: how many rows they have.
        accepted: events that are new to the log; a row of a foreign shape may hold several.
        duplicates: events whose id was there before.
        refused: rows that were set aside, by reason.
        unknown_columns: the shop's own columns, whose values are kept under attributes.
        quarantine: the files with what was set aside.
    """

    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown_columns: list[str] = field(default_factory=list)
    quarantine: list[Path] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "rows": self.rows,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": dict(self.refused.most_common()),
            "unknown_columns": self.unknown_columns,
            "quarantine": [str(file) for file in self.quarantine],
        }


@dataclass(frozen=True)
class Appender:
    """Reads files into a log.

    Attributes:
        log: where events go.
        door: what they pass.
        config: the shop's: names of columns, zone of moments.
        quarantine: the folder of what is set aside.
    """

    log: EventLog
    door: Door
    config: ShopConfig
    quarantine: Path

    def append(self, files: list[Path], *, shape: Shape, key: str | None) -> Appended:
        """Take the files' events, in order.

        Args:
            files: of events.
            shape: of their rows.
            key: with an event's place and content it makes the id of an event without one; the file's sha256 where
                None, so that appending the same file again adds nothing.

        Raises:
            ShopError: no row of a file is an event; files before it are in the log.
            StorageError: the disk is full or the log fails; batches before that are in the log.
        """
        done = Appended()
        for file in files:
            self._file(file, shape=shape, key=key, done=done)
        return done

    def _file(self, file: Path, *, shape: Shape, key: str | None, done: Appended) -> None:
        types = {theirs: kind.value for theirs, kind in self.config.event_types.items()}
        ours = ShopRows(self.config.columns.get("events", {}), types, self.config.timezone)
        rows = read_rows(file) if shape != "shop" else (ours(row) for row in read_rows(file))
        content = file_sha256(file) if file.is_file() else ""
        sender = content if key is None else key
        aside = self.quarantine / f"{file.stem}-{content[:8]}.jsonl"
        start, refused = 0, Counter[str]()
        with ExitStack() as stack:
            lines: IO[str] | None = None
            for some in in_batches(rows, label=file.name):
                checked = self.door.check(some, key=sender, start=start, shape=shape)
                stored = self.log.append(checked.events) if checked.events else []
                done.accepted += sum(stored)
                done.duplicates += len(stored) - sum(stored)
                for row, reason in checked.refused:
                    if lines is None:
                        lines = stack.enter_context(stack.enter_context(atomic_file(aside)).open("w", encoding="utf-8"))
                    lines.write(self._line(start + row + 1, reason, some[row]) + "\n")
                    refused[reason] += 1
                start += len(some)
        done.rows += start
        done.refused += refused
        done.unknown_columns = sorted({*done.unknown_columns, *ours.unknown})
        if refused:
            done.quarantine.append(aside)
        if start == refused.total():
            why = ", ".join(f"{count} x {reason}" for reason, count in refused.most_common(3)) or "it has no rows"
            raise ShopError(
                f"no row of {file} is an event ({why})",
                expected=f"rows in the shape `{shape}`",
                action="correct the file, or name another --shape",
            )

    def _line(self, row: int, reason: str, values: Any) -> str:
        """One row that was set aside; without its values where they might tell of a user who is not to be told."""
        hidden = self.door.names is not None or reason == FORGOTTEN
        told = {"row": row, "reason": reason} | ({} if hidden else {"values": values})
        return json.dumps(told, default=str)


def in_batches(rows: Iterator[Any], *, label: str) -> Iterator[tuple[Any, ...]]:
    """The rows, BATCH at a time, behind a progress bar."""
    return progress(iter(lambda: tuple(islice(rows, BATCH)), ()), label=label)
