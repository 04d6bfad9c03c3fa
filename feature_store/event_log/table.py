"""The events table of a shop with a log: its own files, if it has any, and behind them the log's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from feature_store.casting import text
from feature_store.event_log.parts import FOLDER, part_files
from feature_store.faults import readable
from feature_store.forgetting.marks import NOBODY, Forgotten
from feature_store.forgetting.rows import HIDDEN, USER, hidden
from feature_store.readers import GIVEN, ROW, RawTable


def with_log(
    own: RawTable | None, shop: Path, *, columns: Mapping[str, str], forgotten: Forgotten = NOBODY
) -> RawTable | None:
    """The shop's events and what its log has taken; None where there are neither.

    Rows are numbered on, from the shop's own to the log's. The log's columns take the shop's names, and where types
    differ both become text, which the contract reads as one.

    Args:
        own: the shop's own table.
        shop: the shop folder.
        columns: the shop's name of a column by ours, as shop.toml says.
        forgotten: whose rows of the log the column HIDDEN names, beside those that it names already.

    Raises:
        ShopError: a file of the log can't be read.
    """
    files = part_files(shop)
    if not files:
        return own
    place = shop / FOLDER
    with readable(place):
        schema: dict[str, pl.DataType] = {}
        for file in files:
            schema |= pl.read_parquet_schema(file)
        logged = pl.scan_parquet(list(files), schema=schema, missing_columns="insert", hive_partitioning=False)
    if forgotten:
        logged = logged.with_columns(hidden(forgotten, pl.col(USER), moment=pl.col("timestamp")).alias(HIDDEN))
    names = {ours: GIVEN if theirs == ROW else theirs for ours, theirs in columns.items()}
    logged = logged.rename(names, strict=False)
    kinds = {names.get(name, name): kind for name, kind in schema.items()}
    if own is None:
        frame = numbered(logged)
        return RawTable("events", place, files, "Parquet", frame, kinds)
    both = own.columns | {name: kind for name, kind in kinds.items() if name not in own.columns}
    differ = {name for name, kind in kinds.items() if name in own.columns and own.columns[name] != kind}
    frame = pl.concat(
        [as_text(own.frame.drop(ROW), own.columns, differ), as_text(logged, kinds, differ)], how="diagonal"
    )
    both |= {name: pl.String() for name in differ}
    return replace(own, files=(*own.files, *files), frame=numbered(frame), columns=both)


def as_text(frame: pl.LazyFrame, kinds: Mapping[str, pl.DataType], names: set[str]) -> pl.LazyFrame:
    """The frame with some of its columns as text; instants as ISO 8601, with their zone where they have one."""
    return frame.with_columns(
        pl.col(name).dt.to_string("iso:strict")
        if isinstance(kinds[name], pl.Datetime)
        else text(pl.col(name), kinds[name])
        for name in names
    )


def numbered(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with the column `row`, from 1."""
    return frame.with_row_index(ROW, offset=1).with_columns(pl.col(ROW).cast(pl.Int64))
