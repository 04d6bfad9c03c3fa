"""A shop's own tables with masked user ids: as they are read, so that no snapshot, history or night has the plain ones.

What came through the event log was masked at its door.
"""

from dataclasses import replace

import polars as pl

from feature_store.casting import blank_as_null, text
from feature_store.masking import Mask
from feature_store.readers import RawTable

USER = "user_id"
TABLES = ("users", "events")


def masked(raw: RawTable, mask: Mask, *, column: str = USER) -> RawTable:
    """The table with masked user ids; other tables, and those without such a column, as they are.

    Args:
        raw: a table of the shop.
        mask: the shop's.
        column: what the shop calls the user's id in this table.
    """
    if raw.name not in TABLES or column not in raw.columns:
        return raw

    def hide(ids: pl.Series) -> pl.Series:
        plain = ids.drop_nulls().unique()
        hidden = pl.Series(mask.all(plain.to_list()), dtype=pl.String)
        return ids.replace_strict(plain, hidden, default=None, return_dtype=pl.String)

    kind = raw.columns[column]
    plain = blank_as_null(text(pl.col(column), kind), pl.String())
    frame = raw.frame.with_columns(plain.map_batches(hide, return_dtype=pl.String, is_elementwise=True).alias(column))
    return replace(raw, frame=frame, columns=raw.columns | {column: pl.String()})
