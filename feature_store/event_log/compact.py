"""Compaction: the log, range by range, as Parquet files in the shop folder, where every command reads them.

A range is fixed in the log before its file is written, and marked behind it; the file gets its name by one rename. A
run that is killed anywhere is finished by the next one, which writes the same file again, or finds it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import time_ns
from typing import Any

import polars as pl

from feature_store.contracts import contract_columns
from feature_store.event_log.log import DAY, EventLog, Part, Stored, watermark
from feature_store.event_log.parts import part_file, part_files
from feature_store.faults import readable
from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.forgetting.people import People
from feature_store.forgetting.rows import kept
from recsys.errors import StorageError
from recsys.logs import progress
from recsys.storage import atomic_file, locked, sync_folder

ROWS = 250_000
"""Events of one file at most: what is held in memory at once."""
COLUMNS = {**contract_columns("events"), "attributes": pl.String()}
MOMENTS = ("timestamp", "known_at")
STORED = pl.Struct({name: pl.Int64() if name in MOMENTS else kind for name, kind in COLUMNS.items()})
ALWAYS = ("user_id", "product_id", "timestamp", "event_type", "event_id", "known_at")


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        events: how many it wrote.
        files: the files it wrote.
        restored: how many of them had stood before and were missing.
        forgotten: rows of forgotten users that went from log and files.
        lost: ranges whose file is missing, and whose events the log has forgotten.
        pruned: how many events the log has forgotten now.
        watermark: the last number that is written.
        until: the day when the newest event that is written was accepted; None where none is.
    """

    events: int
    files: list[Path]
    restored: int
    lost: list[Path]
    pruned: int
    watermark: int
    until: date | None
    forgotten: int = 0

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "events": self.events,
            "files": [str(file) for file in self.files],
            "restored": self.restored,
            "lost": [str(file) for file in self.lost],
            "pruned": self.pruned,
            "watermark": self.watermark,
            "until": self.until and self.until.isoformat(),
            "forgotten": self.forgotten,
        }


def compact(
    log: EventLog,
    shop: Path,
    *,
    lock: Path,
    rows: int = ROWS,
    keep_days: float = 30.0,
    people: People | None = None,
    now: Callable[[], int] = lambda: time_ns() // 1000,
) -> Compacted:
    """Write what the log took since the last time; events that come meanwhile wait for the next time.

    Args:
        log: of the shop.
        shop: its folder.
        lock: one compaction at a time holds it.
        rows: events in one file at most.
        keep_days: the log keeps events, and knows their ids again, for so many days; then only the files have them.
        people: know who was forgotten: their rows go from the log and from all files.
        now: the clock, microseconds since 1970-01-01 UTC.

    Raises:
        StorageError: the disk is full or the log fails; what was written until then stays.
    """
    files: list[Path] = []
    lost: list[Path] = []
    events = restored = 0
    with locked(lock):
        forgotten, erased = forget(log, shop, people) if people else (NOBODY, 0)
        before = log.parts()
        fixed = [*before, *planned(log, rows=rows, after=before[-1].last if before else 0)]
        for part in progress(fixed, label="Compacting events", total=len(fixed)):
            file = part_file(shop, part, identity=log.identity)
            if not file.exists():
                stored = log.read(after=part.first - 1, until=part.last)
                if len(stored) != part.rows:
                    lost.append(file)
                    continue
                write_part(stored, file, forgotten=forgotten)
                files.append(file)
                restored += part.written
                events += part.rows
            if not part.written:
                log.mark(part)
        pruned = 0 if lost else log.prune(before=now() - int(keep_days * DAY))
    last = [part for part in fixed if part.last == watermark(log.parts())]
    return Compacted(
        events=events,
        files=files,
        restored=restored,
        lost=lost,
        pruned=pruned,
        watermark=last[0].last if last else 0,
        until=last[0].date if last else None,
        forgotten=erased,
    )


def forget(log: EventLog, shop: Path, people: People) -> tuple[Forgotten, int]:
    """Drop the rows of forgotten users: from the log each time, for an append may have come late; from files once.

    Args:
        log: of the shop.
        shop: its folder.
        people: know who was forgotten.

    Returns:
        Those who were forgotten by now, and how many rows went.
    """
    new = [stone for stone in people.tombstones() if not stone.compacted]
    forgotten = people.forgotten()
    if not forgotten:
        return forgotten, 0
    rows = log.erase(forgotten.until(log.users()))
    if new:
        rows += sum(rewrite(file, forgotten) for file in progress(part_files(shop), label="Forgetting"))
        people.note(new, what="compacted")
    return forgotten, rows


def rewrite(file: Path, forgotten: Forgotten) -> int:
    """Write a file again without the rows of forgotten users, in one step, if it has any; how many went."""
    with readable(file):
        columns = pl.read_parquet(file, columns=["user_id", "timestamp"], hive_partitioning=False)
        gone = columns.height - kept(columns, forgotten).height
        if gone:
            with atomic_file(file) as partial:
                whole = pl.read_parquet(file, hive_partitioning=False)
                kept(whole, forgotten).write_parquet(partial, compression="zstd")
    return gone


def planned(log: EventLog, *, rows: int, after: int) -> list[Part]:
    """Fix the ranges of all that the log holds by now; what comes meanwhile does not keep it going.

    Args:
        log: of the shop.
        rows: events in one range at most.
        after: where the ranges so far end.
    """
    head, found = log.head(), []
    while after < head and (part := log.plan(rows=rows)) is not None:
        found.append(part)
        after = part.last
    return found


def write_part(stored: Sequence[Stored], file: Path, *, forgotten: Forgotten = NOBODY) -> None:
    """Write a range of the log as one file, which stands as a whole or not at all; nobody forgotten is in it."""
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True)
        sync_folder(file.parent.parent)
        sync_folder(file.parent.parent.parent)
    with atomic_file(file) as partial:
        kept(part_frame(stored), forgotten).write_parquet(partial, compression="zstd")


def part_frame(stored: Sequence[Stored]) -> pl.DataFrame:
    """The events as rows of the events table; columns that hold nothing are left out.

    Raises:
        StorageError: an event can't be read.
    """
    bodies = pl.Series([one.body for one in stored], dtype=pl.String)
    try:
        rows = bodies.str.json_decode(STORED).struct.unnest()
    except pl.exceptions.PolarsError as error:
        raise StorageError(
            f"the event log holds what is no event ({error})", expected="events as it took them", action="report it"
        ) from error
    accepted = pl.Series([one.accepted_at for one in stored], dtype=pl.Int64)
    rows = rows.with_columns(known_at=pl.col("known_at").fill_null(accepted))
    rows = rows.with_columns(pl.from_epoch(name, time_unit="us").dt.replace_time_zone("UTC") for name in MOMENTS)
    kept = [name for name in COLUMNS if name in ALWAYS or rows[name].null_count() < rows.height]
    return rows.select(kept)
