"""What is measured on a registered version reaches MLflow, and `recsys review`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.registry.client import Registry
from recsys.settings import load_settings
from tests.command import Done, recsys
from tests.training.commands import client, runs

Run = Callable[..., Done]
MODEL = "models:/small.recommender"
EVALUATE = ("--task", "recommend", "--split", "test", "--k", "10")


@pytest.fixture
def run(small_snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> Run:
    """A home with a champion (popularity) and a challenger (item-kNN beside it)."""

    def call(*arguments: object) -> Done:
        done = recsys(capsys, *arguments)
        assert done.code == 0, done.err
        return done

    call("train", "popularity", small_snapshot.path)
    call("promote", f"{MODEL}/1")
    call("train", "item-knn", small_snapshot.path)
    return call


def test_an_evaluation_is_a_run_and_stands_on_the_version(run: Run, small_snapshot: Snapshot) -> None:
    report = run("evaluate", f"{MODEL}@challenger", small_snapshot.path, *EVALUATE, "--json").report
    assert (report["model"], report["against"]) == ("small.recommender/2", "")
    (found,) = [one for one in runs() if one.data.tags["stage"] == "evaluate"]
    snapshot = small_snapshot.manifest.snapshot_id
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.digest, used.tags[0].value) == (snapshot, "evaluation")
    named = {name: found.data.tags[name] for name in ("model", "snapshot", "task", "split", "protocol")}
    assert named == {
        "model": f"{MODEL}/2", "snapshot": snapshot, "task": "recommend", "split": "test",
        "protocol": report["protocol"],
    }  # fmt: skip
    logged = found.data.metrics
    assert logged["ndcg_at_10"] == pytest.approx(report["metrics"]["ndcg@10"])
    assert logged["ndcg_at_10 low"] == pytest.approx(report["intervals"]["ndcg@10"]["low"])
    files = [file.path for file in client().list_artifacts(found.info.run_id)]
    assert files == ["report.html", "report.json", "slices.json"], "no file with ids of users"
    version = Registry(load_settings()).resolve(f"{MODEL}/2")
    key = f"evaluation/{snapshot[:12]}/recommend/test/repeats-excluded"
    assert version.metrics[f"{key}/ndcg@10"] == pytest.approx(report["metrics"]["ndcg@10"])
    assert report["protocol"] in version.tags[key]


def test_review_subtracts_only_figures_of_the_same_snapshot(
    run: Run, small_snapshot: Snapshot, small_shop: Path, tmp_path: Path
) -> None:
    other = build_snapshot(small_shop, out=tmp_path / "other", options={"test_days": "20"})
    run("evaluate", f"{MODEL}/1", other.path, *EVALUATE)
    run("evaluate", f"{MODEL}/2", small_snapshot.path, *EVALUATE)
    rows = evaluated(run("review", f"{MODEL}/2", "--json").report)
    assert [(one["value"] is None, one["champion"] is None, one["gain"]) for one in rows] in (
        [(True, False, None), (False, True, None)],
        [(False, True, None), (True, False, None)],
    )
    assert "they do not compare" in run("review", f"{MODEL}/2").out
    run("evaluate", f"{MODEL}/1", small_snapshot.path, *EVALUATE)
    found = evaluated(run("review", f"{MODEL}/2", "--json").report)
    (row,) = [one for one in found if one["measured_on"].startswith(small_snapshot.manifest.snapshot_id[:12])]
    assert row["gain"] == pytest.approx(row["value"] - row["champion"])


def test_challenger_and_champion_are_compared_in_pairs(run: Run, small_snapshot: Snapshot) -> None:
    asked = f"recsys evaluate {MODEL}/2 SNAPSHOT --against {MODEL}/1"
    assert asked in " ".join(run("review", f"{MODEL}/2").out.split())
    against = ("--against", f"{MODEL}@champion")
    report = run("evaluate", f"{MODEL}/2", small_snapshot.path, *EVALUATE, *against, "--json").report
    alone = run("evaluate", f"{MODEL}/1", small_snapshot.path, *EVALUATE, "--json").report
    assert report["against"] == report["tests"]["baseline"] == "small.recommender/1"
    assert report["systems"]["small.recommender/1"] == alone["metrics"]
    gap = report["baselines"]["small.recommender/1"]["difference"]["ndcg@10"]
    assert gap["mean"] == pytest.approx(report["metrics"]["ndcg@10"] - alone["metrics"]["ndcg@10"])
    run("evaluate", f"{MODEL}/2", small_snapshot.path, *EVALUATE)
    (shown,) = run("review", f"{MODEL}/2", "--json").report["comparisons"]
    assert shown["snapshot"] == small_snapshot.manifest.snapshot_id
    assert shown["difference"]["ndcg@10"] == gap, "an evaluation alone leaves the comparison as it is"
    assert "This version minus small.recommender/1, on " in run("review", f"{MODEL}/2").out


def test_the_baseline_may_be_the_other_model_or_one_that_it_lacks(run: Run, small_snapshot: Snapshot) -> None:
    against = ("--against", f"{MODEL}/1", "--json")
    for name in ("small.recommender/1", "item-knn"):
        report = run("evaluate", f"{MODEL}/2", small_snapshot.path, *EVALUATE, *against, "--baseline", name).report
        assert report["tests"]["baseline"] == report["slices"]["baseline"] == name


def test_a_folder_is_compared_and_leaves_no_trace(run: Run, small_snapshot: Snapshot, tmp_path: Path) -> None:
    run("train", "popularity", small_snapshot.path, "--base", "none", "-o", tmp_path / "bundle")
    before = len(runs())
    report = run(
        "evaluate", tmp_path / "bundle", small_snapshot.path, *EVALUATE, "--against", f"{MODEL}/1", "--json"
    ).report
    assert report["model"].startswith("bundle/")
    assert report["baselines"]["small.recommender/1"]["difference"]["ndcg@10"]["mean"] == pytest.approx(0.0)
    assert len(runs()) == before


def test_the_state_folder_can_be_named(
    run: Run, small_snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = load_settings().home
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "elsewhere"))
    run("train", "popularity", small_snapshot.path, "--home", home)
    run("evaluate", f"{MODEL}/3", small_snapshot.path, *EVALUATE, "--home", home)
    assert not (tmp_path / "elsewhere").exists()


def evaluated(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one metric of `recsys evaluate`."""
    return [one for one in report["metrics"] if one["name"] == "recommend repeats-excluded ndcg@10"]
