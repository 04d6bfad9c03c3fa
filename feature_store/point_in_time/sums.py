"""What records along the line come to: running sums, and running maxima of where they stand."""

import numpy as np

from feature_store.point_in_time.definitions import Measure
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.orders import Along, Columns, Flags
from feature_store.point_in_time.streams import kind_codes
from feature_store.point_in_time.values import MISSING


def counted(records: Along | Columns, measure: Measure) -> Flags:
    """bool [records]: which ones a measure counts."""
    every = np.ones(len(records.kinds), dtype=np.bool_)
    for number, code in enumerate(kind_codes(measure.kinds)):
        every = records.kinds == code if number == 0 else every | (records.kinds == code)
    return every if measure.value == "one" else every & (records.values[measure.value] != MISSING)


def prefix_sums(records: Along | Columns, measure: Measure, *, keep: Flags | None = None) -> Integers:
    """int64 [records + 1]: how much the first n records are worth; those that `keep` leaves out are worth nothing."""
    flags = counted(records, measure) if keep is None else counted(records, measure) & keep
    sums = np.zeros(len(flags) + 1, dtype=np.int64)
    worth = flags if measure.value == "one" else np.where(flags, records.values[measure.value], 0)
    np.cumsum(worth, out=sums[1:])
    return sums


def latest_place(along: Integers, flags: Flags, *, before: Integers, begin: Integers) -> Integers:
    """int64 [rows]: the largest place of the flagged ones among the first `before` records, -1 below the row's key.

    Args:
        along: int64 [records], where each stands.
        flags: bool [records], which ones count.
        before: int64 [rows], how many of the first records a row may know.
        begin: int64 [rows], where the row's key begins.
    """
    if not len(along):
        return np.full(len(before), -1, dtype=np.int64)
    running = np.maximum.accumulate(np.where(flags, along, -1))
    found = np.where(before > 0, running[np.maximum(before - 1, 0)], -1)
    return np.where(found >= begin, found, -1)
