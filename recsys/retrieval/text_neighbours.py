"""Products whose text is near that of what a user looked at last: for a history that no model has learned from."""

from collections.abc import Sequence

import numpy as np

from recsys.retrieval.dense import DenseIndex
from recsys.types import Candidates, Mask, PositionHistories, Positions


class TextNeighbours:
    """The highest inner products with the mean text vector of the latest products.

    Needs no training and knows every product that has a text, from its first minute on.

    Args:
        index: the catalogue's text vectors, of length 1.
        latest: how many of the latest distinct products are read; later ones count more, 1, 1/2, 1/3 ... backwards.
    """

    name = "text"

    def __init__(self, index: DenseIndex, *, latest: int = 3) -> None:
        self.index, self.latest = index, latest

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k nearest others of each history; none for an empty one. See Recommender."""
        found = [Candidates(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), self.name)] * len(histories)
        users = np.flatnonzero(np.diff(histories.offsets) > 0)
        if not len(users):
            return found
        read = [latest_distinct(histories.of(user), count=self.latest) for user in users.tolist()]
        vectors = np.stack([self._mean(positions) for positions in read])
        hidden = [
            np.union1d(own, [] if exclude is None else exclude[user]).astype(np.int64)
            for user, own in zip(users.tolist(), read, strict=True)
        ]
        lists = self.index.search(vectors, k=k, allowed=allowed, exclude=hidden, source=self.name)
        for user, brought in zip(users.tolist(), lists, strict=True):
            found[user] = brought
        return found

    def _mean(self, positions: Positions) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """float32 [width]: the weighted mean of the vectors, latest first, as long as they are alike."""
        weights = 1 / np.arange(1, len(positions) + 1, dtype=np.float32)
        mean = (self.index.at(positions) * weights[:, None]).sum(axis=0) / weights.sum()
        return np.asarray(mean if mean.any() else self.index.at(positions[:1])[0], dtype=np.float32)


def latest_distinct(positions: Positions, *, count: int) -> Positions:
    """int64 [at most count]: the latest distinct positions, latest first."""
    backwards = positions[::-1]
    first = np.sort(np.unique(backwards, return_index=True)[1])
    return backwards[first[:count]]
