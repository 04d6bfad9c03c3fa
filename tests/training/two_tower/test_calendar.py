"""What the calendar says: values by hand, nothing known before its time, and the same numbers learned and served."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.errors import BundleError, UsageError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST
from recsys.retrieval.two_tower import TwoTowerRecommender, write_calendar
from recsys.retrieval.two_tower import read_calendar as read_table
from recsys.testing.recommender import check_recommender, histories_of
from training.metric_log import Silent
from training.two_tower.calendar import NAMES, Calendar, Sales, read_calendar, values_at
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import training_batches
from training.two_tower.loss import sampled_softmax
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.sequences import MICROSECONDS_A_DAY, Sequences
from training.two_tower.train import check_calendar, train_component

DAY = MICROSECONDS_A_DAY
TINY = TwoTowerSettings(
    epochs=2, batch_size=16, patience=0, width=8, blocks=1, heads=1, length=8, negatives=16, precision="fp32"
)


def sales() -> Sales:
    """Product 0 sells on days 0 and 40, product 1 three times on day 38, product 2 never."""
    return Sales(
        products=np.array([0, 1, 1, 0, 1]),
        timestamps=np.array([0, 38, 38, 40, 38]) * DAY,
        weights=np.ones(5, dtype=np.float32),
        count=3,
    )


def test_values_by_hand() -> None:
    first = np.array([0, 38 * DAY, np.iinfo(np.int64).max])
    found = values_at(sales(), first=first, at=42 * DAY)
    best = np.log1p(3)
    wanted = [[np.log1p(1) / best, np.log1p(1) / best, 0.5 ** (42 / 28)], [1, 1, 0.5 ** (4 / 28)], [0, 0, 1]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    early = values_at(sales(), first=first, at=20 * DAY)
    np.testing.assert_allclose(early, [[1, 0, 0.5 ** (20 / 28)], [0, 0, 1], [0, 0, 1]], rtol=1e-6)


def test_a_period_knows_nothing_that_came_later() -> None:
    full = read_calendar(sales())
    own = sales()
    for place, start in enumerate(full.starts):
        before = own.timestamps < start
        known = Sales(own.products[before], own.timestamps[before], own.weights[before], own.count)
        first = np.full(3, np.iinfo(np.int64).max)
        np.minimum.at(first, known.products, known.timestamps)
        np.testing.assert_array_equal(full.values[place, FIRST:], values_at(known, first=first, at=int(start)))
    assert not full.values[:, :FIRST].any()
    assert full.starts[-1] == 40 * DAY + 1
    np.testing.assert_array_equal(full.now, full.values[-1, FIRST:])


def test_periods_begin_at_their_starts() -> None:
    calendar = Calendar(np.array([0, 10, 20]), np.zeros((3, 1, 1), dtype=np.float32))
    assert calendar.periods(np.array([-5, 0, 9, 10, 19, 20, 99])).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_states_are_in_the_period_of_what_follows_them() -> None:
    own = Sequences(
        offsets=np.array([0, 3]),
        rows=np.array([FIRST, FIRST + 1, FIRST]),
        event_types=np.full(3, 6),
        timestamps=np.array([0, 38, 40]) * DAY,
        weights=np.ones(3, dtype=np.float32),
    )
    calendar = read_calendar(sales())
    products = Products(3, calendar=calendar)
    config = TINY.model_copy(update={"repeats": True})
    batches = training_batches(own, products=products, config=config)
    batch = batches.collate(batches.plan(0)[0])
    assert batch.periods.tolist() == calendar.periods(np.array([38, 40]) * DAY).tolist()


def test_what_is_added_in_training_is_what_a_longer_vector_adds_when_served() -> None:
    torch.manual_seed(0)
    calendar = read_calendar(sales())
    products = Products(3, calendar=calendar)
    config = TINY.model_copy(update={"dropout": 0.0, "id_dropout": 0.0, "repeats": True})
    network = TwoTower(config.network(products)).eval()
    module = TwoTowerModule(network, config=config, steps=1, tables=products.tables())
    rows = torch.arange(3) + FIRST
    plain = network.encode_products(rows)
    served = network.encode_products(rows, None, None, torch.from_numpy(calendar.now))
    assert served.shape == (3, 8 + len(NAMES))
    states = network.encode_states(plain[None, :2], torch.full((1, 2), 6))[0]
    negatives = torch.tensor([0, 1, 2])
    last = len(calendar.starts) - 1

    class Asked:
        periods = torch.tensor([last, last])
        target_states = torch.tensor([0, 1])
        rows = torch.arange(3) + FIRST
        targets = torch.tensor([2, 0])
        negatives = torch.tensor([0, 1, 2])

    given = {"target_states": Asked.target_states, "targets": Asked.targets, "negatives": negatives}
    biases = module.biases(states[:, 8:], Asked())  # type: ignore[arg-type]
    apart = sampled_softmax(states=states[:, :8], products=plain, log_expected=torch.zeros(3), **given, **biases)
    whole = sampled_softmax(states=states, products=served, log_expected=torch.zeros(3), **given)
    torch.testing.assert_close(apart, whole)


def test_a_stage_with_everything_is_learned_saved_and_served(small_snapshot: Snapshot, tmp_path: Path) -> None:
    config = TINY.model_copy(
        update={
            "text": False,
            "features": True,
            "calendar": True,
            "user_attributes": True,
            "spans": 8,
            "distances": True,
            "in_batch": True,
            "similarity": "cosine",
            "learned_temperature": True,
        }
    )
    catalogue = small_snapshot.catalogue()
    given = {"catalogue": catalogue, "text": None, "config": config, "folder": tmp_path, "run": Silent()}
    info = train_component(small_snapshot, work=tmp_path / "work", refit=True, **given)  # type: ignore[arg-type]
    assert info.metrics["validation/ndcg@10"] >= 0
    recommender = TwoTowerRecommender.load(tmp_path, catalogue=catalogue)
    assert recommender.products.at(np.arange(40)).shape == (40, 8 + len(NAMES))
    check_recommender(recommender, catalogue=len(catalogue), histories=histories_of([[1, 2, 3], [5], [9, 1]]))


def test_a_product_that_came_later_sold_nothing_and_is_new(small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = small_snapshot.catalogue()
    values = np.array([[0.5, 0.25, 0.125]], dtype=np.float32)
    write_calendar(tmp_path, product_ids=catalogue.product_ids.gather([3]), names=NAMES, values=values)
    found = read_table(tmp_path, catalogue=Catalogue(catalogue.frame))
    np.testing.assert_array_equal(found[3], values[0])
    np.testing.assert_array_equal(found[4], [0, 0, 1])
    (tmp_path / "calendar.parquet").write_bytes(b"short")
    with pytest.raises(BundleError, match="calendar"):
        read_table(tmp_path, catalogue=catalogue)


@pytest.mark.parametrize("setting", [{"calendar": True}, {"clock": True}, {"spans": 4}, {"half_life_days": 7.0}])
def test_a_shop_without_a_calendar_refuses_what_needs_one(setting: dict[str, object], small_snapshot: Snapshot) -> None:
    class Ordered:
        manifest = small_snapshot.manifest.model_copy(update={"timestamps": "order"})

    check_calendar(small_snapshot, TINY.model_copy(update=setting))
    with pytest.raises(UsageError, match=next(iter(setting))):
        check_calendar(Ordered(), TINY.model_copy(update=setting))  # type: ignore[arg-type]
