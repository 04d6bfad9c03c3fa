"""Codes of segments, and what the recommender makes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.engine.ladder import take
from recsys.errors import BundleError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.retrieval.segment_codes import SegmentCodes
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.testing.recommender import histories_of


def test_codes_by_hand() -> None:
    codes = SegmentCodes.fit(["new", "", "loyal", "new"])
    assert codes.names == ("loyal", "new")
    assert codes.size == 3
    assert codes.encode(["new", "", "gone", "loyal"]).tolist() == [2, 0, 0, 1]


def test_save_is_load_and_damage_is_one_line(tmp_path: Path) -> None:
    codes = SegmentCodes.fit(["a", "b"])
    codes.save(tmp_path)
    assert SegmentCodes.load(tmp_path) == codes
    (tmp_path / "segments.json").write_text("{")
    with pytest.raises(BundleError, match="segments") as caught:
        SegmentCodes.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_same_history_means_something_else_in_another_segment() -> None:
    torch.manual_seed(0)
    network = TwoTower(TwoTowerConfig(rows=9 + FIRST, width=8, heads=2, segments=3)).eval()
    with torch.no_grad():
        assert network.users.segment is not None
        network.users.segment.weight[1:].normal_(std=2.0)
    vectors = network.encode_products(torch.arange(9) + FIRST).detach().numpy()
    recommender = TwoTowerRecommender(
        network, vectors=vectors, known=np.ones(9, dtype=np.bool_), segments=SegmentCodes(("loyal", "new"))
    )
    histories = replace(histories_of([[1, 2], [1, 2], [1, 2], [1, 2]]), segments=("loyal", "new", "", "gone"))
    users = recommender.encode_users(histories, users=np.arange(4))
    assert not np.allclose(users[0], users[1])
    np.testing.assert_allclose(users[2], users[3], rtol=1e-6)
    bare = recommender.encode_users(replace(histories, segments=()), users=np.arange(4))
    np.testing.assert_allclose(bare, np.repeat(users[2:3], 4, axis=0), rtol=1e-6)
    turned = recommender.encode_users(take(histories, np.array([1, 0])), users=np.arange(2))
    np.testing.assert_allclose(turned, users[[1, 0]], rtol=1e-5)


def test_a_catalogue_keeps_the_segments(small_snapshot: Snapshot) -> None:
    read = SnapshotHistories(small_snapshot).read(["u01", "u00"])
    assert small_snapshot.catalogue().encode(read).segments == read.segments == ("loyal", "new")
