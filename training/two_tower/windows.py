"""Baskets and windows of histories; numpy only."""

import numpy as np
from numpy.typing import NDArray

from training.two_tower.sequences import Float, Int, Sequences, Whole


def basket_starts(sequences: Sequences) -> NDArray[np.int32] | Int:
    """The first event of each basket (events of a user that share a timestamp), and the number of all events.

    Returns:
        [baskets + 1], int32 where that is wide enough, else int64.
    """
    dtype = np.int32 if len(sequences.rows) < np.iinfo(np.int32).max else np.int64
    found = []
    for begin, part in sequences.blocks():
        fresh = np.ones(len(part.timestamps), dtype=np.bool_)
        fresh[1:] = np.diff(part.timestamps) != 0
        fresh[part.offsets[:-1][part.offsets[:-1] < len(fresh)]] = True
        found.append((begin + np.flatnonzero(fresh)).astype(dtype))
    return np.concatenate([*found, np.array([len(sequences.rows)], dtype=dtype)])


def place_of(baskets: Whole, events: Whole, *, side: str) -> Int:
    """As np.searchsorted, without a copy of the baskets in the events' width."""
    keys = np.asarray(events, dtype=baskets.dtype)
    return np.searchsorted(baskets, keys, side="right" if side == "right" else "left")


def cut_windows(sequences: Sequences, baskets: Whole, *, target_weights: Float, length: int) -> Int:
    """Parts of histories of at most `length` events, each up to a basket behind which something is predicted.

    Args:
        sequences: the events.
        baskets: whole numbers [baskets + 1], from `basket_starts`.
        target_weights: float32 [events], 0 where nothing is to be predicted.
        length: events in a window at most.

    Returns:
        int64 [windows, 2], first event and one past the last; windows of one user do not overlap.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    for begin, part in sequences.blocks():
        end = begin + len(part.rows)
        first, last = place_of(baskets, np.array([begin, end]), side="left")
        own = baskets[first : last + 1].astype(np.int64) - begin
        found.append(begin + block_windows(part, own, target_weights=target_weights[begin:end], length=length))
    return np.concatenate(found)


def block_windows(sequences: Sequences, baskets: Int, *, target_weights: Float, length: int) -> Int:
    """The windows of a block of users; see `cut_windows`."""
    if len(baskets) < 2:
        return np.empty((0, 2), dtype=np.int64)
    ends = baskets[1:]
    wanted = np.add.reduceat(target_weights, baskets[:-1])
    predicts = ends[:-1][~np.isin(ends[:-1], sequences.offsets) & (wanted[1:] > 0)]
    first = sequences.offsets[:-1]
    low = np.searchsorted(predicts, first, side="right")
    place = np.searchsorted(predicts, sequences.offsets[1:]) - 1
    users = np.flatnonzero(place >= low)
    found, owners = [np.empty((0, 2), dtype=np.int64)], [users[:0]]
    while len(users):
        # The latest window of each user that still has one.
        end = predicts[place[users]]
        start = np.maximum(first[users], end - length)
        found.append(np.stack([start, end], axis=1))
        owners.append(users)
        place[users] = np.searchsorted(predicts, start, side="right") - 1
        users = users[place[users] >= low[users]]
    return np.concatenate(found)[np.argsort(np.concatenate(owners), kind="stable")]


def ragged(starts: Int, sizes: Int) -> Int:
    """starts[0], starts[0] + 1, ... for sizes[0] numbers, then those of the next start."""
    return np.arange(int(sizes.sum())) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
