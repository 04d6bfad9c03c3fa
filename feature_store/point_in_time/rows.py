"""The rows that ask for features: a file of keys and instants, with whatever else belongs to them."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from feature_store.casting import NO_ZONE, cast
from feature_store.config import ShopConfig
from feature_store.faults import KINDS, no_rows, readable
from feature_store.joins import same_rows
from feature_store.point_in_time.definitions import DAY
from feature_store.readers import GIVEN, ROW, part_files, scan
from recsys.errors import UsageError
from recsys.text.normalise import normalise

KEYS = ("user_id", "product_id", "query")
TIME = "timestamp"
UTC = pl.Datetime("us", "UTC")
SPELT = "query as asked"


@dataclass(frozen=True)
class Rows:
    """Rows on disk.

    Attributes:
        frame: `timestamp` (UTC), those of KEYS that the file has, as text, and its other columns as they are.
        keys: which of KEYS it has.
        days: by day since 1970 how many rows there are, ascending.
    """

    frame: pl.LazyFrame
    keys: tuple[str, ...]
    days: dict[int, int]

    def read(self, days: list[int]) -> pl.DataFrame:
        """The rows of some days in an order that their content decides: by timestamp, then by the other columns."""
        chosen = self.frame.filter(day_of(pl.col(TIME)).is_in(days)).collect(engine="streaming")
        plain = [name for name, kind in chosen.schema.items() if name != TIME and not kind.is_nested()]
        return chosen.sort(TIME, *plain, maintain_order=True)


def day_of(instant: pl.Expr) -> pl.Expr:
    """int64: the day since 1970 (UTC)."""
    return instant.dt.timestamp("us").floordiv(DAY)


def read_rows(file: Path, *, config: ShopConfig, as_of: datetime | None) -> Rows:
    """Open a file of rows.

    Args:
        file: Parquet, CSV or JSON lines, or a folder of part files.
        config: of the shop, for its time zone.
        as_of: no row may be later.

    Raises:
        UsageError: there is no such file, it has no timestamp, one that can't be read, or one later than `as_of`.
        ShopError: the file can't be read, or is empty.
    """
    if not file.exists() or (file.is_file() and file.suffix not in KINDS):
        raise UsageError(f"--rows {file}", expected=f"a file that ends in {', '.join(KINDS)}", action="name one")
    files = part_files(file)
    with readable(file):
        raw = scan(files, kind=KINDS[files[0].suffix]).drop(ROW).rename({GIVEN: ROW}, strict=False)
        stored = raw.collect_schema()
        if TIME not in stored:
            raise UsageError(
                f"{file} has no column {TIME} (found {', '.join(stored)})",
                expected=f"{TIME} and some of {', '.join(KEYS)}",
                action="add the instant as of which each row asks",
            )
        order = config.timestamps == "order"
        wanted = {TIME: UTC, **{name: pl.String() for name in KEYS if name in stored}}
        casts = {
            name: cast(name, stored=stored[name], wanted=kind, timezone=config.timezone, order=order)
            for name, kind in wanted.items()
        }
        frame = raw.with_columns(one.value for one in casts.values())
        refuse_unread(file, raw.select(casts[TIME].value, problem=casts[TIME].problem), as_of=as_of)
        days = frame.group_by(day=day_of(pl.col(TIME))).len().sort("day").collect(engine="streaming")
    if days.is_empty():
        raise no_rows(file)
    return Rows(frame, tuple(name for name in KEYS if name in stored), dict(days.iter_rows()))


def refuse_unread(file: Path, times: pl.LazyFrame, *, as_of: datetime | None) -> None:
    """Raise UsageError where a row's instant is missing, unreadable or later than what is known."""
    lost = pl.col(TIME).is_null()
    found = (
        times.select(
            lost=lost.sum(),
            zoneless=pl.col("problem").str.ends_with(NO_ZONE).sum(),
            newest=pl.col(TIME).max(),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    if found["lost"]:
        raise UsageError(
            f"{file}: {found['lost']} rows have no {TIME} that can be read ({found['zoneless'] or 0} lack a time zone)",
            expected="instants such as 2026-03-01T12:00:00Z",
            action='correct them, or say in shop.toml which zone is meant: timezone = "UTC"',
        )
    if as_of is not None and found["newest"] > as_of:
        raise UsageError(
            f"{file} asks as of {found['newest'].isoformat()}, later than --as-of {as_of.isoformat()}",
            expected="rows no later than what may be known",
            action="leave these rows out, or give a later --as-of",
        )


def asking(rows: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """What the engine needs of rows: timestamp and keys, queries in one spelling.

    Raises:
        SnapshotError: a join gave or lost rows.
    """
    asked = rows.select(TIME, *keys)
    if "query" not in keys:
        return asked
    texts = asked.select(pl.col("query").drop_nulls().unique())
    spelt = texts.with_columns(pl.col("query").map_elements(normalise, return_dtype=pl.String).alias(SPELT))
    joined = asked.join(spelt, on="query", how="left", maintain_order="left")
    same_rows(joined.height, asked.height, of="rows that ask")
    return joined.with_columns(query=pl.col(SPELT)).drop(SPELT)
