"""Every recommender against the protocol, and each against a plain computation of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import BundleError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.retrieval.factors import FactorRecommender, FactorSettings
from recsys.retrieval.item_knn import ItemKnnRecommender, ItemKnnSettings, read_history
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.testing.recommender import check_recommender, histories_of
from recsys.types import PositionHistories, Recommender

PRODUCTS = 40
LISTS = [[1, 5, 5, 9], [], [30, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [39], [0, 1]]


def catalogue(ids: list[str]) -> Catalogue:
    frame = pl.DataFrame({"product_id": sorted(ids), "title": [f"product {name}" for name in sorted(ids)]})
    return Catalogue(frame.with_row_index("position").cast({"position": pl.Int64}))


IDS = [f"p{number:02d}" for number in range(PRODUCTS)]


def two_tower() -> TwoTowerRecommender:
    torch.manual_seed(0)
    network = TwoTower(TwoTowerConfig(rows=PRODUCTS + FIRST, width=8, length=5, heads=2))
    vectors = np.random.default_rng(0).normal(size=(PRODUCTS, 8)).astype(np.float32)
    return TwoTowerRecommender(network, vectors=vectors, known=np.ones(PRODUCTS, dtype=np.bool_))


def factors(*, biases: bool = False) -> FactorRecommender:
    generator = np.random.default_rng(1)
    return FactorRecommender(
        factors=generator.normal(size=(PRODUCTS, 6)).astype(np.float32),
        known=np.ones(PRODUCTS, dtype=np.bool_),
        biases=generator.normal(size=PRODUCTS).astype(np.float32) if biases else None,
        settings=FactorSettings(name="als", alpha=3.0, regularization=0.1),
    )


def item_knn(**changes: float) -> ItemKnnRecommender:
    generator = np.random.default_rng(2)
    sizes = generator.integers(1, 6, PRODUCTS)
    return ItemKnnRecommender(
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        neighbours=np.concatenate([generator.choice(PRODUCTS, size, replace=False) for size in sizes]).astype(np.int64),
        scores=generator.random(int(sizes.sum())).astype(np.float32) + np.float32(0.1),
        settings=ItemKnnSettings(**changes),  # type: ignore[arg-type]
    )


def popularity() -> PopularityRecommender:
    scores = np.random.default_rng(3).integers(0, 4, PRODUCTS).astype(np.float32)
    return PopularityRecommender({"": scores, "loyal": scores[::-1].copy()})


PERSONAL: dict[str, Callable[[], Recommender]] = {
    "two-tower": two_tower,
    "als": factors,
    "bpr": lambda: factors(biases=True),
    "item-knn": item_knn,
    "by frequency": lambda: OwnHistoryRecommender(by="frequency"),
    "by recency": lambda: OwnHistoryRecommender(by="recency"),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", PERSONAL)
def test_personal_recommenders_hold_the_protocol(name: str) -> None:
    check_recommender(PERSONAL[name](), histories=histories_of(LISTS), catalogue=PRODUCTS)


def test_popularity_holds_the_protocol() -> None:
    check_recommender(popularity(), histories=histories_of(LISTS), catalogue=PRODUCTS, personal=False)


@pytest.mark.parametrize("name", PERSONAL)
@given(order=st.permutations(range(len(LISTS))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_users_changes_no_list(name: str, order: list[int]) -> None:
    recommender = PERSONAL[name]()
    straight = recommender.recommend(histories_of(LISTS), k=7)
    turned = recommender.recommend(histories_of([LISTS[user] for user in order]), k=7)
    for place, user in enumerate(order):
        np.testing.assert_array_equal(turned[place].positions, straight[user].positions)
        np.testing.assert_allclose(turned[place].scores, straight[user].scores, rtol=1e-5, atol=1e-6)


def test_two_tower_reads_the_latest_events_alone() -> None:
    recommender = two_tower()
    long, short = [3, 3, 20, 7, 6, 5, 4, 3], [7, 6, 5, 4, 3]
    first, second = recommender.recommend(histories_of([long, short]), k=5)
    np.testing.assert_array_equal(first.positions, second.positions)


def test_two_tower_scores_are_inner_products() -> None:
    recommender = two_tower()
    histories = histories_of(LISTS)
    users, vectors = (
        recommender.encode_users(histories, users=np.array([0])),
        recommender.products.at(np.arange(PRODUCTS)),
    )
    found = recommender.recommend(histories, k=PRODUCTS)[0]
    np.testing.assert_allclose(found.scores, (users @ vectors.T)[0][found.positions], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text_width", [0, 3])
def test_a_two_tower_component_meets_another_catalogue(tmp_path: Path, text_width: int) -> None:
    """Vocabulary a, b, c; the catalogue has lost a and gained d, which only text can place."""
    torch.manual_seed(0)
    network = TwoTower(TwoTowerConfig(rows=3 + FIRST, width=4, heads=1, text_width=text_width)).eval()
    network.save(tmp_path)
    write_vocabulary(tmp_path, pl.Series(["a", "b", "c"]))
    text = np.eye(3, dtype=np.float32) if text_width else None
    loaded = TwoTowerRecommender.load(tmp_path, catalogue=catalogue(["b", "c", "d"]), text=text)
    with torch.inference_mode():
        own = network.encode_products(
            torch.tensor([3, 4]), torch.from_numpy(text[:2]) if text is not None else None
        ).numpy()
    np.testing.assert_allclose(loaded.products.at(np.arange(2)), own, rtol=1e-6)
    found = loaded.recommend(histories_of([[0]]), k=3)[0]
    assert (2 in found.positions) == (text_width > 0)
    if text_width:
        with pytest.raises(BundleError, match="no text vectors"):
            TwoTowerRecommender.load(tmp_path, catalogue=catalogue(["b"]))


def test_fold_in_solves_the_normal_equations() -> None:
    recommender = factors()
    vectors, reached = recommender.encode_users([np.array([1, 5, 9]), np.array([], dtype=np.int64)])
    assert reached.tolist() == [True, False]
    y, confidence = recommender.factors.astype(np.float64), np.ones(PRODUCTS)
    confidence[[1, 5, 9]] = 3.0
    wanted = np.zeros(PRODUCTS)
    wanted[[1, 5, 9]] = 1.0
    left = y.T @ np.diag(confidence) @ y + 0.1 * np.eye(6)
    np.testing.assert_allclose(vectors[0], np.linalg.solve(left, y.T @ (confidence * wanted)), rtol=1e-5, atol=1e-6)


def test_products_that_the_factors_never_saw_do_not_come(tmp_path: Path) -> None:
    np.save(tmp_path / "product_factors.npy", np.ones((2, 3), dtype=np.float32))
    write_vocabulary(tmp_path, pl.Series(["a", "b"]))
    settings_of = {"name": "als", "alpha": 1.0, "regularization": 0.1, "counts": False}
    (tmp_path / "factors.json").write_text(json.dumps(settings_of))
    loaded = FactorRecommender.load(tmp_path, catalogue=catalogue(["a", "b", "new"]))
    found = loaded.recommend(histories_of([[0], [2]]), k=3)
    assert found[0].positions.tolist() == [0, 1]
    assert not len(found[1].positions)


def test_item_knn_adds_up_the_neighbours() -> None:
    recommender = item_knn()
    similar = np.zeros((PRODUCTS, PRODUCTS))
    for row in range(PRODUCTS):
        part = slice(recommender.offsets[row], recommender.offsets[row + 1])
        similar[row, recommender.neighbours[part]] = recommender.scores[part]
    for own, found in zip(LISTS, recommender.recommend(histories_of(LISTS), k=PRODUCTS), strict=True):
        plain = similar[sorted(set(own))].sum(axis=0)
        np.testing.assert_allclose(found.scores, plain[found.positions], rtol=1e-5)
        assert set(found.positions.tolist()) == set(np.flatnonzero(plain).tolist())


def test_item_knn_reads_a_history_once_or_by_count_and_age() -> None:
    day = 86_400_000_000
    positions, timestamps = np.array([4, 2, 4]), np.array([0, 10 * day, 20 * day])
    own, weights = read_history(positions, timestamps, settings=ItemKnnSettings(half_life_days=10.0))
    assert own.tolist() == [2, 4]
    assert weights.tolist() == [0.5, 1.0]
    assert read_history(positions, timestamps, settings=ItemKnnSettings(counts=True))[1].tolist() == [1.0, 2.0]
    aged = ItemKnnSettings(counts=True, half_life_days=10.0)
    assert read_history(positions, timestamps, settings=aged)[1].tolist() == [0.5, 1.25]


def test_item_knn_drops_pairs_with_products_that_left(tmp_path: Path) -> None:
    pl.DataFrame({"row": [0, 0, 1, 2], "neighbour": [1, 2, 0, 0], "score": [0.5, 0.25, 0.5, 0.25]}).write_parquet(
        tmp_path / "neighbours.parquet"
    )
    write_vocabulary(tmp_path, pl.Series(["a", "b", "c"]))
    (tmp_path / "item_knn.json").write_text("{}")
    loaded = ItemKnnRecommender.load(tmp_path, catalogue=catalogue(["a", "c", "new"]))
    found = loaded.recommend(histories_of([[0], [2]]), k=5)
    assert found[0].positions.tolist() == [1]
    assert found[0].scores.tolist() == [0.25]
    assert not len(found[1].positions)


def test_popularity_knows_segments(tmp_path: Path) -> None:
    pl.DataFrame({"segment": ["", "", "loyal"], "product_id": ["a", "b", "b"], "score": [2.0, 1.0, 5.0]}).write_parquet(
        tmp_path / "popularity.parquet"
    )
    loaded = PopularityRecommender.load(tmp_path, catalogue=catalogue(["a", "b", "c"]))
    everyone, loyal, unknown = loaded.popular(["", "loyal", "nobody"], k=5)
    assert everyone.positions.tolist() == [0, 1]
    assert loyal.positions.tolist() == [1]
    assert not len(unknown.positions)
    hidden = loaded.popular(["", "loyal"], k=1, exclude=[np.array([0]), np.array([1])])
    assert [row.positions.tolist() for row in hidden] == [[1], []]


def test_own_history_by_frequency_and_by_recency() -> None:
    histories = PositionHistories(
        offsets=np.array([0, 5]),
        positions=np.array([7, 3, 7, 9, 3]),
        timestamps=np.array([1, 2, 3, 4, 4]),
        event_types=np.full(5, 6, dtype=np.int8),
    )
    assert OwnHistoryRecommender(by="frequency").recommend(histories, k=5)[0].positions.tolist() == [3, 7, 9]
    assert OwnHistoryRecommender(by="recency").recommend(histories, k=5)[0].positions.tolist() == [3, 9, 7]


@pytest.mark.parametrize("load", [TwoTowerRecommender.load, FactorRecommender.load, ItemKnnRecommender.load])
def test_an_empty_folder_is_one_clear_line(load: Callable[..., Recommender], tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        load(tmp_path, catalogue=catalogue(["a"]))
    assert "train" in caught.value.action
