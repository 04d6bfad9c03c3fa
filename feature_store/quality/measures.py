"""How far two samples of one column lie apart: PSI, Jensen-Shannon, Kolmogorov-Smirnov, and what chance alone gives.

All are pure functions on counts by bin, or on values; counts are int or float [bins], values float [n] without NaN.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10
RARE_Z = 3.0902
"""The 99.9 % quantile of the normal distribution: what chance gives once in a thousand columns."""


def quantile_edges(reference: Floats, *, bins: int = BINS) -> Floats:
    """Inner edges, float [at most bins - 1], rising: bins of equal mass in the reference, fewer where values repeat.

    Args:
        reference: float [n], at least one value.
        bins: how many bins of equal mass.
    """
    return np.unique(np.quantile(reference, np.arange(1, bins) / bins, method="inverted_cdf"))


def binned(values: Floats, edges: Floats) -> Floats:
    """Counts, float64 [len(edges) + 1]; a value on an edge belongs to the bin that ends there."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1).astype(np.float64)


def shares(counts: Floats, *, smoothed: bool = False) -> Floats:
    """Counts as shares that sum to 1; `smoothed` adds half a row to each bin, so that none is empty."""
    filled = counts + 0.5 if smoothed else counts
    return np.asarray(filled / filled.sum(), dtype=np.float64)


def psi(reference: Floats, current: Floats) -> float:
    """Population stability index, 0 for equal shares, without upper bound: sum of (q - p) ln(q / p).

    Where any bin is empty on either side, half a row is added to every bin of both.

    Args:
        reference: counts [bins], at least one above 0.
        current: counts [bins], at least one above 0.
    """
    empty = bool((reference == 0).any() or (current == 0).any())
    before, now = shares(reference, smoothed=empty), shares(current, smoothed=empty)
    return float(((now - before) * np.log(now / before)).sum())


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Jensen-Shannon distance to base 2: 0 for equal shares, 1 where no bin is filled on both sides.

    Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37 (1991); the distance is
    the divergence's square root (Endres and Schindelin, 2003).

    Args:
        reference: counts [bins], at least one above 0.
        current: counts [bins], at least one above 0.
    """
    before, now = shares(reference), shares(current)
    middle = (before + now) / 2
    divergence = (entropy_to(before, middle) + entropy_to(now, middle)) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))


def entropy_to(one: Floats, other: Floats) -> float:
    """Kullback-Leibler divergence in bits; bins empty in the first add nothing."""
    filled = one > 0
    return float((one[filled] * np.log2(one[filled] / other[filled])).sum())


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """Two-sample Kolmogorov-Smirnov statistic, 0 to 1: the largest distance of the two distribution functions."""
    before, now = np.sort(reference), np.sort(current)
    at = np.concatenate([before, now])
    below_before = np.searchsorted(before, at, side="right") / len(before)
    below_now = np.searchsorted(now, at, side="right") / len(now)
    return float(np.abs(below_before - below_now).max())


def ks_chance(statistic: float, *, reference: int, current: int) -> float:
    """The chance of such a statistic where both samples come from one distribution; too high where values repeat.

    Source: Kolmogorov's limit, 2 sum (-1)^(k-1) exp(-2 k^2 x^2) at x = D sqrt(n m / (n + m)).

    Args:
        statistic: of `kolmogorov_smirnov`.
        reference: number of values there.
        current: number of values there.
    """
    at = statistic * math.sqrt(reference * current / (reference + current))
    if at < 0.2:  # the sum converges slowly there, and is 1 to 12 digits
        return 1.0
    steps = np.arange(1, 101)
    terms = np.where(steps % 2 == 1, 2.0, -2.0) * np.exp(-2.0 * steps**2 * at**2)
    return float(min(1.0, max(0.0, terms.sum())))


def psi_by_chance(*, bins: int, reference: int, current: int) -> float:
    """The PSI that chance alone exceeds once in a thousand times; 0.0 for a single bin.

    Source: Yurdakul and Naranjo, "Statistical properties of the population stability index" (J. Risk Model Validation,
    2020): (1/n + 1/m) times a chi-square with bins - 1 degrees of freedom; its quantile by Wilson and Hilferty (1931).

    Args:
        bins: of the counts.
        reference: number of rows there.
        current: number of rows there.
    """
    free = bins - 1
    if free < 1:
        return 0.0
    cube = 1.0 - 2.0 / (9.0 * free) + RARE_Z * math.sqrt(2.0 / (9.0 * free))
    return free * cube**3 * (1.0 / reference + 1.0 / current)


def js_by_chance(*, bins: int, reference: int, current: int) -> float:
    """The same for the Jensen-Shannon distance: the divergence is PSI / 8 nats to second order."""
    return math.sqrt(psi_by_chance(bins=bins, reference=reference, current=current) / (8.0 * math.log(2.0)))
