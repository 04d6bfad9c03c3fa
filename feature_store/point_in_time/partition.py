"""Every aggregate of one partition, each from prefix sums or running maxima and bisection; no loop over rows."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from feature_store.point_in_time.definitions import Measure, Window
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.latest import Latests
from feature_store.point_in_time.orders import Asked, Flags, Ordered, window_end
from feature_store.point_in_time.streams import kind_codes
from feature_store.point_in_time.values import MISSING


def counted(records: Ordered, measure: Measure) -> Flags:
    """bool [records]: which ones a measure counts."""
    every = np.ones(len(records.kinds), dtype=np.bool_)
    for number, code in enumerate(kind_codes(measure.kinds)):
        every = records.kinds == code if number == 0 else every | (records.kinds == code)
    return every if measure.value == "one" else every & (records.values[measure.value] != MISSING)


def prefix_sums(records: Ordered, measure: Measure, *, keep: Flags | None = None) -> Integers:
    """int64 [records + 1]: how much the first n records are worth; those that `keep` leaves out are worth nothing."""
    flags = counted(records, measure) if keep is None else counted(records, measure) & keep
    sums = np.zeros(len(flags) + 1, dtype=np.int64)
    worth = flags if measure.value == "one" else np.where(flags, records.values[measure.value], 0)
    np.cumsum(worth, out=sums[1:])
    return sums


class Partition:
    """The records of some keys and the rows that ask for them."""

    def __init__(self, records: Ordered, asked: Asked) -> None:
        """Put the records in order.

        Args:
            records: in any order, with places by time.
            asked: the rows, on the same line.
        """
        self.asked = asked
        late = records.starts != records.times + 1
        any_late = bool(late.any())
        self.punctual = (records.only(~late) if any_late else records).sorted_by_places()
        self.late = records.only(late).sorted_by_places()
        self.late_by_start = self.late.sorted_by(asked.line.place(self.late.codes, self.late.starts))
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
        return found + self.late_total(measure, window) if len(self.late.places) else found

    def late_total(self, measure: Measure, window: Window | None) -> Integers:
        """int64 [rows]: what late records add: those known by now, without those that the window has passed.

        A record that was known only when its window had passed it never counts, and is left out of both.
        """
        known, passed = self.late_by_start, self.late
        keep = keep_passed = None
        if window is not None:
            keep = known.starts < window_end(known.times, window)
            keep_passed = passed.starts < window_end(passed.times, window)
        sums = prefix_sums(known, measure, keep=keep)
        now = np.searchsorted(known.places, self.asked.at, side="right")
        found = sums[now] - sums[np.searchsorted(known.places, self.asked.begin)]
        if window is None:
            return found
        sums = prefix_sums(passed, measure, keep=keep_passed)
        gone = np.searchsorted(passed.places, self.asked.lower(window))
        return found - (sums[gone] - sums[np.searchsorted(passed.places, self.asked.begin)])

    def instant(self, measure: Measure, *, first: bool) -> Integers:
        """int64 [rows]: when the first or the last record of a measure happened, MISSING where there is none."""
        line, asked = self.asked.line, self.asked
        now = np.searchsorted(self.late_by_start.places, asked.at, side="right")
        best = np.full(len(asked.codes), -1, dtype=np.int64)
        for records, end in ((self.punctual, self.upper), (self.late_by_start, now)):
            if not len(records.places):
                continue
            along = line.place(records.codes, records.times)
            if first:  # counted from the key's end, so that the earliest is the largest
                along = (2 * records.codes + 1) * line.span - 1 - along
            running = np.maximum.accumulate(np.where(counted(records, measure), along, -1))
            found = np.where(end > 0, running[np.maximum(end - 1, 0)], -1)
            best = np.maximum(best, np.where(found >= asked.begin, found, -1))
        if first:
            best = np.where(best < 0, -1, (2 * asked.codes + 1) * line.span - 1 - best)
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

    def all_of(self, measure: Measure) -> Ordered:
        """The records that a measure counts, punctual or late, in no order."""
        parts = [one.only(counted(one, measure)) for one in (self.punctual, self.late)]
        return joined(parts)


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


def joined(parts: Iterable[Ordered]) -> Ordered:
    """Records of several sets in one, in no order."""
    several = list(parts)
    return Ordered(
        np.concatenate([one.places for one in several]),
        np.concatenate([one.codes for one in several]),
        np.concatenate([one.times for one in several]),
        np.concatenate([one.starts for one in several]),
        np.concatenate([one.kinds for one in several]),
        {name: np.concatenate([one.values[name] for one in several]) for name in several[0].values},
    )
