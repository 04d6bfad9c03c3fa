"""Fitting one blender: a linear function or LambdaMART's trees over the signals, on top of the weighted sum.

The linear function and the scale of the sum minimise the listwise softmax cross-entropy of each query, whose targets
are the products' gains 2^grade - 1 over their sum; it is convex and needs no pairs.

Source: Bruch, Wang, Bendersky and Najork, "An analysis of the softmax cross entropy loss for learning-to-rank with
binary relevance", ICTIR 2019; Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82; trees as LightGBM
grows them, https://lightgbm.readthedocs.io/en/v4.6.0/Parameters.html.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
from scipy.optimize import minimize

from recsys.ranking.blender import Blender, BlenderSettings, Linear
from recsys.ranking.signals import SIGNALS, definitions_digest
from training.blender.config import BlenderConfig
from training.blender.rows import Floats, Numbers, Rows

TOP = 10  # ranks that LambdaMART looks at, those of the metric
FLAT = 1e-9  # a signal that varies no more than this says nothing


def fit_linear(rows: Rows, *, ridge: float, config: BlenderConfig) -> tuple[float, Linear]:
    """The sum's scale and a linear function of the signals.

    Args:
        rows: the pairs to learn from.
        ridge: L2 penalty on the weights; the scale bears none, so that much of it leaves the sum alone.
        config: from_sum and monotone are read.
    """
    means, deviations = moments(rows)
    standard = np.nan_to_num((rows.matrix.astype(np.float64) - means) / deviations, nan=0.0)
    bounds: list[tuple[float | None, float | None]] = [(0.0, None if config.from_sum else 0.0)]
    bounds += [((0.0 if d > 0 else None), (0.0 if d < 0 else None)) for d in directions(rows.names, config=config)]
    inputs = np.concatenate([rows.base.astype(np.float64)[:, None], standard], axis=1)
    weights = minimise(inputs, rows=rows, ridge=np.r_[0.0, np.full(len(rows.names), ridge)], bounds=bounds)
    linear = Linear(weights=tuple(weights[1:]), means=tuple(means), deviations=tuple(deviations))
    return float(weights[0]), linear


def fit_scale(rows: Rows, *, config: BlenderConfig) -> float:
    """What the weighted sum counts on the scale of log odds, 0 or more; 0 where it is not to count."""
    if not config.from_sum:
        return 0.0
    inputs = rows.base.astype(np.float64)[:, None]
    return float(minimise(inputs, rows=rows, ridge=np.zeros(1), bounds=[(0.0, None)])[0])


def fit_trees(rows: Rows, *, scale: float, rounds: int, config: BlenderConfig) -> lightgbm.Booster:
    """LambdaMART's trees, which start from the scaled sum; the same rows and settings give the same trees.

    Args:
        rows: the pairs to learn from.
        scale: of the sum.
        rounds: how many trees.
        config: of the trees.
    """
    grades, labels = np.unique(rows.grades, return_inverse=True)  # lambdarank takes whole numbers; the gains stay
    parameters = {
        "objective": "lambdarank",
        "label_gain": (2.0**grades - 1.0).tolist(),
        "lambdarank_truncation_level": TOP,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.pairs_in_leaf,
        "lambda_l2": config.leaf_penalty,
        "feature_fraction": config.columns,
        "monotone_constraints": directions(rows.names, config=config),
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": config.seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        rows.matrix.astype(np.float64),
        label=labels,
        group=np.diff(np.r_[rows.starts, len(rows)]),
        init_score=scale * rows.base.astype(np.float64),
        feature_name=list(rows.names),
    )
    return lightgbm.train(parameters, data, num_boost_round=rounds)


def as_blender(
    rows: Rows, *, scale: float, learned_over: Mapping[str, str], linear: Linear | None = None, trees: Any = None
) -> Blender:
    """A fitted blender; with neither function nor trees it is the sum.

    Args:
        rows: which signals there are.
        scale: of the sum.
        learned_over: digests of the components whose scores were read, by name.
        linear: the linear function.
        trees: LightGBM's booster.
    """
    count = len(rows.names)
    nothing = Linear(weights=(0.0,) * count, means=(0.0,) * count, deviations=(1.0,) * count)
    settings = BlenderSettings(
        kind="linear" if trees is None else "trees",
        signals=rows.names,
        digest=definitions_digest(rows.names),
        scale=scale,
        learned_over=dict(learned_over),
        linear=(linear or nothing) if trees is None else None,
        usual=() if trees is None else usual_values(rows),
    )
    return Blender(settings, trees)


def usual_values(rows: Rows) -> tuple[float | None, ...]:
    """The median of each signal that every pair knows, None for the others."""
    return tuple(None if np.isnan(column).any() else float(np.median(column)) for column in rows.matrix.T)


def directions(names: Sequence[str], *, config: BlenderConfig) -> list[int]:
    """The direction that each signal is held to, 0 for none."""
    return [SIGNALS[name].direction if config.monotone else 0 for name in names]


def moments(rows: Rows) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each signal over the pairs that know it, float64 [signals]; 0 and 1 where none."""
    wide = np.ma.masked_invalid(rows.matrix.astype(np.float64))
    means, deviations = (np.ma.filled(found, np.nan) for found in (wide.mean(axis=0), wide.std(axis=0)))
    return np.nan_to_num(means, nan=0.0), np.where(deviations > FLAT, deviations, 1.0)


def minimise(
    inputs: Floats, *, rows: Rows, ridge: Floats, bounds: Sequence[tuple[float | None, float | None]]
) -> Floats:
    """The weights, float64 [inputs], of the least softmax cross-entropy; queries without a positive say nothing."""
    targets = gain_shares(rows)
    told = np.add.reduceat(targets, rows.starts) > 0
    count = max(int(told.sum()), 1)
    inside = told[rows.queries]

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = inputs @ weights
        logs = log_softmax(scores, queries=rows.queries, starts=rows.starts)
        slope = np.where(inside, np.exp(logs) - targets, 0.0) @ inputs / count + ridge * weights
        return float(-(targets * logs).sum() / count + 0.5 * (ridge * weights**2).sum()), slope

    start = np.zeros(inputs.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x, dtype=np.float64)


def gain_shares(rows: Rows) -> Floats:
    """float64 [pairs]: each product's share of its query's gains, 0 where a query has none."""
    gains = 2.0**rows.grades - 1.0
    totals = np.add.reduceat(gains, rows.starts)[rows.queries]
    return np.divide(gains, totals, out=np.zeros_like(gains), where=totals > 0)


def log_softmax(scores: Floats, *, queries: Numbers, starts: Numbers) -> Floats:
    """float64 [pairs]: the logarithm of each pair's softmax inside its query."""
    shifted = scores - np.maximum.reduceat(scores, starts)[queries]
    return np.asarray(shifted - np.log(np.add.reduceat(np.exp(shifted), starts))[queries], dtype=np.float64)
