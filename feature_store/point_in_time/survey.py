"""One pass over a stream before any feature: how far its times reach, and what the whole shop summed up to by day."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import DAY, Feature, Measure, Rate, Stream
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.streams import Streams, kind_codes, of_kinds
from feature_store.point_in_time.values import MISSING, VALUES

Reals = NDArray[np.float64]
DAY_KNOWN = "day known"
"""The column of a stream whose records count later than the shop knew them: on which day (since 1970) it did."""


@dataclass(frozen=True)
class Survey:
    """What is known of a stream as a whole.

    Attributes:
        rows: how many of its records count for any feature.
        first: the earliest time among them, microseconds; 0 without records.
        last: the latest time or start among them.
        days: int64 [days], ascending, the days (since 1970) on which something became known.
        sums: by measure int64 [days], of all that was known by the end of each.
    """

    rows: int
    first: int
    last: int
    days: Integers
    sums: dict[Measure, Integers]

    @classmethod
    def of(cls, frame: pl.LazyFrame, measures: Iterable[Measure]) -> "Survey":
        """Read a stream once.

        Args:
            frame: the stream; DAY_KNOWN, where it has it, says on which day a record became known to the shop.
            measures: whose sums are wanted.
        """
        wanted = list(measures)
        told = DAY_KNOWN in frame.collect_schema()
        day = pl.col(DAY_KNOWN) if told else pl.col("start").floordiv(DAY)
        values = sorted({measure.value for measure in wanted} - {"one"})
        whole = {name: VALUES[name].whole for name in values}
        found = (
            frame.group_by("kind", day=day)
            .agg(
                one=pl.len().cast(pl.Int64),
                first=pl.col("time").min(),
                last=pl.col("start").max(),
                **{name: pl.when(each != MISSING).then(each).otherwise(0).sum() for name, each in whole.items()},
            )
            .collect(engine="streaming")
        )
        days = found.select(pl.col("day").unique().sort())["day"]
        sums = {}
        for measure in wanted:
            kinds = found.filter(pl.col("kind").is_in(kind_codes(measure.kinds))) if measure.kinds else found
            by_day = kinds.group_by("day").agg(pl.col(measure.value).sum())
            filled = days.to_frame().join(by_day, on="day", how="left", maintain_order="left")
            sums[measure] = np.cumsum(filled[measure.value].fill_null(0).to_numpy())
        rows, first, last = found.select(pl.col("one").sum(), pl.col("first").min(), pl.col("last").max()).row(0)
        return cls(rows, first or 0, last or 0, days.to_numpy(), sums)

    def known(self, measure: Measure, instants: Integers) -> Reals:
        """float64 [rows]: the sum of a measure over what was known before the midnight before each row."""
        before = np.searchsorted(self.days, instants // DAY)
        sums = np.concatenate([np.zeros(1, dtype=np.int64), self.sums[measure]])
        return sums[before] / VALUES[measure.value].scale

    def rate(self, rate: Rate, instants: Integers) -> Reals:
        """float64 [rows]: the shop's rate as of the midnight before each row; 0 where nothing was known."""
        top, bottom = self.known(rate.top, instants), self.known(rate.bottom, instants)
        return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def surveys(features: Iterable[Feature], streams: Streams) -> dict[Stream, Survey]:
    """By stream that a feature reads: what the records that count sum up to, as far as rates are drawn towards it."""
    by_stream: dict[Stream, list[Feature]] = {}
    for feature in features:
        by_stream.setdefault(feature.measures[0].stream, []).append(feature)
    found = {}
    for stream, own in by_stream.items():
        counted = [measure for feature in own for measure in feature.measures]
        rates = [feature for feature in own if isinstance(feature.of, Rate) and feature.of.strength]
        drawn = {measure for rate in rates for measure in rate.measures}
        found[stream] = Survey.of(of_kinds(streams[stream].frame, counted), drawn)
    return found
