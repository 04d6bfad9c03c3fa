"""How sure a mean is: bootstrap intervals, a paired test and Holm's correction, over queries or users."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CELLS = 4_000_000


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


def sign_flip_test(a: ArrayLike, b: ArrayLike, *, seed: int, samples: int = 10_000) -> float:
    """Two-sided p-value that the mean of a - b is 0, by flipping the signs of the pairs at random.

    Source: Smucker, Allan and Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007; the observed assignment counts as one of the samples.
    """
    gap = differences(a, b)
    kept = gap[~np.isnan(gap)]
    if len(kept) == 0:
        return 1.0
    generator = np.random.default_rng(seed)
    observed = abs(kept.mean()) - 1e-12
    extreme = 0
    for size in chunks(len(kept), samples):
        signs = generator.integers(0, 2, size=(size, len(kept)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ kept / len(kept)) >= observed).sum())
    return (extreme + 1) / (samples + 1)


def holm(p_values: ArrayLike) -> Floats:
    """p-values adjusted so that all claims together err with the level of one.

    Args:
        p_values: float [claims].

    Returns:
        float64 [claims], in the order given, each at least its own p-value and at most 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
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
