"""Rows of users who were forgotten: told from others by name and moment, counted and left out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from feature_store.casting import blank_as_null, cast, text
from feature_store.config import ShopConfig
from feature_store.event_log.parts import FOLDER
from feature_store.forgetting.marks import Forgotten
from feature_store.readers import RawTable

MOMENTS = {"users": "created_at", "events": "timestamp"}
"""By table of the shop that names users, the column that says when a row's content came about."""
USER = "user_id"
HIDDEN = "\x00hidden"
"""The column of a raw table that says which rows go; null is none."""
INSTANT = pl.Datetime("us", "UTC")


def hidden(forgotten: Forgotten, names: pl.Expr, *, moment: pl.Expr | None) -> pl.Expr:
    """bool [rows], True for rows that tell of a forgotten user's past, never null.

    Args:
        forgotten: the shop's.
        names: String [rows], null for nobody.
        moment: Datetime(us) [rows] of what the rows tell; one that is missing, or None, is before any forgetting.
    """

    def untils(called: pl.Series) -> pl.Series:
        found = forgotten.until(called.drop_nulls().unique())
        known, until = pl.Series([*found], dtype=pl.String), pl.Series([*found.values()], dtype=pl.Int64)
        return called.replace_strict(known, until, default=None, return_dtype=pl.Int64)

    until = names.map_batches(untils, return_dtype=pl.Int64, is_elementwise=True)
    if moment is None:
        return until.is_not_null()
    return until.is_not_null() & (moment.cast(pl.Int64) <= until).fill_null(value=True)


def kept(rows: pl.DataFrame, forgotten: Forgotten) -> pl.DataFrame:
    """Rows of the event log without those of forgotten users."""
    if not forgotten or rows.is_empty():
        return rows
    return rows.filter(~hidden(forgotten, pl.col(USER), moment=pl.col("timestamp")))


def flagged(raw: RawTable, forgotten: Forgotten, *, config: ShopConfig) -> RawTable:
    """A table of the shop's own with the column HIDDEN, where it names users and anybody was forgotten.

    Args:
        raw: the table, user ids plain.
        forgotten: the shop's.
        config: the shop's: names of columns, zone of moments. Where its timestamps only order, nothing tells what came
            after forgetting, and all rows go.
    """
    columns = config.columns.get(raw.name, {})  # type: ignore[call-overload]
    user = columns.get(USER, USER)
    if not forgotten or raw.name not in MOMENTS or user not in raw.columns:
        return raw
    name = columns.get(MOMENTS[raw.name], MOMENTS[raw.name])
    moment = None
    if name in raw.columns and config.timestamps == "calendar":
        stored = raw.columns[name]
        moment = cast(name, stored=stored, wanted=INSTANT, timezone=config.timezone, order=False).value
    ids = blank_as_null(text(pl.col(user), raw.columns[user]), pl.String())
    return replace(raw, frame=raw.frame.with_columns(hidden(forgotten, ids, moment=moment).alias(HIDDEN)))


@dataclass(frozen=True)
class Remaining:
    """What is left of a table.

    Attributes:
        raw: the table without hidden rows; None where none is left.
        hidden: how many rows went.
    """

    raw: RawTable | None
    hidden: int = 0


def remaining(raw: RawTable | None) -> Remaining:
    """Leave out the rows that HIDDEN names; a table of which nothing is left counts as absent."""
    if raw is None or HIDDEN not in raw.frame.collect_schema():
        return Remaining(raw)
    gone = pl.col(HIDDEN).fill_null(value=False)
    counts = raw.frame.select(gone.sum().alias("gone"), pl.len().alias("rows")).collect(engine="streaming")
    lost, rows = counts.row(0)
    if lost == rows and (lost or raw.place.name == FOLDER):  # files of the log may have been emptied before
        return Remaining(None, lost)
    return Remaining(replace(raw, frame=raw.frame.filter(~gone).drop(HIDDEN)), lost)


def told(hidden_rows: Mapping[str, int]) -> dict[str, int]:
    """The counts for people and manifests: those above 0, by a name of their own."""
    return {f"{table}_forgotten": rows for table, rows in hidden_rows.items() if rows}
