"""From a column as the shop stores it to the type of the contract; what does not fit is reported, never guessed."""

from dataclasses import dataclass

import polars as pl

STAMP = r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(Z|z|UTC|[+-]\d{2}:?\d{2})?)?\s*$"
YES = ["true", "t", "yes", "y", "1"]
NO = ["false", "f", "no", "n", "0"]
NO_ZONE = "without time zone"
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31 in days since 1970: what lies outside, neither Python nor a database can hold."""
UNITS_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


@dataclass(frozen=True)
class Cast:
    """How one column is read.

    Attributes:
        value: the value in the contract's type, null where it is missing or does not fit.
        problem: the reason as text where a value is there and does not fit, else null.
        nan: true where the value is NaN, which counts as missing.
    """

    value: pl.Expr
    problem: pl.Expr
    nan: pl.Expr


def cast(name: str, *, stored: pl.DataType, wanted: pl.DataType, timezone: str | None, order: bool) -> Cast:
    """Read the column `name`.

    Args:
        name: the column.
        stored: its type in the shop's file.
        wanted: its type in the contract.
        timezone: the zone of timestamps that have none.
        order: True where a timestamp may be a plain number that only orders.
    """
    nan = not_a_number(pl.col(name), stored, wanted)
    raw = pl.when(~nan).then(blank_as_null(pl.col(name), stored))
    if isinstance(wanted, pl.Datetime):
        value = instant(raw, stored, timezone=timezone, order=order)
    elif wanted == pl.String:
        value = text(raw, stored)
    elif wanted == pl.Boolean:
        value = truth(raw, stored)
    elif isinstance(wanted, pl.List):
        value = vector(raw, stored, wanted)
    elif isinstance(wanted, pl.Enum):
        value = text(raw, stored).str.strip_chars().cast(wanted, strict=False)
    else:
        value = number(raw, stored, wanted)
    lost = raw.is_not_null() & value.is_null()
    reason = zone_reason(raw, stored) if isinstance(wanted, pl.Datetime) else pl.lit("unreadable")
    return Cast(value.alias(name), pl.when(lost).then(pl.lit(f"{name} ") + reason), nan)


def blank_as_null(raw: pl.Expr, stored: pl.DataType) -> pl.Expr:
    """Empty text means missing."""
    return raw.replace("", None) if stored == pl.String else raw


def not_a_number(raw: pl.Expr, stored: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """True where the file holds NaN, or the word for it where a number belongs; never null.

    Many tools store a missing number so. The row is kept, the same in every format, and the value counted.
    """
    if stored == pl.String and wanted.is_numeric():
        return raw.str.strip_chars().cast(pl.Float64, strict=False).is_nan().fill_null(value=False)
    return raw.is_nan().fill_null(value=False) if stored.is_float() else pl.lit(value=False)


def text(raw: pl.Expr, stored: pl.DataType) -> pl.Expr:
    """Text; whole floats as whole numbers (an id column with gaps often comes out of pandas as 17850.0)."""
    if isinstance(stored, pl.Struct):
        return raw.struct.json_encode()
    if isinstance(stored, pl.List | pl.Array):
        return pl.struct(raw.alias("list")).struct.json_encode().str.slice(8).str.head(-1)
    if stored.is_float():
        whole = raw.is_finite() & (raw == raw.round())
        return pl.when(whole).then(raw.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(raw.cast(pl.String))
    if isinstance(stored, pl.Datetime | pl.Date):
        return pl.coalesce(on_calendar(raw, stored).cast(pl.String), raw.to_physical().cast(pl.String))
    return raw if stored == pl.String else raw.cast(pl.String, strict=False)


def number(raw: pl.Expr, stored: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A number; a float32 is read as its shortest decimal, so that 2.55 stays 2.55 in every format."""
    if stored == pl.String:
        value = raw.str.strip_chars().cast(pl.Float64, strict=False)
    elif stored == pl.Float32 and wanted == pl.Float64:
        value = raw.cast(pl.String).cast(pl.Float64)
    elif stored.is_numeric():
        value = raw.cast(pl.Float64, strict=False)
    else:
        return pl.lit(None, dtype=wanted)
    if wanted.is_integer():
        return pl.when(value == value.round()).then(value).cast(wanted, strict=False)
    return pl.when(value.is_finite()).then(value).cast(wanted, strict=False)


def vector(raw: pl.Expr, stored: pl.DataType, wanted: pl.List) -> pl.Expr:
    """A list of numbers; as text it is a JSON array."""
    if isinstance(stored, pl.List | pl.Array):
        return raw.cast(wanted, strict=False)
    if stored != pl.String:
        return pl.lit(None, dtype=wanted)
    inner = raw.str.extract(r"^\s*\[(.*)\]\s*$")
    numbers = inner.str.split(",").list.eval(pl.element().str.strip_chars()).cast(wanted, strict=False)
    return pl.when(inner.str.strip_chars() == "").then(pl.lit([], dtype=wanted)).otherwise(numbers)


def truth(raw: pl.Expr, stored: pl.DataType) -> pl.Expr:
    """True or false out of booleans, 0 and 1, and the usual words."""
    if stored == pl.Boolean:
        return raw
    word = text(raw, stored).str.strip_chars().str.to_lowercase()
    return pl.when(word.is_in(YES)).then(pl.lit(value=True)).when(word.is_in(NO)).then(pl.lit(value=False))


def instant(raw: pl.Expr, stored: pl.DataType, *, timezone: str | None, order: bool) -> pl.Expr:
    """An instant in UTC; a naive one only with the shop's zone, a plain number only where it orders."""
    if isinstance(stored, pl.Datetime | pl.Date):
        raw = on_calendar(raw, stored)
    if isinstance(stored, pl.Datetime):
        return with_zone(raw.cast(pl.Datetime("us", stored.time_zone)), stored.time_zone, timezone=timezone)
    if stored == pl.Date:
        return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if order and (stored.is_integer() or stored.is_float()):
        return raw.cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))
    if stored != pl.String:
        return pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    return written_instant(raw, timezone=timezone, order=order)


def written_instant(raw: pl.Expr, *, timezone: str | None, order: bool) -> pl.Expr:
    """ISO 8601 text as an instant in UTC; a date alone is its first moment, as it is where a file stores dates."""
    parts = raw.str.extract_groups(STAMP)
    day, clock = parts.struct.field("1"), parts.struct.field("2")
    zone = parts.struct.field("3").replace(["Z", "z", "UTC"], ["+00:00"] * 3)
    zone = pl.when(clock.is_null()).then(pl.lit("+00:00")).otherwise(zone)
    clock = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock.fill_null("00:00:00"))
    local = day + pl.lit("T") + clock
    value = (local + pl.lit(" ") + zone).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f %z", strict=False, time_unit="us")
    if timezone is not None:
        naive = (
            pl.when(zone.is_null()).then(local).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")
        )
        value = value.fill_null(with_zone(naive, None, timezone=timezone))
    value = on_calendar(value, pl.Datetime("us", "UTC"))
    if order:
        ordinal = raw.str.strip_chars().cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))
        value = value.fill_null(ordinal)
    return value


def on_calendar(raw: pl.Expr, stored: pl.Datetime | pl.Date) -> pl.Expr:
    """A day or an instant where it lies in the years 1 to 9999, else null."""
    units = UNITS_A_DAY[stored.time_unit] if isinstance(stored, pl.Datetime) else 1
    return pl.when((raw.to_physical() // units).is_between(FIRST_DAY, LAST_DAY)).then(raw)


def with_zone(naive: pl.Expr, zone: str | None, *, timezone: str | None) -> pl.Expr:
    """UTC by the timestamp's own zone, else the shop's; an hour that stands twice or never is no instant."""
    if zone is not None:
        return naive.dt.convert_time_zone("UTC")
    if timezone is None:
        return pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    return naive.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def zone_reason(raw: pl.Expr, stored: pl.DataType) -> pl.Expr:
    """Why a timestamp was not read: it lacks a zone, or it is none at all."""
    if isinstance(stored, pl.Datetime):
        return pl.lit(NO_ZONE)
    if stored != pl.String:
        return pl.lit("unreadable")
    parts = raw.str.extract_groups(STAMP)
    naive = parts.struct.field("2").is_not_null() & parts.struct.field("3").is_null()
    return pl.when(naive).then(pl.lit(NO_ZONE)).otherwise(pl.lit("unreadable"))
