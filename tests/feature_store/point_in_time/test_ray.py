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
from feature_store.point_in_time.ray import RayData, ray_engine
from feature_store.point_in_time.table import Built, build_table
from feature_store.point_in_time.task import Engine
from recsys.errors import ClusterError
from recsys.settings import load_settings
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
def engine() -> Iterator[RayData]:
    """A cluster of three nodes on this machine, of which the command's own has no worker, the others two and one."""
    from ray.cluster_utils import Cluster

    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        cluster = Cluster()
        try:
            for workers in (0, 2, 1):
                cluster.add_node(num_cpus=workers, object_store_memory=STORE, include_dashboard=False)
            with ray_engine(cluster.address) as connected:
                yield connected
        finally:
            cluster.shutdown()


@pytest.fixture
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "RECORDS", 1000)


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
        patch.setattr(task, "RECORDS", 1000)
        built = build(shop, rows, tmp_path_factory.mktemp("local") / "table", engine=None)
    assert built.manifest.left_out == {}
    return files(built.folder)


def build(shop: Path, rows: Path, out: Path, *, engine: Engine | None, **options: Any) -> Built:
    return build_table(shop, rows=rows, out=out, as_of=None, settings=load_settings(), engine=engine, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("victim", ["worker", "node"])
def test_what_is_lost_in_the_middle_is_computed_again(
    victim: killed.Victim, engine: RayData, shop: Path, rows: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()
    built = build(
        shop, rows, tmp_path / "table", engine=replace(engine, answer=partial(killed.dies_once, attempts, victim))
    )
    assert files(built.folder) == local
    made = [file.name.split(".") for file in attempts.glob("*.attempt")]
    tries = Counter(name for name, *_ in made)
    lost, parent = (attempts / "killed").read_text().split()
    assert parent == "raylet", "it is what makes a node"
    assert tries[lost] >= 2
    assert len({pid for name, pid, *_ in made if name == lost}) >= 2, "the dead did not try again"
    assert len(tries) > 20, "one file for each partition"


def test_a_partition_that_kills_every_worker_ends_the_build_in_one_line(
    engine: RayData, shop: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.point_in_time.ray.RETRIES", 1)
    monkeypatch.setattr(task, "RECORDS", 1 << 20)
    dying = replace(engine, answer=partial(killed.dies_always, tmp_path))
    with pytest.raises(ClusterError, match=r"\ARay gave up: WorkerCrashedError: .*\Z"):
        build(shop, rows, tmp_path / "table", engine=dying, only=["user_views_7d"])
    assert len(list(tmp_path.glob("*.attempt"))) == 2
    assert not (tmp_path / "table").exists()


def test_what_a_worker_raises_is_one_line(engine: RayData, shop: Path, rows: Path, tmp_path: Path) -> None:
    failing = replace(engine, answer=killed.fails)
    with pytest.raises(ClusterError, match=r"\ARay gave up: ZeroDivisionError: \d+ rows; .*\Z"):
        build(shop, rows, tmp_path / "table", engine=failing, only=["user_views_7d"])


def test_workers_with_other_code_are_refused(
    engine: RayData, shop: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.point_in_time.ray.versions", lambda: "shoprank of tomorrow")
    with pytest.raises(ClusterError, match=r"by another version of the code; expected .*shoprank of tomorrow"):
        build(shop, rows, tmp_path / "table", engine=engine, only=["user_views_7d"])
