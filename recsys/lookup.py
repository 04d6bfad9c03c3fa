"""Where ids stand in a sorted column."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys.types import Positions

FEW = 1000


def find_sorted(ids: pl.Series, asked: Sequence[str] | pl.Series) -> Positions:
    """int64 [asked]: the row of each id, -1 where it is not there.

    Args:
        ids: String, sorted, each once.
        asked: the ids to find; null is found nowhere.

    A few ids are searched by bisection, many by one hash join.
    """
    wanted = pl.Series("id", asked, dtype=pl.String)
    if not len(wanted) or not len(ids):
        return np.full(len(wanted), -1, dtype=np.int64)
    if len(wanted) < FEW:
        row = ids.search_sorted(wanted).cast(pl.Int64).clip(0, len(ids) - 1)
        same = ids.gather(row) == wanted
        return np.where(same.fill_null(value=False).to_numpy(), row.to_numpy(), -1).astype(np.int64)
    known = ids.alias("id").to_frame().with_row_index("row")
    found = wanted.to_frame().join(known, on="id", how="left", maintain_order="left")
    return found["row"].cast(pl.Int64).fill_null(-1).to_numpy().astype(np.int64)
