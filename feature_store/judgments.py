"""From a shop's judgments to graded pairs, each once, split by query."""

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.frames import shaped
from feature_store.joins import same_rows
from feature_store.splits import query_parts


def judgment_frame(
    judgments: CheckedTable | None, *, queries: CheckedTable | None, catalogue: pl.DataFrame, fold: int
) -> pl.DataFrame:
    """Pairs sorted by query and product; a pair judged several times has its mean grade, weight and deviation.

    Args:
        judgments: the checked table, None where the shop has none.
        queries: the checked texts.
        catalogue: for the positions.
        fold: the outer fold of queries that is the test part.

    Raises:
        SnapshotError: a join gave or lost pairs.
    """
    if judgments is None or queries is None:
        return shaped(pl.LazyFrame(schema={"query_id": pl.String}), "judgments", unknown=()).collect()
    texts = queries.frame.select("query_id", "query", "locale").collect()
    texts = texts.with_columns(query_parts(texts["query"].to_list(), fold=fold))
    pairs = (
        judgments.frame.sort(pl.exclude("row", "rest"))
        .group_by("query_id", "product_id", maintain_order=True)
        .agg(
            pl.col("grade").cast(pl.Float64).mean(),
            pl.col("weight").cast(pl.Float64).fill_null(1.0).mean(),
            pl.col("rater_sd").cast(pl.Float64).mean(),
            pl.col("rest").first(),
        )
        .join(texts.lazy(), on="query_id", how="inner")
        .join(catalogue.lazy().select("product_id", "position"), on="product_id", how="inner")
        .sort("query_id", "product_id")
    )
    found = shaped(pairs, "judgments", unknown=judgments.unknown).collect()
    wanted = judgments.frame.select(pl.struct("query_id", "product_id").n_unique()).collect().item()
    same_rows(found.height, wanted, of="judged pairs")
    return found
