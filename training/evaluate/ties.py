"""Metrics of many ranked lists at once, averaged over the order of equal scores.

Where scores tie, each place of the tied group carries the group's mean relevance; recall, precision and DCG are linear
in it, so this is their exact expectation over all orders.

Source: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def smooth(relevance: Floats, groups: NDArray[np.int64]) -> Floats:
    """Replace each value by the mean of its group of ties.

    Args:
        relevance: float [lists, ranks].
        groups: int64 [lists, ranks], equal for neighbours that tie; may repeat only within a run of neighbours.

    Returns:
        float64 [lists, ranks].
    """
    if relevance.size == 0:
        return relevance.astype(np.float64)
    lists, ranks = relevance.shape
    begins = np.ones((lists, ranks), dtype=np.bool_)
    begins[:, 1:] = groups[:, 1:] != groups[:, :-1]
    starts = np.flatnonzero(begins.reshape(-1))
    sizes = np.diff(np.append(starts, lists * ranks))
    totals = np.add.reduceat(relevance.reshape(-1).astype(np.float64), starts)
    return np.repeat(totals / sizes, sizes).reshape(lists, ranks)


def recall_at(relevance: Floats, relevant: NDArray[np.int64], *, k: int) -> Floats:
    """Share of the relevant products within the first k; NaN where none is relevant.

    Args:
        relevance: float [lists, ranks], smoothed, 0 to 1.
        relevant: int64 [lists], how many products are relevant.
        k: the cut.
    """
    return divide(relevance[:, :k].sum(axis=1), relevant.astype(np.float64))


def ndcg_at(relevance: Floats, relevant: NDArray[np.int64], *, k: int) -> Floats:
    """DCG of binary relevance over the best reachable one, that of min(k, relevant) hits; NaN where none is relevant.

    Arguments as `recall_at`; discount log2(rank + 1).
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    depth = min(k, relevance.shape[1])
    best = np.concatenate([np.zeros(1), np.cumsum(discount)])[np.minimum(relevant, k)]
    return divide(relevance[:, :depth] @ discount[:depth], best)


def divide(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the divisor is 0."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
