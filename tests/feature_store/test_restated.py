"""An old snapshot comes out the same again, whatever was restated, added or told late since."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.point_in_time.table import build_table
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.settings import load_settings
from tests.shops import START, small_tables, write_shop

CUT = START + timedelta(days=50)
LATER = CUT + timedelta(days=1)
Tables = dict[str, pl.DataFrame]


def told_tables() -> Tables:
    """The small shop with ids of events and moments at which things were known: at once, products from the start."""
    tables = small_tables()
    events = tables["events"].with_columns(
        event_id=pl.format("e{}", pl.int_range(pl.len())), price=pl.lit(5.0), known_at=pl.col("timestamp")
    )
    products = tables["products"].with_columns(valid_from=pl.lit(START), known_at=pl.lit(START))
    return tables | {"events": events, "products": products}


def build(folder: Path, tables: Tables, *, as_of: datetime | None = CUT) -> Snapshot:
    return build_snapshot(write_shop(folder, tables), as_of=as_of)


def with_more(name: str, rows: pl.DataFrame) -> Tables:
    tables = told_tables()
    return tables | {name: pl.concat([tables[name], rows])}


def more_rows(case: str) -> Tables:
    """What is known a day after the cut."""
    events, products = told_tables()["events"], told_tables()["products"]
    earlier = events.filter(pl.col("timestamp") < CUT).head(5).with_columns(known_at=pl.lit(LATER))
    match case:
        case "a product restated":
            rows = products.head(1).with_columns(known_at=pl.lit(LATER), price=pl.lit(999.0))
            return with_more("products", rows)
        case "an event restated":
            # its content comes first in every order, and it says that it happened earlier
            rows = earlier.with_columns(pl.col("timestamp") - timedelta(hours=1), price=pl.lit(1.0))
            return with_more("events", rows)
        case "an event told late":
            return with_more("events", earlier.with_columns(event_id=pl.format("late {}", "event_id")))
        case _:
            return with_more(
                "products", products.head(1).with_columns(product_id=pl.lit("p99"), known_at=pl.lit(LATER))
            )


CASES = ("a product restated", "an event restated", "an event told late", "a product added")


@pytest.mark.parametrize("case", CASES)
def test_what_is_known_later_changes_no_old_snapshot(case: str, tmp_path: Path) -> None:
    before, after = build(tmp_path / "before", told_tables()), build(tmp_path / "after", more_rows(case))
    assert after.manifest.files["interactions"].digest == before.manifest.files["interactions"].digest
    assert after.manifest.snapshot_id == before.manifest.snapshot_id
    assert build(tmp_path / "now", more_rows(case), as_of=None).manifest.files != before.manifest.files


def test_events_of_a_product_that_was_unknown_then_stay_out(tmp_path: Path) -> None:
    stray = told_tables()["events"].filter(pl.col("timestamp") < CUT).sort("timestamp").tail(3)
    newest = stray.with_columns(
        pl.lit(CUT - timedelta(minutes=1)).alias("timestamp"),
        product_id=pl.lit("p99"),
        event_id=pl.format("stray {}", "event_id"),
        known_at=None,
    )
    strays = with_more("events", newest)
    product = more_rows("a product added")["products"]
    before, after = build(tmp_path / "before", strays), build(tmp_path / "after", strays | {"products": product})
    assert before.manifest.quarantine["events"] == {"product unknown": 3}
    assert after.manifest.watermark == before.manifest.watermark
    assert after.manifest.snapshot_id == before.manifest.snapshot_id
    assert build(tmp_path / "now", strays | {"products": product}, as_of=None).manifest.quarantine["events"] == {}


def test_the_instant_that_was_asked_for_is_no_content(tmp_path: Path) -> None:
    now = build(tmp_path / "shop", told_tables(), as_of=None)
    for later in (timedelta(0), timedelta(days=400)):
        again = build_snapshot(tmp_path / "shop", as_of=now.manifest.watermark + later)  # type: ignore[operator]
        assert again.manifest.snapshot_id == now.manifest.snapshot_id


def test_of_equal_event_ids_the_one_known_first_stays(tmp_path: Path) -> None:
    prices = build(tmp_path / "shop", more_rows("an event restated"), as_of=None).interactions()["price"]
    assert prices.to_list() == [5.0] * told_tables()["events"].height


def test_an_old_table_of_features_knows_no_restated_event(tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    told_tables()["events"].filter(pl.col("timestamp") < CUT - timedelta(hours=1)).select(
        "user_id", pl.col("timestamp") + timedelta(hours=1)
    ).write_parquet(rows)
    ids = set()
    for name, tables in (("before", told_tables()), ("after", more_rows("an event restated"))):
        shop = write_shop(tmp_path / name, tables)
        for as_of in (CUT, None):
            out = tmp_path / f"{name}-{as_of is None}"
            built = build_table(
                shop, rows=rows, out=out, only=["user_spent_90d"], as_of=as_of, settings=load_settings()
            )
            ids.add(built.manifest.table_id)
    assert len(ids) == 1


DAYS = st.integers(0, 9)
LATE = st.one_of(st.none(), st.integers(0, 6))
EVENT = st.tuples(st.sampled_from("abcd"), DAYS, LATE, st.sampled_from(("p0", "p1", "p2")), st.integers(1, 3))
PRODUCT = st.tuples(
    st.sampled_from(("p0", "p1", "p2")), st.one_of(st.none(), DAYS), st.integers(0, 9), st.integers(1, 3)
)


def day(number: int | None) -> datetime | None:
    return None if number is None else START + timedelta(days=number)


def event_rows(rows: Iterable[tuple[str, int, int | None, str, int]]) -> list[dict[str, object]]:
    """(id, day, days until it was known, product, price); and one event that was always there."""
    first = {"event_id": "first", "timestamp": START, "product_id": "p0", "price": 1.0, "known_at": None}
    return [first] + [
        {
            "event_id": name,
            "timestamp": day(at),
            "product_id": product,
            "price": float(price),
            "known_at": None if late is None else day(at + late),
        }
        for name, at, late, product, price in rows
    ]


def product_rows(rows: Iterable[tuple[str, int | None, int, int]]) -> list[dict[str, object]]:
    """(id, valid from, known, price); and a product that was always there."""
    first = {"product_id": "p0", "valid_from": None, "known_at": None, "price": 1.0}
    return [first] + [
        {"product_id": name, "valid_from": day(valid), "known_at": day(known), "price": float(price)}
        for name, valid, known, price in rows
    ]


MOMENT = pl.Datetime("us", "UTC")
EVENTS = {"event_id": pl.String, "timestamp": MOMENT, "product_id": pl.String, "price": pl.Float64, "known_at": MOMENT}
PRODUCTS = {"product_id": pl.String, "valid_from": MOMENT, "known_at": MOMENT, "price": pl.Float64}


def tables_of(events: list[dict[str, object]], products: list[dict[str, object]]) -> Tables:
    views = pl.DataFrame(events, schema=EVENTS).with_columns(user_id=pl.lit("u"), event_type=pl.lit("view"))
    return {
        "events": views,
        "products": pl.DataFrame(products, schema=PRODUCTS).with_columns(title=pl.lit("a sofa")),
    }


def known(row: dict[str, object]) -> datetime:
    """When a row was known; whatever says nothing was known before all else."""
    told = [row.get("timestamp"), row["known_at"]]
    return max((one for one in told if one is not None), default=START - timedelta(days=1))  # type: ignore[type-var]


def as_known(
    events: list[dict[str, object]], products: list[dict[str, object]], cut: datetime
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The rows that count at the cut, row by row; of equal moments all, among which content decides."""
    then = [row for row in products if known(row) <= cut]
    ids = {row["product_id"] for row in then}
    happened = [row for row in events if known(row) <= cut and row["product_id"] in ids]
    first = [row for row in happened if known(row) == min(known(one) for one in happened if same(one, row, "event_id"))]
    newest = [
        row
        for row in then
        if known(row) == max(known(one) for one in then if same(one, row, "product_id", "valid_from"))
    ]
    return first, newest


def same(one: dict[str, object], other: dict[str, object], *names: str) -> bool:
    return all(one[name] == other[name] for name in names)


@settings(max_examples=20, deadline=None)
@given(st.lists(EVENT, max_size=12), st.lists(PRODUCT, max_size=6), st.integers(0, 16))
def test_a_snapshot_is_that_of_the_rows_known_then(
    told: list[tuple[str, int, int | None, str, int]], goods: list[tuple[str, int | None, int, int]], at: int
) -> None:
    events, products, cut = event_rows(told), product_rows(goods), START + timedelta(days=at)
    toml = "[quarantine]\nmax_share = 1.0\n"
    with TemporaryDirectory() as folder:
        whole = write_shop(Path(folder) / "whole", tables_of(events, products), toml=toml)
        by_hand = write_shop(Path(folder) / "by-hand", tables_of(*as_known(events, products, cut)), toml=toml)
        found = build_snapshot(whole, out=Path(folder) / "found", as_of=cut)
        wanted = build_snapshot(by_hand, out=Path(folder) / "wanted")
        assert found.interactions().equals(wanted.interactions())
        assert found.catalogue().frame.equals(wanted.catalogue().frame)
        assert found.manifest.snapshot_id == wanted.manifest.snapshot_id
