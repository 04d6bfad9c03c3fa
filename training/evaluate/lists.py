"""Ranked lists of many users: deep enough for their ties, and their metrics."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.engine.ladder import Filled
from recsys.types import Positions
from training.evaluate.measured import ByMetric
from training.evaluate.ties import ndcg_at, recall_at, smooth
from training.evaluate.trial import Ask


def closed_lists(ask: Ask, *, users: int, k: int) -> list[Filled]:
    """Lists that reach at least k products and never end inside a group of ties that begins within the first k."""
    lists: list[Filled | None] = [None] * users
    due, depth = np.arange(users), 2 * k
    while len(due):
        for user, found in zip(due, ask(due, depth), strict=True):
            lists[user] = found
        due = np.array([user for user in due if is_open(lists[user], k=k, depth=depth)], dtype=np.int64)
        depth *= 4
    return [found for found in lists if found is not None]


def is_open(found: Filled | None, *, k: int, depth: int) -> bool:
    """True where the last place within k ties with the end of a list that was cut at `depth`."""
    if found is None or len(found.positions) < depth:
        return False
    same = found.scores[k - 1] == found.scores[-1] and found.sources[k - 1] == found.sources[-1]
    return bool(same and found.rungs[k - 1] == found.rungs[-1])


def score_lists(
    lists: Sequence[Filled], relevant: Sequence[Positions], *, products: int, cuts: Sequence[int]
) -> ByMetric:
    """recall@k and ndcg@k of every user, float64 [users]; NaN where nothing is relevant.

    Args:
        lists: the rankings.
        relevant: for each user the relevant positions, ascending.
        products: size of the catalogue.
        cuts: the k.
    """
    users = np.repeat(np.arange(len(lists)), [len(row.positions) for row in lists])
    ranks = np.concatenate([np.arange(len(row.positions)) for row in lists] or [np.zeros(0, dtype=np.int64)])
    depth = max([int(ranks.max(initial=-1)) + 1, *cuts])
    places = np.concatenate([row.positions for row in lists] or [np.zeros(0, dtype=np.int64)])
    sizes = np.array([len(row) for row in relevant], dtype=np.int64)
    wanted = np.repeat(np.arange(len(relevant)), sizes) * products
    wanted += np.concatenate(relevant or [np.zeros(0, dtype=np.int64)])
    hit = np.zeros((len(lists), depth))
    hit[users, ranks] = np.isin(users * products + places, wanted)
    groups = np.full((len(lists), depth), -1, dtype=np.int64)
    groups[users, ranks] = tie_groups(lists)
    smoothed = smooth(hit, groups)
    found: ByMetric = {}
    for k in cuts:
        found[f"recall@{k}"] = recall_at(smoothed, sizes, k=k)
        found[f"ndcg@{k}"] = ndcg_at(smoothed, sizes, k=k)
    return found


def tie_groups(lists: Sequence[Filled]) -> NDArray[np.int64]:
    """A running number that grows wherever score, source or rung changes, int64 [products of all lists]."""
    if not lists:
        return np.zeros(0, dtype=np.int64)
    scores = np.concatenate([row.scores for row in lists])
    names: dict[tuple[str, str], int] = {}
    origin = np.array(
        [names.setdefault(pair, len(names)) for row in lists for pair in zip(row.sources, row.rungs, strict=True)],
        dtype=np.int64,
    )
    changed = np.ones(len(scores), dtype=np.bool_)
    changed[1:] = (scores[1:] != scores[:-1]) | (origin[1:] != origin[:-1])
    return np.cumsum(changed)
