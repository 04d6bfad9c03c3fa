"""Repeat purchases, popularity by category, what is trending and bought together: as they are served."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import BundleError
from recsys.retrieval.category_popularity import CategoryPopularityRecommender
from recsys.retrieval.each_user import moments
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.repeat import RepeatRecommender, RepeatSettings
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.testing.recommender import check_recommender, histories_of
from recsys.types import EVENT_CODES, PositionHistories, Recommender

DAY = 86_400_000_000
PRODUCTS = 30
LISTS = [[1, 5, 5, 9], [], [20, 2, 3, 4, 5, 6], [29], [0, 1]]


def catalogue(ids: str, categories: list[str | None] | None = None) -> Catalogue:
    frame = pl.DataFrame({"product_id": list(ids), "title": list(ids), "category": categories or [None] * len(ids)})
    return Catalogue(frame.with_row_index("position").cast({"position": pl.Int64, "category": pl.String}))


def purchases(*days: list[tuple[int, int]], event: str = "purchase", now: int | None = None) -> PositionHistories:
    """Histories of (position, day)."""
    events = [pair for user in days for pair in user]
    return PositionHistories(
        offsets=np.cumsum([0, *map(len, days)], dtype=np.int64),
        positions=np.array([position for position, _ in events], dtype=np.int64),
        timestamps=np.array([day * DAY for _, day in events], dtype=np.int64),
        event_types=np.full(len(events), EVENT_CODES[event], dtype=np.int8),
        now=None if now is None else now * DAY,
    )


def repeat(products: int = 3, *, interval: float = 10.0, **changes: float) -> RepeatRecommender:
    shop = {"until": 100 * DAY, "days": 100.0, "log_interval": np.log(interval), "rate": 0.5, "spread": 0.5}
    settings = RepeatSettings(**{**shop, "shrink": 4.0, **changes})  # type: ignore[arg-type]
    return RepeatRecommender(
        log_intervals=np.full(products, np.log(interval)), rates=np.full(products, 0.5), settings=settings
    )


def by_category() -> CategoryPopularityRecommender:
    sales = np.random.default_rng(0).integers(0, 5, PRODUCTS).astype(np.float32)
    categories = np.arange(PRODUCTS) % 4 - 1
    return CategoryPopularityRecommender(sales=sales, categories=categories, half_life_events=2.0)


@pytest.mark.parametrize("recommender", [repeat(PRODUCTS), by_category()], ids=["repeat", "category-popularity"])
def test_they_hold_the_protocol(recommender: Recommender) -> None:
    check_recommender(recommender, histories=histories_of(LISTS), catalogue=PRODUCTS)


def test_a_repeat_score_by_hand() -> None:
    """Bought on days 60 and 80: one gap of 20 days beside four purchases' worth of the usual 10; now is day 100."""
    (found,) = repeat().recommend(purchases([(1, 60), (1, 80)]), k=5)
    interval = (np.log(20.0) + 4 * np.log(10.0)) / 5
    rate = (1 + 4 * 0.5) / (2 + 4)
    distance = (np.log(20.0) - interval) / 0.5
    assert found.positions.tolist() == [1]
    assert found.scores[0] == pytest.approx(rate * np.exp(-(distance**2) / 2), rel=1e-6)


def test_a_repeat_score_peaks_when_the_interval_has_passed() -> None:
    scores = [
        repeat().recommend(purchases([(0, 50)], now=50 + passed), k=1)[0].scores[0]
        for passed in (1, 3, 6, 9, 10, 11, 15, 25, 50)
    ]
    assert int(np.argmax(scores)) == 4
    assert scores[:5] == sorted(scores[:5])
    assert scores[4:] == sorted(scores[4:], reverse=True)


def test_what_is_due_stands_above_what_was_just_bought() -> None:
    (found,) = repeat().recommend(purchases([(0, 99), (1, 90), (2, 60)]), k=5)
    assert found.positions.tolist() == [1, 2, 0]


def test_purchases_of_one_day_are_one_and_views_are_none() -> None:
    once, twice = (repeat().recommend(purchases([(1, 90)] * times), k=5)[0] for times in (1, 2))
    np.testing.assert_array_equal(once.scores, twice.scores)
    assert not len(repeat().recommend(purchases([(1, 90)], event="view"), k=5)[0].positions)


def test_what_was_bought_before_anything_was_learned_is_not_brought() -> None:
    """As of a session, whose order stands for its time."""
    old = PositionHistories(
        np.array([0, 1]), np.array([1]), np.array([5]), np.array([EVENT_CODES["purchase"]], dtype=np.int8)
    )
    assert not len(repeat(until=20_000 * DAY).recommend(old, k=5)[0].positions)


def test_now_is_what_the_caller_says_and_never_before_the_newest_event() -> None:
    users = [[(0, 10)], [], [(0, 30), (1, 120)]]
    assert (moments(purchases(*users), until=100 * DAY) // DAY).tolist() == [100, 100, 120]
    assert (moments(purchases(*users, now=110), until=100 * DAY) // DAY).tolist() == [110, 110, 120]
    assert (moments(purchases(*users, now=50), until=100 * DAY) // DAY).tolist() == [50, 50, 120]


def test_a_product_that_was_never_seen_has_its_categorys_interval(tmp_path: Path) -> None:
    settings = {"until": 0, "days": 9.0, "log_interval": 1.0, "rate": 0.1, "spread": 1.0, "shrink": 5.0}
    (tmp_path / "repeat.json").write_text(json.dumps(settings))
    pl.DataFrame({"product_id": ["b", "z"], "log_interval": [3.0, 9.0], "rate": [0.3, 0.9]}).write_parquet(
        tmp_path / "products.parquet"
    )
    pl.DataFrame({"category": ["Tea"], "log_interval": [2.0], "rate": [0.2]}).write_parquet(
        tmp_path / "categories.parquet"
    )
    found = RepeatRecommender.load(tmp_path, catalogue=catalogue("abc", ["Tea", "Tea", None]))
    assert found.log_intervals.tolist() == [2.0, 3.0, 1.0]
    assert found.rates.tolist() == [0.2, 0.3, 0.1]
    np.testing.assert_allclose(found.intervals, np.exp([2.0, 3.0, 1.0]))
    empty = RepeatRecommender.load(tmp_path, catalogue=catalogue(""))
    assert empty.log_intervals.shape == (0,)
    (tmp_path / "repeat.json").write_text("{}")
    with pytest.raises(BundleError, match="repeat purchases"):
        RepeatRecommender.load(tmp_path, catalogue=catalogue("abc"))


def test_popularity_by_category_by_hand() -> None:
    """Two events in category 0, the older counting half; sales inside it are 1 of 4 and 3 of 4."""
    found = CategoryPopularityRecommender(
        sales=np.array([1, 3, 8, 0, 5], dtype=np.float32),
        categories=np.array([0, 0, 1, 1, -1]),
        half_life_events=1.0,
    ).recommend(histories_of([[0, 2], [4]]), k=5)
    assert found[0].positions.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found[0].scores, [2 / 3, 0.25, 1 / 12], rtol=1e-6)
    assert not len(found[1].positions)


@given(history=st.lists(st.integers(0, PRODUCTS - 1), max_size=12), half_life=st.sampled_from([0.0, 1.0, 7.0]))
def test_popularity_by_category_is_the_product_of_two_chances(history: list[int], half_life: float) -> None:
    sales = np.random.default_rng(1).integers(0, 4, PRODUCTS).astype(np.float32)
    kinds = np.arange(PRODUCTS) % 3 - 1
    weights = [0.5 ** ((len(history) - 1 - n) / half_life) if half_life else 1.0 for n in range(len(history))]
    own = CategoryPopularityRecommender(sales=sales, categories=kinds, half_life_events=half_life)
    (found,) = own.recommend(histories_of([history]), k=PRODUCTS)
    met = {kind: sum(w for w, p in zip(weights, history, strict=True) if kinds[p] == kind) for kind in (0, 1)}
    total = sum(met.values())
    wanted = {
        product: met[int(kinds[product])] / total * sales[product] / sales[kinds == kinds[product]].sum()
        for product in range(PRODUCTS)
        if total and kinds[product] >= 0 and met[int(kinds[product])] and sales[product]
    }
    assert set(found.positions.tolist()) == set(wanted)
    np.testing.assert_allclose(found.scores, [wanted[p] for p in found.positions.tolist()], rtol=1e-5)


def test_categories_are_told_apart_by_the_top_of_their_path() -> None:
    own = catalogue("abcde", ["Home > Sofas", "Home > Lamps", None, "Office", "Home > Sofas > Blue"])
    assert own.numbers("category").tolist() == [1, 0, -1, 3, 2]
    assert own.numbers("category", depth=1).tolist() == [0, 0, -1, 1, 0]
    assert own.numbers("category", depth=2).tolist() == [1, 0, -1, 2, 1]
    assert own.numbers("brand").tolist() == [-1] * 5


def test_components_of_one_format_keep_their_names(tmp_path: Path) -> None:
    pl.DataFrame({"segment": ["", ""], "product_id": ["a", "c"], "score": [1.5, 2.0]}).write_parquet(
        tmp_path / "trending.parquet"
    )
    trending = PopularityRecommender.load(tmp_path, catalogue=catalogue("abc"), name="trending")
    (found,) = trending.recommend(histories_of([[1]]), k=5)
    assert (found.source, found.positions.tolist()) == ("trending", [2, 0])
    write_vocabulary(tmp_path, pl.Series(["a", "b"]))
    pl.DataFrame({"row": [0], "neighbour": [1], "score": [0.5]}).write_parquet(tmp_path / "neighbours.parquet")
    (tmp_path / "item_knn.json").write_text(json.dumps({"name": "bought-together"}))
    together = ItemKnnRecommender.load(tmp_path, catalogue=catalogue("abc"))
    (found,) = together.recommend(histories_of([[0]]), k=5)
    assert (found.source, found.positions.tolist()) == ("bought-together", [1])
