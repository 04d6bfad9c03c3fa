"""BM25 on a real catalogue against the published figures: unjudged counts as grade 0, all products are candidates."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.metrics.ranking import ndcg
from recsys.retrieval.lexical import LexicalIndex

DATA = Path(os.environ.get("RECSYS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")) / "icecat"
pytestmark = pytest.mark.realdata
TITLES, DESCRIBED, ALL = 0.601, 0.687, 0.705  # published for BM25 without stemming


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    products = pl.read_parquet(DATA / "products.parquet").sort("product_id")
    return Catalogue(products.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64)))


def mean_ndcg(index: LexicalIndex, catalogue: Catalogue) -> float:
    judgments = pl.read_parquet(DATA / "judgments.parquet").join(
        pl.read_parquet(DATA / "queries.parquet"), on="query_id"
    )
    values = []
    for part in judgments.partition_by("query", maintain_order=True):
        if part["grade"].max() == 0:
            continue
        grades = np.zeros(len(catalogue))
        grades[catalogue.positions(part["product_id"])] = part["grade"].to_numpy()
        answer = index.retrieve([part["query"][0]], k=len(catalogue))[0]
        found = grades[answer.positions]
        values.append(ndcg(found, answer.scores, k=10, ideal=part["grade"].to_numpy()) if len(found) else 0.0)
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("weights", "language", "low", "high"),
    [
        ({"title": 1}, "", TITLES - 0.005, TITLES + 0.005),
        ({"title": 1, "description": 1}, "", DESCRIBED - 0.01, DESCRIBED + 0.01),
        (None, "english", ALL, 1.0),
    ],
)
def test_published_figures(
    catalogue: Catalogue, tmp_path: Path, weights: dict[str, int] | None, language: str, low: float, high: float
) -> None:
    index = LexicalIndex.build(catalogue, tmp_path, weights=weights, language=language)
    assert low <= mean_ndcg(index, catalogue) <= high
