"""Rows that stand twice: found by hash, so that only the few suspects are ever held as a whole."""

from collections.abc import Sequence

import polars as pl


def suspects(frame: pl.LazyFrame, columns: Sequence[str]) -> pl.DataFrame:
    """All rows whose hash over `columns` stands more than once; equal rows are among them, unequal ones seldom."""
    hashed = frame.with_columns(pl.struct(columns).hash().alias("hash"))
    several = hashed.group_by("hash").len().filter(pl.col("len") > 1).select("hash").collect(engine="streaming")
    if several.is_empty():
        return frame.head(0).collect()
    return hashed.join(several.lazy(), on="hash", how="semi").drop("hash").collect(engine="streaming")


def spare_rows(
    frame: pl.LazyFrame, *, key: Sequence[str], first: Sequence[str | pl.Expr], last: Sequence[str] = ()
) -> pl.Series:
    """Row numbers of all but one row of each key.

    The one that stays is chosen by content, never by its place in the file: the newest by `last`, then the smallest by
    `first`. Rows with a null in the first key column are let alone.
    """
    found = suspects(frame.filter(pl.col(key[0]).is_not_null()), key)
    ordered = found.sort([*last, *first], descending=[True] * len(last) + [False] * len(first), nulls_last=True)
    return ordered.filter(~pl.struct(key).is_first_distinct())["row"]


def count_copies(frame: pl.LazyFrame, columns: Sequence[str]) -> int:
    """How many rows repeat another one in all of `columns`; the first of each is not counted."""
    found = suspects(frame, columns).select(columns)
    return found.height - found.n_unique()
