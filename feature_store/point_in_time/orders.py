"""Records of one partition in the two orders that matter: as they happened, and as they came to be known.

A record counts for a window at t from its `start` (known, and after it happened) until its window has passed it.
Both are points on one line for each key, so that "how much counts at t" is one prefix sum minus another, found by
bisection: exact for late records too, and O(log n) for each row. Records that were known at once, nearly all of them,
have one order for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import Window
from feature_store.point_in_time.keys import Integers

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Line:
    """Key and instant as one whole number that sorts.

    Attributes:
        base: the earliest instant there is, microseconds.
        span: how many instants a key has room for; the latest one there is lies below base + span - 1.
    """

    base: int
    span: int

    def place(self, codes: Integers, instants: Integers) -> Integers:
        """int64 [n]: the number of an instant on its key's line; what lies outside counts as its end."""
        return codes * self.span + np.clip(instants - self.base, 0, self.span - 1)

    def from_the_end(self, places: Integers, codes: Integers) -> Integers:
        """int64 [n]: places counted from the end of their key's line, so that the earliest is the largest; and back."""
        return (2 * codes + 1) * self.span - 1 - places

    def instants(self, places: Integers, codes: Integers) -> Integers:
        """int64 [n]: microseconds, back from `place`."""
        return places - codes * self.span + self.base


@dataclass(frozen=True)
class Asked:
    """The rows of one partition, sorted by key and instant.

    Attributes:
        line: of the partition.
        codes: int64 [rows], the key of each.
        instants: int64 [rows], microseconds.
    """

    line: Line
    codes: Integers
    instants: Integers

    @cached_property
    def at(self) -> Integers:
        """int64 [rows]: where each row stands on its line."""
        return self.line.place(self.codes, self.instants)

    @cached_property
    def begin(self) -> Integers:
        """int64 [rows]: where each row's line begins."""
        return self.codes * self.line.span

    @cached_property
    def lowers(self) -> dict[Window, Integers]:
        """What `lower` has found so far."""
        return {}

    def lower(self, window: Window) -> Integers:
        """int64 [rows]: where each row's window begins."""
        if window not in self.lowers:
            self.lowers[window] = self.line.place(self.codes, window_begin(self.instants, window))
        return self.lowers[window]

    def earlier(self, window: Window) -> "Asked":
        """The same rows, asked one window's length before."""
        return Asked(self.line, self.codes, self.instants - window.length)


def window_begin(instants: Integers, window: Window) -> Integers:
    """int64 [rows]: the first instant that a window holds, microseconds: floor(t - length, hop)."""
    return (instants - window.length) // window.hop * window.hop


def window_end(times: Integers, window: Window) -> Integers:
    """int64 [records]: the first instant of a row whose window no longer holds a record, microseconds."""
    return times // window.hop * window.hop + window.hop + window.length


@dataclass(frozen=True)
class Along:
    """Records along the line, with what sums over them take.

    Attributes:
        places: int64 [records], ascending.
        kinds: uint8 [records].
        values: by name int64 [records].
    """

    places: Integers
    kinds: NDArray[np.uint8]
    values: Mapping[str, Integers]


@dataclass(frozen=True)
class Columns:
    """Records in any order, column by column.

    Attributes:
        codes: int64 [records], the key of each.
        times: int64 [records], when each happened.
        starts: int64 [records], from when on it is known.
        kinds: uint8 [records].
        values: by name int64 [records].
    """

    codes: Integers
    times: Integers
    starts: Integers
    kinds: NDArray[np.uint8]
    values: Mapping[str, Integers]

    def along(self, places: Integers, *, among: Integers | None = None) -> Along:
        """Some of the records, or all, in the order of their places.

        Args:
            places: int64 [records].
            among: the numbers of those that are wanted; all where None.
        """
        order = np.argsort(places) if among is None else among[np.argsort(places[among])]
        return Along(places[order], self.kinds[order], {name: values[order] for name, values in self.values.items()})

    def only(self, keep: Flags | Integers) -> "Columns":
        """Some of the records: those that are flagged, or numbered, in that order."""
        return Columns(
            self.codes[keep],
            self.times[keep],
            self.starts[keep],
            self.kinds[keep],
            {name: values[keep] for name, values in self.values.items()},
        )
