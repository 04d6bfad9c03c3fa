"""The hour and the weekday: what they are, that training and serving agree, and that they are learned."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from feature_store.snapshot import Snapshot
from recsys.models.clock import NEVER, Clock
from recsys.models.two_tower_config import FIRST
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.testing.recommender import check_recommender, histories_of
from recsys.types import PositionHistories
from training.holdout import Holdout
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn, new_network, training_batches
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.read import read_trials
from training.two_tower.sequences import Sequences
from training.two_tower.train import train_component

HOUR = 3_600_000_000
TINY = TwoTowerSettings(
    epochs=2, batch_size=16, patience=0, width=8, blocks=1, heads=1, length=8, negatives=8, precision="fp32",
    dropout=0.0, text=False, id_dropout=0.0, profile="sequence", clock=True,
)  # fmt: skip


@given(st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)))
def test_hours_and_weekdays_are_those_of_the_calendar(moment: datetime) -> None:
    clock = Clock(2)
    with torch.no_grad():
        clock.hour.weight[:, 0] = torch.arange(25)
        clock.hour.weight[:, 1] = 0
        clock.weekday.weight[:, 1] = torch.arange(8)
        clock.weekday.weight[:, 0] = 0
    micros = round((moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
    exact = datetime.fromtimestamp(micros / 1_000_000, tz=UTC)
    found = clock(torch.tensor([micros, NEVER])).tolist()
    assert found == [[exact.hour + 1, exact.isoweekday()], [0, 0]]


def events_of_one_user() -> Sequences:
    return Sequences(
        offsets=np.array([0, 6]),
        rows=np.arange(6) + FIRST,
        event_types=np.full(6, 6),
        timestamps=np.array([0, 5, 29, 29, 60, 300]) * HOUR,
        weights=np.ones(6, dtype=np.float32),
    )


def test_a_state_of_training_is_the_user_who_is_served_at_that_moment() -> None:
    own, products = events_of_one_user(), Products(6)
    torch.manual_seed(0)
    network = new_network(products, config=TINY).eval()
    assert network.clock is not None
    with torch.no_grad():
        for embedding in (network.clock.hour, network.clock.weekday):
            embedding.weight[1:].normal_(std=2.0)
    batches = training_batches(own, products=products, config=TINY)
    batch = batches.collate(batches.plan(0)[0])
    vectors = network.encode_products(torch.arange(6) + FIRST).detach()
    read = torch.where((batch.rows[batch.history] >= FIRST)[..., None], vectors[batch.rows[batch.history] - FIRST], 0.0)
    with torch.no_grad():
        states = network.encode_states(read, batch.event_types, batch.times, batch.attributes, moments=batch.moments)
    recommender = TwoTowerRecommender(network, vectors=vectors.numpy(), known=np.ones(6, dtype=np.bool_))
    order = (batch.rows[batch.history[0]] - FIRST).numpy()
    for place in batch.states.tolist():
        events = own.timestamps[: place + 1]
        history = PositionHistories(
            offsets=np.array([0, place + 1]),
            positions=order[: place + 1],
            timestamps=events,
            event_types=np.full(place + 1, 6, dtype=np.int8),
            now=int(own.timestamps[own.timestamps > events[-1]][0]),
        )
        served = recommender.encode_users(history, users=np.array([0]))
        np.testing.assert_allclose(states[0, place].numpy(), served[0], rtol=1e-5, atol=1e-6)
        other = recommender.encode_users(replace(history, now=history.now + 7 * HOUR), users=np.array([0]))  # type: ignore[operator]
        assert not np.allclose(served, other)
    assert batch.states.tolist() == [0, 1, 3, 4]


def test_who_does_not_say_when_gets_what_is_known_without(small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = small_snapshot.catalogue()
    train_component(
        small_snapshot,
        catalogue=catalogue,
        text=None,
        config=TINY,
        folder=tmp_path,
        work=tmp_path / "work",
        run=Silent(),
        refit=True,
    )
    recommender = TwoTowerRecommender.load(tmp_path, catalogue=catalogue)
    histories = histories_of([[1, 2, 3], [5], [9, 1]])
    check_recommender(recommender, histories=histories, catalogue=len(catalogue))
    check_recommender(recommender, histories=replace(histories, now=10 * HOUR), catalogue=len(catalogue))
    network = recommender.network
    users = recommender.encode_users(histories, users=np.arange(3))
    network.clock = None
    np.testing.assert_array_equal(users, recommender.encode_users(histories, users=np.arange(3)))


class Kept:
    """Keeps the metrics of each epoch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep what chooses the epoch."""
        self.found += [value for name, value in values.items() if name == "validation/ndcg@10"]


def test_the_epoch_is_chosen_by_what_is_served_at_each_users_moment(small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue, kept = small_snapshot.catalogue(), Kept()
    config = TINY.model_copy(update={"epochs": 1, "learning_rate": 0.05})
    info = train_component(
        small_snapshot,
        catalogue=catalogue,
        text=None,
        config=config,
        folder=tmp_path,
        work=tmp_path / "work",
        run=kept,
        refit=False,
    )
    recommender = TwoTowerRecommender.load(tmp_path, catalogue=catalogue)
    with torch.no_grad():
        recommender.network.clock.hour.weight[1:].normal_(std=9.0)  # type: ignore[union-attr]
    holdout = Holdout.read(small_snapshot, catalogue=catalogue, part="validation")
    rows = np.arange(len(catalogue)) + FIRST
    module = TwoTowerModule(recommender.network, config=config, steps=1)
    trials = read_trials(holdout, rows=rows, config=config)
    trial = trials.collate(np.arange(len(trials.sequences)))
    assert trial.moments.tolist() == [
        int(moment)
        for moment, history, wanted in zip(
            holdout.trial.histories.now, np.diff(holdout.trial.histories.offsets), holdout.relevant, strict=True
        )
        if history and len(wanted)
    ]  # type: ignore[arg-type]
    assert kept.found == pytest.approx([info.metrics["validation/ndcg@10"]], abs=1e-6)
    found: dict[str, float] = {}
    module.log = lambda name, value, **_: found.update({name: float(value)})  # type: ignore[method-assign]
    module.on_validation_epoch_start()
    with torch.no_grad():
        module.validation_step(trial, 0)
    assert found["validation/ndcg@10"] == pytest.approx(holdout.measure(recommender)["validation/ndcg@10"], abs=1e-6)


def test_what_sells_by_day_and_what_by_night_is_learned(tmp_path: Path) -> None:
    """Whoever comes by day takes product 0, by night product 1, whatever was there before."""
    generator = np.random.default_rng(0)
    users = 300
    nights = generator.integers(0, 2, users)
    rows = np.stack([generator.integers(2, 8, users), nights], axis=1) + FIRST
    times = np.stack([np.zeros(users, dtype=np.int64), np.where(nights, 47, 36)], axis=1) * HOUR
    own = Sequences(
        offsets=np.arange(users + 1) * 2,
        rows=rows.ravel(),
        event_types=np.full(users * 2, 6),
        timestamps=times.ravel(),
        weights=np.ones(users * 2, dtype=np.float32),
    )
    config = TINY.model_copy(update={"epochs": 20, "learning_rate": 0.03})
    network, _ = learn(own, None, products=Products(8), config=config, work=tmp_path)
    vectors = network.encode_products(torch.arange(8) + FIRST).detach().numpy()
    recommender = TwoTowerRecommender(network, vectors=vectors, known=np.ones(8, dtype=np.bool_))
    for hours, wanted in ((36, 0), (47, 1)):
        histories = replace(histories_of([[4], [6]]), timestamps=np.zeros(2, dtype=np.int64), now=hours * HOUR)
        assert [row.positions.tolist() for row in recommender.recommend(histories, k=1)] == [[wanted], [wanted]]


def test_some_moments_are_hidden_and_none_without_a_clock() -> None:
    moments = torch.arange(4000).reshape(40, 100)
    torch.manual_seed(0)
    for clock in (True, False):
        config = TINY.model_copy(update={"clock": clock})
        module = TwoTowerModule(new_network(Products(3), config=config), config=config, steps=1)
        found = module.asked(moments)
        if clock:
            assert found is not None
            hidden = found == NEVER
            assert 0.15 < hidden.float().mean() < 0.25
            assert torch.equal(found[~hidden], moments[~hidden])
        else:
            assert found is None


def test_no_more_negatives_are_drawn_than_there_are_products() -> None:
    own, products = events_of_one_user(), Products(6)
    config = TINY.model_copy(update={"negatives": 10_000})
    assert training_batches(own, products=products, config=config).negatives == products.count
