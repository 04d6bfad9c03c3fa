"""Every aggregate of one partition, each from prefix sums or running maxima and bisection; no loop over rows."""

from functools import cached_property

import numpy as np

from feature_store.point_in_time.definitions import Measure, Window
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.late import Late
from feature_store.point_in_time.latest import Latests
from feature_store.point_in_time.orders import Asked, Columns, Flags, window_end
from feature_store.point_in_time.sums import counted, latest_place, prefix_sums
from feature_store.point_in_time.values import MISSING


class Partition:
    """The records of some keys and the rows that ask for them."""

    def __init__(self, records: Columns, asked: Asked) -> None:
        """Put the records in order.

        Args:
            records: in any order.
            asked: the rows.
        """
        self.records, self.asked = records, asked
        places = asked.line.place(records.codes, records.times)
        at_once = records.starts == records.times + 1
        late = np.flatnonzero(~at_once)
        self.punctual = records.along(places, among=np.flatnonzero(at_once) if len(late) else None)
        self.late = Late(records.only(late), asked) if len(late) else None
        self.sums: dict[Measure, Integers] = {}
        self.lowers: dict[Window, Integers] = {}

    @cached_property
    def begin(self) -> Integers:
        """int64 [rows]: how many punctual records stand before the row's key."""
        return np.searchsorted(self.punctual.places, self.asked.begin)

    @cached_property
    def upper(self) -> Integers:
        """int64 [rows]: how many punctual records stand before the row."""
        return np.searchsorted(self.punctual.places, self.asked.at)

    def lower(self, window: Window | None) -> Integers:
        """int64 [rows]: how many punctual records stand before the row's window."""
        if window is None:
            return self.begin
        if window not in self.lowers:
            self.lowers[window] = np.searchsorted(self.punctual.places, self.asked.lower(window))
        return self.lowers[window]

    def total(self, measure: Measure, window: Window | None) -> Integers:
        """int64 [rows]: the sum of a measure's whole numbers over a window."""
        if measure not in self.sums:
            self.sums[measure] = prefix_sums(self.punctual, measure)
        sums = self.sums[measure]
        found = sums[self.upper] - sums[self.lower(window)]
        return found if self.late is None else found + self.late.total(measure, window)

    def instant(self, measure: Measure, *, first: bool) -> Integers:
        """int64 [rows]: when the first or the last record of a measure happened, MISSING where there is none."""
        line, asked, places = self.asked.line, self.asked, self.punctual.places
        along = line.from_the_end(places, places // line.span) if first else places
        best = latest_place(along, counted(self.punctual, measure), before=self.upper, begin=asked.begin)
        if self.late is not None:
            best = np.maximum(best, self.late.latest_place(measure, first=first))
        if first:
            best = np.where(best < 0, -1, line.from_the_end(best, asked.codes))
        return np.where(best < 0, MISSING, line.instants(best, asked.codes))

    def latest(self, measure: Measure, asked: Asked | None = None) -> Integers:
        """int64 [rows]: the value of a measure's last record, MISSING where there is none.

        Args:
            measure: whose value is looked up.
            asked: at which rows; the partition's own where None.
        """
        return Latests(self.all_of(measure), measure.value).at(asked or self.asked)

    def distinct(self, measure: Measure, window: Window | None) -> Integers:
        """int64 [rows]: how many different values a measure has in a window.

        Each value counts over the union of the stretches in which one of its records does.
        """
        records, line = self.all_of(measure), self.asked.line
        values = records.values[measure.value]
        order = np.lexsort((records.starts, values, records.codes))
        codes, values, starts = records.codes[order], values[order], records.starts[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (codes[1:] != codes[:-1]) | (values[1:] != values[:-1])
        if window is None:
            places = np.sort(line.place(codes[new], starts[new]))
            return self.between(places)
        ends = window_end(records.times[order], window)
        begins = np.maximum(starts, covered_until(ends, new))
        keep = begins < ends
        opened = np.sort(line.place(codes[keep], begins[keep]))
        closed = np.sort(line.place(codes[keep], ends[keep]))
        return self.between(opened) - self.between(closed)

    def between(self, places: Integers) -> Integers:
        """int64 [rows]: how many of some places stand on the row's line up to the row, itself included."""
        now = np.searchsorted(places, self.asked.at, side="right")
        return now - np.searchsorted(places, self.asked.begin)

    def all_of(self, measure: Measure) -> Columns:
        """The records that a measure counts, punctual or late, in no order."""
        return self.records.only(counted(self.records, measure))


def covered_until(ends: Integers, new: Flags) -> Integers:
    """int64 [records]: the latest end among the earlier records of the same group; the group's first one has MISSING.

    Args:
        ends: of the records, group by group.
        new: bool [records], True where a group begins.
    """
    if not len(ends):
        return ends
    distinct, ranks = np.unique(ends, return_inverse=True)
    groups = np.cumsum(new)
    running = np.maximum.accumulate(groups * len(distinct) + ranks)
    before = np.roll(running, 1)
    return np.where(new, MISSING, distinct[before % len(distinct)])
