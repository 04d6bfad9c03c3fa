"""The ranked lists that one system gave to all queries or users, held in three flat arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.types import Positions, Scores


@dataclass(frozen=True, slots=True)
class Rankings:
    """One ranked list for each query or user, best first.

    Attributes:
        offsets: int64 [lists + 1]; list i owns places offsets[i] to offsets[i + 1].
        positions: int32 [places], catalogue positions.
        scores: float32 [places], as the system gave them.
    """

    offsets: NDArray[np.int64]
    positions: NDArray[np.int32]
    scores: Scores

    @classmethod
    def of(cls, lists: Iterable[tuple[Positions, Scores]], *, depth: int | None = None) -> "Rankings":
        """Put lists one behind the other.

        Args:
            lists: positions and scores of each, best first; read once.
            depth: only the first so many places of each; None keeps all.
        """
        positions, scores = [], []
        for places, values in lists:
            positions.append(places[:depth].astype(np.int32))
            scores.append(values[:depth].astype(np.float32))  # a copy: the rest of the list may go
        sizes = np.array([len(row) for row in positions], dtype=np.int64)
        return cls(
            offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)]),
            positions=np.concatenate([np.zeros(0, dtype=np.int32), *positions]),
            scores=np.concatenate([np.zeros(0, dtype=np.float32), *scores]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> tuple[Positions, Scores]:
        """Positions, int64, and scores of one list."""
        start, end = self.offsets[row], self.offsets[row + 1]
        return self.positions[start:end].astype(np.int64), self.scores[start:end]

    def padded(self, *, k: int) -> Positions:
        """int64 [lists, k]: the first k positions of each list, -1 where it is shorter."""
        sizes = np.minimum(np.diff(self.offsets), k)
        rows = np.repeat(np.arange(len(self)), sizes)
        ranks = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found = np.full((len(self), k), -1, dtype=np.int64)
        found[rows, ranks] = self.positions[self.offsets[rows] + ranks]
        return found


def by_score(positions: Positions, scores: Scores) -> tuple[Positions, Scores]:
    """Products in the order of (score descending, position ascending)."""
    order = np.lexsort((positions, -scores))
    return positions[order], scores[order]
