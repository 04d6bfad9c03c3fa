"""Shop folders made by formula, so that tests know what is inside."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

START = datetime(2025, 1, 1, tzinfo=UTC)
COLOURS = ("blue", "red", "green", "black")
KINDS = (("sofa", "Home > Sofas"), ("lamp", "Home > Lamps"), ("desk", "Office > Desks"), ("chair", "Office > Chairs"))
FORMATS = ("parquet", "csv", "jsonl")


def small_tables() -> dict[str, pl.DataFrame]:
    """40 products, 30 users, 12 queries, their judgments and 90 days of events; no randomness."""
    products = pl.DataFrame(
        [
            {
                "product_id": f"p{number:02d}",
                "title": f"{COLOURS[number % 4]} {KINDS[number // 10][0]} {number}",
                "description": None
                if number % 5 == 0
                else f"A {KINDS[number // 10][0]} for every room, size {number}.",
                "brand": ("Nord", "Sud")[number % 2],
                "category": KINDS[number // 10][1],
                "price": 10.0 + number,
                "in_stock": number % 7 != 0,
                "attributes": json.dumps({"colour": COLOURS[number % 4]}),
            }
            for number in range(40)
        ]
    )
    users = pl.DataFrame(
        [
            {"user_id": f"u{number:02d}", "segment": ("new", "loyal")[number % 2], "country": "GB"}
            for number in range(30)
        ]
    )
    events = pl.DataFrame(
        [
            {
                "user_id": f"u{user:02d}",
                "product_id": f"p{(user * 7 + step * 3) % 10 + 10 * (user % 4):02d}",
                "timestamp": START + timedelta(days=(step * 11 + user) % 90, hours=step, minutes=user),
                "event_type": ("view", "view", "add_to_cart", "purchase")[step % 4],
                "quantity": 1.0 if step % 4 == 3 else None,
                "session_id": f"s{user}-{step // 4}",
            }
            for user in range(30)
            for step in range(4 + user % 5 * 2)
        ]
    )
    queries = pl.DataFrame(
        [
            {"query_id": f"q{number:02d}", "query": f"{COLOURS[number % 4]} {KINDS[number // 3][0]}"}
            for number in range(12)
        ]
    )
    judgments = pl.DataFrame(
        [
            {
                "query_id": f"q{query:02d}",
                "product_id": f"p{product:02d}",
                "grade": 2.0 * (product // 10 == query // 3) + 1.0 * (product % 4 == query % 4),
            }
            for query in range(12)
            for product in range(query % 3, 40, 3)
        ]
    )
    return {"products": products, "users": users, "events": events, "queries": queries, "judgments": judgments}


def order_tables() -> dict[str, pl.DataFrame]:
    """The small shop, where each session's products are bought together, and again three weeks later."""
    tables = small_tables()
    events = tables["events"].with_columns(event_type=pl.lit("purchase"), quantity=pl.lit(1.0))
    again = events.with_columns(pl.col("timestamp") + timedelta(days=21), session_id=None)
    return tables | {"events": pl.concat([events, again])}


def write_shop(
    folder: Path, tables: dict[str, pl.DataFrame], *, toml: str = "[judgments]\nmax_grade = 3\n", kind: str = "parquet"
) -> Path:
    """Write tables as a shop folder in one of FORMATS."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        file = folder / f"{name}.{kind}"
        if kind == "parquet":
            frame.write_parquet(file)
        elif kind == "csv":
            frame.write_csv(file)
        else:
            frame.write_ndjson(file)
    (folder / "shop.toml").write_text(toml, encoding="utf-8")
    return folder


def write_small_shop(folder: Path, *, kind: str = "parquet") -> Path:
    """The small shop on disk, named `small`."""
    return write_shop(
        folder, small_tables(), toml='name = "small"\ncurrency = "GBP"\n[judgments]\nmax_grade = 3\n', kind=kind
    )
