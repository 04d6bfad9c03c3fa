"""The cosines that `recsys train retriever` keeps come from encoders that had not learned from the query."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.held_out import has_held_out, read_held_out
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from tests.command import recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import options
from training.folds import text_folds
from training.retriever.config import RetrieverConfig
from training.retriever.held_out import score_folds
from training.retriever.learn import cosines, learn
from training.retriever.task import Task

MINED = ("negatives=1", "relative_margin=null", "range_max=20")


def trained(
    capsys: pytest.CaptureFixture[str], snapshot: Snapshot, backbone: Path, out: Path, *more: str
) -> tuple[Path, ComponentInfo]:
    """The text encoder's folder and what its training says."""
    given = options(backbone, "epochs=2", "patience=0", *(text for text in more if "=" in text))
    flags = [text for text in more if "=" not in text]
    done = recsys(capsys, "train", "retriever", snapshot.path, *given, *flags, "--base", "none", "-o", out, "--json")
    assert done.code == 0, done.err
    bundle = Bundle.open(out)
    return bundle.path / "text_encoder", bundle.manifest.components["text_encoder"]


def encoded(folder: Path, snapshot: Snapshot, judgments: pl.DataFrame) -> Scores:
    """The cosines of judged pairs by the encoder of a folder, each text encoded by itself."""
    network, tokenizer = TextEncoder.load(folder), TextTokenizer.load(folder)
    texts = snapshot.catalogue().texts()
    queries = encode_texts(network, tokenizer, judgments["query"].to_list(), precision="fp32")
    products = encode_texts(network, tokenizer, [texts[row] for row in judgments["position"]], precision="fp32")
    return np.asarray((queries * products).sum(axis=1), dtype=np.float32)


@pytest.mark.parametrize("settings", [(), ("dimensions=5", "truncation=centred-pca")], ids=["whole", "projected"])
def test_those_of_the_validation_part_are_the_encoders_before_the_refit(
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: tuple[str, ...],
) -> None:
    """Without the refit the written encoder is that one; with it they stay, and the written encoder's are others."""
    first, _ = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "first", "--no-refit", *settings)
    judgments = small_snapshot.judgments("validation")
    found = read_held_out(first, score="cosine")
    for name in ("query_id", "product_id", "grade"):
        assert found[name].to_list() == judgments[name].to_list()
    assert found["max_grade"].unique().to_list() == [3.0]
    np.testing.assert_allclose(found["cosine"].to_numpy(), encoded(first, small_snapshot, judgments), atol=1e-5)
    second, info = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "second", *settings)
    assert info.parts == ["train", "validation"]
    assert read_held_out(second, score="cosine").equals(found)
    assert np.abs(encoded(second, small_snapshot, judgments) - found["cosine"].to_numpy()).max() > 1e-3


@pytest.mark.parametrize("settings", [(), MINED], ids=["in batch", "mined"])
def test_those_of_a_fold_are_an_encoders_that_was_trained_without_its_queries(
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: tuple[str, ...],
) -> None:
    """Each fold learned anew from a shop that nobody ever judged its queries for."""
    folder, info = trained(
        capsys, small_snapshot, tiny_backbone, tmp_path / "bundle", "held_out_folds=2", "seed=3", *settings
    )
    found = read_held_out(folder, score="cosine")
    judgments = small_snapshot.judgments("train", "validation")
    assert found.select("query_id", "product_id").equals(judgments.select("query_id", "product_id"))
    config = RetrieverConfig.model_validate(
        {name: value for name, value in info.config.items() if name in RetrieverConfig.model_fields}
    )
    fold = text_folds(judgments["query"].to_list(), folds=2, seed=3)
    tables = small_tables()
    for number in (0, 1):
        inside = fold == number
        held = judgments["query_id"].filter(inside).unique().to_list()
        kept = tables | {"judgments": tables["judgments"].filter(~pl.col("query_id").is_in(held))}
        place = tmp_path / f"without{number}"
        snapshot = build_snapshot(write_shop(place / "shop", kept), out=place / "snapshot")
        task = Task.open(snapshot, config=config, base=None, start=None, work=place / "work")
        examples = task.read("train", "validation")
        assert examples is not None
        network, _ = learn(
            examples, None, config=config, start=task.source, work=place / "fit", stop_after=info.config["best_epoch"]
        )
        network.save(place)
        task.tokenizer.save(place)
        expected = encoded(place, small_snapshot, judgments.filter(inside))
        np.testing.assert_allclose(found["cosine"].to_numpy()[inside], expected, atol=1e-4)


def opened(snapshot: Snapshot, backbone: Path, work: Path, **values: object) -> Task:
    given = {"precision": "fp32", "max_length": 24, "backbone": str(backbone), "epochs": 1, "batch_size": 16}
    config = RetrieverConfig.model_validate(given | values)
    return Task.open(snapshot, config=config, base=None, start=None, work=work)


def test_without_some_queries_nothing_of_them_is_left(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """Judgments, events and titles alike; the weights are again 1 in the mean."""
    examples = opened(small_snapshot, tiny_backbone, tmp_path, pseudo_queries=2).read("train")
    assert examples is not None
    asked = [examples.texts[row] for row in examples.query]
    out = {asked[0], asked[-1]}
    left = examples.without(out)
    kept = np.array([text not in out for text in asked])
    assert 0 < len(left) == kept.sum() < len(examples)
    assert not {left.texts[row] for row in left.query} & out
    np.testing.assert_array_equal(left.product, examples.product[kept])
    np.testing.assert_allclose(left.weights, examples.weights[kept] / examples.weights[kept].mean(), rtol=1e-6)
    assert left.negatives.shape == (len(left), 0)
    assert len(examples.without(set(asked))) == 0


def test_pairs_that_were_taken_keep_their_cosines(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    task = opened(small_snapshot, tiny_backbone, tmp_path)
    judged = task.judged("train", "validation")
    assert judged is not None
    rows = np.arange(len(judged))[::-3]
    some = judged.take(rows)
    np.testing.assert_array_equal(some.grades, judged.grades[rows])
    assert len(some.queries) == len(np.unique(judged.query[rows]))
    whole, part = (cosines(task.stood, task.tokenizer, one, precision="fp32") for one in (judged, some))
    np.testing.assert_allclose(part, whole[rows], atol=1e-6)


def test_queries_that_the_others_teach_nothing_for_stay_unscored(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """All that there is to learn belongs to one query: its own fold has nothing to learn from."""
    task = opened(small_snapshot, tiny_backbone, tmp_path / "work", held_out_folds=2)
    examples = task.read("train", "validation")
    assert examples is not None
    only = examples.texts[0]
    alone = examples.without(set(examples.texts) - {only})
    found = score_folds(task, alone, ["train", "validation"], work=tmp_path / "fit", epochs=1)
    assert found is not None
    judgments = small_snapshot.judgments("train", "validation")
    fold = text_folds(judgments["query"].to_list(), folds=2, seed=0)
    own = fold[(judgments["query"] == only).to_numpy()][0]
    assert found["query_id"].to_list() == judgments["query_id"].filter(fold != own).to_list()
    nothing = alone.without({only})
    assert score_folds(task, nothing, ["train", "validation"], work=tmp_path / "none", epochs=1) is None


def test_where_nobody_judged_nothing_is_kept(
    tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {name: table for name, table in small_tables().items() if name not in ("queries", "judgments")}
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables), out=tmp_path / "snapshot")
    folder, info = trained(
        capsys, snapshot, tiny_backbone, tmp_path / "out", "pseudo_queries=2", "judgments=false", "held_out_folds=2"
    )
    assert info.parts == ["train"]
    assert not has_held_out(folder)
