"""Ranked lists of many users: deep enough for their ties, and their metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.engine.ladder import Filled
from recsys.types import Positions, Scores
from training.evaluate.measured import ByMetric
from training.evaluate.rankings import Rankings
from training.evaluate.ties import Floats, Places, hit_rate_at, map_at, mrr_at, ndcg_at, recall_at
from training.evaluate.trial import USERS, Ask

CELLS = 2_000_000
METRICS: Mapping[str, Callable[[Places, NDArray[np.int64], int], Floats]] = {
    "recall": lambda places, relevant, k: recall_at(places.relevance, relevant, k=k),
    "ndcg": lambda places, relevant, k: ndcg_at(places.relevance, relevant, k=k),
    "hit_rate": lambda places, relevant, k: hit_rate_at(places.first, relevant, k=k),
    "map": lambda places, relevant, k: map_at(places, relevant, k=k),
    "mrr": lambda places, relevant, k: mrr_at(places.first, relevant, k=k),
}
TELLING = ("recall", "ndcg")


def rank_users(
    ask: Ask,
    relevant: Sequence[Positions],
    *,
    products: int,
    cuts: Sequence[int],
    names: Sequence[str] = TELLING,
) -> tuple[ByMetric, Rankings]:
    """Every user's metrics, as of `score_lists`, and the first places of the lists; whole lists of USERS at a time.

    Args:
        ask: gives users their lists.
        relevant: for each user the relevant positions, ascending.
        products: size of the catalogue.
        cuts: the k.
        names: which of METRICS.
    """
    depth = max(cuts)
    parts: list[ByMetric] = []

    def ranked() -> Iterator[tuple[Positions, Scores]]:
        for start in range(0, max(len(relevant), 1), USERS):
            part = relevant[start : start + USERS]
            lists = closed_lists(ask, users=len(part), k=depth, start=start)
            parts.append(score_lists(lists, part, products=products, cuts=cuts, names=names))
            yield from ((found.positions, found.scores) for found in lists)

    runs = Rankings.of(ranked(), depth=depth)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, runs


def closed_lists(ask: Ask, *, users: int, k: int, start: int = 0) -> list[Filled]:
    """Lists that reach at least k products and never end inside a group of ties that begins within the first k.

    Args:
        ask: gives users their lists.
        users: how many, from the one at row `start` on.
        k: products that a list reaches at least, where there are so many.
        start: row of the first.
    """
    lists: list[Filled | None] = [None] * users
    due, depth = np.arange(users), 2 * k
    while len(due):
        for user, found in zip(due, ask(due + start, depth), strict=True):
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
    lists: Sequence[Filled],
    relevant: Sequence[Positions],
    *,
    products: int,
    cuts: Sequence[int],
    names: Sequence[str] = TELLING,
) -> ByMetric:
    """Metrics of every user, float64 [users]; NaN where nothing is relevant. Memory is bounded by CELLS.

    Args:
        lists: the rankings.
        relevant: for each user the relevant positions, ascending.
        products: size of the catalogue.
        cuts: the k.
        names: which of METRICS, in the order wanted; each comes at every cut.
    """
    found: ByMetric = {f"{name}@{k}": np.full(len(lists), np.nan) for k in cuts for name in names}
    for rows in blocks([len(row.positions) for row in lists], least=max(cuts)):
        part = lists[rows], relevant[rows]
        places = placed(*part, products=products, least=max(cuts))
        sizes = np.array([len(row) for row in part[1]], dtype=np.int64)
        for k in cuts:
            for name in names:
                found[f"{name}@{k}"][rows] = METRICS[name](places, sizes, k)
    return found


def blocks(depths: Sequence[int], *, least: int) -> Iterator[slice]:
    """Consecutive lists whose places, all as deep as the deepest, are at most CELLS; at least one list each."""
    start, deepest = 0, least
    for row, depth in enumerate(depths):
        if row > start and (row + 1 - start) * max(deepest, depth) > CELLS:
            yield slice(start, row)
            start, deepest = row, least
        deepest = max(deepest, depth)
    if start < len(depths):
        yield slice(start, len(depths))


def placed(lists: Sequence[Filled], relevant: Sequence[Positions], *, products: int, least: int) -> Places:
    """Where the relevant products stand; arguments as `score_lists`, lists are filled up to `least` places."""
    users = np.repeat(np.arange(len(lists)), [len(row.positions) for row in lists])
    ranks = np.concatenate([np.arange(len(row.positions)) for row in lists])
    depth = max(int(ranks.max(initial=-1)) + 1, least)
    places = np.concatenate([row.positions for row in lists])
    wanted = np.repeat(np.arange(len(relevant)), [len(row) for row in relevant]) * products
    wanted += np.concatenate(relevant)
    hit = np.zeros((len(lists), depth))
    hit[users, ranks] = np.isin(users * products + places, wanted)
    groups = np.full((len(lists), depth), -1, dtype=np.int64)
    groups[users, ranks] = tie_groups(lists)
    return Places.of(hit, groups)


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
