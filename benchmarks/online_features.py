"""A made-up shop's online features, for the job that measures reads."""

from typing import Any

import numpy as np
import polars as pl

from feature_store.event_log.parts import Position
from feature_store.online_features.packing import Packing
from feature_store.online_features.state import ABOUT, STATE, About, State, versions
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import DAY
from feature_store.point_in_time.streams import Records, event_frame, timed, unfit

NOW = 1_767_225_600_000_000
"""2026-01-01, microseconds since 1970."""
DAYS = 90


def product(number: int) -> str:
    """A product's id."""
    return f"P{number:06d}"


def features_of() -> list[Any]:
    """Every feature of a product that the shop can have."""
    streams = {"events": Records(pl.LazyFrame()), "prices": Records(pl.LazyFrame())}
    return [
        one
        for one in DEFAULTS
        if one.entity == "product" and unfit(one, streams, calendar=True) is None  # type: ignore[arg-type]
    ]


def published(seed: int, *, products: int, events: int) -> list[tuple[str, bytes]]:
    """The values of a made-up shop; some products are met a hundred times as often as others."""
    draw, count = np.random.default_rng(seed), events
    kinds = ["impression", "view", "click", "add_to_cart", "purchase", "cancel"]
    start = NOW - DAYS * DAY
    met = pl.DataFrame(
        {
            "user_id": [f"U{number:06d}" for number in draw.integers(0, 100_000, count)],
            "product_id": [product(number) for number in (products * draw.random(count) ** 2).astype(int)],
            "query": pl.Series([None] * count, dtype=pl.String),
            "timestamp": draw.integers(start, NOW, count),
            "event_type": draw.choice(kinds, count, p=[0.5, 0.3, 0.1, 0.05, 0.045, 0.005]),
            "price": draw.integers(1, 10_000, count) / 100,
            "quantity": draw.integers(1, 4, count).astype(float),
            "position": draw.integers(0, 40, count),
            "propensity": pl.Series([None] * count, dtype=pl.Float64),
            "known_at": pl.Series([None] * count, dtype=pl.Datetime("us", "UTC")),
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    prices = pl.DataFrame(
        {
            "product_id": [product(number) for number in range(products)] * 3,
            "valid_from": draw.integers(start, NOW, 3 * products),
            "known_at": pl.Series([None] * 3 * products, dtype=pl.Datetime("us", "UTC")),
            "price": draw.integers(1, 10_000, 3 * products) / 100,
            "in_stock": draw.random(3 * products) < 0.9,
            "kind": pl.Series([0] * 3 * products, dtype=pl.UInt8),
        }
    ).with_columns(pl.col("valid_from").cast(pl.Datetime("us", "UTC")))
    since = timed(prices.lazy(), time="valid_from", known="known_at")
    packing = Packing(
        features_of(), {"events": Records(event_frame(met.lazy())), "prices": Records(since)}, at=NOW, oldest=0
    )
    state = State(Position("bench", 0), NOW, [], packing.sums())
    state.tidy()
    about = About(NOW, versions(features_of()), "")
    known = [product(number) for number in range(products)]
    return [(ABOUT, about.packed()), (STATE, state.packed()), *packing.values(known)]
