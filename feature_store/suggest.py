"""A starting shop.toml out of a shop's tables: what can be seen is set, what can't be known is said in a comment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from feature_store.casting import on_calendar
from feature_store.config import CONFIG
from feature_store.contracts import REQUIRED
from feature_store.draft import Draft, written
from feature_store.faults import KINDS, readable
from feature_store.guessing import guess_columns, guess_event_types
from feature_store.readers import RawTable, open_table
from feature_store.validate import TABLES
from recsys.errors import ShopError, UsageError
from recsys.settings import NAMELESS
from recsys.storage import write_text

FIRST_YEAR = 1990
"""Timestamps before it are ranks that were written as time: no shop's events are so old."""
FRESH = timedelta(days=7)
ALLOWED_AGE = 3.0
UNITS = {1e11: "seconds", 1e14: "milliseconds", 1e17: "microseconds", float("inf"): "nanoseconds"}
"""The unit of an instant by what its number lies below: each holds the years 1973 to 5138."""
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "JPY", "CNY", "INR", "BRL", "CAD", "AUD")


@dataclass(frozen=True)
class Known:
    """What is known beforehand, and wins over what is seen.

    Attributes:
        name: of the shop.
        currency: of all prices.
        timestamps: "calendar" or "order".
        max_grade: the best grade.
        comments: lines that stand above everything else.
    """

    name: str | None = None
    currency: str | None = None
    timestamps: str | None = None
    max_grade: float | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suggestion:
    """A starting shop.toml.

    Attributes:
        text: the file.
        open_points: what a person has to look at, which also stand in the text as comments.
    """

    text: str
    open_points: tuple[str, ...]


def suggest(shop: Path, *, known: Known | None = None) -> Suggestion:
    """Look at a folder's tables, whose headers may be the shop's own.

    Args:
        shop: a folder with at least one file that is called like a table.
        known: what needs no guess.

    Raises:
        UsageError: there is no such folder.
        ShopError: no file is called like a table, or one can't be read.
    """
    if not shop.is_dir():
        raise UsageError(f"{shop} is no folder", expected="a folder with tables", action="check the path")
    tables = [raw for raw in (open_table(shop, name) for name in TABLES) if raw is not None]
    if not tables:
        others = sorted(path.name for path in shop.iterdir() if path.suffix in KINDS)
        raise ShopError(
            f"{shop} has no table (found {', '.join(others[:5]) or 'no data file'})",
            expected=f"files called {', '.join(TABLES)} with one of {', '.join(KINDS)}",
            action="rename your files: the products to products, what shoppers did to events",
        )
    given, draft = known or Known(), Draft()
    for raw in tables:
        with readable(raw.place):
            look_at(raw, draft)
    own = free_of_signs(shop.resolve().name)
    draft.settings = {
        name: value
        for name, value in {
            "name": given.name or ("" if own == NAMELESS else own),
            "currency": given.currency or draft.settings.get("currency"),
            "timestamps": given.timestamps or draft.settings.get("timestamps"),
            "timezone": draft.settings.get("timezone"),
        }.items()
        if value and value != "calendar"
    }
    draft.max_grade = given.max_grade or draft.max_grade
    text = written(draft, comments=given.comments)
    return Suggestion(text=text, open_points=tuple(draft.points))


def write_suggestion(shop: Path) -> tuple[Path, Suggestion]:
    """Write the suggestion as shop.toml, or where one stands, which stays, as shop.suggested.toml beside it."""
    suggestion = suggest(shop)
    file = shop / CONFIG
    target = shop / "shop.suggested.toml" if file.exists() else file
    write_text(target, suggestion.text)
    return target, suggestion


def free_of_signs(name: str) -> str:
    """A folder's name as a shop's: letters, digits, - and _, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64]


def look_at(raw: RawTable, draft: Draft) -> None:
    """Add what one table tells."""
    columns = guess_columns(raw)
    draft.columns[raw.name] = columns
    for name in REQUIRED[raw.name]:
        if name not in raw.columns and name not in columns:
            draft.points.append(f"{raw.place.name}: no column looks like {name} (found {', '.join(raw.columns)})")
    renamed = {ours: columns.get(ours, ours) for ours in ("timestamp", "event_type", "grade", "currency", "price")}
    present = {ours: pl.col(theirs) for ours, theirs in renamed.items() if theirs in raw.columns}
    if raw.name == "events":
        look_at_events(raw, present, draft)
    if raw.name == "judgments" and "grade" in present:
        best = largest(raw, present["grade"])
        draft.max_grade = best if best > 0 else None
    if raw.name == "products" and (code := look_at_currency(raw, present, renamed)):
        draft.settings["currency"] = code


def look_at_events(raw: RawTable, present: Mapping[str, pl.Expr], draft: Draft) -> None:
    """What kinds of event there are, and what their timestamps say."""
    if "event_type" in present:
        kinds = raw.frame.select(
            present["event_type"].cast(pl.String, strict=False).str.strip_chars().unique().head(100)
        )
        names = sorted(name for name in kinds.collect(engine="streaming").to_series().to_list() if name)
        draft.event_types, unknown = guess_event_types(names)
        if unknown:
            draft.points.append(f"{raw.place.name}: event types nobody here knows: {', '.join(unknown[:10])}")
    if "timestamp" in present:
        look_at_time(raw, present["timestamp"], draft)


def look_at_time(raw: RawTable, time: pl.Expr, draft: Draft) -> None:
    """Whether timestamps are a calendar, have a zone, and are recent."""
    dtype = raw.frame.select(time.alias("time")).collect_schema()["time"]
    if isinstance(dtype, pl.Datetime | pl.Date):
        time = on_calendar(time, dtype)
    low, high = raw.frame.select(time.min(), time.max().alias("high")).collect(engine="streaming").row(0)
    if low is None:
        return
    if dtype.is_numeric() or (isinstance(low, str) and re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", low)):
        top = largest(raw, time)
        if top < datetime(FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp():
            draft.settings["timestamps"] = "order"
        else:
            unit = next(name for most, name in UNITS.items() if top < most)
            draft.points.append(
                f"{raw.place.name}: timestamps are numbers, {unit} since 1970 by their size: write them as "
                '2026-03-01T12:00:00Z; or `timestamps = "order"`, if the calendar does not matter'
            )
        return
    if isinstance(high, datetime) and high.year < FIRST_YEAR:
        draft.settings["timestamps"] = "order"
        return
    naive = isinstance(dtype, pl.Datetime) and dtype.time_zone is None
    if naive or (
        isinstance(low, str)
        and re.search(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*$", low)
        and not re.search(r"[+-]\d{2}:\d{2}\s*$", low)
    ):
        draft.settings["timezone"] = "UTC"
        draft.points.append(f"{raw.place.name}: timestamps name no zone; UTC is a guess, put in your own")
    if isinstance(high, datetime):
        newest = high.replace(tzinfo=UTC) if high.tzinfo is None else high
        if timedelta(0) <= datetime.now(UTC) - newest < FRESH:
            draft.max_age_days = ALLOWED_AGE


def largest(raw: RawTable, column: pl.Expr) -> float:
    """The largest number of a column; 0.0 where it holds none."""
    value = column.cast(pl.Float64, strict=False)
    return float(raw.frame.select(value.filter(value.is_finite()).max()).collect(engine="streaming").item() or 0.0)


def look_at_currency(raw: RawTable, present: Mapping[str, pl.Expr], renamed: Mapping[str, str]) -> str | None:
    """The one currency of all products, or the one in the name of the prices' column."""
    if "currency" in present:
        codes = raw.frame.select(present["currency"].cast(pl.String).drop_nulls().unique().head(3))
        found = codes.collect(engine="streaming").to_series().to_list()
        return str(found[0]) if len(found) == 1 else None
    words = set(re.split(r"[^A-Za-z]+", renamed["price"].upper()))
    return next((code for code in CURRENCIES if code in words), None)
