"""The folder that `write_sample` writes: the same bytes for the same arguments, and nothing the contract refuses."""

import subprocess
import sys
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

ROOT = Path(__file__).resolve().parents[2]
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


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    for place, name in ((tmp_path / "shop", "products.csv"), (tmp_path / "other", "shop.toml")):
        place.mkdir()
        (place / name).write_text('name = "mine"')
        with pytest.raises(UsageError, match="holds other files"):
            write_sample(place, products=60, users=3)
        assert [file.name for file in place.iterdir()] == [name]
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="holds other files"):
        write_sample(file, products=60, users=3)


def test_a_full_disk_leaves_the_older_sample_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    older = contents(write_sample(tmp_path / "shop", products=60, users=3).folder)
    code = (
        "import resource, sys; from pathlib import Path; from feature_store.sources.sample.write import write_sample;"
        "from recsys.errors import StorageError; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_sample(Path(sys.argv[1]), products=20_000, users=3)\n"
        "except StorageError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "shop")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "the disk is full" in shown.stdout
    assert contents(tmp_path / "shop") == older
    assert [file.name for file in tmp_path.iterdir()] == ["shop"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_products(tmp_path: Path) -> None:
    """Ten times the products: their codes take about 30 bytes each, their rows would take a hundred times that."""
    code = (
        "import resource, sys; from pathlib import Path; from feature_store.sources.sample.write import write_sample;"
        "write_sample(Path(sys.argv[2]), products=int(sys.argv[1]), users=1);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (100_000, 1_000_000):
        command = [sys.executable, "-c", code, str(count), str(tmp_path / str(count))]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        peaks.append(int(shown.stdout) * 1024)
    assert peaks[1] - peaks[0] < 900_000 * 300


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
