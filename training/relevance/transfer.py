"""Unjudged pairs for teachers to grade: what BM25 finds for the training queries, and for spans of titles."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.retrieval.lexical import LexicalIndex
from recsys.text.normalise import normalise

SPAN = (1, 4)
"""Words of a made-up query, fewest and most: shoppers' queries are about so long."""
WORD = re.compile(r"\w(?:[\w'./-]*\w)?")


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
    known = judgments.select("query_id", "product_id")
    found = found_pairs(snapshot, queries, count=count, work=work)
    return found.join(known, on=["query_id", "product_id"], how="anti", maintain_order="left")


def found_pairs(snapshot: Snapshot, queries: pl.DataFrame, *, count: int, work: Path) -> pl.DataFrame:
    """As `unjudged_pairs`, of queries that have no judgments (columns query_id and query)."""
    catalogue = snapshot.catalogue()
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        found = LexicalIndex.build(catalogue, Path(folder)).retrieve(queries["query"].to_list(), k=count)
    lists = [catalogue.ids(candidates.positions) for candidates in found]
    return queries.with_columns(
        pl.Series("product_id", lists, dtype=pl.List(pl.String)), pl.lit(0.0).alias("grade")
    ).explode("product_id", keep_nulls=False, empty_as_null=False)


def title_queries(snapshot: Snapshot, *, count: int, seed: int) -> pl.DataFrame:
    """Made-up queries: spans of words from the titles of products drawn at random.

    A query that has judgments, in whatever part, is never made.

    Args:
        snapshot: whose catalogue is drawn from.
        count: of the draws; the same span twice, a judged query and a title without words leave fewer.
        seed: of the draws.

    Returns:
        query_id ("title:" and the draw's number) and query, in the order of the draws.

    Source: Wang et al. 2022, GPL (arXiv 2112.07577), with spans in place of generated queries.
    """
    titles = snapshot.catalogue().frame["title"].fill_null("").to_list()
    rng = np.random.default_rng(seed)
    seen = {normalise(query) for query in snapshot.judgments()["query"].unique()} | {""}
    made: list[tuple[str, str]] = []
    for number, row in enumerate(rng.integers(len(titles), size=count) if titles else ()):
        words = WORD.findall(normalise(titles[row]))
        length = min(int(rng.integers(SPAN[0], SPAN[1] + 1)), len(words))
        begin = int(rng.integers(len(words) - length + 1))
        span = " ".join(words[begin : begin + length])
        if span not in seen:
            seen.add(span)
            made.append((f"title:{number}", span))
    return pl.DataFrame(made, schema={"query_id": pl.String, "query": pl.String}, orient="row")
