"""The real shops hold the contract, and their snapshots have the rows that are known of them."""

import os
from pathlib import Path

import polars as pl
import pytest

from feature_store.snapshot import build_snapshot

pytestmark = pytest.mark.realdata

DATA = Path(os.environ.get("RECSYS_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))

KNOWN = {
    "beauty": {
        "catalogue": 12_101,
        "users": 22_363,
        "interactions": 198_502,
        "interactions_validation": 22_363,
        "interactions_test": 22_363,
        "quarantine": 0,
    },
    "online_retail": {"catalogue": 3_805, "events_exact_duplicates": 3_937, "users": 4_094, "events_cancel": 7_671},
    "crowdflower": {"catalogue": 9_913, "queries_judged": 201, "quarantine": 0},
    "homedepot": {"catalogue": 54_667, "queries_judged": 9_479, "judgments": 59_475, "quarantine": 0},
    "icecat": {"catalogue": 19_406, "queries_judged": 65, "judgments": 1_757, "quarantine": 0},
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts(name: str) -> None:
    manifest = build_snapshot(DATA / name).manifest
    assert {what: manifest.counts[what] for what in KNOWN[name]} == KNOWN[name]
    assert manifest.split.kind == {"beauty": "leave-one-out", "online_retail": "time"}.get(name, "query-folds")


def test_a_rebuild_has_the_same_name(tmp_path: Path) -> None:
    first = build_snapshot(DATA / "online_retail", out=tmp_path / "first")
    frame = pl.read_parquet(DATA / "online_retail" / "events.parquet").sample(fraction=1.0, shuffle=True, seed=1)
    shop = tmp_path / "shop"
    shop.mkdir()
    frame.write_parquet(shop / "events.parquet")
    for file in ("products.parquet", "shop.toml"):
        (shop / file).write_bytes((DATA / "online_retail" / file).read_bytes())
    assert build_snapshot(shop, out=tmp_path / "second").manifest.snapshot_id == first.manifest.snapshot_id


def test_online_retail_net_of_cancels() -> None:
    snapshot = build_snapshot(DATA / "online_retail")
    raw = pl.read_parquet(DATA / "online_retail" / "events.parquet")
    only_cancel = (
        raw.filter(pl.col("user_id").is_not_null()).group_by("user_id").agg((pl.col("event_type") == "cancel").all())
    )
    assert only_cancel["event_type"].sum() == 31
    found = snapshot.interactions()
    assert set(found["event_type"]) == {"purchase"}
    assert found["quantity"].min() > 0  # type: ignore[operator]
    assert found.filter(pl.col("quantity") > 74_000).is_empty()
    assert snapshot.manifest.quarantine["events"] == {"purchase quantity not above 0": 1_077}
    cancels = snapshot.manifest.counts
    assert 0 < cancels["cancels_unmatched"] < cancels["cancels"]


def test_crowdflower_pairs_stand_once() -> None:
    snapshot = build_snapshot(DATA / "crowdflower")
    raw = pl.read_parquet(DATA / "crowdflower" / "judgments.parquet")
    pairs = raw.group_by("query_id", "product_id").agg(pl.col("grade").cast(pl.Float64).mean())
    found = snapshot.judgments()
    assert found.height == pairs.height
    joined = found.join(pairs, on=["query_id", "product_id"])
    assert (joined["grade"] - joined["grade_right"]).abs().max() < 1e-6  # type: ignore[operator]
