"""Ids that share the rows of one table: what they are made of, that they learn, and that new ones need no row."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, PADDING, UNKNOWN, TwoTowerConfig
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.retrieval.vocabulary import id_buckets
from recsys.testing.recommender import check_recommender
from training.holdout import Holdout
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.train import train_component
from training.two_tower.update import grown

TINY = TwoTowerSettings(
    epochs=2, batch_size=16, patience=0, width=8, blocks=1, heads=1, length=8, negatives=16, precision="fp32",
    dropout=0.0, text=False, profile="sequence", hashed=16,
)  # fmt: skip


def test_buckets_follow_from_the_id_alone() -> None:
    """A component that was written on another machine keeps its meaning: these numbers may never change."""
    assert id_buckets(["p1", "Größe 7", ""], buckets=1000, hashes=2).tolist() == [[74, 804], [482, 300], [986, 46]]


def test_buckets_are_spread_evenly_and_hashes_are_independent() -> None:
    found = id_buckets([f"p{number}" for number in range(20_000)], buckets=10, hashes=3)
    for column in found.T:
        np.testing.assert_allclose(np.bincount(column, minlength=10) / len(found), 0.1, atol=0.01)
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.03


def test_an_id_is_the_sum_of_its_rows() -> None:
    network = TwoTower(TwoTowerConfig(rows=3 + FIRST, width=4, heads=1, hashed=5, hashes=2))
    network.products.set_shared(torch.tensor([[0, 4], [1, 1], [4, 0]]))
    table = network.products.identity.weight
    assert len(table) == 5 + FIRST
    found = network.encode_products(torch.arange(3 + FIRST))
    wanted = [table[PADDING], table[UNKNOWN], table[2] + table[6], 2 * table[3], table[6] + table[2]]
    torch.testing.assert_close(found, torch.stack(wanted))
    assert not found[PADDING].any()


def test_new_ids_have_a_vector_before_they_have_a_row() -> None:
    before = TwoTower(TwoTowerConfig(rows=2 + FIRST, width=4, heads=1, hashed=5, hashes=2)).eval()
    buckets = id_buckets(["a", "b", "c"], buckets=5, hashes=2)
    before.products.set_shared(torch.from_numpy(buckets[:2]))
    after = grown(before, rows=np.array([1, -1, 0]), buckets=buckets[[1, 2, 0]])
    assert torch.equal(before.products.identity.weight, after.products.identity.weight)
    old, new = (one.encode_products(torch.arange(one.config.rows)) for one in (before, after))
    assert torch.equal(new[FIRST:][[2, 0]], old[FIRST:])
    assert new[FIRST + 1].any()


def test_the_component_is_whole(small_snapshot: Snapshot, tmp_path: Path) -> None:
    catalogue = small_snapshot.catalogue()
    info = train_component(
        small_snapshot,
        catalogue=catalogue,
        text=None,
        config=TINY,
        folder=tmp_path / "two_tower",
        work=tmp_path / "work",
        run=Silent(),
        refit=True,
    )
    assert info.config["hashed"] == 16
    network = TwoTower.load(tmp_path / "two_tower")
    assert len(network.products.identity.weight) == 16 + FIRST < network.config.rows
    recommender = TwoTowerRecommender.load(tmp_path / "two_tower", catalogue=catalogue)
    histories = Holdout.read(small_snapshot, catalogue=catalogue, part="test").trial.histories
    check_recommender(recommender, histories=histories, catalogue=len(catalogue))


def test_one_row_to_an_id_is_no_hashing() -> None:
    with pytest.raises(ValueError, match="hashes"):
        TwoTowerSettings(hashed=16, hashes=1)
