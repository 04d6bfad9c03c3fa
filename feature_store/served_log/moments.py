"""What a service knew when it answered: which served rows can be replayed, and since when each event counted for them.

A served row at the instant `at` holds all that was known by `newest`, its generation's last news. What became known in
between had not reached the online store yet. So that a replay measures definitions and code, not that second of delay,
events begin to count in it where they began to count for the rows: just after the last row that did not hold them.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import DAY
from feature_store.point_in_time.streams import Records
from feature_store.point_in_time.survey import DAY_KNOWN

Integers = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


def overtaken(at: Integers, newest: Integers) -> NDArray[np.bool_]:
    """bool [rows]: which rows of one generation held what a row at the same instant or later did not hold yet.

    That happens where two processes read at nearly one instant; in which order can't be told any more.

    Args:
        at: int64 [rows], microseconds since 1970.
        newest: int64 [rows], likewise.
    """
    found = np.zeros(len(at), dtype=np.bool_)
    if len(at) > 1:
        order = np.lexsort((-newest, at))
        least_after = np.minimum.accumulate(newest[order][::-1])[::-1][1:]
        found[order[:-1]] = least_after < newest[order[:-1]]
    return found


def first_missed(newest: Integers, events: Records | None) -> Integers:
    """int64 [rows]: when that became known which each row lacks first, microseconds; NEVER where it lacks nothing.

    Args:
        newest: int64 [rows].
        events: of the shop; None where it has none.
    """
    if events is None or not len(newest):
        return np.full(len(newest), NEVER, dtype=np.int64)
    later = events.frame.filter(pl.col("start") > int(newest.min())).select(pl.col("start").sort())
    starts = np.append(later.collect(engine="streaming")["start"].to_numpy(), NEVER)
    return starts[np.searchsorted(starts, newest, side="right")]


@dataclass(frozen=True)
class Counted:
    """From when on events counted for the rows of one generation, none of which is overtaken.

    Attributes:
        newest: int64 [rows], ascending.
        last: int64 [rows], the latest instant of a row up to each of them.
    """

    newest: Integers
    last: Integers

    @classmethod
    def of(cls, at: Integers, newest: Integers) -> "Counted":
        """Put the rows in order."""
        order = np.argsort(newest, kind="stable")
        return cls(newest[order], np.maximum.accumulate(at[order]))

    def since(self, starts: Integers) -> Integers:
        """int64 [events]: just after the last row that did not hold an event, but not before it was known."""
        lacking = np.searchsorted(self.newest, starts, side="left")
        last = np.append(np.int64(0), self.last)[lacking]
        return np.maximum(starts, last + 1)

    def moved(self, records: Records) -> Records:
        """A stream whose records count from then on; for the shop's rates they keep the day when they were known."""

        def since(starts: pl.Series) -> pl.Series:
            return pl.Series(self.since(starts.to_numpy()))

        start = pl.col("start").map_batches(since, return_dtype=pl.Int64, is_elementwise=True)
        known = pl.col("start").floordiv(DAY).alias(DAY_KNOWN)
        return Records(records.frame.with_columns(start.alias("start"), known), records.lacks)
