"""Whether a column has moved from one sample to the other: by three measures, each held to a limit and to chance.

Values are float [n] without NaN, counts by bin float [bins].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_store.quality.measures import (
    Floats,
    binned,
    jensen_shannon,
    js_by_chance,
    kolmogorov_smirnov,
    ks_chance,
    psi,
    psi_by_chance,
    quantile_edges,
    shares,
)

RARE = 0.001
"""A statistic that chance gives less often counts."""


@dataclass(frozen=True)
class Limits:
    """From where on a column counts as drifted, if chance alone does not give as much.

    The three defaults mean the same change: that of a normal distribution whose mean moves by half its standard
    deviation. Its PSI is .5 ** 2 = .25, its Kolmogorov-Smirnov statistic 2 Phi(.25) - 1 = .197, and a Jensen-Shannon
    divergence is PSI / 8 nats to second order, a distance of sqrt(.25 / (8 ln 2)) = .212 to base 2.

    Attributes:
        psi: population stability index. Source: N. Siddiqi, Credit Risk Scorecards (2006): below .1 no change, to .25
            a small one, above a shift that has to be looked into.
        js: Jensen-Shannon distance, base 2, 0 to 1.
        ks: Kolmogorov-Smirnov statistic, 0 to 1; of numbers alone.
    """

    psi: float = 0.25
    js: float = 0.21
    ks: float = 0.2


@dataclass(frozen=True)
class Drift:
    """How a column's distribution moved.

    Attributes:
        psi: over the bins.
        js: over the bins.
        ks: of the numbers; None for categories.
        reference: rows before.
        current: rows now.
        labels: of the bins.
        before: shares by bin before.
        now: shares by bin now.
        exceeded: those of "psi", "js", "ks" that lie above their limit and above what chance gives.
    """

    psi: float
    js: float
    ks: float | None
    reference: int
    current: int
    labels: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]
    exceeded: tuple[str, ...]


def drift_of_numbers(
    reference: Floats,
    current: Floats,
    *,
    limits: Limits,
    missing: tuple[int, int] = (0, 0),
    independent: tuple[int, int] | None = None,
) -> Drift | None:
    """Two samples of a number, in bins of equal mass of the reference; missing ones are a bin of their own.

    Args:
        reference: float [n], those that are there.
        current: float [m].
        limits: see there.
        missing: rows without the number, before and now.
        independent: how many rows count for chance before and now, where rows come in clusters; all where None.

    Returns:
        None where either side has no number at all and the other has.
    """
    if not len(reference) or not len(current):
        return None
    edges = quantile_edges(reference)
    labels = [*(f"≤ {edge:.6g}" for edge in edges), f"> {edges[-1]:.6g}" if len(edges) else "all"]
    before, now = (
        np.append(binned(values, edges), absent) for values, absent in zip((reference, current), missing, strict=True)
    )
    statistic = kolmogorov_smirnov(reference, current)
    return judged(before, now, [*labels, "missing"], limits=limits, ks=statistic, independent=independent)


def drift_of_categories(
    reference: Mapping[str, int],
    current: Mapping[str, int],
    *,
    limits: Limits,
    most: int = 20,
    named: Sequence[str] | None = None,
    independent: tuple[int, int] | None = None,
) -> Drift | None:
    """Two counts of categories, a bin for each that is named, and one, "other", for all others.

    Args:
        reference: rows by category before.
        current: rows by category now.
        limits: see there.
        most: how many are named, the most frequent ones of the reference.
        named: those that are named instead, in their order.
        independent: see `drift_of_numbers`.

    Returns:
        None where either side has no row.
    """
    if not sum(reference.values()) or not sum(current.values()):
        return None
    if named is None:
        named = sorted(reference, key=lambda name: (-reference[name], name))[:most]
    before, now = (
        np.array(
            [*(counts.get(name, 0) for name in named), sum(counts.values()) - sum(counts.get(n, 0) for n in named)]
        )
        for counts in (reference, current)
    )
    counts = (before.astype(np.float64), now.astype(np.float64))
    return judged(*counts, [*named, "other"], limits=limits, independent=independent)


def judged(
    before: Floats,
    now: Floats,
    labels: Sequence[str],
    *,
    limits: Limits,
    ks: float | None = None,
    independent: tuple[int, int] | None = None,
) -> Drift:
    """Counts by bin as a Drift; bins that are empty on both sides are left out.

    Args:
        before: counts [bins].
        now: counts [bins].
        labels: of the bins.
        limits: see there.
        ks: the statistic of numbers.
        independent: see `drift_of_numbers`.
    """
    filled = (before > 0) | (now > 0)
    before, now = before[filled], now[filled]
    rows = (int(before.sum()), int(now.sum()))
    counting = [max(1, min(pair)) for pair in zip(rows, independent or rows, strict=True)]
    sizes = {"reference": counting[0], "current": counting[1]}
    index, distance = psi(before, now), jensen_shannon(before, now)
    exceeded = {
        "psi": index > max(limits.psi, psi_by_chance(bins=len(before), **sizes)),
        "js": distance > max(limits.js, js_by_chance(bins=len(before), **sizes)),
        "ks": ks is not None and ks > limits.ks and ks_chance(ks, **sizes) < RARE,
    }
    return Drift(
        psi=index,
        js=distance,
        ks=ks,
        reference=rows[0],
        current=rows[1],
        labels=tuple(label for label, there in zip(labels, filled, strict=True) if there),
        before=tuple(shares(before).tolist()),
        now=tuple(shares(now).tolist()),
        exceeded=tuple(name for name, over in exceeded.items() if over),
    )
