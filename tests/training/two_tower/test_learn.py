"""Learning end to end on tiny data, and the metrics that choose the epoch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.errors import NothingToLearnError, SnapshotError
from recsys.metrics.ranking import ndcg
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST
from recsys.retrieval.two_tower import TwoTowerRecommender, read_once
from recsys.testing.recommender import check_recommender, histories_of
from training.holdout import Holdout
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn
from training.two_tower.module import TwoTowerModule, ranking_metrics
from training.two_tower.products import Products
from training.two_tower.read import once
from training.two_tower.sequences import Sequences
from training.two_tower.train import train_component
from training.two_tower.trials import Trials

TINY = TwoTowerSettings(
    epochs=2,
    batch_size=16,
    patience=0,
    width=8,
    blocks=1,
    heads=1,
    length=8,
    negatives=16,
    precision="fp32",
    dropout=0.0,
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def circles(users: int = 60, products: int = 12, steps: int = 6) -> Sequences:
    """Everyone walks round the same circle of products, from another start."""
    starts = np.arange(users) % products
    return Sequences(
        offsets=np.arange(users + 1) * steps,
        rows=((starts[:, None] + np.arange(steps)) % products + FIRST).ravel(),
        event_types=np.full(users * steps, 6),
        timestamps=np.tile(np.arange(steps), users),
        weights=np.ones(users * steps, dtype=np.float32),
    )


def circle_trials(own: Sequences, products: int = 12) -> Trials:
    last = own.rows[own.offsets[1:] - 1] - FIRST
    users = len(own)
    relevant = [np.array([(row + 1) % products + FIRST]) for row in last]
    return Trials(own, [own.rows[own.offsets[u] : own.offsets[u + 1]] for u in range(users)], relevant, length=8)


def test_it_learns_what_comes_next(tmp_path: Path) -> None:
    own = circles()
    config = TINY.model_copy(update={"epochs": 25, "learning_rate": 0.02, "repeats": True, "id_dropout": 0.0})
    trials = replace(circle_trials(own), owned=[np.empty(0, dtype=np.int64)] * len(own))
    network, result = learn(own, trials, products=Products(12), config=config, work=tmp_path)
    assert result.best_score > 0.95
    assert result.history[0]["validation/ndcg@10"] < 0.9
    vectors = network.encode_products(torch.arange(12) + FIRST).detach().numpy()
    recommender = TwoTowerRecommender(network, vectors=vectors, known=np.ones(12, dtype=np.bool_))
    found = recommender.recommend(histories_of([[3, 4, 5], [10, 11, 0]]), k=1)
    assert [row.positions.tolist() for row in found] == [[6], [1]]


def test_text_alone_carries_a_product_without_an_id(tmp_path: Path) -> None:
    """Two tastes, told by text; a product of each is never seen in training."""
    generator = np.random.default_rng(0)
    taste = np.arange(80) % 2
    rows = np.stack([generator.permutation(10)[:5] + 10 * kind for kind in taste]) + FIRST
    own = Sequences(
        offsets=np.arange(81) * 5,
        rows=rows.ravel(),
        event_types=np.full(400, 6),
        timestamps=np.tile(np.arange(5), 80),
        weights=np.ones(400, dtype=np.float32),
    )
    text = np.eye(2, dtype=np.float32)[np.repeat([0, 1], 10)] + 0.01 * generator.normal(size=(20, 2)).astype(np.float32)
    config = TINY.model_copy(update={"epochs": 15, "learning_rate": 0.02, "id_dropout": 0.3})
    network, _ = learn(own, None, products=Products(20, text=text), config=config, work=tmp_path)
    new = network.encode_products(torch.tensor([1, 1]), torch.eye(2))
    seen = network.encode_products(torch.arange(20) + FIRST, torch.from_numpy(text))
    for kind in (0, 1):
        history = seen[10 * kind : 10 * kind + 4][None]
        user = network.encode_users(history, torch.full((1, 4), 6), torch.tensor([4]))
        assert (user @ new[kind] > user @ new[1 - kind]).all()


@pytest.mark.parametrize("distinct", [False, True])
def test_the_component_holds_the_protocol(distinct: bool, small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = small_snapshot.catalogue()
    text = np.random.default_rng(0).normal(size=(len(catalogue), 6)).astype(np.float32)
    config = TINY.model_copy(update={"distinct": distinct, "horizon": 0, "states": 2, "event_dropout": 0.2})
    info = train_component(
        small_snapshot,
        catalogue=catalogue,
        text=text,
        config=config,
        folder=tmp_path / "two_tower",
        work=tmp_path / "work",
        run=Silent(),
        refit=True,
    )
    assert info.parts == ["train", "validation"]
    assert info.config["best_epoch"] in (1, 2)
    assert 0.0 <= info.metrics["validation/ndcg@10"] <= 1.0
    recommender = TwoTowerRecommender.load(tmp_path / "two_tower", catalogue=catalogue, text=text)
    histories = Holdout.read(small_snapshot, catalogue=catalogue, part="test").trial.histories
    check_recommender(recommender, histories=histories, catalogue=len(catalogue))
    again = TwoTowerRecommender.load(tmp_path / "two_tower", catalogue=catalogue, vectors=recommender.products)
    for one, other in zip(recommender.recommend(histories, k=5), again.recommend(histories, k=5), strict=True):
        assert one.positions.tolist() == other.positions.tolist()


def test_an_epoch_is_chosen_by_the_figure_that_is_reported(ordered_snapshot: Snapshot, tmp_path: Path) -> None:
    """The module's own NDCG equals that of the recommender on the same users."""
    seen: list[float] = []

    class Log:
        def metrics(self, values: dict[str, float], *, step: int) -> None:
            seen.append(values["validation/ndcg@10"])

    catalogue = ordered_snapshot.catalogue()
    info = train_component(
        ordered_snapshot,
        catalogue=catalogue,
        text=None,
        config=TINY.model_copy(update={"text": False, "epochs": 3}),
        folder=tmp_path / "c",
        work=tmp_path / "w",
        run=Log(),
        refit=False,
    )
    assert info.metrics["validation/ndcg@10"] == pytest.approx(max(seen), abs=1e-4)


def test_a_seed_gives_the_same_weights(tmp_path: Path) -> None:
    one, two = (
        learn(circles(), None, products=Products(12), config=TINY, work=tmp_path / name)[0].state_dict()
        for name in "ab"
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_metrics_equal_those_of_the_core() -> None:
    best = torch.tensor([[5, 9, 3, 7], [2, 3, 4, 5], [8, 7, 6, 5]])
    relevant = torch.tensor([[9, 7, 20], [2, 0, 0], [30, 0, 0]])
    found = ranking_metrics(best, relevant)
    for line in range(3):
        wanted = [row for row in relevant[line].tolist() if row]
        listed = best[line].tolist() + [row for row in wanted if row not in best[line].tolist()]
        grades = [float(row in wanted) for row in listed]
        plain = ndcg(grades, -np.arange(len(listed), dtype=float), k=4) if sum(grades[:4]) else 0.0
        # What the list never reached stands behind the cut.
        assert float(found["ndcg@10"][line]) == pytest.approx(plain, abs=1e-6)
        assert float(found["recall@10"][line]) == pytest.approx(sum(grades[:4]) / len(wanted))


def test_what_a_user_owns_is_no_negative() -> None:
    own = circles(users=12)
    config = TINY.model_copy(update={"id_dropout": 0.0})
    from training.two_tower.learn import training_batches

    batches = training_batches(own, products=Products(12), config=config)
    batch = batches.collate(batches.plan(0)[0])
    torch.manual_seed(0)
    module = TwoTowerModule(TwoTower(config.network(Products(12))), config=config, steps=1)
    everything = module.training_step(batch, 0)
    kept = ~torch.isin(batch.negatives, batch.history[0])
    fewer = batch._replace(negatives=batch.negatives[kept], log_expected=batch.log_expected[kept])
    first = batch.target_states[
        torch.isin(batch.states[batch.target_states] // batch.history.shape[1], torch.tensor([0]))
    ]
    line = torch.isin(batch.target_states, first)
    weights = torch.where(line, batch.weights, 0.0)
    torch.testing.assert_close(
        module.training_step(batch._replace(weights=weights), 0),
        module.training_step(fewer._replace(weights=weights), 0),
    )
    assert torch.isfinite(everything)


def test_a_history_read_once_keeps_the_first_of_each_product() -> None:
    histories = histories_of([[4, 2, 4, 4, 3, 2], [], [4]])
    found = read_once(histories)
    assert [found.of(user).tolist() for user in range(3)] == [[4, 2, 3], [], [4]]
    own = Sequences(
        offsets=histories.offsets,
        rows=histories.positions,
        event_types=histories.event_types.astype(np.int64),
        timestamps=histories.timestamps,
        weights=np.ones(7, dtype=np.float32),
    )
    kept = once(own, config=TINY.model_copy(update={"distinct": True}))
    assert kept.rows.tolist() == found.positions.tolist()
    assert kept.offsets.tolist() == found.offsets.tolist()


def test_a_snapshot_without_known_users_is_one_clear_line(small_snapshot: Snapshot, tmp_path: Path) -> None:
    from training.two_tower.train import learn_parts

    class Nobody:
        path = small_snapshot.path

        def scan(self, name: str, *parts: str) -> object:
            return small_snapshot.scan(name, "train").clear()

    with pytest.raises(SnapshotError, match="no event of a known user"):
        learn_parts(
            Nobody(),  # type: ignore[arg-type]
            catalogue=small_snapshot.catalogue(),
            parts=["train"],
            text=None,
            config=TINY,
            folder=tmp_path,
            work=tmp_path,
        )


def test_users_who_never_come_back_are_nothing_to_learn_from(tmp_path: Path) -> None:
    own = replace(circles(), timestamps=np.zeros(360, dtype=np.int64))
    with pytest.raises(NothingToLearnError, match="0 histories to learn from"):
        learn(own, None, products=Products(12), config=TINY, work=tmp_path)


def test_learning_needs_no_table_library() -> None:
    """On a bare GPU host there is neither Polars nor FAISS nor MLflow."""
    code = (
        "import sys, training.two_tower.learn\n"
        "print([name for name in ('polars', 'faiss', 'mlflow', 'tantivy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
