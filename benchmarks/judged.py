"""What the jobs on judged pairs have in common: snapshots by fold, the stock encoder, BM25, feedback, NDCG by query."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Place, Result, of
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.models.backbone import STOCK, resolve_backbone
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.feedback import feedback
from recsys.ranking.lexical import Bm25Ranker
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores, Vectors
from training.relevance.module import query_ndcg

TEMPERATURE = 0.1
NETWORKS = "relevance-crowdflower"
"""The job whose networks others use, too."""


def shop_snapshot(shop: str, place: Place, *, fold: int) -> Snapshot:
    """The shop's snapshot with the fold's queries as test part; made once."""
    out = place.work / f"snapshot-{shop}-{fold}"
    if (out / "manifest.json").is_file():
        return Snapshot.open(out)
    return build_snapshot(place.data / shop, out=out, split="query-folds", options={"fold": str(fold)})


@cache
def shop_queries(shop: Path) -> tuple[str, ...]:
    """The normalised queries of a shop."""
    return tuple(normalise(query) for query in pl.read_parquet(shop / "queries.parquet")["query"])


def by_query(judgments: pl.DataFrame, scores: np.ndarray[Any, Any]) -> list[float]:
    """NDCG@10 of each query in the order of ids, without those that have one grade only."""
    queries = judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    values = query_ndcg(queries, judgments["grade"].to_numpy(), scores)
    return [float(value) for value in values[~np.isnan(values)]]


@dataclass(frozen=True, slots=True)
class TitleVectors:
    """Vectors of each judgment's query and title under the stock encoder, float32 [pairs, width]."""

    queries: Vectors
    titles: Vectors

    @property
    def cosines(self) -> Scores:
        """float32 [pairs]."""
        cosines: Scores = (self.queries * self.titles).sum(axis=1)
        return cosines


def title_vectors(snapshot: Snapshot, judgments: pl.DataFrame) -> TitleVectors:
    """Queries and titles under the stock encoder."""
    folder = resolve_backbone(STOCK)
    encoder, tokenizer = TextEncoder.load(folder), TextTokenizer.load(folder)
    texts = [*judgments["query"].to_list(), *title_texts(snapshot, judgments)]
    different, places = np.unique(texts, return_inverse=True)
    vectors = encode_texts(encoder, tokenizer, different.tolist(), precision="fp32")[places]
    return TitleVectors(vectors[: len(judgments)], vectors[len(judgments) :])


def cosine_scores(snapshot: Snapshot, judgments: pl.DataFrame) -> Scores:
    """Cosine of query and title under the stock encoder."""
    return title_vectors(snapshot, judgments).cosines


def title_texts(snapshot: Snapshot, judgments: pl.DataFrame) -> list[str]:
    """The title of each judgment's product."""
    catalogue = snapshot.catalogue()
    return catalogue.column("title").gather(catalogue.positions(judgments["product_id"])).to_list()


def bm25_scores(snapshot: Snapshot, judgments: pl.DataFrame) -> np.ndarray[Any, Any]:
    """BM25 of query and title; statistics from all titles of the catalogue."""
    ranker = Bm25Ranker.of_texts(snapshot.catalogue().column("title").to_list())
    return np.asarray(ranker.score(judgments["query"].to_list(), title_texts(snapshot, judgments)))


def with_feedback(judgments: pl.DataFrame, scores: Scores, vectors: Vectors, weight: float) -> Scores:
    """Scores and weighted feedback inside the judged list of each query, float32 [pairs]."""
    queries = judgments["query_id"].rank("dense").to_numpy()
    result = scores.copy()
    for query in np.unique(queries):
        rows = np.flatnonzero(queries == query)
        result[rows] += weight * feedback(scores[rows], vectors[rows], temperature=TEMPERATURE).clip(min=0)
    return result


def pooled(results: Sequence[Result], variant: str, *, metric: str = "ndcg@10") -> np.ndarray[Any, Any]:
    """float64 [queries of all measured folds]: each query's value, averaged over the seeds."""
    by_fold: dict[int, list[Sequence[float]]] = {}
    for result in of(results, variant):
        if metric in result["scores"]:
            by_fold.setdefault(result["fold"], []).append(result["scores"][metric])
    parts = [np.mean(np.asarray(by_fold[fold]), axis=0) for fold in sorted(by_fold)]
    return np.concatenate(parts) if parts else np.empty(0)
