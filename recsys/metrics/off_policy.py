"""What another policy would have earned, from what was logged under one whose choices were random.

A decision is one choice of the log: its reward, float [n], and its weight, float [n], the chance of this very choice
under the policy in question over its chance under the logging one. Weights average 1 where these chances are right.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.intervals import Interval, ratio_bootstrap

Floats = NDArray[np.float64]
FEWEST = 100.0
"""Effective decisions: a rate of 10 % has a standard error of 3 points then, and nothing smaller can be told."""
SURE = 0.999
"""Level of the checks: of a thousand sound logs one is refused."""


class Overlap(NamedTuple):
    """How far a log reaches.

    Attributes:
        effective: of how many decisions without weights the estimate is worth; see `effective_size`.
        weight: the mean weight, with the interval of the check.
        refused: why nothing should be estimated, "" where there is no reason.
    """

    effective: float
    weight: Interval
    refused: str


class Estimates(NamedTuple):
    """The mean reward under the policy in question, with 95 % intervals."""

    ips: Interval
    snips: Interval
    dr: Interval


def ips(rewards: Floats, weights: Floats) -> float:
    """Inverse propensity score: the weighted sum over n. Unbiased, and wide where weights are large.

    Source: Horvitz and Thompson 1952; for logged choices Li, Chu, Langford and Wang, WSDM 2011.
    """
    return float((weights * rewards).mean())


def snips(rewards: Floats, weights: Floats) -> float:
    """Self-normalised: the weighted sum over the sum of the weights, NaN where that is 0.

    Biased by order 1/n, and narrower where few weights carry the sum.

    Source: Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS 2015.
    """
    total = float(weights.sum())
    return float((weights * rewards).sum()) / total if total else float("nan")


def doubly_robust(rewards: Floats, weights: Floats, *, predicted: Floats, expected: Floats) -> float:
    """A model's prediction, corrected by its weighted error on what was logged.

    Unbiased where the weights or the predictions are right; the better the predictions, the narrower.

    Args:
        rewards: float [n].
        weights: float [n].
        predicted: float [n], the model's reward of the choice that was logged.
        expected: float [n], the model's reward of what the policy in question would choose instead, in the mean.

    Source: Dudík, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011.
    """
    return float((expected + weights * (rewards - predicted)).mean())


def effective_size(weights: Floats) -> float:
    """The effective sample size (sum w)^2 / sum w^2: n where all weigh the same, 1 where one weighs all, 0 without any.

    No decision carries more than 1 / sqrt(effective size) of the sum.

    Source: Kong, "A note on importance sampling using standardized weights", 1992.
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def check_overlap(weights: Floats, clusters: NDArray[np.int64], *, seed: int, fewest: float = FEWEST) -> Overlap:
    """Refuse a log that says too little of the policy in question, or whose chances can't be right.

    Args:
        weights: float [n].
        clusters: int64 [n], whose decision it is, 0 to clusters - 1.
        seed: of the bootstrap.
        fewest: effective decisions that are asked for.

    Source: the mean weight as a check of the logged chances: Lefortier et al., "Large-scale validation of
    counterfactual learning methods: a test-bed", 2016.
    """
    size = effective_size(weights)
    weight = ratio_bootstrap(sums(weights, clusters), sums(np.ones_like(weights), clusters), seed=seed, level=SURE)
    refused = ""
    if size < fewest:
        refused = f"poor overlap: {size:.0f} effective decisions of {len(weights)}, at least {fewest:.0f} are needed"
    elif not weight.low <= 1.0 <= weight.high:
        refused = (
            f"the weights average {weight.mean:.3f} [{weight.low:.3f}, {weight.high:.3f}] and not 1:"
            " the log does not choose with the chances that it states"
        )
    return Overlap(size, weight, refused)


def estimate(
    rewards: Floats,
    weights: Floats,
    *,
    predicted: Floats,
    expected: Floats,
    clusters: NDArray[np.int64],
    seed: int,
) -> Estimates:
    """All three estimates with intervals by a bootstrap of the clusters; see each for its arguments.

    Args:
        rewards: float [n].
        weights: float [n].
        predicted: float [n], see `doubly_robust`.
        expected: float [n], see `doubly_robust`.
        clusters: int64 [n], whose decision it is (a user's), 0 to clusters - 1.
        seed: of the bootstrap.
    """
    size = sums(np.ones_like(weights), clusters)
    weighted = sums(weights * rewards, clusters)
    corrected = sums(expected + weights * (rewards - predicted), clusters)
    return Estimates(
        ips=ratio_bootstrap(weighted, size, seed=seed),
        snips=ratio_bootstrap(weighted, sums(weights, clusters), seed=seed),
        dr=ratio_bootstrap(corrected, size, seed=seed),
    )


def sums(values: Floats, clusters: NDArray[np.int64]) -> Floats:
    """float64 [clusters]: the sum of each cluster's values."""
    return np.bincount(clusters, weights=values).astype(np.float64)
