"""Whether the blend may stand above every recommender: by what it gains on users that it has not learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.engine.ladder import Filled
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.retrieval.order import in_order
from recsys.types import Positions, Rung, Scores
from training.evaluate.earned import as_interval
from training.evaluate.lists import score_lists
from training.holdout import Holdout
from training.recommend_blender.config import RecommendBlenderConfig
from training.recommend_blender.fit import Order, fit_order
from training.recommend_blender.rows import CandidateRows

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """What was measured on held-out users.

    Attributes:
        tried: by number of trees, the NDCG of each user by a function that was fitted without the user.
        folds: int64 [users], the part in which each was held out.
    """

    tried: Mapping[int, Floats]
    folds: Numbers

    @property
    def rounds(self) -> int:
        """The number of trees with the highest mean; of equals the fewest."""
        return best_rounds(self.tried, np.ones(len(self.folds), dtype=np.bool_))

    @property
    def values(self) -> Floats:
        """float64 [users]: the NDCG with the trees that the other parts' users would choose; NaN as in `tried`."""
        found = np.full(len(self.folds), np.nan)
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            found[inside] = self.tried[best_rounds(self.tried, ~inside)][inside]
        return found


def cross_fit(
    rows: CandidateRows,
    holdout: Holdout,
    *,
    names: Sequence[str],
    sources: Sequence[str],
    config: RecommendBlenderConfig,
) -> Held:
    """Every number of trees on users who were held out of the fitting.

    Args:
        rows: the users' candidates.
        holdout: the same users.
        names: of the signals.
        sources: of the candidates.
        config: folds, rounds, and how functions are fitted.
    """
    count = len(rows.pools)
    folds = np.random.default_rng(config.seed).permutation(count) % config.user_folds
    steps = (0, *sorted(config.rounds))
    tried = {rounds: np.full(count, np.nan) for rounds in steps}
    for fold in np.unique(folds):
        order = fit_users(rows, folds != fold, names=names, sources=sources, rounds=steps[-1], config=config)
        held = np.flatnonzero(folds == fold)
        inside = np.isin(rows.users, held)
        for rounds in steps:
            scores = order.score(rows.matrix[inside], rounds=rounds).astype(np.float32)
            parts = np.split(scores, np.cumsum(rows.sizes[held])[:-1])
            lists = [ranked(rows.pools[user], part) for user, part in zip(held, parts, strict=True)]
            tried[rounds][held] = ndcg(
                lists, [holdout.relevant[user] for user in held], holdout=holdout, top=config.top
            )
    return Held(tried, folds)


def fit_users(
    rows: CandidateRows,
    kept: NDArray[np.bool_],
    *,
    names: Sequence[str],
    sources: Sequence[str],
    rounds: int,
    config: RecommendBlenderConfig,
) -> Order:
    """A function that has learned from some of the users, bool [users]."""
    inside = kept[rows.users]
    return fit_order(
        rows.matrix[inside],
        rows.labels[inside],
        rows.sizes[kept],
        names=names,
        sources=sources,
        rounds=rounds,
        config=config,
    )


def judge(
    rows: CandidateRows,
    holdout: Holdout,
    held: Held,
    *,
    table: str,
    sources: Sequence[str],
    config: RecommendBlenderConfig,
) -> dict[str, Any]:
    """The report of a table: what the blend and each source bring, the gain over the best one, and the verdict."""
    single = {
        name: ndcg(
            [
                Filled(own.positions, own.scores, *alike(len(own.positions)))
                for own in (user[place] for user in rows.lists)
            ],
            holdout.relevant,
            holdout=holdout,
            top=config.top,
        )
        for place, name in enumerate(sources)
    }
    means = {name: mean_of(values) for name, values in single.items()}
    best = max(means, key=lambda name: means[name])
    values = held.values
    gain = paired_bootstrap(values, single[best], seed=config.seed)
    return {
        "table": table,
        "users": int(np.isfinite(values).sum()),
        "on": bool(gain.above),
        "trees": held.rounds,
        "metric": f"ndcg@{config.top}",
        "blend": as_interval(bootstrap(values, seed=config.seed)),
        "best source": best,
        "gain": as_interval(gain),
        "sources": means,
        "tried": {str(rounds): mean_of(one) for rounds, one in held.tried.items()},
        "found": found_share(rows, holdout),
    }


def found_share(rows: CandidateRows, holdout: Holdout) -> float:
    """The share of what users went on to buy that stands among their candidates: no order can bring more."""
    wanted = sum(len(row) for row in holdout.relevant)
    return float(rows.labels.sum() / wanted) if wanted else 0.0


def ranked(pool: Positions, scores: Scores) -> Filled:
    """The candidates of a user in their order."""
    positions, ordered = in_order(pool, scores, k=len(pool))
    return Filled(positions, ordered, *alike(len(pool)))


def alike(count: int) -> tuple[tuple[str, ...], tuple[Rung, ...]]:
    """Sources and rungs of a list that is one ranking."""
    return ("blend",) * count, (Rung.PERSONAL,) * count


def ndcg(lists: Sequence[Filled], relevant: Sequence[Positions], *, holdout: Holdout, top: int) -> Floats:
    """float64 [users], averaged over ties; NaN where nothing is relevant."""
    name = f"ndcg@{top}"
    return score_lists(lists, relevant, products=holdout.products, cuts=(top,), names=("ndcg",))[name]


def best_rounds(tried: Mapping[int, Floats], users: NDArray[np.bool_]) -> int:
    """The number of trees with the highest mean over some users; of equals the fewest, which stand first."""
    return max(tried, key=lambda rounds: mean_of(tried[rounds][users]))


def mean_of(values: Floats) -> float:
    """The mean over the users who count; 0 where none does."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
