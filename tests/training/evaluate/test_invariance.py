"""Names and row order tell a recommender nothing: renamed and shuffled, a shop gives the same figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
import polars as pl
import pytest
from pydantic import BaseModel

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.recommend_blending import find_blends
from recsys.engine.recommenders import load_recommender, load_recommenders, own_histories
from recsys.ranking.candidate_blender import EXCLUDED
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.types import Candidates, Mask, PositionHistories, Positions, Recommender
from tests.bundles import bundle_of
from tests.shops import write_shop
from training.bought_together import BoughtTogetherConfig
from training.category_popularity import CategoryPopularityConfig
from training.evaluate.measured import means
from training.factors import BprConfig, FactorConfig
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig
from training.metric_log import Silent
from training.popularity import PopularityConfig
from training.recommend_blender.config import RecommendBlenderConfig
from training.repeat import RepeatConfig
from training.stage import find_stage
from training.trending import TrendingConfig
from training.two_tower.config import TwoTowerSettings
from training.two_tower.train import train_component

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
EVERYTHING = {"text": True, "features": True, "calendar": True, "clock": True, "user_attributes": True}
BLEND = RecommendBlenderConfig(candidates=20, rounds=(30,), user_folds=2, rows_in_leaf=20)


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


def learned(
    name: str, snapshot: Snapshot, config: BaseModel, place: Path, *, base: Bundle | None = None
) -> tuple[Path, ComponentInfo]:
    """The component of a stage that was learned on the training part."""
    stage = find_stage(name)
    folder = place / stage.component
    info = stage.train(
        snapshot, config=config, folder=folder, work=place / "work", run=Silent(), base=base, start=None, refit=False
    )
    return folder, info


def alone(name: str, snapshot: Snapshot, config: BaseModel, place: Path) -> Recommender:
    """A stage that needs no other."""
    folder, info = learned(name, snapshot, config, place)
    return load_recommender(info.name, folder, catalogue=snapshot.catalogue())


def by_ids(snapshot: Snapshot, config: BaseModel, place: Path) -> Recommender:
    """A two-tower that knows ids alone."""
    folder, _ = learned("two-tower", snapshot, config, place)
    return TwoTowerRecommender.load(folder, catalogue=snapshot.catalogue())


def by_everything(snapshot: Snapshot, config: BaseModel, place: Path) -> Recommender:
    """A two-tower that also knows texts, features, calendar, clock and users; random vectors stand for the titles."""
    assert isinstance(config, TwoTowerSettings)
    catalogue = snapshot.catalogue()
    titles = catalogue.column("title").to_list()
    text = np.stack([np.random.default_rng(crc32(title.encode())).standard_normal(16) for title in titles])
    train_component(
        snapshot,
        catalogue=catalogue,
        text=text.astype(np.float32),
        config=config,
        folder=place / "component",
        work=place / "work",
        run=Silent(),
        refit=False,
    )
    return TwoTowerRecommender.load(place / "component", catalogue=catalogue, text=text.astype(np.float32))


def blended(snapshot: Snapshot, config: BaseModel, place: Path) -> Recommender:
    """The blend of what is popular, item-kNN, and what is bought again."""
    names = {"popularity": PopularityConfig(half_life_days=0.0), "item-knn": ItemKnnConfig(), "repeat": RepeatConfig()}
    parts = [learned(name, snapshot, settings, place / "sources") for name, settings in names.items()]
    components = {info.name: (folder, info) for folder, info in parts}
    shop = snapshot.manifest.shop
    base = bundle_of(place / "base", RECOMMENDER, components, shop=shop)
    folder, info = learned("recommend-blender", snapshot, config, place, base=base)
    bundle = bundle_of(place / "bundle", RECOMMENDER, components | {info.name: (folder, info)}, shop=shop)
    catalogue = snapshot.catalogue()
    known = load_recommenders(bundle, catalogue, vectors=lambda: np.zeros((0, 0), dtype=np.float32))
    blends, why = find_blends(bundle, catalogue, recommenders=known | own_histories())
    assert why == ""
    return blends[EXCLUDED]


def scored(recommender: Recommender, snapshot: Snapshot, *, repeats: bool = False) -> dict[str, float]:
    """The test figures of a recommender."""
    holdout = Holdout.read(snapshot, catalogue=snapshot.catalogue(), part="test", repeats=repeats)
    found = means(holdout.score(recommender))
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
        ("bought-together", BoughtTogetherConfig()),
        ("category-popularity", CategoryPopularityConfig()),
        ("trending", TrendingConfig()),
        ("repeat", RepeatConfig()),
    ],
)
def test_counting_gives_the_same_figures(
    name: str, config: BaseModel, snapshots: list[Snapshot], tmp_path: Path
) -> None:
    own, other = (
        scored(alone(name, one, config, tmp_path / str(row)), one, repeats=name == "repeat")
        for row, one in enumerate(snapshots)
    )
    assert min(own.values()) > 0, "what finds nothing is the same whatever the names"
    assert other == pytest.approx(own, abs=LEAST)


@pytest.mark.parametrize(
    ("train", "config"),
    [
        pytest.param(partial(alone, "als"), FactorConfig(factors=8, iterations=5), id="als"),
        pytest.param(partial(alone, "bpr"), BprConfig(factors=8, iterations=60), id="bpr"),
        pytest.param(by_ids, TINY, id="two-tower"),
        pytest.param(by_everything, TINY.model_copy(update=EVERYTHING), id="two-tower with all that it may read"),
        pytest.param(blended, BLEND, id="blend"),
    ],
)
def test_learning_gives_the_same_figures_within_seed_noise(
    train: Callable[[Snapshot, BaseModel, Path], Recommender],
    config: BaseModel,
    snapshots: list[Snapshot],
    tmp_path: Path,
) -> None:
    """Other ids meet other random numbers, as under another seed; so the spread of seeds is the yardstick."""
    first, second = snapshots
    own = [
        scored(train(first, config.model_copy(update={"seed": seed}), tmp_path / str(seed)), first) for seed in SEEDS
    ]
    other = scored(train(second, config.model_copy(update={"seed": 0}), tmp_path / "renamed"), second)
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
