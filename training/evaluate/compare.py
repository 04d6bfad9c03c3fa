"""All systems against one named baseline: paired randomisation tests, corrected for how many claims are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.metrics.intervals import EXACT, differences, holm, sign_flip_test

Floats = NDArray[np.float64]
PREFERRED = ("BM25 all text fields", "bm25", "popularity")
DESCRIPTIVE = ("unjudged@", "novelty@", "diversity_by_", "head_share@")
OWN_VECTORS = "diversity_by_vectors@"
"""Measured by a model's own product vectors, so of no use to compare two models."""
SAMPLES = 10_000


def headline(metrics: Mapping[str, Any]) -> str:
    """The metric that stands for a table: its first NDCG, else its first metric."""
    return next((name for name in metrics if name.startswith("ndcg@")), next(iter(metrics)))


def choose_baseline(names: Sequence[str], *, name: str | None, subject: str, against: str = "") -> str | None:
    """The system that all others are compared with.

    Args:
        names: the systems that the subject is held against.
        name: the one asked for; None takes the other model where one is evaluated beside, else the first of PREFERRED
            that is there, else the first system.
        subject: the system under evaluation.
        against: the other model's name, "" where there is none.

    Returns:
        None where there is no other system at all.

    Raises:
        UsageError: no system of that name, or it is the one under evaluation.
    """
    others = [one for one in names if one != subject]
    if name is None:
        return next((one for one in (against, *PREFERRED, *others) if one in others), None)
    if name not in others:
        found = f"--baseline {name}" + (", which is the system under evaluation" if name == subject else "")
        raise UsageError(found, expected=f"one of {', '.join(others)}", action="name one of these")
    return name


def compare(systems: Mapping[str, Mapping[str, Floats]], *, baseline: str, seed: int) -> dict[str, Any]:
    """Test every other system's gain over the baseline on every metric that says how good a ranking is.

    Args:
        systems: by system and metric, float64 [keys]; NaN where the protocol leaves the query or user out.
        baseline: the system to compare with.
        seed: of the random assignments of signs.

    Returns:
        `baseline`, `test` and `correction` in words, `claims` (how many p-values Holm's correction takes together) and
        `systems`: by system and metric `gain` (mean difference), `n` (pairs), `p` and `p_holm`.
    """
    base = systems[baseline]
    claims = [
        (name, metric, differences(values, base[metric]))
        for name, by_metric in systems.items()
        if name != baseline
        for metric, values in by_metric.items()
        if metric in base and not metric.startswith(DESCRIPTIVE)
    ]
    claims = [(name, metric, gap) for name, metric, gap in claims if not np.isnan(gap).all()]
    found = [sign_flip_test(gap, np.zeros(len(gap)), seed=seed, samples=SAMPLES) for _, _, gap in claims]
    rows: dict[str, dict[str, Any]] = {}
    for (name, metric, gap), p, corrected in zip(claims, found, holm(found), strict=True):
        counted = int((~np.isnan(gap)).sum())
        row = {"gain": float(np.nanmean(gap)), "n": counted, "p": p, "p_holm": float(corrected)}
        rows.setdefault(name, {})[metric] = row
    return {
        "baseline": baseline,
        "test": f"paired randomisation of signs, two-sided, {SAMPLES} samples, exact up to {EXACT} pairs that differ",
        "correction": f"Holm over {len(claims)} claims: every other system by every metric",
        "claims": len(claims),
        "systems": rows,
    }
