"""Few labels: whole queries drawn so that a smaller share is part of a larger one."""

import hashlib
import math

import polars as pl

from recsys.text.normalise import normalise


def sample_queries(judgments: pl.DataFrame, *, share: float, seed: int) -> pl.DataFrame:
    """The judgments of a share of the queries, in their order.

    Queries that read alike once normalised are one. With one seed, the queries of a share are among those of every
    larger share, and a query keeps its place in the draw whatever others there are.

    Args:
        judgments: column `query` is read.
        share: of the queries, 0..1, rounded up; 1 keeps all, 0 none.
        seed: of the draw.
    """
    if share == 1:
        return judgments
    queries = {query: normalise(query) for query in judgments["query"].unique()}
    drawn = sorted(set(queries.values()), key=lambda query: lot(query, seed=seed))
    kept = set(drawn[: math.ceil(share * len(drawn) - 1e-9)])
    return judgments.filter(pl.col("query").is_in([query for query, plain in queries.items() if plain in kept]))


def lot(query: str, *, seed: int) -> bytes:
    """What decides a query's place in the draw."""
    return hashlib.blake2b(f"{seed}\n{query}".encode(), digest_size=16).digest()
