"""Many records at once: features read out of them, and events added to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from feature_store.online_features.layout import MOST_SLOTS, PLACES, ZERO, Integers, Layout, Slot, slots_of
from feature_store.point_in_time.aggregates import ratio
from feature_store.point_in_time.definitions import DAY, Age, Change, Distinct, Feature, Latest, Measure, Rate
from feature_store.point_in_time.tallies import begin
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
        return np.searchsorted(self.codes, codes[:, None] + own)

    @cached_property
    def sums(self) -> Integers:
        """int64 [cells + 1]: how much the first n cells are worth."""
        sums = np.zeros(len(self.worths) + 1, dtype=np.int64)
        np.cumsum(self.worths, out=sums[1:])
        return sums


class Reading:
    """Features of some records at one instant."""

    def __init__(self, layout: Layout, cells: Cells, *, now: int) -> None:
        """Find where each window begins and ends.

        Args:
            layout: of the records.
            cells: of the records.
            now: the instant, microseconds since 1970.
        """
        self.layout = layout
        self.cells = cells
        self.now = now
        asked = dict.fromkeys(
            (slot, self.first_place(feature, slot)) for feature in layout.features for slot in slots_of(feature)
        )
        self.asked = {one: number for number, one in enumerate(asked)}
        numbers = np.array([layout.slots[slot] for slot, _ in asked], dtype=np.int64) << PLACES
        places = np.array([place for _, place in asked], dtype=np.int64)
        self.lower = cells.places(numbers + places)
        self.upper = cells.places(numbers + LAST_PLACE + 1)

    def first_place(self, feature: Feature, slot: Slot) -> int:
        """The first place in a slot that counts for a feature."""
        return begin(feature.window, self.now) // slot.hop + ZERO if slot.hop and feature.window else 0

    def column(self, feature: Feature, *, prior: float) -> Reals:
        """float64 [records]: a feature's values, NaN where there is none."""
        first, *rest = ((slot, self.first_place(feature, slot)) for slot in slots_of(feature))
        match feature.of:
            case Age():
                return np.where(self.found(first), (self.now - self.whole(first)) / DAY, np.nan)
            case Latest(measure):
                return self.latest(first, measure, self.now)
            case Change(measure, window):
                now, then = (self.latest(first, measure, at) for at in (self.now, self.now - window.length))
                return ratio(now, then) - 1.0
            case Distinct():
                return self.whole(first).astype(np.float64)
            case Rate(top, bottom, _, strength):
                above, below = scaled(self.whole(first), top), scaled(self.whole(rest[0] if rest else first), bottom)
                return ratio(above + strength * prior, below + strength)
            case of:
                return scaled(self.whole(first), of.measure)

    def whole(self, asked: tuple[Slot, int]) -> Integers:
        """int64 [records]: what the cells of a slot from a place on are worth together."""
        number = self.asked[asked]
        whole: Integers = self.cells.sums[self.upper[number]] - self.cells.sums[self.lower[number]]
        return whole

    def found(self, asked: tuple[Slot, int]) -> NDArray[np.bool_]:
        """bool [records]: where there is any such cell."""
        number = self.asked[asked]
        found: NDArray[np.bool_] = self.upper[number] > self.lower[number]
        return found

    def latest(self, asked: tuple[Slot, int], measure: Measure, at: int) -> Reals:
        """float64 [records]: the latest value known at an instant, NaN where there is none."""
        number = self.asked[asked]
        lower, upper = self.lower[number], self.upper[number]
        value = np.full(self.cells.rows, np.nan)
        for step in range(0, int((upper - lower).max(initial=0)), 2):
            place = np.minimum(lower + step, max(len(self.cells.worths) - 2, 0))
            known = (lower + step < upper) & (self.cells.worths[place] <= at)
            value = np.where(known, scaled(self.cells.worths[place + 1], measure), value)
        return value


def scaled(whole: Integers, measure: Measure) -> Reals:
    """float64 [records]: what whole numbers of a measure stand for."""
    return whole / VALUES[measure.value].scale


def read(
    layout: Layout, records: Sequence[bytes | None], *, now: int, priors: Mapping[str, float]
) -> NDArray[np.float32]:
    """float32 [records, features]: all features, the same bits that a training row at `now` gets; NaN for none.

    Args:
        layout: of the records.
        records: None where nothing is known of a key.
        now: at or after all that was added.
        priors: by name the shop's rate of the features that are drawn towards it, as of the last midnight.
    """
    reading = Reading(layout, Cells.of(records), now=now)
    found = np.empty((len(records), len(layout.features)), dtype=np.float32)
    for number, feature in enumerate(layout.features):
        found[:, number] = reading.column(feature, prior=priors.get(feature.name, 0.0))
    return found


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
