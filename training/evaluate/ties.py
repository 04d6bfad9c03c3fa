"""Metrics of many ranked lists at once, averaged over the order of equal scores.

Where scores tie, each place of the tied group carries the group's mean relevance; recall, precision and DCG are linear
in it, so this is their exact expectation over all orders. Hit rate, reciprocal rank and average precision follow from
where a place stands within its group.

Source: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Places:
    """The places of many ranked lists; every array is float64 [lists, ranks].

    Attributes:
        relevance: the mean relevance of the place's group of ties, 0 to 1.
        size: how many places the group has.
        inside: how many of them stand above this one.
        group: how many relevant products the group holds.
        before: how many relevant products stand above the group.
    """

    relevance: Floats
    size: Floats
    inside: Floats
    group: Floats
    before: Floats

    @classmethod
    def of(cls, relevance: Floats, groups: NDArray[np.int64]) -> "Places":
        """Find the groups of ties.

        Args:
            relevance: float [lists, ranks], 1 where the product is relevant, else 0.
            groups: int64 [lists, ranks], equal for neighbours that tie; may repeat only within a run of neighbours.
        """
        shape = relevance.shape
        flat = relevance.reshape(-1).astype(np.float64)
        if flat.size == 0:
            empty = np.zeros(shape)
            return cls(empty, empty, empty, empty, empty)
        begins = np.ones(shape, dtype=np.bool_)
        begins[:, 1:] = groups[:, 1:] != groups[:, :-1]
        starts = np.flatnonzero(begins.reshape(-1))
        sizes = np.diff(np.append(starts, flat.size))
        totals = np.add.reduceat(flat, starts)

        def spread(values: Floats | NDArray[np.int64]) -> Floats:
            return np.repeat(values.astype(np.float64), sizes).reshape(shape)

        inside = np.arange(flat.size) - np.repeat(starts, sizes)
        so_far = np.cumsum(relevance, axis=1, dtype=np.float64) - relevance
        return cls(
            relevance=spread(totals / sizes),
            size=spread(sizes),
            inside=inside.reshape(shape).astype(np.float64),
            group=spread(totals),
            before=spread(so_far.reshape(-1)[starts]),
        )

    @property
    def first(self) -> Floats:
        """float64 [lists, ranks]: the probability that the first relevant product stands here."""
        # Given that none came yet, the group's relevant products share the places that are left of it.
        chance = np.minimum(1.0, self.group / np.maximum(1.0, self.size - self.inside))
        none_yet = np.cumprod(1.0 - chance, axis=1)
        above = np.concatenate([np.ones((len(chance), 1)), none_yet[:, :-1]], axis=1)
        return np.asarray(chance * above)


def smooth(relevance: Floats, groups: NDArray[np.int64]) -> Floats:
    """Replace each value by the mean of its group of ties; float64 [lists, ranks], arguments as `Places.of`."""
    return Places.of(relevance, groups).relevance


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


def hit_rate_at(first: Floats, relevant: NDArray[np.int64], *, k: int) -> Floats:
    """Probability that a relevant product stands within the first k; NaN where none is relevant.

    Args:
        first: float [lists, ranks], `Places.first`.
        relevant: int64 [lists], how many products are relevant.
        k: the cut.
    """
    return np.where(relevant > 0, first[:, :k].sum(axis=1), np.nan)


def mrr_at(first: Floats, relevant: NDArray[np.int64], *, k: int) -> Floats:
    """Expected reciprocal rank of the first relevant product, 0 beyond k; arguments and NaN as `hit_rate_at`."""
    depth = min(k, first.shape[1])
    return np.where(relevant > 0, first[:, :depth] @ (1.0 / np.arange(1, depth + 1)), np.nan)


def map_at(places: Places, relevant: NDArray[np.int64], *, k: int) -> Floats:
    """Average precision; relevant products beyond k count 0, NaN where none is relevant.

    The mean over users is MAP; the divisor is the number of relevant products also at a cut, as in trec_eval's map_cut.

    Args:
        places: where the lists' places stand.
        relevant: int64 [lists], how many products are relevant.
        k: the cut.
    """
    # Of the group's other relevant products each stands above this place with the same probability.
    others = places.inside * (places.group - 1.0) / np.maximum(1.0, places.size - 1.0)
    ranks = np.arange(1, places.relevance.shape[1] + 1)
    precision = places.relevance * (places.before + 1.0 + others) / ranks
    return divide(precision[:, :k].sum(axis=1), relevant.astype(np.float64))


def divide(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the divisor is 0."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
