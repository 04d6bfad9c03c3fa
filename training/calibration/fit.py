"""Fitting the curve from logits to probabilities, and what it would have said of queries it was not fitted on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

from recsys.ranking.calibration import Isotonic, Platt
from training.calibration.config import Kind
from training.folds import Numbers, query_folds

Floats = NDArray[np.float64]
Curve = Platt | Isotonic
Fit = Callable[[Floats, Floats], Curve]


def fit_platt(logits: Floats, outcomes: Floats) -> Platt:
    """The line of the greatest likelihood that does not fall.

    Args:
        logits: float64 [pairs], at least one.
        outcomes: float64 [pairs], 1 for a good match, else 0.

    Source: Platt 1999, section 2.2.
    """
    middle, scale = logits.mean(), logits.std() or 1.0
    columns = np.column_stack([(logits - middle) / scale, np.ones_like(logits)])
    rise, height = most_likely(columns, outcomes, start=[1.0, 0.0])
    slope = float(rise / scale)
    return Platt(slope=slope, intercept=float(height) - slope * float(middle))


def fit_temperature(logits: Floats, outcomes: Floats) -> Platt:
    """The line through even odds at logit 0 of the greatest likelihood: one number, for few queries.

    Arguments as `fit_platt`. Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    scale = float(np.abs(logits).max()) or 1.0
    (rise,) = most_likely(logits[:, None] / scale, outcomes, start=[scale])
    return Platt(slope=float(rise) / scale, intercept=0.0)


def most_likely(columns: Floats, outcomes: Floats, *, start: Sequence[float]) -> Floats:
    """float64 [columns]: by how much each column counts in the odds of the greatest likelihood, the first 0 or more.

    Outcomes are drawn a little towards the middle, so that it stands where all are alike or the columns part them.

    Args:
        columns: float64 [pairs, columns], whose weighted sum is the logarithm of the odds.
        outcomes: float64 [pairs], 1 for a good match, else 0.
        start: weights to start from, one for each column.

    Source: Platt 1999, section 2.2 (targets (N+ + 1) / (N+ + 2) and 1 / (N- + 2)); Lin, Lin and Weng, "A note on
    Platt's probabilistic outputs for support vector machines", Machine Learning 2007.
    """
    good = outcomes.sum()
    targets = np.where(outcomes > 0, (good + 1) / (good + 2), 1 / (len(outcomes) - good + 2))

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = columns @ weights
        gap = np.exp(-np.logaddexp(0.0, -odds)) - targets
        return float((np.logaddexp(0.0, odds) - targets * odds).mean()), gap @ columns / len(gap)

    bounds = [(0, None), *[(None, None)] * (len(start) - 1)]
    found: Floats = minimize(loss, x0=np.array(start), jac=True, method="L-BFGS-B", bounds=bounds).x
    return found


def fit_isotonic(logits: Floats, outcomes: Floats) -> Isotonic:
    """The rising line of the least squared error, one knot for each level part.

    Equal logits share their mean outcome. No probability reaches 0 or 1, which so many pairs can't show.

    Arguments as `fit_platt`. Source: see `recsys.ranking.calibration.Isotonic`; pool adjacent violators.
    """
    places, where, counts = np.unique(logits, return_inverse=True, return_counts=True)
    means = np.bincount(where, weights=outcomes) / counts
    level = isotonic_regression(means, weights=counts)
    starts = level.blocks[:-1]
    masses = np.add.reduceat(counts, starts)
    knots = np.add.reduceat(places * counts, starts) / masses
    edge = 1 / (len(logits) + 2)
    rising = np.concatenate([[True], np.diff(knots) > 0])  # places so near that their means are one number
    values = np.clip(level.x[starts], edge, 1 - edge)
    return Isotonic(logits=tuple(knots[rising].tolist()), probabilities=tuple(values[rising].tolist()))


FITS: Mapping[Kind, Fit] = {"temperature": fit_temperature, "platt": fit_platt, "isotonic": fit_isotonic}
"""From the plainest to the freest."""


def left_out(
    logits: Floats, outcomes: Floats, queries: Numbers, *, fit: Fit, folds: int, seed: int
) -> NDArray[np.float64]:
    """The probability of each pair by a curve that was fitted without its query, float64 [pairs].

    Args:
        logits: float64 [pairs].
        outcomes: float64 [pairs].
        queries: int64 [pairs], numbers of the queries from 0, of which there are two or more.
        fit: makes a curve of logits and outcomes.
        folds: parts of the queries, as many as queries where there are fewer.
        seed: of the parts.
    """
    part = query_folds(queries, folds=folds, seed=seed)
    found = np.empty(len(logits))
    for fold in np.unique(part):
        inside = part == fold
        found[inside] = fit(logits[~inside], outcomes[~inside])(logits[inside])
    return found


def choose_kind(logits: Floats, outcomes: Floats, queries: Numbers, *, folds: int, seed: int) -> Kind:
    """The plainest curve whose Brier score on left-out queries is within one standard error of the best one's.

    The error is that of the difference, over queries: a query's pairs err together, so that pairs would look surer of
    it than they are. "temperature" where there is one query only. Arguments as `left_out`.

    Source: the one-standard-error rule of Breiman et al., "Classification and regression trees", 1984, 3.4.3.
    """
    if queries.max(initial=0) < 1:
        return "temperature"
    errors = {
        kind: (left_out(logits, outcomes, queries, fit=fit, folds=folds, seed=seed) - outcomes) ** 2
        for kind, fit in FITS.items()
    }
    best = min(errors, key=lambda kind: float(errors[kind].mean()))
    return next(kind for kind in FITS if not surely_worse(errors[kind] - errors[best], queries))


def surely_worse(gaps: Floats, queries: Numbers) -> bool:
    """Whether the mean of the pairs' gaps is above their standard error, queries being what was drawn.

    Source: Cochran, "Sampling techniques", 1977, 11.7 (a mean over clusters of unequal size).
    """
    sizes, sums = np.bincount(queries), np.bincount(queries, weights=gaps)
    mean, count = gaps.mean(), len(sizes)
    error = np.sqrt(((sums - mean * sizes) ** 2).sum() * count / (count - 1)) / len(gaps)
    return bool(mean > error)
