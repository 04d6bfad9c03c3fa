"""The shop's columns beside the same columns of the last snapshot.

Of a shop with a calendar whose events went on since the snapshot, the new events are compared with the snapshot's last
days; else all with all. Columns are compared on a sample of rows that depends on their number alone, so that memory is
bounded and the same files give the same figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from feature_store.quality.drift import Drift, Limits, drift_of_categories, drift_of_numbers
from feature_store.quality.volume import Volume, daily_volumes, table_volumes
from feature_store.snapshot import Snapshot
from feature_store.validate import CleanShop

SAMPLE = 200_000
LAST_DAYS = 28
FEWEST_EVENTS = 100
WHOLE_DAY = timedelta(days=1)
KINDS = ("interactions", "impressions", "searches")
"""The snapshot's frames that hold events."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column now and before.

    Attributes:
        table: of the shop.
        column: what is compared: a column, or what is made of it.
        drift: how far it moved; None where one side has no value at all and the other has.
    """

    table: str
    column: str
    drift: Drift | None


@dataclass(frozen=True)
class Comparison:
    """A shop beside its last snapshot.

    Attributes:
        snapshot: its id.
        since: the snapshot's newest event; None without a calendar.
        columns: every column that both have.
        volumes: rows by table, events a day by kind.
        left_out: what was not compared, with the reason.
    """

    snapshot: str
    since: datetime | None
    columns: tuple[ColumnDrift, ...]
    volumes: tuple[Volume, ...]
    left_out: dict[str, str]


Columns = dict[str, pl.Expr]


def compare(clean: CleanShop, snapshot: Snapshot, *, limits: Limits) -> Comparison:
    """Compare a checked shop, whose frames still stand, with a snapshot of it."""
    found: list[ColumnDrift] = []
    for table, frame, numbers, categories in SIDES:
        if table in clean.tables:
            before = scan(snapshot, frame)
            now = clean.tables[table].frame
            if table == "products":
                now = now.with_columns(pl.col("currency").fill_null(pl.lit(clean.config.currency, dtype=pl.String)))
            found += moved(table, before, now, numbers=numbers, categories=categories, limits=limits)
    volumes = table_volumes(clean.tables, clean.counts, last=snapshot.manifest)
    left_out: dict[str, str] = {}
    if "events" in clean.tables:
        columns, daily, why = compare_events(clean, snapshot, limits=limits)
        found, volumes = found + columns, volumes + daily
        left_out |= {"events": why} if why else {}
    manifest = snapshot.manifest
    return Comparison(manifest.snapshot_id, manifest.watermark, tuple(found), tuple(volumes), left_out)


def length(column: str) -> pl.Expr:
    """Characters of a text."""
    return pl.col(column).str.len_chars()


def top_level(column: str) -> pl.Expr:
    """The widest category of a path."""
    return pl.col(column).str.split(" > ").list.first()


# table, the snapshot's frame, its numbers, its categories
SIDES: tuple[tuple[str, str, Columns, Columns], ...] = (
    (
        "products",
        "catalogue",
        {
            "title (characters)": length("title"),
            "description (characters)": length("description"),
            "price": pl.col("price"),
            "rating": pl.col("rating"),
            "rating_count": pl.col("rating_count"),
        },
        {
            "brand": pl.col("brand"),
            "category (top level)": top_level("category"),
            "currency": pl.col("currency"),
            "in_stock": pl.col("in_stock").cast(pl.String),
            "locale": pl.col("locale"),
            "seller": pl.col("seller"),
        },
    ),
    ("judgments", "judgments", {"grade": pl.col("grade")}, {}),
)
EVENT_NUMBERS: Columns = {"price": pl.col("price"), "quantity": pl.col("quantity"), "value": pl.col("value")}
EVENT_CATEGORIES: Columns = {
    "event_type": pl.col("event_type").cast(pl.String),
    "user known": pl.col("user_id").is_not_null().cast(pl.String),
}
HOUR: Columns = {"hour (UTC)": pl.col("timestamp").dt.hour().cast(pl.String).str.zfill(2)}
NAMED = {"hour (UTC)": [f"{hour:02d}" for hour in range(24)]}


def scan(snapshot: Snapshot, name: str) -> pl.LazyFrame:
    """One frame of a snapshot, not read yet."""
    return pl.scan_parquet(snapshot.path / f"{name}.parquet")


def compare_events(
    clean: CleanShop, snapshot: Snapshot, *, limits: Limits
) -> tuple[list[ColumnDrift], list[Volume], str]:
    """The events' columns and their number a day; the reason where they were not compared."""
    wanted = ["event_type", "timestamp", "user_id", "session_id", "price", "quantity", "value"]
    before = pl.concat([events_of(snapshot, name) for name in KINDS], how="diagonal").select(wanted)
    # What a snapshot does not keep by itself, cancels and removals, can't be compared.
    kept = before.select(pl.col("event_type").unique()).collect()["event_type"].to_list()
    now = clean.tables["events"].frame.filter(pl.col("event_type").cast(pl.String).is_in(kept)).select(wanted)
    since, until = snapshot.manifest.watermark, clean.watermark
    categories, daily = EVENT_CATEGORIES, []
    if since is not None and until is not None and until > since:
        before, now = (
            frame.filter(pl.col("timestamp") > start)
            for frame, start in ((before, since - timedelta(days=LAST_DAYS)), (now, since))
        )
        if (count := int(now.select(pl.len()).collect(engine="streaming").item())) < FEWEST_EVENTS:
            return [], [], f"{count} events since the snapshot, at least {FEWEST_EVENTS} are compared"
        oldest = before.select(pl.col("timestamp").min()).collect(engine="streaming").item()
        days = (since - oldest) / timedelta(days=1) if oldest is not None else 0.0
        if days > 0:
            daily = daily_volumes(before, now, days=days, since=since, until=until)
        if until - since >= WHOLE_DAY:
            categories = categories | HOUR
    # Whether an event has a price depends on its kind, which is compared by itself.
    columns = moved(
        "events",
        before,
        now,
        numbers=EVENT_NUMBERS,
        categories=categories,
        limits=limits,
        missing=False,
        independent=(visits(before), visits(now)),
    )
    return columns, daily, ""


def visits(events: pl.LazyFrame) -> int:
    """About how many sessions, or users' days, the events belong to: what a shopper does in one hangs together."""
    day = pl.concat_str("user_id", pl.col("timestamp").dt.date().cast(pl.String), separator=" ")
    visit = pl.coalesce("session_id", day)
    told = events.select(visit.approx_n_unique(), visit.is_null().sum().alias("alone")).collect(engine="streaming")
    return sum(told.row(0))


def events_of(snapshot: Snapshot, name: str) -> pl.LazyFrame:
    """The events in one of the snapshot's frames, with their kind."""
    frame = scan(snapshot, name)
    kind = {"impressions": pl.lit("impression"), "searches": pl.lit("search")}.get(name, pl.col("event_type"))
    return frame.with_columns(kind.cast(pl.String).alias("event_type"))


def moved(
    table: str,
    before: pl.LazyFrame,
    now: pl.LazyFrame,
    *,
    numbers: Columns,
    categories: Columns,
    limits: Limits,
    missing: bool = True,
    independent: tuple[int, int] | None = None,
) -> list[ColumnDrift]:
    """Every column that has a value on either side.

    Args:
        table: the shop's.
        before: its rows in the snapshot.
        now: its rows.
        numbers: columns by name.
        categories: columns by name.
        limits: see there.
        missing: whether a missing number counts as a value.
        independent: how many rows count for chance, where rows come in clusters.
    """
    columns = {name: expression.cast(pl.Float64).alias(name) for name, expression in numbers.items()}
    columns |= {name: expression.alias(name) for name, expression in categories.items()}
    past, present = (sample(frame, columns) for frame in (before, now))
    found = []
    for name in columns:
        one, other = past[name], present[name]
        if one.null_count() == one.len() and other.null_count() == other.len():
            continue
        if name in numbers:
            drift = drift_of_numbers(
                one.drop_nulls().to_numpy(),
                other.drop_nulls().to_numpy(),
                limits=limits,
                missing=(one.null_count(), other.null_count()) if missing else (0, 0),
                independent=independent,
            )
        else:
            counts = (tally(one), tally(other))
            drift = drift_of_categories(*counts, limits=limits, named=NAMED.get(name), independent=independent)
        found.append(ColumnDrift(table, name, drift))
    return found


def sample(frame: pl.LazyFrame, columns: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """The columns of at most about SAMPLE rows, chosen by a hash of the row's number."""
    rows = int(frame.select(pl.len()).collect(engine="streaming").item())
    one_in = -(-rows // SAMPLE)
    if one_in > 1:
        frame = frame.with_row_index("place").filter(pl.col("place").hash(seed=0) % one_in == 0)
    return frame.select(columns.values()).collect(engine="streaming")


def tally(values: pl.Series) -> dict[str, int]:
    """Rows by category; missing is one of its own."""
    return dict(values.fill_null("missing").value_counts().iter_rows())
