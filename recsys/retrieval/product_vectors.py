"""The vectors of a catalogue, asked for the highest inner products: by an index, or held and compared with all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from recsys.retrieval.order import top_k
from recsys.types import Candidates, Mask, Positions, Vectors


class ProductVectors(Protocol):
    """Vectors by position; a `DenseIndex` is one."""

    def at(self, positions: Positions) -> Vectors:
        """float32 [positions, width], the vectors of these positions."""
        ...

    def search(
        self,
        vectors: Vectors,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
        source: str = "dense",
    ) -> list[Candidates]:
        """The k products with the highest inner products, for each query vector.

        Args:
            vectors: float32 [batch, width].
            k: at most so many each.
            allowed: bool [catalogue]; where given, only True positions may come back.
            exclude: for each query the positions that must not come back.
            source: written into the candidates.
        """
        ...


@dataclass(frozen=True, slots=True)
class HeldVectors:
    """Vectors in memory, compared with every query: exact, and needs no index.

    Attributes:
        vectors: float32 [catalogue, width].
    """

    vectors: Vectors

    def at(self, positions: Positions) -> Vectors:
        """See ProductVectors."""
        found: Vectors = self.vectors[positions]
        return found

    def search(
        self,
        vectors: Vectors,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
        source: str = "dense",
    ) -> list[Candidates]:
        """See ProductVectors; a query's scores over the whole catalogue are held at once."""
        lists = []
        for query, row in enumerate(vectors @ self.vectors.T):
            positions, scores = top_k(row, k=k, allowed=allowed, exclude=None if exclude is None else exclude[query])
            lists.append(Candidates(positions, scores, source))
        return lists
