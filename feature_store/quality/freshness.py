"""How old a shop's newest events are, and which kind of event has fallen silent while others go on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from feature_store.checking import CheckedTable

DAY = timedelta(days=1)
SILENT = 100
"""A kind of event is silent where so many should have come since its last one, at the rate that it had before."""


@dataclass(frozen=True)
class Kind:
    """One kind of event.

    Attributes:
        event_type: its name.
        events: how many there are.
        newest: when the last one happened.
        behind_days: days from then to the newest event of all.
        overdue: how many should have come between then and the newest event of all, by its own rate until then.
    """

    event_type: str
    events: int
    newest: datetime
    behind_days: float
    overdue: float

    @property
    def silent(self) -> bool:
        """True where more than SILENT are overdue, and a whole day has passed: nights are quiet in every shop."""
        return self.overdue > SILENT and self.behind_days >= 1.0


@dataclass(frozen=True)
class Freshness:
    """How fresh a shop's events are.

    Attributes:
        newest: the newest event.
        asked_at: the instant that its age is counted from.
        kinds: every kind of event, the most frequent first.
    """

    newest: datetime
    asked_at: datetime
    kinds: tuple[Kind, ...]

    @property
    def age_days(self) -> float:
        """Days from the newest event to `asked_at`; below 0 where a clock goes ahead."""
        return (self.asked_at - self.newest) / DAY


def measure_freshness(events: CheckedTable, *, newest: datetime, asked_at: datetime) -> Freshness:
    """The freshness of a shop with a calendar.

    Args:
        events: the checked events.
        newest: the newest of them.
        asked_at: now, or the instant that a person names.
    """
    time = pl.col("timestamp")
    found = (
        events.frame.group_by("event_type")
        .agg(pl.len().alias("events"), time.min().alias("first"), time.max().alias("last"))
        .collect(engine="streaming")
        .sort(["events", "event_type"], descending=[True, False])
    )
    kinds = [
        Kind(kind, count, last, (newest - last) / DAY, overdue(count, first=first, last=last, newest=newest))
        for kind, count, first, last in found.iter_rows()
    ]
    return Freshness(newest=newest, asked_at=asked_at, kinds=tuple(kinds))


def overdue(events: int, *, first: datetime, last: datetime, newest: datetime) -> float:
    """How many events should have come since the last, at the rate from the first to the last; 0.0 without a rate."""
    span = (last - first) / DAY
    return (events - 1) / span * ((newest - last) / DAY) if span > 0 else 0.0
