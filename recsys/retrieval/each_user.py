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
        event_types: int8 [events].
        hidden: positions that must not come back; None hides nothing.
    """

    positions: Positions
    timestamps: NDArray[np.int64]
    event_types: NDArray[np.int8]
    hidden: Positions | None


def each_user(histories: PositionHistories, *, exclude: Sequence[Positions] | None) -> Iterator[User]:
    """The users, in order; arguments as in `recsys.types.Recommender`."""
    for number, (first, last) in enumerate(pairwise(histories.offsets)):
        hidden = None if exclude is None else exclude[number]
        part = slice(first, last)
        yield User(histories.positions[part], histories.timestamps[part], histories.event_types[part], hidden)


def moments(histories: PositionHistories, *, until: int) -> NDArray[np.int64]:
    """int64 [users]: the moment that each user is answered for, the same in every company.

    That is what the caller says, else the last one that a component knows of; never before the user's newest event.

    Args:
        histories: of the users.
        until: the last moment that the component knows of, in the timestamps' unit.
    """
    now = np.full(len(histories), until if histories.now is None else histories.now, dtype=np.int64)
    some = np.flatnonzero(np.diff(histories.offsets))
    if len(some):
        newest = np.maximum.reduceat(histories.timestamps, histories.offsets[some])
        now[some] = np.maximum(now[some], newest)
    return now


def passing(positions: Positions, *, allowed: Mask | None, hidden: Positions | None) -> Mask:
    """bool [positions], True where a position may come back."""
    kept = np.ones(len(positions), dtype=np.bool_) if allowed is None else allowed[positions]
    return kept if hidden is None or not len(hidden) else kept & ~np.isin(positions, hidden)
