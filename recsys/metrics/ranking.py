"""Ranking metrics of one query, averaged exactly over every order of equal scores.

`grades` are float [n], `scores` float [n], higher is better; without scores the list stands in the order given.
Where scores tie, each function gives the expected value over all orders of the tied items, in closed form.
A metric that has no meaning for the query (nothing relevant) is NaN: leave such queries out and count them.

Source: McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Tie(NamedTuple):
    """A group of items with one score: `size` items after `before` others, of which `relevant` are relevant."""

    before: int
    size: int
    relevant_before: int
    relevant: int


def ndcg(
    grades: ArrayLike, scores: ArrayLike | None = None, *, k: int | None = None, ideal: ArrayLike | None = None
) -> float:
    """Normalised discounted cumulative gain, gain 2^grade - 1, discount log2(rank + 1).

    Args:
        grades: float [n], 0 or more.
        scores: float [n], or None where the list is ordered.
        k: only the first k ranks count; None counts all.
        ideal: float [m], the grades of all judged products of the query where the list does not hold them all.

    Returns:
        A number from 0 to 1, NaN where no product has a positive grade.

    Source: Järvelin and Kekäläinen 2002, with the exponential gain of Burges et al. 2005.
    """
    best = -np.sort(-as_floats(grades if ideal is None else ideal))
    reachable = float(gains(best[:k]) @ discounts(len(best[:k])))
    if reachable == 0.0:
        return float("nan")
    return dcg(grades, scores, k=k) / reachable


def dcg(grades: ArrayLike, scores: ArrayLike | None = None, *, k: int | None = None) -> float:
    """Discounted cumulative gain before normalisation; arguments as for `ndcg`."""
    ordered, starts = ordered_ties(grades, scores)
    gain = gains(ordered)
    weight = discounts(len(ordered))[:k]
    return float(tie_means(gain, starts)[:k] @ weight)


def mrr(grades: ArrayLike, scores: ArrayLike | None = None, *, threshold: float, k: int | None = None) -> float:
    """Reciprocal rank of the first relevant item, 0 where none stands within k; NaN where nothing is relevant.

    Args:
        grades: float [n].
        scores: float [n], or None where the list is ordered.
        threshold: grades of at least this are relevant.
        k: only the first k ranks count; None counts all.
    """
    for tie in ties(grades, scores, threshold=threshold):
        if tie.relevant:
            ranks = tie.before + 1 + np.arange(tie.size)
            value = np.where(ranks <= (k or tie.before + tie.size), 1.0 / ranks, 0.0)
            return float(first_relevant(tie.size, tie.relevant) @ value)
    return float("nan")


def hit_rate(grades: ArrayLike, scores: ArrayLike | None = None, *, threshold: float, k: int) -> float:
    """Probability that a relevant item stands within the first k; NaN where nothing is relevant. Arguments as `mrr`."""
    for tie in ties(grades, scores, threshold=threshold):
        if tie.relevant:
            return float(first_relevant(tie.size, tie.relevant)[: max(0, k - tie.before)].sum())
    return float("nan")


def precision(grades: ArrayLike, scores: ArrayLike | None = None, *, threshold: float, k: int) -> float:
    """Share of relevant items among the first k; a short list is filled up with irrelevant ones. Arguments as `mrr`."""
    return relevant_within(grades, scores, threshold=threshold, k=k) / k


def recall(
    grades: ArrayLike,
    scores: ArrayLike | None = None,
    *,
    threshold: float,
    k: int | None = None,
    relevant: int | None = None,
) -> float:
    """Share of the relevant items that stand within the first k; NaN where nothing is relevant.

    Args:
        grades: float [n].
        scores: float [n], or None where the list is ordered.
        threshold: grades of at least this are relevant.
        k: only the first k ranks count; None counts all.
        relevant: how many items are relevant in all, where the list does not hold them all.
    """
    total = count_relevant(grades, threshold=threshold) if relevant is None else relevant
    if total == 0:
        return float("nan")
    return relevant_within(grades, scores, threshold=threshold, k=k) / total


def average_precision(
    grades: ArrayLike,
    scores: ArrayLike | None = None,
    *,
    threshold: float,
    k: int | None = None,
    relevant: int | None = None,
) -> float:
    """Mean over the relevant items of the precision at their ranks; those beyond k count 0. Arguments as `recall`.

    The mean over queries is MAP. The divisor is the number of relevant items also at a cut, as in trec_eval's map_cut.
    """
    total = count_relevant(grades, threshold=threshold) if relevant is None else relevant
    if total == 0:
        return float("nan")
    value = 0.0
    for tie in ties(grades, scores, threshold=threshold):
        inside = np.arange(tie.size)
        ranks = tie.before + 1 + inside
        others = inside * (tie.relevant - 1) / max(1, tie.size - 1)
        at_rank = (tie.relevant_before + 1 + others) / ranks
        at_rank[ranks > (k or ranks[-1])] = 0.0
        value += tie.relevant / tie.size * float(at_rank.sum())
    return value / total


def relevant_within(grades: ArrayLike, scores: ArrayLike | None, *, threshold: float, k: int | None) -> float:
    """Expected number of relevant items among the first k."""
    ordered, starts = ordered_ties(grades, scores)
    return float(tie_means((ordered >= threshold).astype(np.float64), starts)[:k].sum())


def count_relevant(grades: ArrayLike, *, threshold: float) -> int:
    """How many grades reach the threshold."""
    return int((as_floats(grades) >= threshold).sum())


def first_relevant(size: int, relevant: int) -> Floats:
    """float64 [size]: probability that the first of `relevant` items in a random order stands at each rank."""
    chance = np.zeros(size)
    none_yet = 1.0
    for place in range(size):
        here = min(1.0, relevant / (size - place))
        chance[place] = none_yet * here
        none_yet *= 1.0 - here
    return chance


def ties(grades: ArrayLike, scores: ArrayLike | None, *, threshold: float) -> Iterator[Tie]:
    """The groups of equal score, best first."""
    ordered, starts = ordered_ties(grades, scores)
    relevant = ordered >= threshold
    seen = 0
    for start, end in zip(starts, [*starts[1:], len(ordered)], strict=False):
        inside = int(relevant[start:end].sum())
        yield Tie(before=int(start), size=int(end - start), relevant_before=seen, relevant=inside)
        seen += inside


def ordered_ties(grades: ArrayLike, scores: ArrayLike | None) -> tuple[Floats, NDArray[np.int64]]:
    """Grades in descending score order, and where each group of equal scores starts."""
    values = as_floats(grades)
    if scores is None:
        return values, np.arange(len(values))
    keys = as_floats(scores)
    if keys.shape != values.shape or np.isnan(keys).any():
        raise ValueError(f"scores of shape {keys.shape} for {values.shape[0]} grades, or NaN among them")
    order = np.argsort(-keys, kind="stable")
    ranked = keys[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, dtype=np.int64)
    return values[order], starts


def tie_means(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """Replace each value by the mean of its group."""
    if len(values) == 0:
        return values
    sizes = np.diff(np.r_[starts, len(values)])
    return np.repeat(np.add.reduceat(values, starts) / sizes, sizes)


def gains(grades: Floats) -> Floats:
    """2^grade - 1, the gain of each grade."""
    return np.exp2(grades) - 1.0


def discounts(n: int) -> Floats:
    """1 / log2(rank + 1) for ranks 1 to n."""
    return np.asarray(1.0 / np.log2(np.arange(2, n + 2)))


def as_floats(values: ArrayLike) -> Floats:
    """A flat float64 copy."""
    return np.asarray(values, dtype=np.float64).reshape(-1)
