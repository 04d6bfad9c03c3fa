"""The leave-one-out protocol on real data gives the figures that were published for it."""

import os
from pathlib import Path

import pytest

from feature_store.snapshot import build_snapshot
from recsys.retrieval.item_knn import ItemKnnRecommender
from training.evaluate.measured import means
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig, fit_item_knn

pytestmark = pytest.mark.realdata

DATA = Path(os.environ.get("RECSYS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))


def test_bm25_item_knn_on_beauty(tmp_path: Path) -> None:
    snapshot = build_snapshot(DATA / "beauty", out=tmp_path / "snapshot")
    catalogue = snapshot.catalogue()
    fit_item_knn(snapshot, parts=["train", "validation"], config=ItemKnnConfig(), folder=tmp_path / "item_knn")
    holdout = Holdout.read(snapshot, catalogue=catalogue, part="test")
    found = means(holdout.score(ItemKnnRecommender.load(tmp_path / "item_knn", catalogue=catalogue), cuts=(10,)))
    assert len(holdout.trial.user_ids) == 22_363
    assert found["recall@10"] == pytest.approx(0.0668, abs=0.002)
    assert found["ndcg@10"] == pytest.approx(0.0386, abs=0.002)
