"""How a new component joins the base's others."""

from pathlib import Path
from typing import Any

import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.models.backbone import STOCK
from recsys.registry.client import Registry
from recsys.settings import load_settings
from tests.command import recsys
from training import compose
from training.compose import recommend_order, stock_encoder, train
from training.plan import Plan, Request


def info(name: str, *, ndcg: float = -1.0) -> ComponentInfo:
    return ComponentInfo(name=name, metrics={"validation/ndcg@10": ndcg} if ndcg >= 0 else {})


@pytest.mark.parametrize(
    ("components", "order"),
    [
        ([], []),
        ([info("popularity", ndcg=0.9), info("als", ndcg=0.1)], ["als"]),
        ([info("als", ndcg=0.1), info("two_tower", ndcg=0.3), info("bpr", ndcg=0.2)],
         ["two-tower", "bpr", "als"]),
        ([info("bpr"), info("item_knn", ndcg=0.01)], ["item-knn", "bpr"]),
        ([info("als", ndcg=0.1), info("item_knn", ndcg=0.1)], ["item-knn", "als"]),
    ],
)  # fmt: skip
def test_the_best_on_the_validation_part_is_asked_first(components: list[ComponentInfo], order: list[str]) -> None:
    """Popularity is no personal recommender; what was not measured stands last; equals keep the default order."""
    assert recommend_order(components) == {"order": order}


def test_a_recommender_grows_component_by_component(
    small_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each version holds what the one before held, and the catalogue it was learned with."""
    for number, stage in enumerate(("popularity", "item-knn"), start=1):
        done = recsys(capsys, "train", stage, small_snapshot.path, "--json", "-o", tmp_path / stage)
        assert done.code == 0, done.err
        assert done.report["version"] == number
    bundle = Bundle.open(tmp_path / "item-knn")
    assert sorted(bundle.manifest.components) == ["item_knn", "popularity"]
    assert (
        bundle.manifest.components["popularity"]
        == Bundle.open(tmp_path / "popularity").manifest.components["popularity"]
    )
    assert bundle.manifest.policy["order"] == ["item-knn"]
    assert bundle.catalogue is not None
    versions = Registry(load_settings()).versions("small.recommender")
    assert [version.aliases for version in versions] == [("challenger",), ()]
    assert "popularity.validation/ndcg@10" in versions[0].metrics


def test_a_component_registered_during_a_training_is_kept(
    small_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Item-kNN begins without any base; popularity is registered before it ends."""
    settings = load_settings()
    learn = compose.run_training

    def learn_slowly(plan: Plan, **options: Any) -> ComponentInfo:
        monkeypatch.setattr(compose, "run_training", learn)
        train(Request(stage="popularity", snapshot=small_snapshot.path), settings=settings)
        return learn(plan, **options)

    monkeypatch.setattr(compose, "run_training", learn_slowly)
    report = train(Request(stage="item-knn", snapshot=small_snapshot.path), settings=settings)
    assert report is not None
    assert (report["version"], report["base"]) == (2, "small.recommender/1")
    assert report["components"] == ["item_knn", "popularity"]

    monkeypatch.setattr(compose, "run_training", learn_slowly)
    report = train(Request(stage="als", snapshot=small_snapshot.path, base="none"), settings=settings)
    assert report is not None
    assert (report["base"], report["components"]) == (None, ["als"]), "a base that was named is the one that is taken"


def test_the_stock_encoder_is_a_whole_component(tmp_path: Path) -> None:
    folder, made = stock_encoder(tmp_path / "encoder")
    assert (made.name, made.snapshot, made.config) == ("text_encoder", "", {"backbone": STOCK})
    assert {"model.safetensors", "config.json", "text_encoder.json", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
