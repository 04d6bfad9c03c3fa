"""`recsys train retriever` with mined negatives, a teacher and shorter vectors; and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.errors import UsageError
from recsys.models.text_encoder import TextEncoder
from tests.command import recsys
from tests.training.commands import options
from training.config import read_config
from training.retriever.config import RetrieverConfig


def train(
    capsys: pytest.CaptureFixture[str], stage: str, snapshot: Snapshot, backbone: Path, out: Path, *settings: str
) -> dict[str, float]:
    """The metrics that a training reports."""
    found = recsys(
        capsys, "train", stage, snapshot.path, "-o", out, "--json", *options(backbone, "epochs=1", *settings)
    )
    metrics: dict[str, float] = found.report["metrics"]
    return metrics


def test_the_whole_line_with_a_teacher(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cross-encoder, then an encoder that it teaches; queries and products have 8 numbers everywhere."""
    train(capsys, "relevance", small_snapshot, tiny_backbone, tmp_path / "first")
    settings = ("negatives=2", "relative_margin=null", "margin_mse=0.1", "kl=0.1", "max_relevance=0.99")
    short = ("dimensions=8", "matryoshka=[8, 4]")
    metrics = train(capsys, "retriever", small_snapshot, tiny_backbone, tmp_path / "second", *settings, *short)
    assert metrics["dimensions"] == 8
    bundle = Bundle.open(tmp_path / "second")
    assert set(bundle.manifest.components) == {"cross_encoder", "text_encoder"}
    place = bundle.component("text_encoder")
    assert place is not None
    assert TextEncoder.load(place).width == 8
    catalogue = small_snapshot.catalogue()
    build_index(catalogue, search=bundle, recommender=None, folder=tmp_path / "index", shop="small")
    engine = Engine.open(tmp_path / "index")
    dense = engine.finder.dense
    assert dense is not None
    assert dense.index.width == 8
    assert dense.encode(["blue sofa"]).shape == (1, 8)
    np.testing.assert_allclose(np.linalg.norm(dense.index.vectors, axis=1), 1.0, atol=1e-5)
    assert engine.search(["blue sofa"], k=3)[0].hits


def test_a_projection_stands_in_the_bundle(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(
        capsys, "retriever", small_snapshot, tiny_backbone, tmp_path / "out", "dimensions=5", "truncation=centred-pca"
    )
    assert 0 < metrics["projection.lost"] < 1
    place = Bundle.open(tmp_path / "out").component("text_encoder")
    assert place is not None
    assert {path.name for path in place.glob("*.npy")} == {"projection.npy", "centre.npy"}


def test_titles_teach_where_nobody_judged(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(capsys, "retriever", small_snapshot, tiny_backbone, tmp_path / "out", "judgments=false", "pseudo_queries=2")
    assert Bundle.open(tmp_path / "out").component("text_encoder") is not None


def test_negatives_that_no_rule_lets_through_are_missed(
    small_snapshot: Snapshot, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The 40 products end before the ranks from which negatives are taken."""
    settings = options(tiny_backbone, "negatives=1", "range_min=50", "range_max=60")
    done = recsys(capsys, "train", "retriever", small_snapshot.path, *settings)
    assert done.code == 1
    assert len(done.lines) == 1
    assert "negatives = 1, and the rules of mining let no product through" in done.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("negatives=1", "margin_mse=1"), "recsys train relevance"),
        (("dimensions=17",), "at most 16"),
        (("dimensions=4", "matryoshka=[20]"), "at most 16"),
    ],
)
def test_what_can_not_be_is_refused(
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: tuple[str, ...],
    message: str,
) -> None:
    given = options(tiny_backbone, *settings)
    found = recsys(capsys, "train", "retriever", small_snapshot.path, "--base", "none", *given)
    assert found.code == 2
    assert message in found.err


@pytest.mark.parametrize(
    "settings",
    [
        ["kl=1"],
        ["in_batch=0"],
        ["negatives=1", "miners=[]"],
        ["range_min=100", "range_max=100"],
        ['miners=["dense"]'],
        ["matryoshka=[0]"],
    ],
)
def test_settings_that_make_no_sense(settings: list[str]) -> None:
    with pytest.raises(UsageError):
        read_config(RetrieverConfig, settings=settings)


def test_widths_that_learn() -> None:
    def widths(**values: object) -> tuple[int, ...]:
        return RetrieverConfig.model_validate(values).widths(16)

    assert widths() == (16,)
    assert widths(dimensions=4) == (16, 4)
    assert widths(dimensions=4, truncation="pca") == (16,)
    assert widths(matryoshka=(4, 8, 16)) == (16, 8, 4)
