"""Bought together, repeat, trending and popularity by category: what is counted, against plain counts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.catalogue import Catalogue
from recsys.errors import NothingToLearnError, RecsysError
from recsys.retrieval.category_popularity import CategoryPopularityRecommender
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.repeat import RepeatRecommender
from recsys.testing.recommender import check_recommender
from recsys.types import Recommender
from tests.command import recsys
from tests.shops import small_tables, write_shop
from training.bought_together import BoughtTogetherConfig, read_baskets, related
from training.counted import until
from training.holdout import Holdout
from training.metric_log import Silent
from training.repeat import drawn, intervals, purchase_days
from training.stage import find_stage
from training.trending import TrendingConfig, growth

START = datetime(2025, 1, 1, tzinfo=UTC)
NAMES = ("bought-together", "repeat", "trending", "category-popularity")


def bought(rows: Sequence[tuple[str | None, str, float]], **more: Sequence[str | None]) -> pl.DataFrame:
    """Purchases of (user, product, day), with further columns."""
    empty: dict[str, Sequence[str | None]] = {name: [None] * len(rows) for name in ("order_id", "session_id")}
    frame = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "product_id": [product for _, product, _ in rows],
            "timestamp": [START + timedelta(days=day) for *_, day in rows],
            "event_type": ["purchase"] * len(rows),
            **(empty | more),
        }
    )
    return frame.cast({"user_id": pl.String, "order_id": pl.String, "session_id": pl.String})


def load(name: str, folder: Path, catalogue: Catalogue) -> Recommender:
    if name == "repeat":
        return RepeatRecommender.load(folder, catalogue=catalogue)
    if name == "category-popularity":
        return CategoryPopularityRecommender.load(folder, catalogue=catalogue)
    if name == "trending":
        return PopularityRecommender.load(folder, catalogue=catalogue, name=name)
    return ItemKnnRecommender.load(folder, catalogue=catalogue)


@pytest.mark.parametrize("name", NAMES)
def test_stages_write_components_that_hold_the_protocol(name: str, orders_snapshot: Snapshot, tmp_path: Path) -> None:
    stage = find_stage(name)
    info = stage.train(
        orders_snapshot,
        config=stage.config_type(),
        folder=tmp_path / "component",
        work=tmp_path / "work",
        run=Silent(),
        base=None,
        start=None,
        refit=True,
    )
    assert (info.name, info.parts) == (stage.component, ["train", "validation"])
    assert {"validation/ndcg@10", "validation/repeats.ndcg@10"} <= set(info.metrics)
    assert stage.config_type.model_validate(info.config).model_dump() == info.config
    catalogue = orders_snapshot.catalogue()
    recommender = load(name, tmp_path / "component", catalogue)
    assert recommender.name == name
    histories = Holdout.read(orders_snapshot, catalogue=catalogue, part="test").trial.histories
    check_recommender(recommender, histories=histories, catalogue=len(catalogue), personal=name != "trending")
    assert not list((tmp_path / "component").glob("*.pkl"))


@pytest.mark.parametrize("name", ["repeat", "trending"])
def test_a_shop_without_a_calendar_is_refused_by_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml='timestamps = "order"\n')
    snapshot = build_snapshot(shop, out=tmp_path / "snapshot")
    done = recsys(capsys, "train", name, snapshot.path)
    assert done.code == 1
    assert f"{name} for a shop whose timestamps are an order" in done.err
    assert "Traceback" not in done.err


def test_a_shop_without_orders_or_categories_is_told_so(tmp_path: Path) -> None:
    tables = small_tables()
    views = tables["events"].with_columns(event_type=pl.lit("view"))
    bare = tables | {"products": tables["products"].drop("category"), "events": views}
    snapshot = build_snapshot(write_shop(tmp_path / "shop", bare), out=tmp_path / "snapshot", split="time")
    told = {"bought-together": "two products", "category-popularity": "category", "repeat": "on two days"}
    for name, words in told.items():
        stage = find_stage(name)
        with pytest.raises(NothingToLearnError, match=words) as caught:
            stage.train(
                snapshot,
                config=stage.config_type(),
                folder=tmp_path / name,
                work=tmp_path / "work",
                run=Silent(),
                base=None,
                start=None,
                refit=True,
            )
        assert isinstance(caught.value, RecsysError)
        assert name in caught.value.action


def test_an_order_is_an_order_id_else_a_session_else_a_users_moment() -> None:
    rows = [("u", "a", 1.0), ("u", "b", 2.0), (None, "a", 3.0), (None, "c", 3.0), ("v", "b", 4.0), ("v", "c", 4.0)]
    frame = bought(
        [*rows, (None, "d", 5.0)],
        order_id=["1", "1", None, None, None, None, None],
        session_id=[None, None, "s", "s", None, None, None],
    )
    found = read_baskets(frame, largest=10)
    assert found is not None
    assert found.product_ids.to_list() == ["a", "b", "c"]
    held = {tuple(np.flatnonzero(column)) for column in found.matrix.toarray().T}
    assert held == {(0, 1), (0, 2), (1, 2)}
    assert read_baskets(frame.head(1), largest=10) is None
    assert read_baskets(frame, largest=1) is None


@pytest.mark.parametrize("measure", ["cosine", "lift"])
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_bought_together_equals_a_plain_count(measure: str, power: float) -> None:
    generator = np.random.default_rng(0)
    orders = [sorted(generator.choice(8, generator.integers(1, 5), replace=False).tolist()) for _ in range(40)]
    rows = [(f"u{number}", f"p{product}", 0.0) for number, order in enumerate(orders) for product in order]
    baskets = read_baskets(bought(rows), largest=10)
    assert baskets is not None
    config = BoughtTogetherConfig(measure=measure, size_power=power, shrink=3.0, neighbours=8)  # type: ignore[arg-type]
    found = {(row, other): score for row, other, score in related(baskets, config=config).iter_rows()}
    weight = {number: len(order) ** -power for number, order in enumerate(orders)}
    single = {p: sum(weight[n] for n, order in enumerate(orders) if p in order) for p in range(8)}
    for one, other in combinations(range(8), 2):
        shared = [number for number, order in enumerate(orders) if one in order and other in order]
        both = sum(weight[number] for number in shared)
        chance = single[one] * single[other]
        score = both / chance**0.5 if measure == "cosine" else both * sum(weight.values()) / chance
        score *= len(shared) / (len(shared) + 3.0)
        assert found.get((one, other), 0.0) == pytest.approx(score, rel=1e-5)
        assert found.get((other, one), 0.0) == pytest.approx(score, rel=1e-5)
    assert all(row != other for row, other in found)


def test_only_the_nearest_are_kept_best_first() -> None:
    rows = [(f"u{n}", product, 0.0) for n, order in enumerate(["ab", "ab", "ac"]) for product in order]
    baskets = read_baskets(bought(rows), largest=10)
    assert baskets is not None
    found = related(baskets, config=BoughtTogetherConfig(neighbours=1, size_power=0.0))
    assert found.select("row", "neighbour").rows() == [(0, 1), (1, 0), (2, 0)]


def test_intervals_by_hand() -> None:
    """u buys tea on days 0, 10 and 30; v buys tea once and salt on days 5 and 9: gaps 10, 20 and 4."""
    rows = [("u", "tea", 0.0), ("u", "tea", 0.2), ("u", "tea", 10.0), ("u", "tea", 30.0)]
    rows += [("v", "tea", 1.0), ("v", "salt", 5.0), ("v", "salt", 9.0), ("v", "oil", 2.0)]
    visits = purchase_days(bought(rows))
    assert visits.height == 7
    products = pl.DataFrame({"product_id": ["oil", "salt", "tea"], "category": [None, "Food", "Food"]})
    found = intervals(visits, categories=products, shrink=2.0)
    assert found is not None
    logs = np.log([10.0, 20.0, 4.0])
    assert found.log_interval == pytest.approx(logs.mean())
    assert found.rate == pytest.approx(3 / 7)
    food = (logs.sum() + 2 * logs.mean()) / 5
    assert found.categories.rows() == [("Food", pytest.approx(food), pytest.approx((3 + 2 * 3 / 7) / (6 + 2)))]
    by_product = {name: rest for name, *rest in found.products.select("product_id", "log_interval", "rate").iter_rows()}
    assert by_product["salt"][0] == pytest.approx((np.log(4.0) + 2 * food) / 3)
    assert by_product["tea"][0] == pytest.approx((np.log(200.0) + 2 * food) / 4)
    assert by_product["oil"] == [pytest.approx(logs.mean()), pytest.approx((2 * 3 / 7) / 3)]
    residuals = [np.log(10.0) - by_product["tea"][0], np.log(20.0) - by_product["tea"][0]]
    residuals.append(np.log(4.0) - by_product["salt"][0])
    assert found.spread == pytest.approx(np.sqrt((np.square(residuals).sum() + 2) / 5))
    assert intervals(visits.with_columns(gap=None).cast({"gap": pl.Float64}), categories=products, shrink=2.0) is None


def test_little_is_drawn_far_and_much_stays() -> None:
    rows = pl.DataFrame({"kind": ["a"] + ["b"] * 1000, "gap": [3.0] * 1001})
    found = drawn(rows, by="kind", shrink=9.0, mean=1.0, rate=0.5).sort("kind")
    assert found["log_interval"].to_list() == pytest.approx([(3 + 9) / 10, (3000 + 9) / 1009])


def test_growth_by_hand() -> None:
    """Ten days of present and ten of past; the shop grows from 6 to 9 askers, b and c (Tea) from 3 to 8."""
    present = [(f"n{n}", product, 15.0) for n, product in enumerate("abbbbcccc")]
    past = [(f"o{n}", product, 5.0) for n, product in enumerate("aaabbc")]
    frame = bought([*present, *past, ("n1", "b", 16.0), ("x", "a", -9.0)])
    products = pl.DataFrame({"product_id": ["a", "b", "c"], "category": [None, "Tea", "Tea"]})
    config = TrendingConfig(days=10, past_days=10, shrink=4.0)
    found = growth(frame, categories=products, now=START + timedelta(days=20), config=config)
    assert found is not None
    by_product = dict(found.iter_rows())
    tea = (8 + 4) / (3 * 1.5 + 4)
    assert by_product["a"] == pytest.approx((1 + 4) / (3 * 1.5 + 4))
    assert by_product["b"] == pytest.approx((4 + 4 * tea) / (2 * 1.5 + 4))
    assert by_product["c"] == pytest.approx((4 + 4 * tea) / (1 * 1.5 + 4))
    assert growth(frame, categories=products.drop("category"), now=START + timedelta(days=90), config=config) is None


def test_until_is_where_the_parts_end(small_snapshot: Snapshot, ordered_snapshot: Snapshot) -> None:
    split, watermark = small_snapshot.manifest.split, small_snapshot.manifest.watermark
    assert split.validation_after is not None
    assert split.test_after is not None
    assert watermark is not None
    ends = [until(small_snapshot, parts=parts) for parts in (["train"], ["train", "validation"], ["test"])]
    wanted = [split.validation_after, split.test_after, watermark]
    assert ends == [int(end.timestamp() * 1_000_000) for end in wanted]
    newest = ordered_snapshot.interactions("train")["timestamp"].dt.timestamp("us").max()
    assert until(ordered_snapshot, parts=["train"]) == newest
