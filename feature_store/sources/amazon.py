"""What the three editions of Amazon's reviews have in common: a review stands for a purchase on its day.

A review is written some days after the purchase that it stands for, and most purchases have none; `value` is the rating
from 1 to 5, which weighs nothing by itself. Texts of reviews are left out.
"""

import html
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

PRODUCT = {
    "product_id": pl.String(),
    "title": pl.String(),
    "description": pl.String(),
    "brand": pl.String(),
    "category": pl.String(),
    "price": pl.Float64(),
    "image_url": pl.String(),
    "attributes": pl.String(),
    "rating": pl.Float64(),
    "rating_count": pl.Int64(),
    "unreadable_line": pl.String(),
}
"""Fields of a product; a line that is no record keeps its first KEPT characters in `unreadable_line`."""
KEPT = 500
LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""Halves of a character that JSON can write and no text can hold."""
NOTE = "each review stands for a purchase on its day; `value` is its rating; texts of reviews are left out"


def unreadable(line: str) -> dict[str, Any]:
    """What stands for a line that is no record: no id, so that the contract sets it aside, with the text to see."""
    return {"unreadable_line": line[:KEPT]}


def record(line: str, *readers: Callable[[str], Any]) -> dict[str, Any] | None:
    """A line as a mapping by the first reader that makes one of it, JSON where none is named; None where none does."""
    for read in readers or (json.loads,):
        try:
            found = read(line)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            return found
    return None


def whole(text: str) -> str:
    """Text that can be stored: a half of a character becomes the replacement character."""
    return LONE_SURROGATES.sub("\ufffd", text)


def plain(text: Any) -> str | None:
    """Text without HTML entities; None for what is no text or blank."""
    cleaned = whole(html.unescape(text)).strip() if isinstance(text, str) else ""
    return cleaned or None


def identity(value: Any) -> str | None:
    """An id as text; None for what can't be one."""
    return plain(str(value) if type(value) is int else value)


def as_list(value: Any) -> list[Any]:
    """A list as it is, one text as a list of it, anything else as an empty one."""
    return value if isinstance(value, list) else [value] if isinstance(value, str) and value else []


def count(value: Any) -> int | None:
    """A whole number that 64 bits hold; None for what is none."""
    number = single_price(value)
    return int(number) if number is not None and number < 2**63 and number.is_integer() else None


def joined(parts: Any, *, by: str) -> str | None:
    """A list of texts as one; one text as it is."""
    if isinstance(parts, str):
        return plain(parts)
    if not isinstance(parts, Iterable):
        return None
    return by.join(text for part in parts if (text := plain(part))) or None


def single_price(price: Any) -> float | None:
    """`$1,234.50` or 1234.5 as a number; None for a range of prices and whatever else stands there."""
    if isinstance(price, str):
        price = price.strip().removeprefix("$").replace(",", "")
    try:
        value = float(price)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if 0 <= value < float("inf") else None


def as_json(attributes: Any) -> str | None:
    """A mapping of plain values as a JSON object; nested values are left out, None where nothing is left."""
    if not isinstance(attributes, dict):
        return None
    kept = {
        str(name): value for name, value in attributes.items() if isinstance(value, str | int | float) and value != ""
    }
    return whole(json.dumps(kept, ensure_ascii=False)) if kept else None


def purchase(*columns: pl.Expr) -> list[pl.Expr]:
    """The columns of an event, with its type."""
    return [*columns, pl.lit("purchase").alias("event_type")]
