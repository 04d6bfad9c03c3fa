"""Many records at once: features read out of them, and events added to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.online_features.layout import MOST_SLOTS, PLACES, ZERO, Integers, Layout, Slot, slots_of
from feature_store.point_in_time.aggregates import ratio
from feature_store.point_in_time.definitions import DAY, Age, Change, Distinct, Latest, Rate
from feature_store.point_in_time.values import VALUES

Reals = NDArray[np.float64]
CELL = 16
"""Bytes of a cell."""
LAST_PLACE = (1 << PLACES) - 1
ROW = PLACES + MOST_SLOTS.bit_length() - 1
"""Where a row's number stands beside a code."""


@dataclass(frozen=True)
class Cells:
    """The cells of some records.

    Attributes:
        rows: how many records.
        codes: int64 [cells], ascending, the number of the record above each code.
        worths: int64 [cells].
    """

    rows: int
    codes: Integers
    worths: Integers

    @classmethod
    def of(cls, records: Sequence[bytes | None]) -> "Cells":
        """Put stored records beside one another; None is an empty one."""
        counts = [len(one) // CELL if one else 0 for one in records]
        pairs = np.frombuffer(b"".join([one for one in records if one]), dtype="<i8").reshape(-1, 2)
        own = np.repeat(np.arange(len(records), dtype=np.int64) << ROW, counts)
        return cls(len(records), own + pairs[:, 0], np.ascontiguousarray(pairs[:, 1]))

    def records(self) -> list[bytes]:
        """The records as they are stored."""
        ends = np.searchsorted(self.codes, np.arange(self.rows + 1, dtype=np.int64) << ROW).tolist()
        pairs = np.empty((len(self.codes), 2), dtype="<i8")
        pairs[:, 0], pairs[:, 1] = self.codes & ((1 << ROW) - 1), self.worths
        content = pairs.tobytes()
        return [content[CELL * first : CELL * last] for first, last in pairwise(ends)]

    def places(self, codes: Integers) -> Integers:
        """int64 [codes, records]: how many cells stand before each code in each record, and in all records before."""
        own = np.arange(self.rows, dtype=np.int64) << ROW
        return np.searchsorted(self.codes, own[:, None] + codes).T  # nearly ascending, which is faster

    @cached_property
    def sums(self) -> Integers:
        """int64 [cells + 1]: how much the first n cells are worth."""
        sums = np.zeros(len(self.worths) + 1, dtype=np.int64)
        np.cumsum(self.worths, out=sums[1:])
        return sums


class Plan:
    """How the features of one layout are read: which cells each needs, in arrays, so that a read is a few of them."""

    def __init__(self, layout: Layout) -> None:
        """Number what is asked of a record: (slot, length of the window), each once.

        Args:
            layout: of the records.
        """
        self.layout = layout
        self.asked: dict[tuple[Slot, int], int] = {}
        self.lags: dict[tuple[int, int, float], int] = {}
        wholes, ages, rates, latest, changes = [], [], [], [], []
        for out, feature in enumerate(layout.features):
            length = feature.window.length if feature.window else 0
            at = [self.number(slot, length) for slot in slots_of(feature)]
            scales = [VALUES[measure.value].scale for measure in feature.measures]
            match feature.of:
                case Age():
                    ages.append((out, at[0]))
                case Latest():
                    latest.append((out, self.lag(at[0], 0, scales[0])))
                case Change():
                    changes.append((out, self.lag(at[0], 0, scales[0]), self.lag(at[0], length, scales[0])))
                case Rate(strength=strength):
                    rates.append((out, at[0], at[-1], scales[0], scales[-1], strength))
                case of:
                    wholes.append((out, at[0], 1 if isinstance(of, Distinct) else scales[0]))
        self.wholes, self.ages, self.latest = columns(wholes, 3), columns(ages, 2), columns(latest, 2)
        self.rates, self.changes, self.versions = columns(rates, 6), columns(changes, 3), columns(list(self.lags), 3)
        self.drawn = [layout.features[out].name for out, *_ in rates]
        self.codes = np.array([layout.slots[slot] for slot, _ in self.asked], dtype=np.int64) << PLACES
        self.hops = np.array([slot.hop if length else 1 for slot, length in self.asked], dtype=np.int64)
        self.lengths = np.array([length if slot.hop else 0 for slot, length in self.asked], dtype=np.int64)

    def number(self, slot: Slot, length: int) -> int:
        """The number of what is asked."""
        return self.asked.setdefault((slot, length if slot.hop else 0), len(self.asked))

    def lag(self, number: int, lag: int, scale: int) -> int:
        """The number of a value that is asked for as of some time ago."""
        return self.lags.setdefault((number, lag, scale), len(self.lags))

    def read(self, records: Sequence[bytes | None], *, now: int, priors: Mapping[str, float]) -> NDArray[np.float32]:
        """float32 [records, features]: all features, the bits that a training row at `now` gets; NaN for none.

        Args:
            records: None where nothing is known of a key.
            now: at or after all that was added.
            priors: by name the shop's rate of the features that are drawn towards it, as of the last midnight.
        """
        cells = Cells.of(records)
        begins = np.where(self.lengths > 0, (now - self.lengths) // self.hops + ZERO, 0)
        bounds = cells.places(np.stack([self.codes + begins, self.codes + LAST_PLACE + 1], axis=1).ravel())
        lower, upper = bounds[::2], bounds[1::2]
        whole = cells.sums[upper] - cells.sums[lower]
        found = np.empty((len(self.layout.features), len(records)), dtype=np.float64)
        if len(self.wholes[0]):
            out, at, scale = self.wholes
            found[out] = whole[at] / scale[:, None]
        if len(self.ages[0]):
            out, at = self.ages
            found[out] = np.where(upper[at] > lower[at], (now - whole[at]) / DAY, np.nan)
        if len(self.rates[0]):
            out, top, bottom, top_scale, bottom_scale, strength = self.rates
            prior = np.array([priors.get(name, 0.0) for name in self.drawn])
            above = whole[top] / top_scale[:, None] + (strength * prior)[:, None]
            found[out] = ratio(above, whole[bottom] / bottom_scale[:, None] + strength[:, None])
        if self.lags:
            values = self.known(cells, lower, upper, now=now)
            out, at = self.latest
            found[out] = values[at]
            out, at, before = self.changes
            found[out] = ratio(values[at], values[before]) - 1.0
        return np.ascontiguousarray(found.T, dtype=np.float32)

    def known(self, cells: Cells, lower: Integers, upper: Integers, *, now: int) -> Reals:
        """float64 [lags, records]: the latest value known at each lag before now, NaN where there is none."""
        at, lags, scale = self.versions
        lower, upper, instants = lower[at], upper[at], (now - lags)[:, None]
        values = np.full(lower.shape, np.nan)
        worths = np.append(cells.worths, [0, 0])
        for step in range(0, int((upper - lower).max(initial=0)), 2):
            place = np.minimum(lower + step, len(cells.worths))
            known = (lower + step < upper) & (worths[place] <= instants)
            values = np.where(known, worths[place + 1] / scale[:, None], values)
        return values


def columns(rows: Sequence[Sequence[float]], number: int) -> tuple[NDArray[Any], ...]:
    """The columns of rows as arrays: whole numbers as int64, all others as float64."""
    found = [np.array([row[column] for row in rows]) for column in range(number)]
    return tuple(one if one.dtype == np.float64 and len(one) else one.astype(np.int64) for one in found)


def added(
    layout: Layout, records: Sequence[bytes | None], more: Sequence[Sequence[tuple[int, int]]], *, now: int
) -> list[bytes]:
    """The records with more cells: sums are added up, instants compared, and what no window can ask for goes.

    Args:
        layout: of the records.
        records: as they are stored.
        more: for each record codes and what they are worth more, in any order.
        now: the earliest instant that is asked for from now on.
    """
    stored = Cells.of(records)
    own = np.repeat(np.arange(len(more), dtype=np.int64) << ROW, [len(one) for one in more])
    pairs = np.array([pair for one in more for pair in one], dtype=np.int64).reshape(-1, 2)
    codes = np.concatenate([stored.codes, own + pairs[:, 0]])
    order = np.argsort(codes, kind="stable")
    codes, worths = codes[order], np.concatenate([stored.worths, pairs[:, 1]])[order]
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    if not len(starts):
        return [b""] * len(records)
    codes = codes[starts]
    slots, places = (codes >> PLACES) & (MOST_SLOTS - 1), codes & LAST_PLACE
    ways = np.array([(slot.part == "first") + 2 * (slot.part == "last") for slot in layout.slots])[slots]
    worths = np.choose(ways, [way.reduceat(worths, starts) for way in (np.add, np.minimum, np.maximum)])
    empty = np.array([slot.part == "ids" for slot in layout.slots])[slots] & (worths == 0)
    kept = (places >= layout.lowest(now)[slots]) & ~empty
    return Cells(len(records), codes[kept], worths[kept]).records()
