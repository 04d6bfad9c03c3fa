"""How much there is, beside the last snapshot: rows by table, and events a day by kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.manifest import Manifest

FEWEST = 100
"""Of fewer expected rows no factor is judged: chance moves them as much."""


@dataclass(frozen=True)
class Volume:
    """One count beside the same count before.

    Attributes:
        of: a table, or "events a day: KIND".
        before: in the last snapshot.
        now: in the shop.
        expected: rows behind `before` over the time that `now` covers; below FEWEST nothing is judged.
        daily: True for a rate, which may move further than a table.
    """

    of: str
    before: float
    now: float
    expected: float
    daily: bool = False

    @property
    def factor(self) -> float:
        """now / before; infinite where there was nothing."""
        return self.now / self.before if self.before else float("inf")


def table_volumes(tables: Mapping[str, CheckedTable], counts: Mapping[str, int], *, last: Manifest) -> list[Volume]:
    """The rows that hold, of every table that both have.

    Args:
        tables: the checked tables.
        counts: of the check: what was left out as later than an instant.
        last: the snapshot.
    """
    return [
        Volume(
            of=name,
            before=(before := held(last.sources[name].rows, last.quarantine.get(name, {}), last.counts, name)),
            now=held(table.rows, table.reasons(), counts, name),
            expected=before,
        )
        for name, table in tables.items()
        if name in last.sources
    ]


def held(rows: int, reasons: Mapping[str, int], counts: Mapping[str, int], table: str) -> int:
    """Rows of a table that were neither set aside nor left out."""
    return rows - sum(reasons.values()) - counts.get(f"{table}_after_as_of", 0)


def daily_volumes(
    before: pl.LazyFrame, now: pl.LazyFrame, *, days: float, since: datetime, until: datetime
) -> list[Volume]:
    """Events a day by kind, in the last days of the snapshot and since then.

    Args:
        before: event_type of the snapshot's events in its last `days`.
        now: event_type of the shop's events since then.
        days: length of the time before.
        since: the snapshot's newest event.
        until: the shop's.
    """
    length = (until - since) / timedelta(days=1)
    past, present = (
        dict(frame.group_by("event_type").len().collect(engine="streaming").cast({"event_type": pl.String}).iter_rows())
        for frame in (before, now)
    )
    return [
        Volume(
            of=f"events a day: {kind}",
            before=past.get(kind, 0) / days,
            now=present.get(kind, 0) / length,
            expected=past.get(kind, 0) / days * length,
            daily=True,
        )
        for kind in sorted(past.keys() | present.keys())
    ]
