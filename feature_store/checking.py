"""One table against its contract: typed rows that hold, and rows set aside with their reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dataframely as dy
import polars as pl

from feature_store.casting import NO_ZONE, Cast, cast, text
from feature_store.config import ShopConfig
from feature_store.contracts import CONTRACTS, MOMENTS, REQUIRED, contract_columns, reason_of
from feature_store.faults import no_rows, readable
from feature_store.joins import same_rows
from feature_store.readers import GIVEN, ROW, RawTable
from recsys.errors import ShopError

QUARANTINE = pl.Schema({"table": pl.String, "row": pl.Int64, "reason": pl.String, "values": pl.String})


@dataclass(frozen=True)
class TypedTable:
    """A table with the contract's columns and types; rows that do not hold are still inside.

    Attributes:
        raw: where it comes from.
        frame: row, the contract's columns, `problem` and `rest`.
        rows: how many rows the file has.
        later: how many of them were left out, as later than an instant.
        absent: the contract's columns that the file lacks; they are null.
        unknown: the columns outside the contract.
        nans: by column that has any, how many values are NaN, which count as missing.
    """

    raw: RawTable
    frame: pl.LazyFrame
    rows: int
    later: int
    absent: tuple[str, ...]
    unknown: tuple[str, ...]
    nans: Mapping[str, int]


@dataclass(frozen=True)
class CheckedTable:
    """A table after its contract.

    Attributes:
        raw: where it comes from.
        frame: the rows that hold: row, the contract's columns and `rest`.
        rows: how many rows the file has.
        later: how many of them were left out, as later than an instant.
        absent: the contract's columns that the file lacks; they are null.
        unknown: the columns outside the contract.
        nans: by column that has any, how many values are NaN, which count as missing.
        quarantine: table, row, reason and values of the rows set aside.
    """

    raw: RawTable
    frame: pl.LazyFrame
    rows: int
    later: int
    absent: tuple[str, ...]
    unknown: tuple[str, ...]
    nans: Mapping[str, int]
    quarantine: pl.DataFrame

    @property
    def known(self) -> int:
        """How many rows of the file were not left out as later; those set aside are among them."""
        return self.rows - self.later

    @property
    def held(self) -> int:
        """How many rows hold."""
        return self.known - self.quarantine.height

    def reasons(self) -> dict[str, int]:
        """How many rows were set aside for each reason, most frequent first."""
        counts = self.quarantine.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
        return dict(counts.iter_rows())


def type_table(raw: RawTable, *, config: ShopConfig, as_of: datetime | None = None) -> TypedTable:
    """Give a table the contract's columns and types.

    Args:
        raw: the table.
        config: the shop's.
        as_of: what happened or was known later is left out, before anything else is asked of the rows.

    Raises:
        ShopError: a required column is missing, the table is empty, or a column as a whole has another type.
    """
    source = rename(raw, config.columns.get(raw.name, {}))  # type: ignore[call-overload]
    if raw.name == "events" and config.event_types:
        source = our_event_types(source, config)
    stored = {name: dtype for name, dtype in source.collect_schema().items() if name != "row"}
    wanted = contract_columns(raw.name)
    if missing := [name for name in REQUIRED[raw.name] if name not in stored]:
        raise ShopError(
            f"{raw.place} has no column {' and '.join(missing)}",
            expected=f"the columns {', '.join(REQUIRED[raw.name])} (found {', '.join(stored) or 'none'})",
            action=f'add it, or name yours in shop.toml: [columns.{raw.name}] {missing[0]} = "..." '
            f"(recsys doctor {raw.place.parent} --suggest-config guesses)",
        )
    order = config.timestamps == "order"
    casts = {
        name: cast(name, stored=stored[name], wanted=dtype, timezone=config.timezone, order=order)
        for name, dtype in wanted.items()
        if name in stored
    }
    known = source if as_of is None else source.filter(~later(casts, MOMENTS.get(raw.name, ()), as_of))
    left, nans = probe(raw, known, stored, casts)
    rows = left if known is source else count_rows(raw, source)
    if not rows:
        raise no_rows(raw.place)
    unknown = tuple(name for name in stored if name not in wanted)
    frame = known.select(
        "row",
        *(casts[name].value if name in casts else pl.lit(None, dtype=wanted[name]).alias(name) for name in wanted),
        pl.coalesce(*(one.problem for one in casts.values())).alias("problem"),
        rest(unknown, stored),
    )
    absent = tuple(name for name in wanted if name not in casts)
    return TypedTable(raw=raw, frame=frame, rows=rows, later=rows - left, absent=absent, unknown=unknown, nans=nans)


def later(casts: Mapping[str, Cast], moments: Sequence[str], as_of: datetime) -> pl.Expr:
    """True where a row happened or was known after `as_of`; a moment that is missing or unreadable says nothing."""
    after = [(casts[name].value > as_of).fill_null(value=False) for name in moments if name in casts]
    return pl.any_horizontal(after) if after else pl.lit(value=False)


def count_rows(raw: RawTable, source: pl.LazyFrame) -> int:
    """How many rows a table has."""
    with readable(raw.place):
        return int(source.select(pl.len()).collect(engine="streaming").item())


def rename(raw: RawTable, columns: dict[str, str]) -> pl.LazyFrame:
    """Give the shop's columns the contract's names, as shop.toml says."""
    columns = {ours: GIVEN if theirs == ROW else theirs for ours, theirs in columns.items()}
    for ours, theirs in columns.items():
        if theirs not in raw.columns or (ours in raw.columns and ours != theirs):
            found = "has no column" if theirs not in raw.columns else f"has both {ours} and"
            raise ShopError(
                f"{raw.place} {found} {theirs}",
                expected=f"one column for {ours}, as shop.toml says",
                action=f"correct [columns.{raw.name}] in shop.toml",
            )
    return raw.frame.rename({theirs: ours for ours, theirs in columns.items()})


def our_event_types(source: pl.LazyFrame, config: ShopConfig) -> pl.LazyFrame:
    """Give the shop's event types the contract's names, as shop.toml says."""
    if (dtype := source.collect_schema().get("event_type")) is None:
        return source
    names = {theirs: ours.value for theirs, ours in config.event_types.items()}
    return source.with_columns(text(pl.col("event_type"), dtype).str.strip_chars().replace(names).alias("event_type"))


def rest(unknown: Sequence[str], stored: dict[str, pl.DataType]) -> pl.Expr:
    """The columns outside the contract as one struct of texts: kept, and the same whatever the file's format."""
    if not unknown:
        return pl.lit(None).alias("rest")
    return pl.struct(text(pl.col(name), stored[name]).alias(name) for name in unknown).alias("rest")


def probe(
    raw: RawTable, source: pl.LazyFrame, stored: dict[str, pl.DataType], casts: dict[str, Cast]
) -> tuple[int, dict[str, int]]:
    """Count the rows, and by column the values that are NaN; refuse a table whose columns can't be read at all.

    Raises:
        ShopError: there are rows, and of a column no value fits its type.
    """
    checks = [pl.len().alias("rows")]
    for name, one in casts.items():
        lost = one.problem.is_not_null()
        checks += [
            lost.sum().alias(f"{name} lost"),
            one.nan.sum().alias(f"{name} nan"),
            pl.col(name).is_not_null().sum().alias(f"{name} given"),
            text(pl.col(name), stored[name]).filter(lost).first().alias(f"{name} value"),
            one.problem.filter(lost).first().alias(f"{name} problem"),
        ]
    with readable(raw.place):
        found = source.select(checks).collect(engine="streaming").row(0, named=True)
    for name in casts:
        if 0 < found[f"{name} given"] == found[f"{name} lost"]:
            raise wrong_type(raw, name, value=found[f"{name} value"], problem=found[f"{name} problem"])
    return int(found["rows"]), {name: int(count) for name in casts if (count := found[f"{name} nan"])}


def wrong_type(raw: RawTable, name: str, *, value: str, problem: str) -> ShopError:
    """The error for a column of which no value fits its type."""
    dtype = contract_columns(raw.name)[name]
    if problem.endswith(NO_ZONE):
        return ShopError(
            f"{raw.place}: no {name} has a time zone (first: {value})",
            expected="timestamps in UTC, such as 2026-03-01T12:00:00Z",
            action='store the zone, or say in shop.toml which one is meant: timezone = "UTC"',
        )
    kinds = {pl.Float64: "numbers", pl.Float32: "numbers", pl.Int64: "whole numbers", pl.Boolean: "true or false"}
    kind = kinds.get(dtype.base_type(), "timestamps" if isinstance(dtype, pl.Datetime) else str(dtype))
    if isinstance(dtype, pl.Enum):
        kind = f"one of {', '.join(dtype.categories)}"
    return ShopError(
        f"{raw.place}: no value of {name} can be read (first: {value})",
        expected=kind,
        action="correct the column, or name the right one in shop.toml",
    )


def check_table(typed: TypedTable, *, staging: Path) -> CheckedTable:
    """Part the rows that hold from those that do not; both are written below `staging`, never held as a whole.

    Raises:
        SnapshotError: a join on the way gave or lost rows.
    """
    raw = typed.raw
    held, broken = staging / f"{raw.name}.parquet", staging / f"{raw.name}.broken.parquet"
    parted = CONTRACTS[raw.name].filter(typed.frame)
    with readable(raw.place):
        parted.result.drop("problem").sink_parquet(held, compression="lz4")
        parted.failure.sink_parquet(broken)
        failed = dy.FailureInfo.read_parquet(broken).details()
        quarantine = set_aside(raw, failed.select("row", reason(raw.name, failed.columns).alias("reason")))
        kept = pl.scan_parquet(held)
        found = kept.select(pl.len()).collect(engine="streaming").item() + quarantine.height
    same_rows(found, typed.rows - typed.later, of=f"rows of {raw.name}")
    return CheckedTable(
        raw=raw,
        frame=kept,
        rows=typed.rows,
        later=typed.later,
        absent=typed.absent,
        unknown=typed.unknown,
        nans=typed.nans,
        quarantine=quarantine,
    )


def reason(table: str, columns: Sequence[str]) -> pl.Expr:
    """Why a row was set aside: what stands in `problem`, else the first rule that it breaks."""
    rules = [name for name in columns if name not in CONTRACTS[table].column_names() and name != "checked"]
    broken = (pl.when(pl.col(rule) == "invalid").then(pl.lit(reason_of(rule))) for rule in rules)
    return pl.coalesce(pl.col("problem"), *broken, pl.lit("breaks the contract"))


def set_aside(raw: RawTable, reasons: pl.DataFrame) -> pl.DataFrame:
    """The quarantine's rows for some row numbers and reasons, with the values as they stand in the file."""
    if reasons.is_empty():
        return pl.DataFrame(schema=QUARANTINE)
    values = pl.struct(text(pl.col(name), dtype).alias(name) for name, dtype in raw.columns.items())
    rows = raw.frame.join(reasons.lazy(), on="row", how="inner", maintain_order="none")
    return (
        rows.select(pl.lit(raw.name).alias("table"), "row", "reason", values.struct.json_encode().alias("values"))
        .sort("row")
        .cast(QUARANTINE)
        .collect(engine="streaming")
    )
