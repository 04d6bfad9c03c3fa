"""A whole shop folder against the input contract."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from feature_store.checking import CheckedTable, TypedTable, check_table, set_aside, type_table
from feature_store.config import ShopConfig, load_config
from feature_store.contracts import MOMENTS, contract_columns
from feature_store.duplicates import count_copies, spare_rows
from feature_store.event_log.table import with_log
from feature_store.forgetting.opening import names_of, open_people
from feature_store.forgetting.rows import USER, flagged, remaining, told
from feature_store.manifest import Source
from feature_store.masked import masked
from feature_store.readers import RawTable, open_table
from recsys.errors import ShopError, UsageError
from recsys.logs import progress
from recsys.settings import Settings, load_settings

CLOCK_SKEW = timedelta(days=1)
TABLES = ("products", "users", "queries", "events", "judgments")
KEYS = {"products": ["product_id", "valid_from"], "users": ["user_id"], "queries": ["query_id"], "events": ["event_id"]}


@dataclass(frozen=True)
class CleanShop:
    """A shop whose rows all hold; what did not is in the quarantine.

    Attributes:
        folder: the shop folder.
        config: its shop.toml.
        tables: the tables that the shop has, by name.
        as_of: nothing known later is inside; None where nothing was cut.
        watermark: the newest event; None without a calendar or without events.
        max_grade: the best grade; 0.0 without judgments.
        counts: what was noticed and let through, by name.
    """

    folder: Path
    config: ShopConfig
    tables: dict[str, CheckedTable]
    as_of: datetime | None
    watermark: datetime | None
    max_grade: float
    counts: dict[str, int]

    def quarantine(self) -> pl.DataFrame:
        """All rows set aside: table, row, reason, values as they stand in the file (JSON)."""
        return pl.concat(table.quarantine for table in self.tables.values())

    def sources(self) -> dict[str, Source]:
        """The files that were read."""
        return {
            name: Source(path=table.raw.place.name, sha256=table.raw.sha256(), rows=table.rows)
            for name, table in self.tables.items()
        }


def clean_shop(
    shop: Path,
    *,
    staging: Path,
    as_of: datetime | None = None,
    now: datetime | None = None,
    settings: Settings | None = None,
) -> CleanShop:
    """Check every table of a shop.

    What is later than `as_of` is left out before anything is asked of the rows: which of two rows with one id stays,
    and which product an event may name, is decided among those that were known, and so comes out the same whatever is
    known later.

    Args:
        shop: the shop folder.
        staging: a folder for the checked rows; the tables read from it, so it has to stay as long as they are used.
        as_of: leave out what happened or was known later.
        now: the clock against which a timestamp is "in the future" (one day of grace for clocks that go ahead).
        settings: where the key stands with which a shop's user ids are masked; the environment's by default.

    Raises:
        ShopError: a table is missing, unreadable, empty or breaks its contract as a whole.
        UsageError: there is no such folder, or `as_of` is given for a shop without calendar.
    """
    config = load_config(shop)
    if as_of is not None and config.timestamps == "order":
        raise UsageError(
            "--as-of", expected="a shop with a calendar", action="leave it out: this shop's timestamps only order"
        )
    limit = None if config.timestamps == "order" else (now or datetime.now(UTC)) + CLOCK_SKEW
    tables: dict[str, CheckedTable] = {}
    found, gone = open_tables(shop, config, settings=settings or load_settings())
    for raw in progress(found, label="Checking the tables", total=len(found)):
        typed = type_table(raw, config=config, as_of=as_of)
        typed = with_problems(typed, known=tables, config=config, future=limit)
        checked = check_table(typed, staging=staging)
        tables[raw.name] = enough(without_spares(checked), config=config)
    counts = notice(tables) | told(gone)
    if as_of is not None:
        counts |= {f"{name}_after_as_of": table.later for name, table in tables.items() if name in MOMENTS}
    watermark = newest(tables) if config.timestamps == "calendar" else None
    return CleanShop(shop, config, tables, as_of, watermark, best_grade(tables, config), counts)


def open_tables(shop: Path, config: ShopConfig, *, settings: Settings) -> tuple[list[RawTable], dict[str, int]]:
    """The tables of the shop, those first to which others refer; and by table how many rows forgotten users had.

    Those are left out, and users are called as the shop says.
    """
    forgotten = open_people(settings, shop=config.name).forgotten()
    names = names_of(settings, shop=config.name, privacy=config.privacy)
    found, gone = [], {}
    for name in TABLES:
        columns = config.columns.get(name, {})  # type: ignore[call-overload]
        raw = open_table(shop, name)
        if raw is not None:
            raw = flagged(raw, forgotten, config=config)
        if raw is not None and names is not None:
            raw = masked(raw, names.knowing(forgotten), column=columns.get(USER, USER))
        if name == "events":
            raw = with_log(raw, shop, columns=columns, forgotten=forgotten)
        left = remaining(raw)
        gone[name] = left.hidden
        if left.raw is not None:
            found.append(left.raw)
    present = {raw.name for raw in found}
    if "products" not in present:
        raise ShopError(
            f"{shop} has no table products",
            expected="products.parquet, products.csv or products.jsonl",
            action="add it: columns product_id and title are enough",
        )
    if "judgments" in present and "queries" not in present:
        raise ShopError(
            f"{shop} has judgments but no table queries",
            expected="queries.parquet, queries.csv or queries.jsonl with query_id and query",
            action="add the texts of the queries",
        )
    return found, gone


def with_problems(
    typed: TypedTable, *, known: dict[str, CheckedTable], config: ShopConfig, future: datetime | None
) -> TypedTable:
    """Add what can only be seen where tables meet: unknown products and queries, the future, grades above the scale."""
    frame, problems = typed.frame, [pl.col("problem")]
    name = typed.raw.name
    if name in ("events", "judgments"):
        frame = mark(frame, known["products"].frame, "product_id")
        problems.append(
            pl.when(pl.col("product_id").is_not_null() & pl.col("known product_id").is_null()).then(
                pl.lit("product unknown")
            )
        )
    if name == "judgments":
        frame = mark(frame, known["queries"].frame, "query_id")
        problems.append(
            pl.when(pl.col("query_id").is_not_null() & pl.col("known query_id").is_null()).then(pl.lit("query unknown"))
        )
        if (best := config.judgments.max_grade) is not None:
            problems.append(pl.when(pl.col("grade") > best).then(pl.lit(f"grade above {best:g}")))
    if name == "events" and future is not None:
        problems.append(pl.when(pl.col("timestamp") > future).then(pl.lit("timestamp in the future")))
    return replace(typed, frame=frame.with_columns(pl.coalesce(problems).alias("problem")))


def mark(frame: pl.LazyFrame, known: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Add `known COLUMN`: true where the value stands in the other table, else null."""
    ids = known.select(pl.col(column).unique()).with_columns(pl.lit(value=True).alias(f"known {column}"))
    return frame.join(ids, on=column, how="left", maintain_order="left")


def without_spares(checked: CheckedTable) -> CheckedTable:
    """Set aside the rows whose id stands twice, all but one; which one stays depends on content alone.

    Of a product's rows the newest known one stays: it corrects those before. Of an event's the one known first does: an
    event that was counted once is not counted otherwise later.
    """
    name = checked.raw.name
    if name not in KEYS or KEYS[name][0] not in checked.frame.collect_schema():
        return checked
    newest = ["known_at"] if name == "products" else []
    oldest = [pl.max_horizontal(MOMENTS[name])] if name == "events" else []
    spare = spare_rows(checked.frame, key=KEYS[name], first=[*oldest, *contract_columns(name)], last=newest)
    if spare.is_empty():
        return checked
    reasons = pl.DataFrame({"row": spare}).with_columns(reason=pl.lit(f"{KEYS[name][0]} twice"))
    return replace(
        checked,
        frame=checked.frame.join(reasons.lazy().select("row"), on="row", how="anti", maintain_order="left"),
        quarantine=pl.concat([checked.quarantine, set_aside(checked.raw, reasons)]),
    )


def enough(checked: CheckedTable, *, config: ShopConfig) -> CheckedTable:
    """Refuse a table of which too large a share was set aside."""
    lost = checked.quarantine.height
    if not lost or (lost < checked.known and lost <= config.quarantine.max_share * checked.known):
        return checked
    reasons = ", ".join(f"{count} x {reason}" for reason, count in checked.reasons().items())
    raise ShopError(
        f"{checked.raw.place}: {lost} of {checked.known} rows break the contract ({reasons})",
        expected=f"at most {config.quarantine.max_share:.0%} (quarantine.max_share in shop.toml)",
        action="correct the table; `recsys validate` lists the rows of a table that holds",
    )


def notice(tables: dict[str, CheckedTable]) -> dict[str, int]:
    """What is odd and yet let through: NaN in any table, taken as missing, and about the events what else there is."""
    nans = {f"{name}_{column}_nan": count for name, one in tables.items() for column, count in one.nans.items()}
    if "events" not in tables:
        return nans
    events = tables["events"].frame
    without_id = events.filter(pl.col("event_id").is_null())
    columns = [name for name in events.collect_schema().names() if name != "row"]
    return nans | {
        "events_exact_duplicates": count_copies(without_id, columns),
        "events_without_user": int(events.select(pl.col("user_id").is_null().sum()).collect(engine="streaming").item()),
    }


def newest(tables: dict[str, CheckedTable]) -> datetime | None:
    """The time of the newest event."""
    if "events" not in tables:
        return None
    value: datetime | None = tables["events"].frame.select(pl.col("timestamp").max()).collect(engine="streaming").item()
    return value


def best_grade(tables: dict[str, CheckedTable], config: ShopConfig) -> float:
    """The shop's best grade: as shop.toml says, else the highest one found."""
    if "judgments" not in tables:
        return 0.0
    highest = tables["judgments"].frame.select(pl.col("grade").max()).collect().item()
    return float(config.judgments.max_grade or highest or 0.0)
