"""Rows and records by entity, in partitions by a stable hash of the entity's key."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Keys:
    """The distinct keys that rows ask for.

    Attributes:
        columns: that name one key.
        frame: these columns, `partition` (uint16) and `code` (int32, from 0 in each partition, in the keys' order).
        partitions: how many there are, a power of two.
    """

    columns: tuple[str, ...]
    frame: pl.DataFrame
    partitions: int

    @property
    def most(self) -> int:
        """How many keys the largest partition holds."""
        return int(self.frame["code"].max() or 0) + 1  # type: ignore[arg-type]


def stable_hash(keys: pl.DataFrame) -> Integers:
    """int64 [keys]: CRC-32 of the UTF-8 text, columns joined by the unit separator; the same on every machine.

    Args:
        keys: text columns without nulls.
    """
    joined = keys.select(pl.concat_str(pl.all(), separator="\x1f")).to_series()
    return np.fromiter((zlib.crc32(text.encode()) for text in joined), dtype=np.int64, count=len(joined))


def distinct_keys(rows: pl.DataFrame, columns: Sequence[str], *, partitions: int) -> Keys:
    """The keys of rows; rows that lack a column have none.

    Args:
        rows: with these columns as text.
        columns: of the entity.
        partitions: a power of two up to 32,768.
    """
    found = rows.lazy().select(columns).drop_nulls().unique().sort(columns).collect()
    parts = pl.Series("partition", stable_hash(found) % partitions, dtype=pl.UInt16)
    code = pl.int_range(pl.len(), dtype=pl.Int32).over("partition").alias("code")
    return Keys(tuple(columns), found.with_columns(parts).with_columns(code), partitions)
