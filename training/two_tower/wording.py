"""Whether the products' texts say anything: ids and placeholders in the place of titles don't."""

from collections.abc import Sequence

import polars as pl

MOST = 0.5
"""A word that more of the products have tells none from another; and texts speak where so many products have others."""


def texts_speak(texts: Sequence[str]) -> bool:
    """True where at least half of the products have a word that some others, but at most half of them, have, too.

    Args:
        texts: of all products.
    """
    frame = pl.LazyFrame({"text": texts}, schema={"text": pl.String}).with_row_index("product")
    words = frame.select("product", pl.col("text").str.to_lowercase().str.extract_all(r"\w+").alias("word"))
    words = words.explode("word", keep_nulls=False, empty_as_null=False).unique()
    count = pl.len().over("word")
    shared = words.filter((count >= 2) & (count <= MOST * len(texts)))
    products = shared.select(pl.col("product").n_unique()).collect().item()
    return bool(products >= MOST * len(texts) > 0)
