"""What the user had before, as a recommendation: the baseline wherever people buy again."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from recsys.retrieval.order import in_order
from recsys.types import Candidates, Mask, PositionHistories, Positions


class OwnHistoryRecommender:
    """The products of the user's own history.

    Args:
        by: "frequency" ranks by the number of events, ties by the latest; "recency" by the latest event alone.
    """

    def __init__(self, *, by: Literal["frequency", "recency"]) -> None:
        self.by = by
        self.name = f"own-history-{by}"

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The user's k most frequent or most recent products; see Recommender."""
        return [
            self._rank(histories, user, k=k, allowed=allowed, hidden=None if exclude is None else exclude[user])
            for user in range(len(histories))
        ]

    def _rank(
        self, histories: PositionHistories, user: int, *, k: int, allowed: Mask | None, hidden: Positions | None
    ) -> Candidates:
        first, last = histories.offsets[user], histories.offsets[user + 1]
        positions, own, counts = np.unique(histories.positions[first:last], return_inverse=True, return_counts=True)
        latest = np.full(len(positions), np.iinfo(np.int64).min)
        np.maximum.at(latest, own, histories.timestamps[first:last])
        # The rank of the time, 0 to below 1: exact in float32 and independent of the clock's unit.
        scores = np.searchsorted(np.unique(latest), latest) / max(1, len(positions))
        if self.by == "frequency":
            scores = scores + counts
        kept = passing(positions, allowed=allowed, hidden=hidden)
        best, values = in_order(positions[kept], scores[kept].astype(np.float32), k=k)
        return Candidates(best, values, self.name)


def passing(positions: Positions, *, allowed: Mask | None, hidden: Positions | None) -> Mask:
    """bool [positions], True where a position may come back."""
    kept = np.ones(len(positions), dtype=np.bool_) if allowed is None else allowed[positions]
    return kept if hidden is None or not len(hidden) else kept & ~np.isin(positions, hidden)
