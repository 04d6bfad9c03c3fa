"""One list out of several: by ranks, or by scores brought to one scale."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.retrieval.order import in_order, nothing
from recsys.types import Candidates, Scores

Values = NDArray[np.float64]
CONSTANT = 60


def reciprocal_rank(
    lists: Sequence[Candidates], *, k: int, constant: float = CONSTANT, weights: Sequence[float] | None = None
) -> Candidates:
    """Fuse by ranks: a product scores the sum of weight / (constant + rank) over the lists that hold it.

    Equal scores inside a list share the mean of their ranks, so that the order of ties decides nothing.

    Args:
        lists: candidates of one query from several stages.
        k: at most so many.
        constant: how little the first ranks stand out, 0 or more.
        weights: of the lists, 0 or more; all 1 where not given.

    Source: Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet", SIGIR 2009.
    """
    return fuse(lists, k=k, weights=weights, value=lambda scores: 1.0 / (constant + mean_ranks(scores)))


def weighted(lists: Sequence[Candidates], *, k: int, weights: Sequence[float] | None = None) -> Candidates:
    """Fuse by scores: each list is stretched to 0..1, a product scores the weighted sum; absent counts as 0.

    Args:
        lists: candidates of one query from several stages.
        k: at most so many.
        weights: of the lists, 0 or more; all 1 where not given.

    Source: Fox and Shaw, "Combination of multiple searches", TREC-2, 1994 (CombSUM over min-max scores).
    """
    return fuse(lists, k=k, weights=weights, value=stretched)


def fuse(
    lists: Sequence[Candidates], *, k: int, weights: Sequence[float] | None, value: Callable[[Scores], Values]
) -> Candidates:
    """Sum the weighted values of each product over the lists; the source names the lists in their order."""
    shares = [1.0] * len(lists) if weights is None else list(weights)
    if not lists:
        return nothing("fusion")
    everything = np.concatenate([candidates.positions for candidates in lists])
    positions, where = np.unique(everything, return_inverse=True)
    values = [share * value(candidates.scores) for candidates, share in zip(lists, shares, strict=True)]
    sums = np.zeros(len(positions), dtype=np.float64)
    np.add.at(sums, where, np.concatenate(values))
    source = "+".join(candidates.source for candidates in lists)
    return Candidates(*in_order(positions, sums.astype(np.float32), k=k), source=source)


def mean_ranks(scores: Scores) -> Values:
    """Ranks from 1 of scores that fall, float64 [n]; equal scores share their mean."""
    _, where, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[where], dtype=np.float64)


def stretched(scores: Scores) -> Values:
    """Scores from 0 (lowest of the list) to 1 (highest), float64 [n]; all 1 where they are equal."""
    wide = scores.astype(np.float64)
    if not len(wide):
        return wide
    low, high = wide.min(), wide.max()
    return np.ones(len(wide)) if high == low else (wide - low) / (high - low)
