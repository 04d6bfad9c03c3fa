"""The folder that `write_sample` writes: the same bytes for the same arguments, and nothing the contract refuses."""

import tomllib
from pathlib import Path

import polars as pl
import polars.testing
import pytest

from feature_store.snapshot import build_snapshot
from feature_store.sources.sample.events import event_frames
from feature_store.sources.sample.products import product_frame
from feature_store.sources.sample.queries import make_queries
from feature_store.sources.sample.users import user_frame
from feature_store.sources.sample.world import World, all_codes, spans
from feature_store.sources.sample.write import write_sample
from feature_store.validate import clean_shop
from recsys.errors import UsageError

FILES = {"products.parquet", "users.parquet", "events.parquet", "queries.parquet", "judgments.parquet", "shop.toml"}
WORLD = World(products=240, users=90, seed=5)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "shop", products=240, users=90, seed=5).folder


def test_the_same_arguments_give_the_same_bytes(shop: Path, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "again", products=240, users=90, seed=5)
    assert contents(again.folder) == contents(shop)


def test_another_seed_gives_another_shop(shop: Path, tmp_path: Path) -> None:
    other = contents(write_sample(tmp_path / "other", products=240, users=90, seed=6).folder)
    assert all(other[name] != data for name, data in contents(shop).items() if name != "shop.toml")


def test_it_overwrites_an_older_sample(shop: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, products=60, users=3, seed=1)
    write_sample(tmp_path, products=240, users=90, seed=5)
    assert contents(tmp_path) == contents(shop)


def test_the_report_counts_the_rows(tmp_path: Path) -> None:
    report = write_sample(tmp_path / "shop", products=60, users=7, seed=2)
    assert report.rows == {
        name: pl.scan_parquet(report.folder / f"{name}.parquet").select(pl.len()).collect().item()
        for name in ("products", "users", "events", "queries", "judgments")
    }
    assert (report.rows["products"], report.rows["users"], report.seed) == (60, 7, 2)


def test_no_row_breaks_the_contract(shop: Path, tmp_path: Path) -> None:
    clean = clean_shop(shop, staging=tmp_path)
    assert clean.quarantine().is_empty()


def test_it_becomes_a_snapshot_with_every_part(shop: Path, tmp_path: Path) -> None:
    snapshot = build_snapshot(shop, out=tmp_path / "snapshot")
    assert snapshot.manifest.shop == "sample"
    assert snapshot.manifest.max_grade == 3
    for part in ("train", "validation", "test"):
        assert not snapshot.interactions(part).is_empty()
        assert not snapshot.judgments(part).is_empty()


def test_nothing_of_the_truth_is_written(shop: Path) -> None:
    assert {file.name for file in shop.iterdir()} == FILES
    assert set(tomllib.loads((shop / "shop.toml").read_text())) == {"name", "currency", "judgments"}
    columns = {name: set(pl.read_parquet_schema(shop / name)) for name in FILES if name.endswith(".parquet")}
    assert columns["users.parquet"] == {"user_id", "segment", "locale", "country", "created_at"}
    assert columns["queries.parquet"] == {"query_id", "query", "locale"}
    assert columns["judgments.parquet"] == {"query_id", "product_id", "grade"}


@pytest.mark.parametrize(("products", "users", "seed"), [(47, 10, 0), (100, 0, 0), (100, 10, -1)])
def test_numbers_that_are_too_small_are_refused(products: int, users: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 48 products"):
        write_sample(tmp_path / "shop", products=products, users=users, seed=seed)
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("size", [11, 64, 1000])
def test_products_and_users_do_not_depend_on_the_chunks(size: int) -> None:
    for frame_of, count in ((product_frame, WORLD.products), (user_frame, WORLD.users)):
        whole = frame_of(WORLD, next(spans(count)))
        parts = pl.concat([frame_of(WORLD, rows) for rows in spans(count, size=size)])
        polars.testing.assert_frame_equal(parts, whole)


@pytest.mark.parametrize("size", [13, 64])
def test_events_do_not_depend_on_the_chunks(size: int) -> None:
    queries, codes = make_queries(WORLD), all_codes(WORLD)
    whole = pl.concat(event_frames(WORLD, queries, codes))
    parts = pl.concat(event_frames(WORLD, queries, codes, size=size)).sort("timestamp", "event_id")
    polars.testing.assert_frame_equal(parts, whole)


def test_one_more_user_changes_no_other_users_events() -> None:
    more = World(products=WORLD.products, users=WORLD.users + 1, seed=WORLD.seed)
    queries, codes = make_queries(WORLD), all_codes(WORLD)
    fewer_events = pl.concat(event_frames(WORLD, queries, codes))
    more_events = pl.concat(event_frames(more, queries, codes))
    polars.testing.assert_frame_equal(more_events.join(fewer_events, on="event_id", how="semi"), fewer_events)
