"""`recsys train`, from the command line to the registered version."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from recsys.metrics.ranking import ndcg
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import score_pairs
from recsys.registry.client import Registry
from recsys.settings import load_settings
from recsys.text.fields import product_text
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import ROOT, client, history, options, runs


def judged_ndcg(folder: Path, snapshot: Snapshot, part: str) -> float:
    """By hand: the mean over the part's queries with grades that differ."""
    judgments = snapshot.judgments(part)
    catalogue = snapshot.catalogue()
    texts = product_text(catalogue.frame[catalogue.positions(judgments["product_id"])])
    network, tokenizer = CrossEncoder.load(folder), TextTokenizer.load(folder)
    scores = score_pairs(network, tokenizer, judgments["query"].to_list(), texts, precision="fp32")
    values = []
    for query in judgments["query_id"].unique():
        rows = (judgments["query_id"] == query).to_numpy()
        grades = judgments["grade"].to_numpy()[rows]
        if np.ptp(grades) > 0:
            values.append(ndcg(grades, scores[rows], k=10))
    return float(np.mean(values))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _shared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(home))


@pytest.fixture(scope="module")
def trained(home: Path, small_snapshot: Snapshot, tiny_backbone: Path) -> dict[str, Any]:
    arguments = ["train", "relevance", str(small_snapshot.path), *options(tiny_backbone, "epochs=6", "patience=2")]
    arguments += ["-o", str(home / "bundle"), "--no-refit", "--json"]
    command = [sys.executable, "-m", "recsys", *arguments]
    environment = {**os.environ, "RECSYS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_it_says_what_stood_before(trained: dict[str, Any]) -> None:
    assert sorted(trained["metrics"]) == ["validation/cosine.ndcg@10", "validation/ndcg@10"]
    assert trained["before"] == {}
    assert trained["parts"] == ["train"]


def test_the_metric_is_the_one_of_the_written_weights(trained: dict[str, Any], small_snapshot: Snapshot) -> None:
    bundle = Bundle.open(Path(trained["bundle"]))
    folder = bundle.component("cross_encoder")
    assert folder is not None
    measured = judged_ndcg(folder, small_snapshot, "validation")
    assert measured == pytest.approx(trained["metrics"]["validation/ndcg@10"], abs=1e-6)


def test_the_version_is_the_challenger_and_holds_the_bundle(trained: dict[str, Any]) -> None:
    version = Registry(load_settings()).resolve("models:/small.product-search@challenger")
    assert (version.uri, version.digest) == (trained["uri"], trained["digest"])
    assert version.metrics["cross_encoder.validation/ndcg@10"] == pytest.approx(
        trained["metrics"]["validation/ndcg@10"]
    )
    assert Bundle.open(Path(trained["bundle"])).digest == version.digest


def test_the_run_tells_everything(trained: dict[str, Any], small_snapshot: Snapshot) -> None:
    (run,) = runs()
    assert run.info.run_id == trained["run_id"]
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "6"
    assert run.data.params["learning_rate"] == "0.003"
    assert len(run.data.tags["git_commit"]) >= 7
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.digest == small_snapshot.manifest.snapshot_id
    losses = history(trained["run_id"], "loss")
    assert len(losses) > 1
    assert losses[-1] < losses[0]
    names = [artifact.path for artifact in client().list_artifacts(trained["run_id"])]
    assert "curves.png" in names


def test_nothing_is_left_to_resume(trained: dict[str, Any], home: Path) -> None:
    assert trained["version"] == 1
    assert list((home / "training").iterdir()) == []


def test_the_other_components_are_carried_over_by_digest(
    trained: dict[str, Any], small_snapshot: Snapshot, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The challenger is the base of the next training; its cross-encoder is measured, not started from."""
    done = recsys(capsys, "train", "retriever", small_snapshot.path, *options(tiny_backbone, "epochs=1"), "--json")
    assert done.code == 0, done.err
    assert done.report["base"] == "small.product-search/1"
    assert done.report["components"] == ["cross_encoder", "text_encoder"]
    assert done.report["parts"] == ["train", "validation"]
    registry = Registry(load_settings())
    before, after = (registry.fetch(registry.version("small.product-search", number)).manifest for number in (1, 2))
    assert after.components["cross_encoder"] == before.components["cross_encoder"]


def test_a_named_base_is_started_from(
    trained: dict[str, Any], small_snapshot: Snapshot, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step of a rate near 0 leaves the base's ranking as it is; the report is a table."""
    still = options(tiny_backbone, "epochs=1", "learning_rate=1e-12")
    done = recsys(capsys, "train", "relevance", small_snapshot.path, *still, "--base", trained["bundle"], "--no-refit")
    assert done.code == 0, done.err
    metrics = Registry(load_settings()).resolve("models:/small.product-search@challenger").metrics
    assert metrics["cross_encoder.validation/ndcg@10"] == pytest.approx(
        metrics["cross_encoder.validation/base.ndcg@10"], abs=1e-6
    )
    assert "is the challenger; run" in done.out
    assert "validation/base.ndcg@10" in done.out


def test_weights_of_another_shop_come_in_by_init_alone(
    trained: dict[str, Any], tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_shop(tmp_path / "other", small_tables(), toml='name = "other"\n[judgments]\nmax_grade = 3\n')
    snapshot = build_snapshot(other, out=tmp_path / "snapshot")
    still = options(tiny_backbone, "epochs=1", "learning_rate=1e-12")
    refused = recsys(capsys, "train", "relevance", snapshot.path, *still, "--base", trained["bundle"])
    assert refused.code == 1
    assert len(refused.lines) == 1
    done = recsys(capsys, "train", "relevance", snapshot.path, *still, "--init", trained["uri"], "--no-refit", "--json")
    assert done.code == 0, done.err
    assert (done.report["model"], done.report["base"]) == ("other.product-search", None)
    assert done.report["metrics"]["validation/ndcg@10"] == pytest.approx(
        trained["metrics"]["validation/ndcg@10"], abs=1e-6
    )
