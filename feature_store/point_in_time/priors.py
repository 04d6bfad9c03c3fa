"""The whole shop's rates as they were known at the last midnight, for rates that are drawn towards them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import DAY, Feature, Measure, Rate
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.streams import Streams, kind_codes
from feature_store.point_in_time.values import MISSING, VALUES

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Priors:
    """Sums of the measures of all rates over the whole shop.

    Attributes:
        days: by measure int64 [days], ascending, the days on which something became known, since 1970.
        sums: by measure int64 [days], of all that was known by the end of each.
    """

    days: dict[Measure, Integers]
    sums: dict[Measure, Integers]

    @classmethod
    def of(cls, features: Iterable[Feature], streams: Streams) -> "Priors":
        """Sum up what the features' rates need; each stream is read once."""
        rates = [feature.of for feature in features if isinstance(feature.of, Rate) and feature.of.strength]
        wanted = sorted({measure for rate in rates for measure in (rate.top, rate.bottom)}, key=str)
        days, sums = {}, {}
        for stream in sorted({measure.stream for measure in wanted}):
            measures = [measure for measure in wanted if measure.stream == stream]
            by_day = (
                streams[stream]
                .frame.group_by(day=pl.col("start").floordiv(DAY))
                .agg(summed(measure).alias(str(number)) for number, measure in enumerate(measures))
                .sort("day")
                .collect(engine="streaming")
            )
            for number, measure in enumerate(measures):
                days[measure] = by_day["day"].to_numpy()
                sums[measure] = np.cumsum(by_day[str(number)].to_numpy())
        return cls(days, sums)

    def known(self, measure: Measure, instants: Integers) -> Reals:
        """float64 [rows]: the sum of a measure over what was known before the midnight before each row."""
        before = np.searchsorted(self.days[measure], instants // DAY)
        sums = np.concatenate([np.zeros(1, dtype=np.int64), self.sums[measure]])
        return sums[before] / VALUES[measure.value].scale

    def rate(self, rate: Rate, instants: Integers) -> Reals:
        """float64 [rows]: the prior of a rate; 0 where nothing was known."""
        top, bottom = self.known(rate.top, instants), self.known(rate.bottom, instants)
        return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def summed(measure: Measure) -> pl.Expr:
    """int64: the sum of a measure's whole numbers in a group."""
    whole = VALUES[measure.value].whole
    counts = whole != MISSING
    if measure.kinds:
        counts &= pl.col("kind").is_in(kind_codes(measure.kinds))
    return pl.when(counts).then(whole).otherwise(0).sum()
