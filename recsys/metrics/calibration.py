"""Do stated probabilities come true: calibration error in bins of equal mass, what chance alone would give, Brier.

`probabilities` are float [n] in 0..1, `outcomes` float [n] in 0..1 (0 or 1 where something happened or not). Rows with
one and the same probability are exchangeable: their outcomes are averaged before they are cut into bins, so that no
figure depends on the order of the rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsys.metrics.intervals import chunks

Floats = NDArray[np.float64]
BINS = 15


class Reliability(NamedTuple):
    """What was stated and what came true, by bin from the lowest probabilities to the highest.

    Attributes:
        counts: int64 [bins], rows, equal up to one.
        stated: float64 [bins], the mean probability.
        observed: float64 [bins], the share of outcomes.
    """

    counts: NDArray[np.int64]
    stated: Floats
    observed: Floats

    @property
    def ece(self) -> float:
        """The mean distance between stated and observed, weighted by the rows; 0 is perfect, NaN without rows."""
        total = self.counts.sum()
        return float(self.counts @ np.abs(self.stated - self.observed) / total) if total else float("nan")


class SamplingEce(NamedTuple):
    """The calibration error of probabilities that are right, by the chance of finitely many outcomes alone.

    Attributes:
        mean: on average.
        high: exceeded in 5 % of the draws only.
    """

    mean: float
    high: float


def reliability(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Stated and observed frequencies in bins of equal mass; as many bins as rows where there are fewer rows.

    Raises:
        ValueError: the two differ in length.

    Source: Nguyen and O'Connor, "Posterior calibration and exploratory analysis for natural language processing
    models", EMNLP 2015, section 3.2 (adaptive binning).
    """
    stated, happened = as_pair(probabilities, outcomes)
    order = np.argsort(stated, kind="stable")
    starts = bin_starts(len(stated), bins=bins)
    ranked = stated[order]
    first, sizes = tied(ranked)
    means = np.add.reduceat(happened[order], first) / sizes if len(first) else happened
    counts = np.diff([*starts, len(stated)]).astype(np.int64)
    return Reliability(counts, bin_means(ranked, starts), bin_means(np.repeat(means, sizes), starts))


def ece(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = BINS) -> float:
    """The expected calibration error, 0..1, in bins of equal mass.

    Raises:
        ValueError: the two differ in length.

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    return reliability(probabilities, outcomes, bins=bins).ece


def sampling_ece(probabilities: ArrayLike, *, seed: int, bins: int = BINS, samples: int = 1000) -> SamplingEce:
    """The calibration error that remains where every probability is right: outcomes are drawn from them.

    An error of this size is no sign of bad calibration. Outcomes are drawn independently; judgments of one query agree
    more than that, so that the true figure is rather larger.

    Args:
        probabilities: float [n].
        seed: of the draws.
        bins: as for `ece`.
        samples: how often all outcomes are drawn.

    Source: Bröcker and Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 2007
    (consistency resampling).
    """
    ranked = np.sort(np.asarray(probabilities, dtype=np.float64).reshape(-1))
    if not len(ranked):
        return SamplingEce(float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    starts = bin_starts(len(ranked), bins=bins)
    counts = np.diff([*starts, len(ranked)])
    stated = bin_means(ranked, starts)
    first, sizes = tied(ranked)
    errors = []
    for size in chunks(len(ranked), samples):
        shares = generator.binomial(sizes, ranked[first], size=(size, len(first))) / sizes
        observed = bin_means(np.repeat(shares, sizes, axis=1), starts)
        errors.append(np.abs(observed - stated) @ counts / len(ranked))
    found = np.concatenate(errors)
    return SamplingEce(float(found.mean()), float(np.quantile(found, 0.95)))


def brier(probabilities: ArrayLike, outcomes: ArrayLike) -> float:
    """The mean squared distance of probability and outcome, 0 (perfect) to 1; NaN without rows.

    Raises:
        ValueError: the two differ in length.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.
    """
    stated, happened = as_pair(probabilities, outcomes)
    return float(((stated - happened) ** 2).mean()) if len(stated) else float("nan")


def bin_starts(rows: int, *, bins: int) -> NDArray[np.int64]:
    """int64 [bins]: the first row of each of so many parts that differ by one row at most, the larger ones first."""
    parts = min(bins, rows)
    sizes = np.full(parts, rows // max(parts, 1)) + (np.arange(parts) < rows % max(parts, 1))
    return np.asarray(np.cumsum(sizes) - sizes, dtype=np.int64)


def bin_means(values: Floats, starts: NDArray[np.int64]) -> Floats:
    """The mean of each part, float64 [..., bins], of values float64 [..., rows]."""
    if not len(starts):
        return np.zeros((*values.shape[:-1], 0))
    counts = np.diff([*starts, values.shape[-1]])
    return np.asarray(np.add.reduceat(values, starts, axis=-1) / counts, dtype=np.float64)


def tied(ranked: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and size of each run of equal values."""
    first = np.flatnonzero(np.diff(ranked, prepend=np.nan) != 0)
    return first, np.diff([*first, len(ranked)])


def as_pair(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    """Both as flat float64, refused where they are not paired."""
    stated = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    happened = np.asarray(outcomes, dtype=np.float64).reshape(-1)
    if stated.shape != happened.shape:
        raise ValueError(f"{len(stated)} probabilities and {len(happened)} outcomes")
    return stated, happened
