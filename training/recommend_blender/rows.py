"""The candidates that a recommendation blender learns from, and what is known of the products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.engine.ladder import take
from recsys.engine.recommend_blending import gather, union
from recsys.ranking.candidate_blender import FACTS
from recsys.ranking.candidate_signals import ProductFacts, candidate_matrix
from recsys.retrieval.each_user import moments
from recsys.types import Candidates, Positions, Recommender, Vectors
from training.histories import recency
from training.holdout import Holdout

Numbers = NDArray[np.int64]
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """Every user's candidates, those of a user side by side.

    Attributes:
        lists: for each user what each source brought.
        pools: for each user int64 [candidates], ascending.
        labels: int64 [rows], 1 where the user went on to buy the product.
        matrix: float32 [rows, signals], in the order of `signal_names`.
    """

    lists: tuple[tuple[Candidates, ...], ...]
    pools: tuple[Positions, ...]
    labels: Numbers
    matrix: Vectors

    @property
    def sizes(self) -> Numbers:
        """int64 [users]: how many candidates each has."""
        return np.array([len(pool) for pool in self.pools], dtype=np.int64)

    @property
    def users(self) -> Numbers:
        """int64 [rows]: the user of each."""
        return np.repeat(np.arange(len(self.pools)), self.sizes)


def read_candidates(
    holdout: Holdout, sources: Mapping[str, Recommender], *, candidates: int, until: int, facts: ProductFacts
) -> CandidateRows:
    """The candidates of all users of a holdout.

    Args:
        holdout: the users, what may not come back and what they went on to buy.
        sources: who is asked.
        candidates: at most so many of each.
        until: where the histories end, in the timestamps' unit.
        facts: of the catalogue, as of then.
    """
    histories = holdout.trial.histories
    lists: list[tuple[Candidates, ...]] = []
    for start in range(0, len(histories), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(histories)))
        hidden = None if holdout.exclude is None else [holdout.exclude[row] for row in rows]
        lists += gather(tuple(sources.values()), take(histories, rows), candidates=candidates, exclude=hidden)
    pools = [union(found) for found in lists]
    now = moments(histories, until=until)
    matrices = [
        candidate_matrix(found, pool, history=take(histories, np.array([row])), now=int(now[row]), facts=facts)
        for row, (found, pool) in enumerate(zip(lists, pools, strict=True))
    ]
    labels = [np.isin(pool, bought) for pool, bought in zip(pools, holdout.relevant, strict=True)]
    return CandidateRows(
        lists=tuple(lists),
        pools=tuple(pools),
        labels=np.concatenate(labels).astype(np.int64),
        matrix=np.concatenate(matrices),
    )


def write_facts(snapshot: Snapshot, *, parts: Sequence[str], half_life_days: float, folder: Path) -> None:
    """Write products.parquet: what each product sells, lately and ever, and its first and last event.

    Args:
        snapshot: the events.
        parts: of the snapshot.
        half_life_days: of `sales`; a shop without a calendar forgets nothing.
        folder: where the table goes.
    """
    calendar = snapshot.manifest.timestamps == "calendar"
    late = pl.col("weight") * recency(half_life_days=half_life_days if calendar else 0.0)
    moment = pl.col("timestamp").dt.timestamp("us")
    table = (
        snapshot.interactions(*parts)
        .with_columns(late=late)
        .group_by("product_id")
        .agg(
            sales=pl.col("late").sum().cast(pl.Float32),
            ever=pl.col("weight").sum().cast(pl.Float32),
            first=moment.min(),
            last=moment.max(),
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.sort("product_id").write_parquet(folder / FACTS)
