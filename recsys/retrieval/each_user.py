"""Histories for recommenders that answer one user at a time."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.types import Mask, PositionHistories, Positions


class User(NamedTuple):
    """One user who is answered.

    Attributes:
        positions: int64 [events], what was met, oldest first.
        timestamps: int64 [events], microseconds.
        hidden: positions that must not come back; None hides nothing.
    """

    positions: Positions
    timestamps: NDArray[np.int64]
    hidden: Positions | None


def each_user(histories: PositionHistories, *, exclude: Sequence[Positions] | None) -> Iterator[User]:
    """The users, in order; arguments as in `recsys.types.Recommender`."""
    for number, (first, last) in enumerate(pairwise(histories.offsets)):
        hidden = None if exclude is None else exclude[number]
        yield User(histories.positions[first:last], histories.timestamps[first:last], hidden)


def passing(positions: Positions, *, allowed: Mask | None, hidden: Positions | None) -> Mask:
    """bool [positions], True where a position may come back."""
    kept = np.ones(len(positions), dtype=np.bool_) if allowed is None else allowed[positions]
    return kept if hidden is None or not len(hidden) else kept & ~np.isin(positions, hidden)
