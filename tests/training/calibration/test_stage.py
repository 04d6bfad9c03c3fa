"""`recsys train calibration` behind `recsys train relevance`: held-out scores, the bundle, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.engine.cutoff import find_calibration
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import score_pairs
from recsys.ranking.calibration import Calibration
from recsys.ranking.held_out import read_held_out
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.training.commands import client, options, runs
from training.relevance.config import RelevanceConfig
from training.relevance.data import product_texts
from training.relevance.held_out import fold_logits, take
from training.relevance.members import learn_members
from training.relevance.sources import Reader, Sources


def trained(capsys: Any, snapshot: Snapshot, backbone: Path, out: Path, *more: str) -> Bundle:
    given = options(backbone, "epochs=2", "patience=0", *(text for text in more if "=" in text))
    flags = [text for text in more if "=" not in text]
    done = recsys(capsys, "train", "relevance", snapshot.path, *given, *flags, "-o", out, "--json")
    assert done.code == 0, done.err
    return Bundle.open(out)


def test_scores_of_the_validation_part_are_those_of_a_network_that_has_not_seen_it(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: Any
) -> None:
    """Without the refit the written network is that network."""
    bundle = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "bundle", "--no-refit")
    folder = bundle.path / "cross_encoder"
    found = read_held_out(folder)
    judgments = small_snapshot.judgments("validation")
    assert found.select("query_id", "product_id").equals(judgments.select("query_id", "product_id"))
    assert found["max_grade"].unique().to_list() == [small_snapshot.manifest.max_grade]
    network = CrossEncoder.load(folder)
    texts = product_texts(small_snapshot, judgments, fields=network.fields)
    queries, tokenizer = judgments["query"].to_list(), TextTokenizer.load(folder)
    logits = score_pairs(network, tokenizer, queries, texts, precision="fp32")
    assert found["logit"].to_numpy() == pytest.approx(logits, abs=1e-5)


def test_folds_score_every_query_by_networks_that_learned_from_others(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: Any
) -> None:
    bundle = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "bundle", "held_out_folds=3")
    found = read_held_out(bundle.path / "cross_encoder")
    judgments = small_snapshot.judgments("train", "validation")
    assert found.select("query_id", "product_id").equals(judgments.select("query_id", "product_id"))
    assert np.isfinite(found["logit"].to_numpy()).all()
    assert found["logit"].n_unique() > 10


def test_folds_repeat_the_epochs_that_were_chosen(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one network too; and texts that are written anew in each epoch are those of the fold's own pairs."""
    config = RelevanceConfig(
        backbone=str(tiny_backbone), precision="fp32", max_length=24, epochs=4, batch_size=16, typos=0.5
    )
    reader = Reader(snapshot=small_snapshot, sources=Sources(), tokenizer=TextTokenizer.load(tiny_backbone),
                    config=config, work=tmp_path)  # fmt: skip
    pairs = reader.pairs("train", "validation")
    assert pairs is not None
    half = take(pairs, np.arange(len(pairs) // 2))
    assert half.texts is not None
    assert len(half.texts.query) == len(half) == len(half.weights)
    before = learn_members(half, None, config=config, start=tiny_backbone, work=tmp_path / "before", soup={0: 2})
    asked = []

    def learned(*given: Any, **options: Any) -> Any:
        asked.append((options["stop_after"], options["soup"]))
        return before

    monkeypatch.setattr("training.relevance.held_out.learn_members", learned)
    fold_logits(pairs, folds=2, config=config, start=tiny_backbone, work=tmp_path, before=before)
    assert asked == [(before.best_epochs, before.soup)] * 2


def test_a_calibration_joins_its_cross_encoder_and_no_other(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: Any
) -> None:
    trained(capsys, small_snapshot, tiny_backbone, tmp_path / "one")
    given = ["train", "calibration", small_snapshot.path, "--set", "good_only=true", "--set", "irrelevant_share=0.4"]
    done = recsys(capsys, *given, "-o", tmp_path / "two", "--json")
    assert done.code == 0, done.err
    assert done.report["components"] == ["calibration", "cross_encoder"]
    assert done.report["metrics"]["held-out/pairs"] == len(small_snapshot.judgments("validation"))
    bundle = Bundle.open(tmp_path / "two")
    info = bundle.manifest.components
    calibration, missing = find_calibration(bundle)
    assert (calibration, missing) == (Calibration.load(tmp_path / "two" / "calibration"), "")
    assert calibration is not None
    assert calibration.cross_encoder == info["cross_encoder"].digest == info["calibration"].config["cross_encoder"]
    assert bundle.manifest.policy == {"good_only": True}
    check_evaluation(capsys, done.report["uri"], small_snapshot)
    other = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "three", "seed=5")
    assert sorted(other.manifest.components) == ["calibration", "cross_encoder"]
    assert find_calibration(other) == (None, "it was fitted on another cross-encoder")


def check_evaluation(capsys: Any, model: str, snapshot: Snapshot) -> None:
    """An evaluation of the model tells what came true, and logs figures and plot."""
    found = recsys(capsys, "evaluate", model, snapshot.path, "--task", "judged", "--split", "test", "--json")
    assert found.code == 0, found.err
    assert found.report["calibration"]["pairs"] == len(snapshot.judgments("test"))
    run = next(run for run in runs() if run.data.tags.get("stage") == "evaluate")
    assert run.data.metrics["calibration ece"] == pytest.approx(found.report["calibration"]["ece"])
    names = [artifact.path for artifact in client().list_artifacts(run.info.run_id)]
    assert {"reliability.png", "report.json"} <= set(names)
    people = recsys(capsys, "evaluate", model, snapshot.path, "--task", "judged", "--split", "test")
    assert "ECE" in people.out


def test_without_scores_there_is_nothing_to_fit(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: Any
) -> None:
    done = recsys(capsys, "train", "calibration", small_snapshot.path)
    assert done.code == 2
    assert "no cross-encoder to calibrate" in done.err
    bundle = trained(capsys, small_snapshot, tiny_backbone, tmp_path / "bundle")
    assert isinstance(read_held_out(bundle.path / "cross_encoder"), pl.DataFrame)
    refused = recsys(capsys, "train", "calibration", small_snapshot.path, "--set", "irrelevant_share=1.5")
    assert refused.code == 2
    assert "irrelevant_share = 1.5" in refused.err
