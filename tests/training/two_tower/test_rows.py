"""The id table by sparse gradients: the rule, the rows that a step touches, and what it learns beside the dense one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.models.two_tower_config import FIRST
from training.batches import Loader
from training.fit import fit, seed_all
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn, new_network, training_batches
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.rows import DECAY, LEAST, RowAdam
from training.two_tower.sequences import Sequences
from training.two_tower.train import train_component

PRODUCTS = 40
TINY = TwoTowerSettings(
    epochs=3, batch_size=8, patience=0, width=8, blocks=1, heads=1, length=8, negatives=4, precision="fp32",
    dropout=0.0, text=False, id_dropout=0.0, profile="sequence", sparse=True, learning_rate=0.01,
)  # fmt: skip


def walks(users: int = 40, seed: int = 0) -> Sequences:
    """Everyone steps on by one or two from somewhere."""
    generator = np.random.default_rng(seed)
    steps = generator.integers(1, 3, (users, 6)).cumsum(axis=1) + generator.integers(0, PRODUCTS, (users, 1))
    return Sequences(
        offsets=np.arange(users + 1) * 6,
        rows=(steps % PRODUCTS + FIRST).ravel(),
        event_types=np.full(users * 6, 6),
        timestamps=np.tile(np.arange(6), users),
        weights=np.ones(users * 6, dtype=np.float32),
    )


@pytest.mark.parametrize("hashed", [0, 10])
def test_a_step_touches_the_rows_of_its_batch_alone(hashed: int, tmp_path: Path) -> None:
    config = TINY.model_copy(update={"hashed": hashed})
    buckets = np.random.default_rng(1).integers(0, 10, (PRODUCTS, 2)) if hashed else None
    products = Products(PRODUCTS, buckets=buckets)
    batches = training_batches(walks(), products=products, config=config)
    seed_all(0)
    network = new_network(products, config=config)
    chosen = batches.plan(0)[:1]
    rows = batches.collate(chosen[0]).rows
    met = rows if network.products.shared is None else network.products.shared[rows].unique()
    before = network.products.identity.weight.detach().clone()
    fit(
        TwoTowerModule(network, config=config, steps=1),
        train=Loader(lambda _: chosen, batches.collate),
        config=config.model_copy(update={"epochs": 1}),
        folder=tmp_path,
    )
    changed = (network.products.identity.weight.detach() != before).any(dim=1)
    assert set(changed.nonzero()[:, 0].tolist()) <= set(met.tolist())
    assert 3 < changed.sum() < len(before)
    assert network.products.identity.weight.grad is None
    assert all((weight.grad is None or not weight.grad.is_sparse) for weight in network.parameters())


def test_rows_move_as_in_dense_adam_without_momentum() -> None:
    """The oracle writes every row in every step; gradients of 0 leave a row but for its decay."""
    generator = torch.Generator().manual_seed(0)
    rate, decay = 0.05, 0.1
    table = torch.randn(6, 4, generator=generator)
    plain, moments = table.clone(), torch.zeros(6)
    own = RowAdam.new(6, weight_decay=decay)
    for step in range(1, 9):
        rows = torch.randint(0, 5, (3,), generator=generator) if step < 8 else torch.arange(6)
        values = torch.randn(3 if step < 8 else 6, 4, generator=generator)
        gradient = torch.sparse_coo_tensor(rows[None], values, (6, 4), check_invariants=True)
        dense = gradient.to_dense()
        moments = DECAY * moments + (1 - DECAY) * dense.square().mean(dim=1)
        plain = plain * (1 - rate * decay)
        plain = plain - rate * dense / ((moments / (1 - DECAY**step)).sqrt() + LEAST)[:, None]
        own.step(table, gradient, rate=rate)
    torch.testing.assert_close(table, plain)
    torch.testing.assert_close(own.moments, moments)


def test_it_learns_about_what_the_dense_table_learns(small_snapshot: Snapshot, tmp_path: Path) -> None:
    found = {}
    for sparse in (False, True):
        config = TINY.model_copy(update={"sparse": sparse, "epochs": 12, "negatives": 16, "repeats": True})
        _, result = learn(walks(200), None, products=Products(PRODUCTS), config=config, work=tmp_path / str(sparse))
        found[sparse] = [row["loss"] for row in result.history]
    assert found[True][0] > found[True][-1] + 0.5
    assert found[True][-1] == pytest.approx(found[False][-1], rel=0.05)
    catalogue = small_snapshot.catalogue()
    losses = {}
    for sparse in (False, True):
        config = TINY.model_copy(update={"sparse": sparse, "epochs": 6})
        history: list[float] = []

        class Log:
            def metrics(self, values: dict[str, float], *, step: int, kept: list[float] = history) -> None:
                kept.append(values["loss"])

        folder, work = tmp_path / f"c{sparse}", tmp_path / f"w{sparse}"
        given = {"catalogue": catalogue, "text": None, "config": config, "folder": folder, "run": Log()}
        train_component(small_snapshot, work=work, refit=False, **given)  # type: ignore[arg-type]
        losses[sparse] = history[-1]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    given = {"products": Products(PRODUCTS), "config": TINY}
    straight, _ = learn(walks(), None, work=tmp_path / "one", **given)  # type: ignore[arg-type]
    learn(walks(), None, work=tmp_path / "two", stop_after=1, **given)  # type: ignore[arg-type]
    resumed, result = learn(walks(), None, work=tmp_path / "two", **given)  # type: ignore[arg-type]
    assert len(result.history) == 3
    for name, weight in straight.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_gradients_of_several_batches_are_summed(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"accumulate": 2})
    network, result = learn(walks(), None, products=Products(PRODUCTS), config=config, work=tmp_path)
    assert result.losses[-1] < result.losses[0]
    assert network.products.identity.weight.isfinite().all()


def test_a_moving_average_of_every_row_is_refused(tmp_path: Path) -> None:
    config = TINY.model_copy(update={"ema": 0.9})
    with pytest.raises(UsageError, match=r"ema = 0\.9 with sparse = true"):
        learn(walks(), None, products=Products(PRODUCTS), config=config, work=tmp_path)


def test_a_component_of_it_is_like_any_other(small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = small_snapshot.catalogue()
    info = train_component(
        small_snapshot,
        catalogue=catalogue,
        text=None,
        config=TINY,
        folder=tmp_path / "component",
        work=tmp_path / "work",
        run=Silent(),
        refit=True,
    )
    assert info.config["sparse"] is True
    assert "sparse" not in (tmp_path / "component" / "config.json").read_text()
