"""Product features as of an instant against a plain loop; nothing later counts."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.features import FEATURES, SnapshotFeatures
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.errors import UsageError
from tests.shops import START, small_tables, write_shop


def loop(snapshot: Snapshot, product: str, *, days: float) -> dict[str, float]:
    """Every feature of one product, `days` after the start."""
    at = START + timedelta(days=days)
    rows = [
        row
        for row in snapshot.interactions().iter_rows(named=True)
        if row["product_id"] == product and row["timestamp"] < at
    ]
    ages = [(at - row["timestamp"]) / timedelta(days=1) for row in rows]

    def kind(name: str) -> float:
        return float(sum(row["event_type"] == name for row in rows))

    return {
        "views": kind("view"),
        "clicks": kind("click"),
        "cart_additions": kind("add_to_cart"),
        "purchases": kind("purchase"),
        "weight": sum(row["weight"] for row in rows),
        "users": float(len({row["user_id"] for row in rows})),
        "weight_7_days": sum(row["weight"] for row, age in zip(rows, ages, strict=True) if age <= 7),
        "weight_28_days": sum(row["weight"] for row, age in zip(rows, ages, strict=True) if age <= 28),
        "days_since_first": max(ages, default=float("nan")),
        "days_since_last": min(ages, default=float("nan")),
    }


@pytest.mark.parametrize("days", [0.5, 20, 45, 90])
def test_every_feature(days: float, small_snapshot: Snapshot) -> None:
    source = SnapshotFeatures(small_snapshot, at=START + timedelta(days=days))
    products = [f"p{number:02d}" for number in range(40)][::-1]
    found = source.read(products)
    assert set(found) == set(FEATURES)
    for name, values in found.items():
        assert values.dtype == np.float32
        expected = [loop(small_snapshot, product, days=days)[name] for product in products]
        np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=name)


def test_unknown_products_have_no_features(small_snapshot: Snapshot) -> None:
    found = SnapshotFeatures(small_snapshot).read(["nothing", "p01"])
    assert all(np.isnan(values[0]) for values in found.values())
    assert not np.isnan(found["views"][1])


def test_parts_not_named_are_not_counted(small_snapshot: Snapshot) -> None:
    source = SnapshotFeatures(small_snapshot, parts=("train",), names=["weight"])
    products = small_snapshot.catalogue().product_ids.to_list()
    assert source.read(products)["weight"].sum() == small_snapshot.interactions("train")["weight"].sum()
    newest = small_snapshot.interactions("train")["timestamp"].to_list()
    assert source.at == max(newest) + timedelta(microseconds=1)


def test_an_event_is_not_known_at_its_own_instant(small_snapshot: Snapshot) -> None:
    """As in point_in_time: strictly before, so that no event explains itself; a window begins with its first moment."""
    event = small_snapshot.interactions().sort("timestamp").row(-1, named=True)
    product, moment = event["product_id"], event["timestamp"]
    tick = timedelta(microseconds=1)

    def known(at: datetime) -> dict[str, float]:
        return {
            name: float(values[0]) for name, values in SnapshotFeatures(small_snapshot, at=at).read([product]).items()
        }

    before, after = known(moment), known(moment + tick)
    at_once = small_snapshot.interactions().filter(pl.col("timestamp") == moment, pl.col("product_id") == product)
    assert after["weight"] - before["weight"] == pytest.approx(at_once["weight"].sum())
    assert after["days_since_last"] == pytest.approx(tick / timedelta(days=1))
    assert before["days_since_last"] > after["days_since_last"]
    week = timedelta(days=7)
    assert known(moment + week)["weight_7_days"] - known(moment + week + tick)["weight_7_days"] == pytest.approx(
        at_once["weight"].sum()
    )


def test_a_shop_without_calendar_refuses_dates_by_name(tmp_path: Path) -> None:
    snapshot = build_snapshot(write_shop(tmp_path / "shop", small_tables(), toml='timestamps = "order"\n'))
    source = SnapshotFeatures(snapshot)
    assert set(source.read(["p01"])) == {"views", "clicks", "cart_additions", "purchases", "weight", "users"}
    with pytest.raises(UsageError, match="weight_7_days, days_since_last of a shop whose timestamps only order"):
        SnapshotFeatures(snapshot, names=["views", "weight_7_days", "days_since_last"])
    with pytest.raises(UsageError, match="an instant"):
        SnapshotFeatures(snapshot, names=["views"], at=START)
    with pytest.raises(UsageError, match="feature colour"):
        SnapshotFeatures(snapshot, names=["colour"])


def test_a_shop_without_events(tmp_path: Path) -> None:
    snapshot = build_snapshot(write_shop(tmp_path / "shop", {"products": small_tables()["products"]}))
    found = SnapshotFeatures(snapshot).read(["p01"])
    assert found["views"].tolist() == [0.0]
    assert np.isnan(found["days_since_last"][0])
