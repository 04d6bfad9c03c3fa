"""Everyone the shop knows: the users table and whoever stands in the events."""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.frames import shaped

log = logging.getLogger(__name__)

TOLD = ("locale", "country")
OWN = "attributes"
LONGEST = 100
"""Characters of an attribute's name or value at most: what is longer is a text."""


def user_frame(users: CheckedTable | None, *, events: CheckedTable | None) -> pl.DataFrame:
    """One row for each user, sorted by id; users known from their events alone have nothing but the id."""
    unknown = users.unknown if users else ()
    told = users.frame if users else pl.LazyFrame(schema={"user_id": pl.String, "rest": pl.Null})
    if events is not None:
        seen = events.frame.select(pl.col("user_id").drop_nulls().unique())
        new = seen.join(told.select("user_id"), on="user_id", how="anti")
        told = pl.concat([told, new], how="diagonal")
    return shaped(told.sort("user_id"), "users", unknown=unknown).collect(engine="streaming")


def user_attributes(users: pl.DataFrame) -> pl.Series:
    """What is known of each user beside the segment, as `recsys.types.Histories` has it.

    Args:
        users: as in a snapshot; columns that are not there say nothing.

    Returns:
        String [users], a JSON object of texts by name: locale, country and, as attributes.NAME, what `attributes` holds
        in its first level; "" where nothing is known. Lists, objects and long texts are left out.
    """
    names = [name for name in (*TOLD, OWN) if name in users.columns]
    if not names:
        return pl.Series("told", [""] * users.height, dtype=pl.String)
    distinct = users.select(names).unique()
    rows = distinct.to_dicts()
    owns = [json_object(row.pop(OWN, None)) for row in rows]
    told = distinct.with_columns(
        pl.Series("told", [written(row, own or {}) for row, own in zip(rows, owns, strict=True)], dtype=pl.String),
        pl.Series("unread", [own is None for own in owns], dtype=pl.Boolean),
    )
    found = users.select(names).join(told, on=names, how="left", nulls_equal=True, maintain_order="left")
    if unread := found["unread"].sum():
        log.warning("users: attributes of %d rows are no JSON object: nothing is read of them", unread)
    return found["told"]


def written(row: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What is known of a user.

    Args:
        row: TOLD, as far as the users table has them.
        own: the shop's own attributes.
    """
    whole = {f"{OWN}.{name}": value for name, value in own.items()} | dict(row)
    short = {name: plain(value) for name, value in sorted(whole.items()) if len(name) <= LONGEST}
    known = {name: value for name, value in short.items() if value}
    return json.dumps(known, separators=(",", ":")) if known else ""


def json_object(text: str | None) -> dict[str, Any] | None:
    """The object in a JSON text, an empty one without a text; None where the text holds something else, or no JSON."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def plain(value: object) -> str:
    """A short text, number or truth value as text; "" for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}" if math.isfinite(value) else ""
    text = str(value).strip() if isinstance(value, str | int) else ""
    return text if len(text) <= LONGEST and text.isprintable() else ""
