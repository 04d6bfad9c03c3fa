"""Baselines that need no training: BM25 and the stock encoder, the user's own history, what sold in the last weeks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.text_vectors import text_vectors
from recsys.errors import MissingDependencyError
from recsys.models.backbone import resolve_backbone
from recsys.ranking.bi_encoder import CosineRanker
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.order import top_k
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.types import Candidates, Mask, PositionHistories, Positions, Ranker, Recommender, Scores
from training.evaluate.trial import BEFORE, PURCHASE

DAYS = 28
BM25: Mapping[str, Mapping[str, int]] = {
    "BM25 titles": {"title": 1},
    "BM25 titles + description": {"title": 1, "description": 1},
    "BM25 all text fields": {"title": 1, "brand": 1, "category": 1, "attributes": 1, "description": 1},
}


@contextmanager
def bm25_baselines(catalogue: Catalogue) -> Iterator[dict[str, LexicalIndex]]:
    """BM25 over fewer and more fields, each word counted as often as it stands there; gone afterwards."""
    with TemporaryDirectory(prefix="recsys-bm25-") as place:
        yield {
            name: LexicalIndex.build(catalogue, Path(place) / str(number), weights=weights)
            for number, (name, weights) in enumerate(BM25.items())
        }


def stock_encoder() -> Ranker | None:
    """The text encoder that was not fine-tuned; None where it is not installed."""
    try:
        return CosineRanker.load(resolve_backbone())
    except MissingDependencyError:
        return None


@contextmanager
def stock_retriever(catalogue: Catalogue, *, cache: Path | None) -> Iterator[DenseTextRetriever | None]:
    """Dense retrieval by the encoder that was not fine-tuned, gone afterwards; None where it is not installed.

    Args:
        catalogue: the products.
        cache: as of `recsys.engine.text_vectors.text_vectors`.
    """
    try:
        folder = resolve_backbone()
    except MissingDependencyError:
        yield None
        return
    with TemporaryDirectory(prefix="recsys-stock-") as place:
        if len(catalogue):
            DenseIndex.build(text_vectors(catalogue.texts(), folder, cache=cache), Path(place))
        yield DenseTextRetriever.open(Path(place), encoder=folder) if len(catalogue) else None


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
    def fit(cls, snapshot: Snapshot, *, split: str, products: int) -> "LatestPopularity":
        """Count the purchases of the last days before a part of a time split begins."""
        times = snapshot.manifest.split
        cut = times.test_after if split == "test" else times.validation_after
        bought = snapshot.interactions(*BEFORE[split]).filter(pl.col("event_type") == PURCHASE)
        latest = bought if cut is None else bought.filter(pl.col("timestamp") > cut - timedelta(days=DAYS))
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
        best, scores = top_k(np.where(self.purchases > 0, self.purchases, -np.inf), k=k + most, allowed=allowed)
        lists = []
        for row in hidden:
            kept = np.flatnonzero(~np.isin(best, row))[:k]
            lists.append(Candidates(best[kept], scores[kept], self.name))
        return lists
