"""Unjudged pairs for teachers to grade: what BM25 finds for the training queries."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from feature_store.snapshot import Snapshot
from recsys.retrieval.lexical import LexicalIndex


def unjudged_pairs(snapshot: Snapshot, judgments: pl.DataFrame, *, count: int, work: Path) -> pl.DataFrame:
    """The best products by BM25 of each query, without those that are judged for it.

    Args:
        snapshot: whose catalogue is searched.
        judgments: of the queries, each with its judged products.
        count: products of each query before the judged ones are left out.
        work: where the lexical index stands meanwhile.

    Returns:
        query_id, query, product_id and grade 0, which means nothing; sorted by query_id, best product first.
    """
    queries = judgments.unique("query_id").sort("query_id").select("query_id", "query")
    catalogue = snapshot.catalogue()
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        found = LexicalIndex.build(catalogue, Path(folder)).retrieve(queries["query"].to_list(), k=count)
    lists = [catalogue.ids(candidates.positions) for candidates in found]
    pairs = queries.with_columns(
        pl.Series("product_id", lists, dtype=pl.List(pl.String)), pl.lit(0.0).alias("grade")
    ).explode("product_id", keep_nulls=False, empty_as_null=False)
    known = judgments.select("query_id", "product_id")
    return pairs.join(known, on=["query_id", "product_id"], how="anti", maintain_order="left")
