"""A shop's own tables with names for user ids: as they are read, so that no snapshot, history or night has the ids.

What came through the event log was named at its door.
"""

from dataclasses import replace

import polars as pl

from feature_store.casting import blank_as_null, text
from feature_store.forgetting.rows import HIDDEN, USER
from feature_store.masking import Names
from feature_store.readers import RawTable

TABLES = ("users", "events")


def masked(raw: RawTable, names: Names, *, column: str = USER) -> RawTable:
    """The table with users' names for their ids; other tables, and those without such a column, as they are.

    Args:
        raw: a table of the shop; rows that HIDDEN names get no name.
        names: the shop's.
        column: what the shop calls the user's id in this table.
    """
    if raw.name not in TABLES or column not in raw.columns:
        return raw

    def hide(ids: pl.Series) -> pl.Series:
        plain = ids.drop_nulls().unique()
        hidden = pl.Series(names.all(plain.to_list()), dtype=pl.String)
        return ids.replace_strict(plain, hidden, default=None, return_dtype=pl.String)

    kind = raw.columns[column]
    plain = blank_as_null(text(pl.col(column), kind), pl.String())
    if HIDDEN in raw.frame.collect_schema():
        plain = pl.when(~pl.col(HIDDEN)).then(plain)
    frame = raw.frame.with_columns(plain.map_batches(hide, return_dtype=pl.String, is_elementwise=True).alias(column))
    return replace(raw, frame=frame, columns=raw.columns | {column: pl.String()})
