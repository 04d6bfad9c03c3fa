"""What a set of recommended lists is like: coverage, novelty, variety, popular products, how much users' lists differ.

Lists are int64 [users, k] catalogue positions, -1 where a list is shorter than k.
"""

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.ranking import Floats

Lists = NDArray[np.int64]
Mask = NDArray[np.bool_]
CELLS = 1 << 22
"""Cells of pairs held at once: some tens of MiB."""


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
    inside = lists >= 0
    if not inside.any():  # then there may be no vector either
        return np.full(len(lists), np.nan)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths == 0.0, 1.0, lengths)
    rows = np.where(inside[..., None], units[np.where(inside, lists, 0)], 0.0).astype(np.float64)
    sizes = inside.sum(axis=1)
    # The squared length of the sum holds every pair twice and every product with itself once.
    alike = (rows.sum(axis=1) ** 2).sum(axis=1) - (rows**2).sum(axis=(1, 2))
    pairs = sizes * (sizes - 1.0)
    return divide(alike, pairs)


def path_variety(lists: Lists, *, paths: NDArray[np.int32]) -> Floats:
    """Mean distance between the category paths of each list's products, 0 to 1; the higher, the more varied the list.

    Two paths are as alike as twice the levels they begin with in common over the levels of both: 1 the same path, 0 not
    even the same department. A product without a path tells nothing and is left out.

    Args:
        lists: int64 [lists, k].
        paths: int32 [catalogue, levels], for each level a number that stands for the whole path down to it; -1 below
            the path's end.

    Returns:
        float64 [lists], NaN for lists with fewer than two products that have a path.

    Source: Smyth and McClave, "Similarity vs. diversity", ICCBR 2001 (mean dissimilarity of a list's pairs); Wu and
    Palmer, "Verb semantics and lexical selection", ACL 1994 (similarity of two places in a tree).
    """
    found = np.full(len(lists), np.nan)
    step = max(1, CELLS // max(1, lists.shape[1] ** 2 * max(1, paths.shape[1])))
    for start in range(0, len(lists), step):
        part = lists[start : start + step]
        own = np.where((part >= 0)[..., None], paths[np.where(part >= 0, part, 0)], -1)
        depth = (own >= 0).sum(axis=2).astype(np.float64)
        common = ((own[:, :, None] == own[:, None, :]) & (own[:, :, None] >= 0)).sum(axis=3)
        both = depth[:, :, None] + depth[:, None, :]
        known = (depth[:, :, None] > 0) & (depth[:, None, :] > 0) & ~np.eye(part.shape[1], dtype=np.bool_)
        distance = np.where(known, 1.0 - 2.0 * common / np.where(both > 0, both, 1.0), 0.0)
        found[start : start + step] = divide(distance.sum(axis=(1, 2)), known.sum(axis=(1, 2)))
    return found


def head_of(counts: NDArray[np.int64]) -> Mask:
    """bool [catalogue]: the head, the most popular products that together hold half of all that is known.

    Products as popular as the last of them belong to the head; nobody's product never does.

    Args:
        counts: int64 [catalogue], how many users know each product.

    Source: Kilkki, "A practical model for analyzing long tails", First Monday 2007 (N50, the number of objects that
    cover half of the whole volume).
    """
    falling = np.sort(counts)[::-1]
    if not falling.sum():
        return np.zeros(len(counts), dtype=np.bool_)
    least = falling[int(np.searchsorted(np.cumsum(falling), falling.sum() / 2))]
    return np.asarray(counts >= max(1, int(least)))


def head_share(lists: Lists, *, head: Mask) -> Floats:
    """Share of each list's products that belong to the head, 0 to 1; NaN for an empty list.

    Popularity bias is this mean over users beside the same mean over their histories.

    Args:
        lists: int64 [lists, k].
        head: bool [catalogue], see `head_of`.

    Source: Abdollahpouri, Mansoury, Burke and Mobasher, "The unfairness of popularity bias in recommendation", RMSE at
    RecSys 2019 (the popularity of what is recommended beside that of the profile).
    """
    inside = lists >= 0
    return mean_inside((head[np.where(inside, lists, 0)] & inside).astype(np.float64), inside)


def personalisation(lists: Lists) -> float:
    """1 minus the mean overlap of two users' lists: 0 where all see the same, 1 where no two share a product.

    The overlap is the number of products that two lists share over that of places they could share (those of the
    shorter list), both summed over all pairs of users; for full lists it is the mean of shared products over k.

    Args:
        lists: int64 [users, k], each product once in a list.

    Returns:
        NaN where fewer than two lists hold a product.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010
    (personalisation as mean inter-list distance).
    """
    shown = np.unique(lists[lists >= 0], return_counts=True)[1].astype(np.float64)
    sizes = np.sort((lists >= 0).sum(axis=1))
    # In ascending order a list is the shorter one, or as long, of all pairs that it makes with those behind it.
    could = float(sizes @ np.arange(len(sizes) - 1, -1, -1))
    return 1.0 - float((shown * (shown - 1.0)).sum()) / 2.0 / could if could else float("nan")


def mean_inside(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Row means over the places inside; NaN where there are none."""
    return divide(values.sum(axis=1), inside.sum(axis=1))


def divide(above: Floats, below: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    """The quotient, NaN where the divisor is 0."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
