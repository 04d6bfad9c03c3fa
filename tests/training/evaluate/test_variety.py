"""What lists are like, on a shop small enough to count by hand; and how old what was bought is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.catalogue import Catalogue
from recsys.engine.recommend import ByHistory, ByVectors
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.own_history import OwnHistoryRecommender
from tests.shops import write_shop
from training.evaluate import variety as module
from training.evaluate.ages import LABELS, slice_ages
from training.evaluate.variety import Yardsticks, list_metrics, overall_metrics, path_numbers, vector_variety

START = datetime(2024, 1, 1, tzinfo=UTC)
PATHS = ["Home > Sofas", "Home > Lamps", None, " Garden >  Lamps ", "Home", ""]
LISTS = np.array([[0, 1, 3], [0, 4, -1], [2, 5, -1], [-1, -1, -1]])


def catalogue(paths: list[str | None] = PATHS) -> Catalogue:
    rows = {"position": range(len(paths)), "product_id": [f"p{row}" for row in range(len(paths))], "category": paths}
    return Catalogue(pl.DataFrame(rows, schema_overrides={"position": pl.Int64, "category": pl.String}))


def yardsticks(index: DenseIndex | None = None, paths: list[str | None] = PATHS) -> Yardsticks:
    near = [ByHistory(OwnHistoryRecommender(by="recency")), *([ByVectors("two-tower", index)] if index else [])]
    return Yardsticks.of(
        catalogue(paths),
        known=(np.array([7, 1, 0, 2, 1, 1]), 8),
        histories=[np.array([0, 1]), np.array([0]), np.zeros(0, dtype=np.int64)],
        neighbours=near,
    )


def test_paths_are_numbered_by_how_they_begin() -> None:
    numbers = path_numbers(catalogue())
    assert (numbers[[2, 5]] == -1).all()
    assert numbers[0, 0] == numbers[1, 0] == numbers[4, 0] != numbers[3, 0]
    assert numbers[4, 1] == -1
    assert len({*numbers[[0, 1, 3], 1].tolist()}) == 3, "lamps of the garden are no lamps of the home"
    assert path_numbers(catalogue([None, None])).shape == (2, 0)


def test_lists_by_hand(tmp_path: Path) -> None:
    vectors = np.eye(6, 3, dtype=np.float32) + np.array([[0.0] * 3] * 3 + [[1.0, 0.0, 0.0]] * 3, dtype=np.float32)
    found = list_metrics({3: LISTS}, by=yardsticks(DenseIndex.build(vectors, tmp_path / "index")))
    assert set(found) == {
        f"{name}@3" for name in ("novelty", "diversity_by_category", "diversity_by_vectors", "head_share")
    }
    np.testing.assert_allclose(found["diversity_by_category@3"], [(0.5 + 1 + 1) / 3, 1 - 2 / 3, np.nan, np.nan])
    np.testing.assert_allclose(found["diversity_by_vectors@3"], [1 - 1 / 3, 0.0, 1.0, np.nan], atol=1e-6)
    np.testing.assert_allclose(found["head_share@3"], [1 / 3, 1 / 2, 0, np.nan])


def test_what_a_shop_or_a_model_lacks_is_not_measured() -> None:
    assert set(list_metrics({3: LISTS}, by=yardsticks(paths=[None] * 6))) == {"novelty@3", "head_share@3"}


def test_all_lists_together() -> None:
    found = overall_metrics({3: LISTS}, by=yardsticks())
    assert found["coverage@3"] == pytest.approx(6 / 6)
    assert found["head_share of the history"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["personalisation@3"] == pytest.approx(1 - 1 / (2 + 2 + 2))


def test_vectors_in_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    index = DenseIndex.build(generator.normal(size=(20, 4)).astype(np.float32), tmp_path / "index")
    lists = np.stack([generator.permutation(20)[:5] for _ in range(9)])
    whole = vector_variety(lists, index=index)
    monkeypatch.setattr(module, "CELLS", 45)
    np.testing.assert_allclose(vector_variety(lists, index=index), whole)


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Product a is old, b stated to come on day 90, c unstated and first seen on day 80, d on day 20."""
    events = [("u1", "a", 0), ("u1", "a", 95), ("u1", "b", 95), ("u2", "b", 99), ("u2", "c", 99), ("u2", "d", 1),
              ("u3", "c", 80), ("u3", "d", 95), ("u4", "d", 20), ("u4", "b", 96), ("u4", "b", 100)]  # fmt: skip
    products = {
        "product_id": list("abcd"),
        "title": list("abcd"),
        "available_from": [None, START + timedelta(90), None, None],
    }
    tables = {
        "products": pl.DataFrame(products, schema_overrides={"available_from": pl.Datetime("us", "UTC")}),
        "events": pl.DataFrame(
            {
                "user_id": [user for user, _, _ in events],
                "product_id": [product for _, product, _ in events],
                "timestamp": [START + timedelta(days=day) for *_, day in events],
                "event_type": ["purchase"] * len(events),
            },
            schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
        ),
    }
    return build_snapshot(write_shop(tmp_path / "shop", tables, toml=""), out=tmp_path / "snapshot", split="time")


def test_users_by_the_age_of_what_they_got(snapshot: Snapshot) -> None:
    relevant = [np.array([0, 1]), np.array([1, 2]), np.array([3]), np.array([], dtype=np.int64)]
    (found,) = slice_ages(
        snapshot, snapshot.catalogue(), split="test", user_ids=["u1", "u2", "u3", "u4"], relevant=relevant
    )
    # a: 95 days, b: 5; b: 9 days, c: 19; d: 94 days
    assert found.labels == [LABELS[0], LABELS[1], LABELS[3], "none"]


def test_the_first_time_in_the_part_counts(snapshot: Snapshot) -> None:
    (found,) = slice_ages(snapshot, snapshot.catalogue(), split="test", user_ids=["u4"], relevant=[np.array([1])])
    assert found.labels == [LABELS[0]], "bought again on day 100, ten days old by then"


def test_a_shop_without_a_calendar_has_no_ages(snapshot: Snapshot) -> None:
    order = Snapshot(snapshot.path, snapshot.manifest.model_copy(update={"timestamps": "order"}))
    assert slice_ages(order, order.catalogue(), split="test", user_ids=["u4"], relevant=[np.array([1])]) == ()
