"""Tables by Ray: the bytes of the local engine, on a cluster of two nodes that loses workers in the middle."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.point_in_time import task
from feature_store.point_in_time.ray import ray_engine
from feature_store.point_in_time.table import Built, build_table
from feature_store.point_in_time.task import Engine
from recsys.errors import ClusterError
from recsys.settings import load_settings
from tests.command import recsys
from tests.feature_store.point_in_time import killed
from tests.shops import START, small_tables, write_shop

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("small_partitions"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.data\.context"),  # of Ray's own defaults
]
STORE = 100_000_000
"""Bytes of a node's object store."""
USERS, PRODUCTS, DAYS = 40, 40, 60


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster with two nodes on this machine, one worker beside the command and two elsewhere."""
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": STORE, "include_dashboard": False}
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        cluster = Cluster()
        try:
            for workers in (1, 2):
                cluster.add_node(num_cpus=workers, **store)
            yield cluster.address
        finally:
            cluster.shutdown()


@pytest.fixture
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "RECORDS", 500)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random shop whose tables give every stream, some of it known late."""
    draw, tables = np.random.default_rng(7), small_tables()
    since = [START, START + timedelta(days=25)]
    products = pl.concat(
        tables["products"].with_columns(pl.col("price") * (1 + number), valid_from=pl.lit(at))
        for number, at in enumerate(since)
    )
    judged = START + pl.duration(days=pl.Series(draw.integers(0, DAYS, tables["judgments"].height)))
    return write_shop(
        tmp_path_factory.mktemp("random") / "shop",
        tables
        | {
            "products": products,
            "events": random_rows(draw, 3000),
            "judgments": tables["judgments"].with_columns(judged_at=judged),
        },
    )


def random_rows(draw: np.random.Generator, count: int) -> pl.DataFrame:
    """Events at random, one in ten known days after it happened."""
    kinds = ["impression", "view", "view", "view", "click", "add_to_cart", "purchase"]
    late = np.where(draw.random(count) < 0.1, draw.integers(0, 5 * 86_400, count), 0)
    return pl.DataFrame(
        {
            "user_id": [f"u{one:02d}" for one in draw.integers(0, USERS, count)],
            "product_id": [f"p{one:02d}" for one in draw.integers(0, PRODUCTS, count)],
            "query": draw.choice(["blue sofa", "red lamp", "desk"], count),
            "event_type": draw.choice(kinds, count),
            "seconds": draw.integers(0, DAYS * 86_400, count),
            "late": late,
            "price": draw.integers(100, 9999, count) / 100,
            "position": draw.integers(0, 20, count),
        }
    ).select(
        "user_id",
        "product_id",
        "query",
        "event_type",
        "price",
        "position",
        timestamp=START + pl.duration(seconds="seconds"),
        known_at=START + pl.duration(seconds=pl.col("seconds") + pl.col("late")),
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.parquet"
    random_rows(np.random.default_rng(8), 600).select("user_id", "product_id", "query", "timestamp").write_parquet(file)
    return file


@pytest.fixture(scope="module")
def local(shop: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the local engine writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(task, "RECORDS", 500)
        built = build(shop, rows, tmp_path_factory.mktemp("local") / "table", engine=None)
    assert built.manifest.left_out == {}
    return files(built.folder)


def build(shop: Path, rows: Path, out: Path, *, engine: Engine | None, **options: Any) -> Built:
    return build_table(shop, rows=rows, out=out, as_of=None, settings=load_settings(), engine=engine, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_command_writes_the_bytes_of_the_local_engine(
    address: str,
    shop: Path,
    rows: Path,
    local: dict[str, bytes],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    done = recsys(capfd, "table", "build", shop, "--rows", rows, "-o", tmp_path / "table", "--engine", "ray")
    assert (done.code, done.err) == (0, "")
    assert files(tmp_path / "table") == local


def test_a_killed_worker_s_partitions_are_computed_again(
    address: str, shop: Path, rows: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()
    with ray_engine(address) as engine:
        dying = replace(engine, answer=partial(killed.dies_once, attempts))
        built = build(shop, rows, tmp_path / "table", engine=dying)
    assert files(built.folder) == local
    made = [file.name.split(".") for file in attempts.glob("*.attempt")]
    tries = Counter(name for name, *_ in made)
    lost = (attempts / "killed").read_text()
    assert tries[lost] >= 2
    assert len({pid for name, pid, *_ in made if name == lost}) >= 2, "the dead did not try again"
    assert len({pid for _, pid, *_ in made}) >= 3, "several workers shared the partitions"
    assert len(tries) > 20


def test_a_partition_that_kills_every_worker_ends_the_build_in_one_line(
    address: str, shop: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.point_in_time.ray.RETRIES", 1)
    monkeypatch.setattr(task, "RECORDS", 1 << 20)
    with ray_engine(address) as engine:
        dying = replace(engine, answer=partial(killed.dies_always, tmp_path))
        with pytest.raises(ClusterError) as told:
            build(shop, rows, tmp_path / "table", engine=dying, only=["user_views_7d"])
    assert "Ray gave up: WorkerCrashedError" in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert len(list(tmp_path.glob("*.attempt"))) == 2
    assert not (tmp_path / "table").exists()


def test_what_a_worker_raises_is_one_line(address: str, shop: Path, rows: Path, tmp_path: Path) -> None:
    with ray_engine(address) as engine, pytest.raises(ClusterError) as told:
        build(shop, rows, tmp_path / "table", engine=replace(engine, answer=killed.fails), only=["user_views_7d"])
    assert "Ray gave up: ZeroDivisionError" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_cluster_of_its_own_is_started_and_stopped(
    shop: Path, rows: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    arguments = ("table", "build", shop, "--rows", rows, "--only", "user_views_7d", "--json")
    there = recsys(capfd, *arguments, "-o", tmp_path / "there").report
    done = recsys(capfd, *arguments, "-o", tmp_path / "ray", "--engine", "ray", "--ray-workers", 2)
    assert (done.code, done.err) == (0, "")
    assert done.report["table_id"] == there["table_id"]
    assert files(tmp_path / "ray") == files(tmp_path / "there")
    import ray

    assert not ray.is_initialized()
