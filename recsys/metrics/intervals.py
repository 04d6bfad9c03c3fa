"""How sure a mean is: bootstrap intervals, a paired test and Holm's correction, over queries or users."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CELLS = 4_000_000
EXACT = 16


class Interval(NamedTuple):
    """A mean with its two-sided percentile interval."""

    mean: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """True where the whole interval lies above 0."""
        return self.low > 0.0


def bootstrap(values: ArrayLike, *, seed: int, samples: int = 10_000, level: float = 0.95) -> Interval:
    """Percentile bootstrap of a mean.

    Args:
        values: float [n], one for each query or user; NaN (nothing relevant) is left out.
        seed: of the resampling.
        samples: how often to resample.
        level: the share of resamples inside.

    Returns:
        NaN three times where no value is left.

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    kept = flat[~np.isnan(flat)]
    if len(kept) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    means = resampled_means(kept, seed=seed, samples=samples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(kept.mean()), float(low), float(high))


def paired_bootstrap(a: ArrayLike, b: ArrayLike, *, seed: int, samples: int = 10_000, level: float = 0.95) -> Interval:
    """Bootstrap of the mean of a - b over the same queries or users; "a is above b" where `low` > 0.

    Args:
        a: float [n], the metric of one system; row i is the same query or user in both.
        b: float [n], the metric of the other.
        seed: of the resampling.
        samples: how often to resample.
        level: the share of resamples inside.

    Raises:
        ValueError: the two differ in length.
    """
    return bootstrap(differences(a, b), seed=seed, samples=samples, level=level)


def ratio_bootstrap(
    above: ArrayLike, below: ArrayLike, *, seed: int, samples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of sum(above) / sum(below), both resampled together.

    So a mean over many rows is sure of itself no more than the clusters (users) that the rows come from.

    Args:
        above: float [clusters], each cluster's part of the numerator.
        below: float [clusters], its part of the denominator, 0 or more.
        seed: of the resampling.
        samples: how often to resample; resamples whose denominator is 0 are left out.
        level: the share of resamples inside.

    Returns:
        NaN three times where the denominator is 0.

    Raises:
        ValueError: the two differ in length.

    Source: Davison and Hinkley, "Bootstrap methods and their application", 1997, section 2.4 and 3.8.
    """
    tops, bottoms = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if tops.shape != bottoms.shape:
        raise ValueError(f"paired values of shapes {tops.shape} and {bottoms.shape}")
    if not bottoms.sum() > 0.0:
        return Interval(float("nan"), float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    drawn = []
    for size in chunks(len(tops), samples):
        rows = generator.integers(0, len(tops), size=(size, len(tops)), dtype=np.int32)
        total = bottoms[rows].sum(axis=1)
        drawn.append(tops[rows].sum(axis=1)[total > 0.0] / total[total > 0.0])
    low, high = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(tops.sum() / bottoms.sum()), float(low), float(high))


def sign_flip_test(a: ArrayLike, b: ArrayLike, *, seed: int, samples: int = 10_000) -> float:
    """Two-sided p-value of the paired randomisation test that the mean of a - b is 0, by flipping the pairs' signs.

    Up to EXACT pairs that differ, every assignment of signs is counted and the p-value is exact; beyond, random
    assignments are drawn and the observed one counts as one of them, so that the p-value is valid and never 0.

    Args:
        a: float [n], the metric of one system; row i is the same query or user in both.
        b: float [n], the metric of the other; a pair with NaN is left out.
        seed: of the random assignments.
        samples: how many of them.

    Returns:
        A number above 0 and up to 1; 1 where no pair differs.

    Raises:
        ValueError: the two differ in length.

    Source: Smucker, Allan and Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007; Phipson and Smyth, "Permutation p-values should never be zero", SAGMB 2010.
    """
    gap = differences(a, b)
    moved = gap[~np.isnan(gap) & (gap != 0.0)]  # a pair without a difference is the same under either sign
    if len(moved) == 0:
        return 1.0
    least = abs(moved.sum()) - 1e-12 * np.abs(moved).sum()  # rounding must not part sums that are equal
    if len(moved) <= EXACT:
        return float((np.abs(all_flips(moved)) >= least).mean())
    extreme = sum(int((np.abs(sums) >= least).sum()) for sums in random_flips(moved, seed=seed, samples=samples))
    return (extreme + 1) / (samples + 1)


def all_flips(values: Floats) -> Floats:
    """float64 [2^n]: the sum under every assignment of signs to the values."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def random_flips(values: Floats, *, seed: int, samples: int) -> Iterator[Floats]:
    """The sums under random signs, float64 blocks of bounded memory, `samples` in all.

    Where few sizes are distinct, how many of each size stay positive is one binomial draw: the same distribution,
    a thousand times faster.
    """
    generator = np.random.default_rng(seed)
    distinct, counts = np.unique(np.abs(values), return_counts=True)
    if len(distinct) * 8 <= len(values):
        for size in chunks(len(distinct), samples):
            positive = generator.binomial(counts, 0.5, size=(size, len(distinct)))
            yield (2.0 * positive - counts) @ distinct
    else:
        for size in chunks(len(values), samples):
            signs = generator.integers(0, 2, size=(size, len(values)), dtype=np.int8) * 2.0 - 1.0
            yield signs @ values


def holm(p_values: ArrayLike) -> Floats:
    """p-values adjusted so that all claims together err with the level of one.

    Args:
        p_values: float [claims].

    Returns:
        float64 [claims], in the order given, each at least its own p-value and at most 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    values = np.asarray(p_values, dtype=np.float64).reshape(-1)
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * steps))
    return adjusted


def differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """a - b, refused where the two are not paired."""
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"paired values of shapes {left.shape} and {right.shape}")
    return np.asarray(left - right).reshape(-1)


def resampled_means(values: Floats, *, seed: int, samples: int) -> Floats:
    """float64 [samples]: means of resamples with replacement, drawn in blocks of bounded memory.

    Where few values are distinct (recall at k of one relevant product has two), how often each is drawn is one
    multinomial draw: the same distribution, a thousand times faster.
    """
    generator = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) * 8 <= len(values):
        drawn = [
            generator.multinomial(len(values), counts / len(values), size=size) @ distinct / len(values)
            for size in chunks(len(distinct), samples)
        ]
    else:
        drawn = [
            values[generator.integers(0, len(values), size=(size, len(values)), dtype=np.int32)].mean(axis=1)
            for size in chunks(len(values), samples)
        ]
    return np.concatenate(drawn)


def chunks(width: int, samples: int) -> list[int]:
    """Block sizes that add up to `samples`, each of at most CELLS cells."""
    size = max(1, min(samples, CELLS // width))
    return [size] * (samples // size) + ([samples % size] if samples % size else [])
