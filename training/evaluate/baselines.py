"""Baselines that need no training: the user's own history, and what sold in the last weeks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.retrieval.order import top_k
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.types import Candidates, Mask, PositionHistories, Positions, Recommender, Scores

DAYS = 28


def history_baselines() -> tuple[Recommender, ...]:
    """The user's own products by frequency and by recency."""
    return OwnHistoryRecommender(by="frequency"), OwnHistoryRecommender(by="recency")


@dataclass(frozen=True, slots=True)
class LatestPopularity:
    """The products bought most often in the last 28 days before the cut, the same for everyone.

    Attributes:
        purchases: float32 [catalogue].
    """

    purchases: Scores

    @property
    def name(self) -> str:
        """The baseline's name."""
        return f"popularity, last {DAYS} days"

    @classmethod
    def fit(cls, snapshot: Snapshot, *, parts: Sequence[str], products: int) -> "LatestPopularity":
        """Count the purchases of the last days of the parts named."""
        events = snapshot.interactions(*parts).filter(pl.col("event_type") == "purchase")
        latest = events.filter(pl.col("timestamp") > pl.col("timestamp").max() - timedelta(days=DAYS))
        return cls(np.bincount(latest["position"].to_numpy(), minlength=products).astype(np.float32))

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k most bought; see Recommender."""
        hidden = exclude if exclude is not None else [np.zeros(0, dtype=np.int64)] * len(histories)
        most = max((len(row) for row in hidden), default=0)
        best, scores = top_k(self.purchases, k=k + most, allowed=allowed)
        lists = []
        for row in hidden:
            kept = np.flatnonzero(~np.isin(best, row))[:k]
            lists.append(Candidates(best[kept], scores[kept], self.name))
        return lists
