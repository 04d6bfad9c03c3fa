"""Fitting the order of one table: a linear function of the sources' scores and ranks, and LambdaMART's trees on it.

The linear function minimises the softmax cross-entropy of each user's list, whose targets share 1 among what the user
went on to buy; its weights are 0 or more, as a source's word is never taken for its contrary.

Source: Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82; Bruch, Wang, Bendersky and Najork, "An
analysis of the softmax cross entropy loss for learning-to-rank with binary relevance", ICTIR 2019; trees as LightGBM
grows them, https://lightgbm.readthedocs.io/en/v4.6.0/Parameters.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from recsys.ranking.blender import filled
from recsys.ranking.candidate_blender import TableSettings
from recsys.types import Vectors
from training.recommend_blender.config import RecommendBlenderConfig

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
FLAT = 1e-9  # a signal that varies no more than this says nothing


@dataclass(frozen=True, slots=True)
class Order:
    """A fitted function.

    Attributes:
        names: of all signals, the columns of its matrix.
        read: places of the signals that vary.
        brought: places of the sources' scores and ranks among them.
        weights: float64 [brought], 0 or more.
        usual: see `TableSettings`.
        trees: LightGBM's booster; None where the linear function stands alone.
    """

    names: tuple[str, ...]
    read: tuple[int, ...]
    brought: tuple[int, ...]
    weights: Floats
    usual: tuple[float | None, ...]
    trees: Any = None

    def linear(self, matrix: Vectors) -> Floats:
        """float64 [rows]: the linear function."""
        return told(matrix, self.brought) @ self.weights

    def score(self, matrix: Vectors, *, rounds: int) -> Floats:
        """float64 [rows]: with so many of the trees."""
        total = self.linear(matrix)
        if rounds and self.trees is not None:
            wide = filled(matrix[:, list(self.read)], self.usual)
            total = total + np.asarray(self.trees.predict(wide, num_iteration=rounds, num_threads=1))
        return total

    def settings(self) -> TableSettings:
        """As the component keeps it."""
        weights = {self.names[place]: float(w) for place, w in zip(self.brought, self.weights, strict=True) if w > 0}
        grown = self.trees is not None
        return TableSettings(
            signals=tuple(self.names[place] for place in self.read) if grown else (),
            weights=weights,
            trees=grown,
            usual=self.usual if grown else (),
        )


def fit_order(
    matrix: Vectors,
    labels: Numbers,
    sizes: Numbers,
    *,
    names: Sequence[str],
    sources: Sequence[str],
    rounds: int,
    config: RecommendBlenderConfig,
) -> Order:
    """A function of the signals.

    Args:
        matrix: float32 [rows, signals].
        labels: int64 [rows], 0 or 1.
        sizes: int64 [users], how many rows each has, in order.
        names: of the signals.
        sources: whose scores and ranks the linear function reads.
        rounds: how many trees, 0 for none.
        config: of both.
    """
    read = varying(matrix)
    own = {f"{source}.{kind}" for source in sources for kind in ("score", "rank")}
    brought = tuple(place for place in read if names[place] in own)
    inputs = told(matrix, brought)
    weights = fit_weights(inputs, labels=labels, sizes=sizes, ridge=config.ridge)
    usual = usual_values(matrix[:, list(read)])
    trees = None
    if rounds and read:
        chosen = [names[place] for place in read]
        wide = matrix[:, list(read)].astype(np.float64)
        trees = grow(wide, labels, sizes, start=inputs @ weights, names=chosen, rounds=rounds, config=config)
    return Order(tuple(names), read, brought, weights, usual, trees)


def grow(
    wide: Floats,
    labels: Numbers,
    sizes: Numbers,
    *,
    start: Floats,
    names: Sequence[str],
    rounds: int,
    config: RecommendBlenderConfig,
) -> lightgbm.Booster:
    """LambdaMART's trees, which start from given scores; the same rows and settings give the same trees."""
    parameters = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": config.top,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.rows_in_leaf,
        "lambda_l2": config.leaf_penalty,
        "feature_fraction": config.columns,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": config.seed,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(wide, label=labels, group=sizes[sizes > 0], init_score=start, feature_name=list(names))
    return lightgbm.train(parameters, data, num_boost_round=rounds)


def fit_weights(inputs: Floats, *, labels: Numbers, sizes: Numbers, ridge: float) -> Floats:
    """float64 [inputs], 0 or more: the least softmax cross-entropy over the users who bought something of theirs."""
    users = np.repeat(np.arange(len(sizes)), sizes)
    bought = np.bincount(users, weights=labels, minlength=len(sizes))
    kept = bought[users] > 0
    if not kept.any() or not inputs.shape[1]:
        return np.ones(inputs.shape[1])
    inputs, labels, users = inputs[kept], labels[kept], users[kept]
    targets = labels / bought[users]
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    owner = np.cumsum(np.diff(users, prepend=-1) > 0) - 1

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = inputs @ weights
        shifted = scores - np.maximum.reduceat(scores, starts)[owner]
        logs = shifted - np.log(np.add.reduceat(np.exp(shifted), starts))[owner]
        slope = (np.exp(logs) - targets) @ inputs / len(starts) + ridge * weights
        return float(-(targets * logs).sum() / len(starts) + 0.5 * ridge * (weights**2).sum()), slope

    bounds = [(0.0, None)] * inputs.shape[1]
    found = minimize(loss, np.full(inputs.shape[1], 0.5), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, dtype=np.float64)


def told(matrix: Vectors, places: Sequence[int]) -> Floats:
    """float64 [rows, places]: the columns, 0 where a source has not brought the product."""
    return np.nan_to_num(matrix[:, list(places)].astype(np.float64), nan=0.0)


def varying(matrix: Vectors) -> tuple[int, ...]:
    """Places of the columns that tell rows apart, by their value or by being known."""
    places = []
    for place, column in enumerate(matrix.T):
        known = column[np.isfinite(column)]
        if len(known) and (len(known) < len(column) or float(known.max()) - float(known.min()) > FLAT):
            places.append(place)
    return tuple(places)


def usual_values(matrix: Vectors) -> tuple[float | None, ...]:
    """The median of each signal that every row knows, None for the others."""
    return tuple(None if np.isnan(column).any() else float(np.median(column)) for column in matrix.T)
