"""Records that became known later than they happened: what they add to the punctual ones."""

from functools import cached_property

import numpy as np

from feature_store.point_in_time.definitions import Measure, Window
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.orders import Asked, Columns, Flags, window_end
from feature_store.point_in_time.sums import counted, latest_place, prefix_sums


class Late:
    """Late records in two orders, as they happened and as they came to be known, and the rows that ask for them."""

    def __init__(self, records: Columns, asked: Asked) -> None:
        """Put the records in order.

        Args:
            records: in any order.
            asked: the rows.
        """
        self.asked, line = asked, asked.line
        by_time, by_start = (line.place(records.codes, instants) for instants in (records.times, records.starts))
        order, known = np.argsort(by_time), np.argsort(by_start)
        self.passed, self.passed_places = records.only(order), by_time[order]
        self.known, self.known_places = records.only(known), by_start[known]
        self.kept: dict[Window, tuple[Flags, Flags]] = {}
        self.gone_by: dict[Window, Integers] = {}

    @cached_property
    def now(self) -> Integers:
        """int64 [rows]: how many stand before the row, itself included, by when they were known."""
        return np.searchsorted(self.known_places, self.asked.at, side="right")

    @cached_property
    def known_begin(self) -> Integers:
        """int64 [rows]: how many stand before the row's key, by when they were known."""
        return np.searchsorted(self.known_places, self.asked.begin)

    @cached_property
    def passed_begin(self) -> Integers:
        """int64 [rows]: how many stand before the row's key, by when they happened."""
        return np.searchsorted(self.passed_places, self.asked.begin)

    def gone(self, window: Window) -> Integers:
        """int64 [rows]: how many stand before the row's window, by when they happened."""
        if window not in self.gone_by:
            self.gone_by[window] = np.searchsorted(self.passed_places, self.asked.lower(window))
        return self.gone_by[window]

    def keep(self, window: Window) -> tuple[Flags, Flags]:
        """bool [records], in both orders: those that were known before their window had passed them."""
        if window not in self.kept:
            passed, known = (one.starts < window_end(one.times, window) for one in (self.passed, self.known))
            self.kept[window] = (passed, known)
        return self.kept[window]

    def total(self, measure: Measure, window: Window | None) -> Integers:
        """int64 [rows]: what is known by now, without what the window has passed.

        A record that was known only when its window had passed it never counts, and is left out of both.
        """
        keep_passed, keep = (None, None) if window is None else self.keep(window)
        sums = prefix_sums(self.known, measure, keep=keep)
        found = sums[self.now] - sums[self.known_begin]
        if window is None:
            return found
        sums = prefix_sums(self.passed, measure, keep=keep_passed)
        return found - (sums[self.gone(window)] - sums[self.passed_begin])

    def latest_place(self, measure: Measure, *, first: bool) -> Integers:
        """int64 [rows]: where the last known record of a measure stands by time, the first one from the end; or -1."""
        line, codes = self.asked.line, self.known.codes
        along = line.place(codes, self.known.times)
        along = line.from_the_end(along, codes) if first else along
        return latest_place(along, counted(self.known, measure), before=self.now, begin=self.asked.begin)
