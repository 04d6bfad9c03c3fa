"""What sells, as a whole and by segment: the lowest rungs of the ladder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from recsys.retrieval.order import top_k
from recsys.retrieval.vocabulary import read_table
from recsys.types import Candidates, Mask, PositionHistories, Positions, Scores

TABLE = "popularity.parquet"


class PopularityRecommender:
    """The best-selling products, the same for everyone of a segment.

    Args:
        scores: by segment float32 [catalogue], 0 where nothing was sold; "" stands for everyone.
        name: what it is called in answers: "popularity", or "trending" where growth was scored.
    """

    def __init__(self, scores: dict[str, Scores], *, name: str = "popularity") -> None:
        self.name = name
        self.scores = scores

    @classmethod
    def load(cls, folder: Path, *, catalogue: Catalogue, name: str = "popularity") -> "PopularityRecommender":
        """Read the component `name`; products that left the catalogue are dropped.

        Raises:
            BundleError: the table is missing or damaged.
        """
        table = read_table(folder / f"{name}.parquet", columns=("segment", "product_id", "score"))
        table = table.with_columns(position=pl.Series(catalogue.positions(table["product_id"])))
        scores = {"": np.zeros(len(catalogue), dtype=np.float32)}
        for (segment,), rows in table.filter(pl.col("position") >= 0).group_by(["segment"]):
            own = np.zeros(len(catalogue), dtype=np.float32)
            own[rows["position"].to_numpy()] = rows["score"].to_numpy()
            scores[str(segment)] = own
        return cls(scores, name=name)

    def popular(
        self,
        segments: Sequence[str],
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k best-selling products of each segment.

        Args:
            segments: one for each list; "" asks for everyone's, an unknown segment gets an empty list.
            k: at most so many each.
            allowed: bool [catalogue], which products may come.
            exclude: for each list the positions that must not come.
        """
        most = max((len(hidden) for hidden in exclude), default=0) if exclude is not None else 0
        ranked = {segment: self._best(segment, k=k + most, allowed=allowed) for segment in set(segments)}
        if exclude is None:
            return [ranked[segment] for segment in segments]
        return [without(ranked[segment], hidden, k=k) for segment, hidden in zip(segments, exclude, strict=True)]

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """Everyone's k best-selling products, whatever the history; see Recommender."""
        return self.popular([""] * len(histories), k=k, allowed=allowed, exclude=exclude)

    def _best(self, segment: str, *, k: int, allowed: Mask | None) -> Candidates:
        scores = self.scores.get(segment)
        if scores is None:
            return Candidates(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), self.name)
        positions, best = top_k(np.where(scores > 0, scores, -np.inf), k=k, allowed=allowed)
        return Candidates(positions, best, self.name)


def without(candidates: Candidates, hidden: Positions, *, k: int) -> Candidates:
    """The k best that are not hidden."""
    kept = np.flatnonzero(~np.isin(candidates.positions, hidden))[:k]
    return Candidates(candidates.positions[kept], candidates.scores[kept], candidates.source)
