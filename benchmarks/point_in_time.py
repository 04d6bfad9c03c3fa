"""A made-up stream of events, and the same thirty features computed by us, by DuckDB and by pandas."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from feature_store.point_in_time.defaults import CARTS, DAY_LONG, MONTH, PURCHASES, VIEWS, WEEK, counts
from feature_store.point_in_time.definitions import Age, Entity, Feature, Measure, Rate, Total
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.streams import Records, event_frame

START = 1_735_689_600_000_000  # 2025-01-01, microseconds
DAY_US = 86_400_000_000
DAYS = 120
CHUNK = 1_000_000
KINDS = ("impression", "view", "click", "add_to_cart", "purchase")
SHARES = (0.5, 0.3, 0.1, 0.06, 0.04)
LATE = 0.01
"""Share of the events that are known up to three days after they happened."""
ID = {"user": "user_id", "product": "product_id"}
PRICE = Measure("events", ("purchase",), "price")


@dataclass(frozen=True)
class Size:
    """How large a made-up stream is."""

    events: int
    users: int
    products: int
    rows: int


def of_entity(name: Entity) -> list[Feature]:
    """The fifteen features of users or of products."""
    return [
        *counts(name, "views", VIEWS, DAY_LONG, WEEK, MONTH, None),
        *counts(name, "cart_additions", CARTS, DAY_LONG, WEEK, MONTH),
        *counts(name, "purchases", PURCHASES, WEEK, MONTH, None),
        Feature(f"{name}_spent_28d", name, "Sum of prices paid.", Total(PRICE, MONTH)),
        Feature(f"{name}_purchase_rate", name, "Purchases per view.", Rate(PURCHASES, VIEWS, MONTH, strength=20.0)),
        Feature(f"{name}_cart_rate", name, "Cart additions per view.", Rate(CARTS, VIEWS, MONTH, strength=20.0)),
        Feature(f"{name}_days_since_view", name, "Age of the last view.", Age(VIEWS)),
        Feature(f"{name}_days_since_purchase", name, "Age of the last purchase.", Age(PURCHASES)),
    ]


FEATURES = [*of_entity("user"), *of_entity("product")]


def write_stream(size: Size, folder: Path) -> None:
    """Events in files of CHUNK rows, by time, and the rows that ask; what stands is kept. Memory holds one chunk."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    chunks = max(1, size.events // CHUNK)
    asked = []
    for chunk in range(chunks):
        file = folder / "events" / f"{chunk:05d}.parquet"
        if not file.exists():
            made = made_events(size, chunk=chunk, chunks=chunks)
            made.write_parquet(file.with_suffix(".new"))
            file.with_suffix(".new").replace(file)
        if not (folder / "rows.parquet").exists():
            shown = pl.scan_parquet(file).filter(pl.col("event_type") == "impression")
            here = size.rows * (chunk + 1) // chunks - size.rows * chunk // chunks
            asked.append(shown.select("user_id", "product_id", "timestamp").collect().sample(here, seed=chunk))
    if asked:
        pl.concat(asked).write_parquet(folder / "rows.parquet")


def made_events(size: Size, *, chunk: int, chunks: int) -> pl.DataFrame:
    """One chunk: its stretch of time, a few users and products that do most, prices in cents."""
    random = np.random.default_rng([0, chunk])
    rows = size.events // chunks
    stretch = DAYS * DAY_US // chunks
    time = START + chunk * stretch + np.sort(random.integers(0, stretch, rows))
    late = np.where(random.random(rows) < LATE, random.integers(1, 3 * DAY_US, rows), 0)
    kinds = random.choice(len(KINDS), rows, p=SHARES)
    users, products = (size.users * random.random(rows) ** 1.5, size.products * random.random(rows) ** 2)
    return pl.DataFrame(
        {
            "user_id": pl.Series(users.astype(np.int64)).cast(pl.String).str.zfill(9),
            "product_id": pl.Series(products.astype(np.int64)).cast(pl.String).str.zfill(9),
            "event_type": pl.Series(np.array(KINDS)[kinds]),
            "price": random.integers(100, 50_000, rows) / 100,
            "timestamp": pl.Series(time).cast(pl.Datetime("us", "UTC")),
            "known_at": pl.Series(time + late).cast(pl.Datetime("us", "UTC")),
        }
    )


def ours(folder: Path) -> pl.DataFrame:
    """The features by this project's engine."""
    events = pl.scan_parquet(folder / "events" / "*.parquet")
    rows = pl.read_parquet(folder / "rows.parquet")
    with TemporaryDirectory(dir=folder) as staging:
        return compute(rows, FEATURES, {"events": Records(event_frame(events))}, staging=Path(staging))
