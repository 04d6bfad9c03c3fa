"""Which blender: candidates are compared on queries they were not fitted on, and so is the one that is chosen."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.ranking.blender import Blender
from recsys.text.normalise import normalise
from training.blender.config import BlenderConfig
from training.blender.fit import as_blender, fit_linear, fit_scale, fit_trees
from training.blender.rows import Floats, Numbers, Rows
from training.relevance.module import query_ndcg

SUM = "sum"


class Choice(NamedTuple):
    """One candidate.

    Attributes:
        kind: "sum", "linear" or "trees".
        amount: the ridge of a linear function, the number of trees, 0 for the sum.
    """

    kind: str
    amount: float


def choose(rows: Rows, *, config: BlenderConfig) -> tuple[Choice, dict[Choice, float]]:
    """The candidate with the best mean NDCG@10 over queries outside its fitting, and every candidate's.

    The plain sum wins where nothing is better; of equals the simpler one, which stands first.
    """
    folds = fold_numbers(rows, config=config)
    values: dict[Choice, Floats] = {}
    for fold in np.unique(folds):
        held = rows.take(folds == fold)
        for choice, scores in candidates(rows.take(folds != fold), held, config=config):
            column = values.setdefault(choice, np.full(len(rows.texts), np.nan))
            column[folds == fold] = ndcg_of(held, scores)
    means = {choice: mean_of(column) for choice, column in values.items()}
    return max(means, key=lambda choice: means[choice]), means


def candidates(train: Rows, held: Rows, *, config: BlenderConfig) -> Iterator[tuple[Choice, Floats]]:
    """Every candidate with its scores of the held-out pairs, simplest first."""
    base = held.base.astype(np.float64)
    yield Choice(SUM, 0), base
    if "linear" in config.kinds:
        for ridge in sorted(config.ridges, reverse=True):
            scale, linear = fit_linear(train, ridge=ridge, config=config)
            blender = as_blender(train, scale=scale, linear=linear, learned_over={})
            yield Choice("linear", ridge), scale * base + blender.contributions(held.matrix).sum(axis=1)
    if "trees" in config.kinds and config.rounds:
        scale = fit_scale(train, config=config)
        trees = fit_trees(train, scale=scale, rounds=max(config.rounds), config=config)
        wide = held.matrix.astype(np.float64)
        for rounds in sorted(config.rounds):
            yield (
                Choice("trees", rounds),
                scale * base + np.asarray(trees.predict(wide, num_iteration=rounds, num_threads=1)),
            )


def fit_choice(
    rows: Rows, choice: Choice, *, config: BlenderConfig, learned_over: Mapping[str, str] | None = None
) -> Blender:
    """The blender of a candidate, fitted on all of these rows."""
    over = learned_over or {}
    if choice.kind == "linear":
        scale, linear = fit_linear(rows, ridge=choice.amount, config=config)
        return as_blender(rows, scale=scale, linear=linear, learned_over=over)
    scale = fit_scale(rows, config=config)
    if choice.kind == SUM:
        return as_blender(rows, scale=scale or 1.0, learned_over=over)
    trees = fit_trees(rows, scale=scale, rounds=int(choice.amount), config=config)
    return as_blender(rows, scale=scale, trees=trees, learned_over=over)


def cross_fit(rows: Rows, *, config: BlenderConfig) -> tuple[Floats, list[Choice]]:
    """float64 [pairs]: scores by blenders that were chosen and fitted without the pair's query, and what was chosen.

    Scores compare inside a query only.
    """
    folds = fold_numbers(rows, config=config)
    scores = np.empty(len(rows))
    chosen = []
    for fold in np.unique(folds):
        others, held = rows.take(folds != fold), rows.take(folds == fold)
        choice, _ = choose(others, config=config)
        chosen.append(choice)
        scores[(folds == fold)[rows.queries]] = blended(fit_choice(others, choice, config=config), held)
    return scores, chosen


def blended(blender: Blender, rows: Rows) -> Floats:
    """float64 [pairs]: the blended scores, as the engine adds them up."""
    parts = blender.parts(rows.matrix, base=rows.parts)
    total: Floats = np.stack(list(parts.values())).sum(axis=0, dtype=np.float32).astype(np.float64)
    return total


def fold_numbers(rows: Rows, *, config: BlenderConfig) -> Numbers:
    """int64 [queries]: the fold of each query; queries of one spelling share one."""
    _, number = np.unique([normalise(text) for text in rows.texts], return_inverse=True)
    count = int(number.max(initial=-1)) + 1
    fold = np.empty(count, dtype=np.int64)
    fold[np.random.default_rng(config.seed).permutation(count)] = np.arange(count) % config.query_folds
    return np.asarray(fold[number], dtype=np.int64)


def ndcg_of(rows: Rows, scores: NDArray[np.floating]) -> Floats:
    """NDCG@10 of each query, float64 [queries]; NaN where it has no positive product or a single grade."""
    values: Floats = query_ndcg(rows.queries, rows.grades.astype(np.float32), scores)
    return values


def mean_of(values: Floats) -> float:
    """The mean over the queries that count; 0 where none does."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
