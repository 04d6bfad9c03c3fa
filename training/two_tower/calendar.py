"""What sold lately and what is new, of each product at any time of the history; numpy only.

A state learns to bring what was bought next, so it may know of a product only what was known by then: the history is
cut into periods, and a state reads the values as of the beginning of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.models.two_tower_config import FIRST
from training.two_tower.sequences import MICROSECONDS_A_DAY, Float, Int

NAMES = ("sold_28_days", "sold_7_days", "newness")
WINDOWS = (28, 7)
HALF_LIFE_DAYS = 28
PERIOD_DAYS, MOST_PERIODS = 7, 64


@dataclass(frozen=True, slots=True)
class Sales:
    """All events of the products that are learned, those of unknown users as well.

    Attributes:
        products: int64 [events], by place in the vocabulary.
        timestamps: int64 [events], microseconds, in any order.
        weights: float32 [events], how much each counts.
        count: products of the vocabulary.
    """

    products: Int
    timestamps: Int
    weights: Float
    count: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The values by period.

    Attributes:
        starts: int64 [periods], microseconds, ascending; the last is the end of the history: the present.
        values: float32 [periods, products + FIRST, len(NAMES)], zeros at padding and unknown; each 0 to 1.
    """

    starts: Int
    values: Float

    def periods(self, times: Int) -> Int:
        """int64 [times], the period that each time is in; the first where it is before all."""
        return np.clip(np.searchsorted(self.starts, times, side="right") - 1, 0, len(self.starts) - 1)

    @property
    def now(self) -> Float:
        """float32 [products, len(NAMES)], the values at the end of the history."""
        return self.values[-1, FIRST:]


def read_calendar(sales: Sales) -> Calendar:
    """The values at the beginning of each period and at the end; periods of a week, longer in a long history."""
    begin, end = int(sales.timestamps.min()), int(sales.timestamps.max()) + 1
    count = int(np.clip(-(-(end - begin) // (PERIOD_DAYS * MICROSECONDS_A_DAY)), 1, MOST_PERIODS))
    starts = np.append(begin + (end - begin) * np.arange(count) // count, end).astype(np.int64)
    first = np.full(sales.count, np.iinfo(np.int64).max)
    np.minimum.at(first, sales.products, sales.timestamps)
    values: NDArray[np.float32] = np.zeros((len(starts), sales.count + FIRST, len(NAMES)), dtype=np.float32)
    for place, start in enumerate(starts):
        values[place, FIRST:] = values_at(sales, first=first, at=int(start))
    return Calendar(starts, values)


def values_at(sales: Sales, *, first: Int, at: int) -> Float:
    """float32 [products, len(NAMES)] by what happened before an instant.

    What was sold in the last days counts as log(1 + weight) over that of the best seller, 0 for nothing; newness halves
    with each HALF_LIFE_DAYS since the first event, and is 1 for what had none yet.

    Args:
        sales: all events.
        first: int64 [products], microseconds of each product's first event.
        at: microseconds.
    """
    columns = []
    for days in WINDOWS:
        inside = (sales.timestamps < at) & (sales.timestamps >= at - days * MICROSECONDS_A_DAY)
        sold = np.log1p(np.bincount(sales.products[inside], sales.weights[inside], minlength=sales.count))
        columns.append(sold / max(float(sold.max(initial=0.0)), np.finfo(np.float64).tiny))
    age = np.maximum(at - np.minimum(first, at), 0) / MICROSECONDS_A_DAY
    return np.stack([*columns, 0.5 ** (age / HALF_LIFE_DAYS)], axis=1).astype(np.float32)
