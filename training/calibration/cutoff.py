"""The lowest probability above which lists keep a promise: at most so much of what is shown is irrelevant."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.folds import Numbers

Floats = NDArray[np.float64]
STEP = 0.01


@dataclass(frozen=True, slots=True)
class Lists:
    """The held-out pairs of two or more queries.

    Attributes:
        logits: float64 [pairs]; a query's list stands in their order.
        probabilities: float64 [pairs], each by a curve that was fitted without the pair's query.
        outcomes: float64 [pairs], 1 for a good match, else 0.
        queries: int64 [pairs], numbers of the queries from 0.
    """

    logits: Floats
    probabilities: Floats
    outcomes: Floats
    queries: Numbers

    def __len__(self) -> int:
        return int(self.queries.max(initial=-1)) + 1


def find_cutoff(
    lists: Lists, *, share: float, confidence: float, k: int, seed: int, floor: float = 0.0
) -> float | None:
    """The lowest cut-off of which the held-out lists show that it keeps the promise; None where none does.

    The promise: among lists that show anything, the mean share of irrelevant products in what is shown is at most
    `share`, with `confidence` over the draw of the held-out queries. A list is the unit, so pairs of one query need
    not be independent. Cut-offs are tried from 1 - share, where calibrated probabilities keep it by themselves,
    downwards in steps of .01, each with a test at the level 1 - confidence, up to the first that fails: in such a
    fixed sequence all that passed hold together.

    Args:
        lists: what was held out.
        share: above 0, below 1.
        confidence: above 0, below 1.
        k: where the first so many of a list are shown.
        seed: of the order of the queries in the test.
        floor: no cut-off below it is tried, 0..1.

    Source: Angelopoulos et al., "Learn then test: calibrating predictive algorithms to achieve risk control", 2021
    (arXiv 2110.01052), fixed-sequence testing.
    """
    order = np.random.default_rng(seed).permutation(len(lists))
    found = None
    for cutoff in cutoffs(share, floor=floor):
        shares = irrelevant_shares(lists, cutoff=cutoff, k=k)[order]
        if not mean_is_below(shares[~np.isnan(shares)], share, confidence=confidence):
            break
        found = cutoff
    return found


def cutoffs(share: float, *, floor: float) -> Iterator[float]:
    """From 1 - share, or the floor where that is higher, down to the floor."""
    first = max(1.0 - share, floor)
    steps = int(np.ceil((first - floor) / STEP - 1e-9))
    yield from (round(max(floor, first - number * STEP), 6) for number in range(steps + 1))


def irrelevant_shares(lists: Lists, *, cutoff: float, k: int) -> Floats:
    """float64 [queries]: how much of what each list shows is irrelevant, NaN where it shows nothing.

    Arguments as `find_cutoff`.
    """
    order = np.lexsort((-lists.logits, lists.queries))
    queries = lists.queries[order]
    ranks = np.arange(len(order)) - np.searchsorted(queries, queries)
    shown = (ranks < k) & (lists.probabilities[order] >= cutoff)
    sizes = np.bincount(queries[shown], minlength=len(lists))
    bad = np.bincount(queries[shown], weights=1.0 - lists.outcomes[order][shown], minlength=len(lists))
    return np.where(sizes > 0, bad / np.maximum(sizes, 1), np.nan)


def mean_is_below(values: Floats, bound: float, *, confidence: float) -> bool:
    """Whether independent draws in 0..1 show, at the level 1 - confidence, that their mean is at most the bound.

    A bettor who pays for every draw above the bound and is paid for every one below grows rich by accident with
    probability 1 - confidence at most where the mean is higher.

    Args:
        values: float64 [n], in an order that does not depend on them.
        bound: 0..1.
        confidence: above 0, below 1.

    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSSB 2024; with the
    stakes of Bates et al., "Distribution-free, risk-controlling prediction sets", JACM 2021, section 3.1.3.
    """
    if not len(values):
        return False
    draws = np.arange(1, len(values) + 1)
    means = (0.5 + np.cumsum(values)) / (1 + draws)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (1 + draws)
    before = np.concatenate([[0.25], variances[:-1]])
    reward = np.log(1 / (1 - confidence))
    stakes = np.minimum(1.0, np.sqrt(2 * reward / (len(values) * before)))
    with np.errstate(divide="ignore"):  # a whole stake lost is lost for good
        wealth = np.cumsum(np.log1p(-stakes * (values - bound)))
    return bool(wealth.max() > reward)
