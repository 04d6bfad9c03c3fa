"""The last record's value as of any instant: a running maximum over ranks, in the order in which records were known."""

import numpy as np

from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.orders import Asked, Columns
from feature_store.point_in_time.values import MISSING


class Latests:
    """The last values of one measure."""

    def __init__(self, records: Columns, value: str) -> None:
        """Rank the records by key, time and value, and remember the highest rank known at each start.

        Args:
            records: those that the measure counts, in any order.
            value: which of their values is asked for.
        """
        values = records.values[value]
        by_time = np.lexsort((values, records.times, records.codes))
        self.values, self.codes, starts = values[by_time], records.codes[by_time], records.starts[by_time]
        self.by_start = np.lexsort((starts, self.codes))
        self.starts = starts[self.by_start]
        self.best = np.maximum.accumulate(self.by_start)

    def at(self, asked: Asked) -> Integers:
        """int64 [rows]: the value of the last record known at each row, MISSING where there is none.

        Args:
            asked: rows on the line that the records stand on.
        """
        if not len(self.values):
            return np.full(len(asked.codes), MISSING, dtype=np.int64)
        places = asked.line.place(self.codes[self.by_start], self.starts)
        now = np.searchsorted(places, asked.at, side="right")
        rank = self.best[np.maximum(now - 1, 0)]
        found = (now > 0) & (self.codes[rank] == asked.codes)
        return np.where(found, self.values[rank], MISSING)
