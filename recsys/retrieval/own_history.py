"""What the user had before, as a recommendation: the baseline wherever people buy again."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from recsys.retrieval.each_user import User, each_user, passing
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
        return [self._rank(one, k=k, allowed=allowed) for one in each_user(histories, exclude=exclude)]

    def _rank(self, user: User, *, k: int, allowed: Mask | None) -> Candidates:
        positions, own, counts = np.unique(user.positions, return_inverse=True, return_counts=True)
        latest = np.full(len(positions), np.iinfo(np.int64).min)
        np.maximum.at(latest, own, user.timestamps)
        # The rank of the time, 0 to below 1: exact in float32 and independent of the clock's unit.
        scores = np.searchsorted(np.unique(latest), latest) / max(1, len(positions))
        if self.by == "frequency":
            scores = scores + counts
        kept = passing(positions, allowed=allowed, hidden=user.hidden)
        best, values = in_order(positions[kept], scores[kept].astype(np.float32), k=k)
        return Candidates(best, values, self.name)
