"""Names and row order tell a recommender nothing: renamed and shuffled, a shop gives the same figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import BaseModel

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.retrieval.factors import FactorRecommender
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.types import Candidates, Mask, PositionHistories, Positions, Recommender
from tests.shops import write_shop
from training.evaluate.measured import means
from training.factors import FactorConfig
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig
from training.metric_log import Silent
from training.popularity import PopularityConfig
from training.stage import find_stage
from training.two_tower.config import TwoTowerSettings

SEEDS = range(3)
METRICS = ("ndcg@10", "recall@20")
SIGMAS = 4.0
LEAST = 0.004
"""What a near tie that is rounded the other way may move a mean over some 100 users."""
TINY = TwoTowerSettings(
    text=False,
    width=16,
    blocks=1,
    epochs=7,
    patience=0,
    length=20,
    batch_size=32,
    negatives=64,
    learning_rate=1e-2,
    precision="fp32",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("invariance")


@pytest.fixture(scope="module")
def shop(place: Path) -> dict[str, pl.DataFrame]:
    """Products, users and events of a sample shop; no searches, which no recommender reads."""
    write_sample(place / "shop", products=120, users=300, seed=3)
    tables = {name: pl.read_parquet(place / "shop" / f"{name}.parquet") for name in ("products", "users", "events")}
    return tables | {"events": tables["events"].filter(pl.col("event_type").is_in(["view", "add_to_cart", "purchase"]))}


def renamed(tables: dict[str, pl.DataFrame], *, seed: int) -> dict[str, pl.DataFrame]:
    """The tables with the ids of products and of users exchanged among themselves, and all rows in another order."""
    generator = np.random.default_rng(seed)
    other = {}
    for table, column in (("products", "product_id"), ("users", "user_id")):
        ids = tables[table][column].to_list()
        other[column] = dict(zip(ids, generator.permutation(ids).tolist(), strict=True))
    return {
        name: frame[generator.permutation(frame.height)].with_columns(
            pl.col(column).replace(names) for column, names in other.items() if column in frame.columns
        )
        for name, frame in tables.items()
    }


@pytest.fixture(scope="module")
def snapshots(shop: dict[str, pl.DataFrame], place: Path) -> list[Snapshot]:
    """The shop as it is, and renamed."""
    versions = [shop, renamed(shop, seed=0)]
    return [
        build_snapshot(write_shop(place / f"shop{number}", tables, toml=""), out=place / f"snapshot{number}")
        for number, tables in enumerate(versions)
    ]


def load(name: str, folder: Path, snapshot: Snapshot) -> Recommender:
    catalogue = snapshot.catalogue()
    if name == "two-tower":
        return TwoTowerRecommender.load(folder, catalogue=catalogue, text=None)
    loaders = {"als": FactorRecommender, "item-knn": ItemKnnRecommender, "popularity": PopularityRecommender}
    return loaders[name].load(folder, catalogue=catalogue)  # type: ignore[attr-defined,no-any-return]


def trained(name: str, snapshot: Snapshot, config: BaseModel, place: Path) -> dict[str, float]:
    """The test figures of a stage that was learned on the training part."""
    find_stage(name).train(
        snapshot,
        config=config,
        folder=place / "component",
        work=place / "work",
        run=Silent(),
        base=None,
        start=None,
        refit=False,
    )
    holdout = Holdout.read(snapshot, catalogue=snapshot.catalogue(), part="test")
    found = means(holdout.score(load(name, place / "component", snapshot)))
    return {metric: found[metric] or 0.0 for metric in METRICS}


def test_the_renamed_shop_is_the_same_shop(snapshots: list[Snapshot]) -> None:
    first, second = snapshots
    assert first.manifest.snapshot_id != second.manifest.snapshot_id
    assert first.interactions().height == second.interactions().height
    holdouts = [Holdout.read(one, catalogue=one.catalogue(), part="test") for one in snapshots]
    sizes = [sorted(map(len, holdout.relevant)) for holdout in holdouts]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) > 60


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("popularity", PopularityConfig(half_life_days=0.0)),
        ("item-knn", ItemKnnConfig(weighting="cosine")),
        ("item-knn", ItemKnnConfig(weighting="bm25")),
    ],
)
def test_counting_gives_the_same_figures(
    name: str, config: BaseModel, snapshots: list[Snapshot], tmp_path: Path
) -> None:
    own, other = (trained(name, one, config, tmp_path / str(row)) for row, one in enumerate(snapshots))
    assert other == pytest.approx(own, abs=LEAST)


@pytest.mark.parametrize(("name", "config"), [("als", FactorConfig(factors=8, iterations=5)), ("two-tower", TINY)])
def test_learning_gives_the_same_figures_within_seed_noise(
    name: str, config: BaseModel, snapshots: list[Snapshot], tmp_path: Path
) -> None:
    """Other ids meet other random numbers, as under another seed; so the spread of seeds is the yardstick."""
    first, second = snapshots
    own = [trained(name, first, config.model_copy(update={"seed": seed}), tmp_path / str(seed)) for seed in SEEDS]
    other = trained(name, second, config.model_copy(update={"seed": 0}), tmp_path / "renamed")
    chance = 20 / len(first.catalogue())
    assert min(row["recall@20"] for row in own) > 1.5 * chance, "what learned nothing is the same whatever the names"
    for metric in METRICS:
        values = np.array([row[metric] for row in own])
        noise = values.std(ddof=1) * np.sqrt(1 + 1 / len(values))
        assert abs(other[metric] - values.mean()) <= SIGMAS * noise + LEAST, (metric, values, other[metric])


@dataclass(frozen=True)
class ById:
    """Ranks by the order of the ids alone; `level` gives all the same score instead."""

    products: int
    level: bool = False
    name: str = "by id"

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The first k ids for everyone."""
        best = np.arange(min(k, self.products))
        scores = np.zeros(len(best)) if self.level else -best.astype(np.float64)
        return [Candidates(best, scores.astype(np.float32), self.name) for _ in range(len(histories))]


@pytest.mark.parametrize("k", [10, 20, 60])
def test_the_order_of_ids_scores_at_chance(k: int, snapshots: list[Snapshot]) -> None:
    """The first k ids are k of N products drawn without replacement, if ids tell nothing.

    Mean recall is the sum over these k of what each product brings: w = the mean over users of its share in what they
    got. So it is k / N in the mean, with the variance k (N - k) / (N (N - 1)) * sum of (w - mean w)^2.
    """
    for snapshot in snapshots:
        catalogue = snapshot.catalogue()
        holdout = Holdout.read(snapshot, catalogue=catalogue, part="test", repeats=True)
        products, users = len(catalogue), len(holdout.relevant)
        worth = np.zeros(products)
        for row in holdout.relevant:
            worth[row] += 1.0 / len(row) / users
        assert worth.sum() == pytest.approx(1.0)
        spread = np.sqrt(k * (products - k) / products / (products - 1) * ((worth - 1 / products) ** 2).sum())
        found = means(holdout.score(ById(products), cuts=(k,)))[f"recall@{k}"]
        assert found is not None
        assert abs(found - k / products) < 3 * spread
        assert found == pytest.approx(worth[:k].sum())


def test_equal_scores_for_all_are_exactly_chance(snapshots: list[Snapshot]) -> None:
    """Ties are averaged: whatever the ids, each product stands among the first k with the chance k / N."""
    for snapshot in snapshots:
        products = len(snapshot.catalogue())
        holdout = Holdout.read(snapshot, catalogue=snapshot.catalogue(), part="test", repeats=True)
        found = holdout.score(ById(products, level=True), cuts=(10,))["recall@10"]
        np.testing.assert_allclose(found, 10 / products)
