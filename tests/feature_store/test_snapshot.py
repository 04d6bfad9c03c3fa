"""Snapshots: named by content alone, whole or absent, immutable."""

import json
import os
import random
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.frames import FRAMES
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.errors import SnapshotError
from recsys.settings import Settings, load_settings
from tests.shops import FORMATS, START, small_tables, write_shop

TOML = 'name = "small"\ncurrency = "GBP"\n[judgments]\nmax_grade = 3\n'


def odd_tables() -> dict[str, pl.DataFrame]:
    """The small shop with float32 prices, cancels, copies, columns of its own and bad rows."""
    tables = small_tables()
    products = tables["products"].with_columns(
        (pl.col("price").cast(pl.Float32) + 0.55).alias("price"), pl.int_range(pl.len()).alias("shelf")
    )
    events = tables["events"].with_columns(
        (pl.int_range(pl.len()) % 7).cast(pl.Float32).alias("price"),
        pl.when(pl.int_range(pl.len()) % 11 == 0).then(None).otherwise(pl.col("user_id")).alias("user_id"),
        pl.format("store {}", pl.int_range(pl.len()) % 3).alias("place"),
    )
    bought = events.filter(pl.col("event_type") == "purchase")
    cancels = bought.head(10).with_columns(
        pl.lit("cancel").alias("event_type"), pl.col("timestamp") + timedelta(hours=1), quantity=pl.lit(-1.0)
    )
    broken = events.head(3).with_columns(pl.lit("nowhere").alias("product_id"))
    return tables | {"products": products, "events": pl.concat([events, cancels, events.head(5), broken])}


def shuffled(tables: dict[str, pl.DataFrame], *, seed: int) -> dict[str, pl.DataFrame]:
    """All rows and columns in another order."""
    draw = random.Random(seed)
    mixed = {}
    for name, frame in tables.items():
        columns = list(frame.columns)
        draw.shuffle(columns)
        mixed[name] = frame.select(columns).sample(fraction=1.0, shuffle=True, seed=seed)
    return mixed


def test_neither_format_nor_order_of_rows_changes_the_snapshot(tmp_path: Path) -> None:
    tables = odd_tables()
    made = {}
    for seed, kind in enumerate(FORMATS):
        shop = write_shop(tmp_path / f"{kind}", shuffled(tables, seed=seed), toml=TOML, kind=kind)
        made[kind] = build_snapshot(shop, out=tmp_path / f"snapshot-{kind}")
    first = made["parquet"].manifest
    for snapshot in made.values():
        assert snapshot.manifest.snapshot_id == first.snapshot_id
        assert snapshot.manifest.counts == first.counts
        assert snapshot.manifest.quarantine == first.quarantine
        assert snapshot.manifest.unknown_columns == {**first.unknown_columns}
        for name in FRAMES:
            if name != "quarantine":
                assert snapshot.read(name, ()).equals(made["parquet"].read(name, ())), name


def test_part_files_are_one_table(tmp_path: Path) -> None:
    whole = build_snapshot(write_shop(tmp_path / "whole", small_tables(), toml=TOML))
    tables = small_tables()
    events = tables.pop("events")
    shop = write_shop(tmp_path / "parts", tables, toml=TOML)
    (shop / "events").mkdir()
    for number in range(4):
        events.slice(number * 60, 60).write_parquet(shop / "events" / f"{number}.parquet")
    assert build_snapshot(shop).manifest.snapshot_id == whole.manifest.snapshot_id


def test_what_is_in_the_manifest(small_snapshot: Snapshot, small_shop: Path) -> None:
    manifest = small_snapshot.manifest
    tables = small_tables()
    assert manifest.watermark == tables["events"]["timestamp"].max()
    assert manifest.max_grade == 3.0
    assert manifest.shop == "small"
    assert {name: source.rows for name, source in manifest.sources.items()} == {
        name: frame.height for name, frame in tables.items()
    }
    import hashlib

    for source in manifest.sources.values():
        assert source.sha256 == hashlib.sha256((small_shop / source.path).read_bytes()).hexdigest()
    for name, stored in manifest.files.items():
        file = small_snapshot.path / f"{name}.parquet"
        assert stored.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert stored.rows == pl.read_parquet(file).height
    counts = manifest.counts
    assert counts["interactions"] == sum(counts[f"interactions_{part}"] for part in ("train", "validation", "test"))


def test_the_same_snapshot_twice_is_one_folder(small_shop: Path) -> None:
    first = build_snapshot(small_shop)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = build_snapshot(small_shop)
    assert second.path == first.path
    assert {path: path.stat().st_mtime_ns for path in second.path.iterdir()} == before
    assert [path.name for path in first.path.parent.iterdir()] == [first.manifest.snapshot_id]


def test_another_split_is_another_snapshot(small_shop: Path) -> None:
    ids = {
        build_snapshot(small_shop).manifest.snapshot_id,
        build_snapshot(small_shop, split="leave-one-out").manifest.snapshot_id,
        build_snapshot(small_shop, split="query-folds").manifest.snapshot_id,
        build_snapshot(small_shop, options={"fold": "1"}).manifest.snapshot_id,
        build_snapshot(small_shop, options={"test_days": "7"}).manifest.snapshot_id,
        build_snapshot(small_shop, as_of=START + timedelta(days=60)).manifest.snapshot_id,
    }
    assert len(ids) == 6


def test_a_folder_with_something_else_is_refused(small_shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_snapshot(small_shop, out=out)
    manifest = (out / "manifest.json").read_bytes()
    assert build_snapshot(small_shop, out=out).path == out
    with pytest.raises(SnapshotError, match="already holds something else"):
        build_snapshot(small_shop, out=out, split="query-folds")
    assert (out / "manifest.json").read_bytes() == manifest
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    with pytest.raises(SnapshotError, match="already holds something else"):
        build_snapshot(small_shop, out=tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep me"


def test_builders_at_once_agree(small_shop: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: build_snapshot(small_shop), range(4)))
    assert len({one.path for one in made}) == 1
    assert os.listdir(made[0].path.parent) == [made[0].manifest.snapshot_id]
    assert made[0].interactions().height == made[0].manifest.counts["interactions"]


@pytest.mark.parametrize("limit", [1 << 10, 3 << 10, 6 << 10])
def test_a_full_disk_leaves_nothing_half_written(limit: int, small_shop: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def hold() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "recsys", "features", str(small_shop), "--home", str(home)],
        preexec_fn=hold,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "full" in done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_as_of_is_what_was_known_then(tmp_path: Path) -> None:
    tables = small_tables()
    cut = START + timedelta(days=50)
    events = tables["events"].with_columns(
        known_at=pl.when(pl.col("user_id") == "u03").then(pl.lit(START + timedelta(days=70))).otherwise(None)
    )
    judgments = tables["judgments"].with_columns(
        judged_at=pl.when(pl.col("query_id") == "q01").then(pl.lit(START + timedelta(days=70))).otherwise(None)
    )
    snapshot = build_snapshot(
        write_shop(tmp_path / "shop", tables | {"events": events, "judgments": judgments}), as_of=cut
    )
    known = events.filter((pl.col("timestamp") <= cut) & pl.col("known_at").is_null())
    assert snapshot.interactions().height == known.height
    assert snapshot.manifest.watermark == known["timestamp"].max()
    assert snapshot.manifest.counts["events_after_as_of"] == events.height - known.height
    assert "q01" not in snapshot.judgments()["query_id"].to_list()


def test_a_cancel_after_the_cut_leaves_the_purchase_before_it(tmp_path: Path) -> None:
    def event(kind: str, day: int, product: str) -> dict[str, object]:
        return {
            "user_id": "u00",
            "product_id": product,
            "timestamp": START + timedelta(days=day),
            "event_type": kind,
            "quantity": 1.0,
        }

    events = pl.DataFrame(
        [
            event("purchase", 10, "p01"),
            event("cancel", 99, "p01"),
            event("purchase", 98, "p02"),
            event("cancel", 99, "p02"),
            event("view", 100, "p03"),
        ]
    ).with_columns(pl.when(pl.col("event_type") == "view").then(None).otherwise(pl.col("quantity")).alias("quantity"))
    snapshot = build_snapshot(write_shop(tmp_path / "shop", small_tables() | {"events": events}))
    assert snapshot.interactions()["product_id"].to_list() == ["p01", "p03"]


def test_judged_pairs_stand_once_with_their_mean(tmp_path: Path) -> None:
    tables = small_tables()
    pair = {"query_id": "q00", "product_id": "p00"}
    others = tables["judgments"].filter(~((pl.col("query_id") == "q00") & (pl.col("product_id") == "p00")))
    twice = pl.DataFrame([{**pair, "grade": 1.0}, {**pair, "grade": 3.0}])
    judgments = pl.concat([others, twice], how="diagonal")
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables | {"judgments": judgments}))
    found = snapshot.judgments().filter((pl.col("query_id") == "q00") & (pl.col("product_id") == "p00"))
    assert found["grade"].to_list() == [2.0]
    assert found["weight"].to_list() == [1.0]


def test_a_product_stands_as_it_is_valid_now(tmp_path: Path) -> None:
    tables = small_tables()
    rows = [
        {"product_id": "p00", "title": "old", "price": 1.0, "valid_from": START},
        {"product_id": "p00", "title": "now", "price": 2.0, "valid_from": START + timedelta(days=40)},
        {"product_id": "p00", "title": "later", "price": 3.0, "valid_from": START + timedelta(days=400)},
        {"product_id": "p99", "title": "only later", "price": 3.0, "valid_from": START + timedelta(days=400)},
    ]
    products = pl.concat([tables["products"].filter(pl.col("product_id") != "p00"), pl.DataFrame(rows)], how="diagonal")
    shop = write_shop(tmp_path / "shop", tables | {"products": products})
    frame = build_snapshot(shop).catalogue().frame
    assert frame.filter(pl.col("product_id").is_in(["p00", "p99"]))["title"].to_list() == ["now", "only later"]
    early = build_snapshot(shop, as_of=START + timedelta(days=30)).catalogue().frame
    assert early.filter(pl.col("product_id") == "p00")["title"].to_list() == ["old"]


def test_own_columns_are_kept_as_text(tmp_path: Path) -> None:
    tables = small_tables()
    products = tables["products"].with_columns(pl.int_range(pl.len()).alias("position"), pl.lit(2.5).alias("weight_kg"))
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables | {"products": products}))
    frame = snapshot.catalogue().frame
    assert frame["shop_position"].to_list() == [str(number) for number in range(40)]
    assert frame["weight_kg"].to_list() == ["2.5"] * 40
    assert snapshot.manifest.unknown_columns["products"] == ["position", "weight_kg"]


def test_everyone_is_a_user(tmp_path: Path) -> None:
    tables = small_tables()
    few = tables["users"].head(3)
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables | {"users": few}))
    assert snapshot.users()["user_id"].to_list() == [f"u{number:02d}" for number in range(30)]
    assert snapshot.users()["segment"].null_count() == 27


def test_impressions_and_searches_have_frames_of_their_own(tmp_path: Path) -> None:
    tables = small_tables()
    shown = tables["events"].with_columns(
        pl.lit("impression").alias("event_type"),
        pl.lit(2).alias("position"),
        pl.lit(0.5).alias("propensity"),
        pl.lit("l1").alias("list_id"),
        quantity=None,
    )
    typed = shown.head(7).with_columns(pl.lit("search").alias("event_type"), product_id=None, query=pl.lit("sofa"))
    events = pl.concat([tables["events"], shown, typed], how="diagonal_relaxed")
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables | {"events": events}), split="leave-one-out")
    impressions = snapshot.impressions()
    assert impressions.height == shown.height
    assert set(impressions["slot"]) == {2}
    assert set(impressions["propensity"]) == {0.5}
    assert impressions["part"].unique().sort().to_list() == ["train", "validation", "test"]
    assert snapshot.read("searches", ())["query"].to_list() == ["sofa"] * 7
    assert snapshot.manifest.counts["events_impression"] == shown.height


def test_weights_of_event_types(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml="[weights]\npurchase = 7.5\n")
    interactions = build_snapshot(shop).interactions()
    weights = interactions.select(pl.col("event_type").cast(pl.String), "weight").unique()
    assert dict(weights.iter_rows()) == {"view": 1.0, "add_to_cart": 3.0, "purchase": 7.5}


def damage(folder: Path, *, how: str) -> None:
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    if how == "version":
        manifest.write_text(json.dumps(content | {"format_version": 99}))
    elif how == "text":
        manifest.write_text(manifest.read_text()[:100])
    elif how == "unknown key":
        manifest.write_text(json.dumps(content | {"colour": "blue"}))
    else:
        manifest.unlink()


@pytest.mark.parametrize("how", ["version", "text", "unknown key", "gone"])
def test_a_damaged_manifest(how: str, small_shop: Path, tmp_path: Path) -> None:
    snapshot = build_snapshot(small_shop, out=tmp_path / "snapshot")
    damage(snapshot.path, how=how)
    with pytest.raises(SnapshotError, match="recsys features SHOP"):
        Snapshot.open(snapshot.path)


def test_a_snapshot_of_the_first_format_can_be_read(small_shop: Path, tmp_path: Path) -> None:
    """It holds people, too, who may have to be found in it."""
    snapshot = build_snapshot(small_shop, out=tmp_path / "snapshot")
    file = snapshot.path / "manifest.json"
    content = json.loads(file.read_text())
    del content["split"]["known_from"]
    file.write_text(json.dumps(content | {"format_version": 1}))
    assert Snapshot.open(snapshot.path).users().equals(snapshot.users())


def test_damaged_frames(small_shop: Path, tmp_path: Path) -> None:
    snapshot = build_snapshot(small_shop, out=tmp_path / "snapshot")
    for name, read in (("interactions", snapshot.interactions), ("catalogue", snapshot.catalogue)):
        file = snapshot.path / f"{name}.parquet"
        file.write_bytes(file.read_bytes()[:500])
        with pytest.raises(SnapshotError, match=name):
            read()
    pl.DataFrame({"query_id": [1]}).write_parquet(snapshot.path / "judgments.parquet")
    with pytest.raises(SnapshotError, match="no fit column query_id, query"):
        snapshot.judgments()
    (snapshot.path / "users.parquet").unlink()
    with pytest.raises(SnapshotError, match="users"):
        snapshot.users()
    with pytest.raises(SnapshotError, match="part holdout"):
        snapshot.judgments("holdout")


def test_an_altered_byte_is_found(small_shop: Path, tmp_path: Path) -> None:
    snapshot = build_snapshot(small_shop, out=tmp_path / "snapshot")
    snapshot.verify()
    file = snapshot.path / "users.parquet"
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(SnapshotError, match=r"users\.parquet is missing or altered"):
        snapshot.verify()


def test_a_bare_id_opens_below_the_home(small_shop: Path, tmp_path: Path) -> None:
    made = build_snapshot(small_shop)
    assert Snapshot.open(Path(made.manifest.snapshot_id)).path == made.path
    elsewhere = Settings(home=tmp_path / "elsewhere", tracking_uri="")
    with pytest.raises(SnapshotError, match="is no snapshot"):
        Snapshot.open(Path(made.manifest.snapshot_id), settings=elsewhere)
    assert load_settings().snapshots == made.path.parent


def test_as_of_in_another_zone_is_the_same_instant(small_shop: Path) -> None:
    from feature_store.options import parse_instant

    assert parse_instant("2025-02-01") == datetime(2025, 2, 1, tzinfo=UTC)
    assert parse_instant("2025-02-01T02:00:00+02:00") == datetime(2025, 2, 1, tzinfo=UTC)
