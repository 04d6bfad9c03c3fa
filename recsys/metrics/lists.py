"""What a set of recommended lists is like as a whole: coverage, novelty, similarity within a list.

Lists are int64 [users, k] catalogue positions, -1 where a list is shorter than k.
"""

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.ranking import Floats

Lists = NDArray[np.int64]


def coverage(lists: Lists, *, products: int) -> float:
    """Share of the catalogue that stands in at least one list, 0 to 1; NaN for an empty catalogue.

    Args:
        lists: int64 [users, k].
        products: how many products the catalogue has.
    """
    shown = np.unique(lists[lists >= 0])
    return len(shown) / products if products else float("nan")


def novelty(lists: Lists, *, counts: NDArray[np.int64], users: int) -> Floats:
    """Mean surprise of each list's products, in bits: -log2 of the share of users who know the product.

    Args:
        lists: int64 [lists, k].
        counts: int64 [catalogue], how many training users know each product.
        users: how many training users there are.

    Returns:
        float64 [lists], NaN for an empty list. One user is added to both counts, so that unknown products are finite.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
    """
    surprise = -np.log2((counts + 1.0) / (users + 1.0))
    inside = lists >= 0
    return mean_inside(np.where(inside, surprise[np.where(inside, lists, 0)], 0.0), inside)


def similarity(lists: Lists, *, vectors: NDArray[np.float32]) -> Floats:
    """Mean cosine between the different products of each list; the lower, the more varied the list.

    Args:
        lists: int64 [lists, k].
        vectors: float32 [catalogue, width]; rows need not have length 1.

    Returns:
        float64 [lists], -1 to 1, NaN for lists of fewer than two products.

    Source: Ziegler et al., "Improving recommendation lists through topic diversification", WWW 2005.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths == 0.0, 1.0, lengths)
    inside = lists >= 0
    rows = np.where(inside[..., None], units[np.where(inside, lists, 0)], 0.0).astype(np.float64)
    sizes = inside.sum(axis=1)
    # The squared length of the sum holds every pair twice and every product with itself once.
    alike = (rows.sum(axis=1) ** 2).sum(axis=1) - (rows**2).sum(axis=(1, 2))
    pairs = sizes * (sizes - 1.0)
    return divide(alike, pairs)


def mean_inside(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Row means over the places inside; NaN where there are none."""
    return divide(values.sum(axis=1), inside.sum(axis=1))


def divide(above: Floats, below: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    """The quotient, NaN where the divisor is 0."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
