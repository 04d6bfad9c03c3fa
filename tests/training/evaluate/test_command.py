"""`recsys evaluate` on a small sample shop: the JSON of the protocols, files, and wrong usage in one line."""

import json
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.cli.app import main
from recsys.ranking.calibration import Calibration, CutOff, Platt
from recsys.testing.tiny import tiny_backbone
from tests.bundles import bundle_of, components_in, components_of, search_networks
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.popularity import PopularityConfig, fit_popularity

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(autouse=True)
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(place / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("training.evaluate.search.stock_encoder", lambda: None)


@pytest.fixture(scope="module")
def snapshot(place: Path) -> Snapshot:
    write_sample(place / "shop", products=120, users=80, seed=0)
    return build_snapshot(place / "shop", out=place / "snapshot")


@pytest.fixture(scope="module")
def search(place: Path, snapshot: Snapshot) -> Path:
    backbone = tiny_backbone(place / "backbone", seed=0)
    networks = search_networks(place, backbone, max_length=24)
    return bundle_of(place / "search", PRODUCT_SEARCH, networks, shop=snapshot.manifest.shop).path


@pytest.fixture(scope="module")
def recommender(place: Path, snapshot: Snapshot) -> Path:
    parts = ["train", "validation"]
    fit_popularity(snapshot, parts=parts, config=PopularityConfig(half_life_days=0), folder=place / "popularity")
    fit_item_knn(snapshot, parts=parts, config=ItemKnnConfig(), folder=place / "item_knn")
    components = components_in(place, "popularity", "item_knn", parts=parts)
    return bundle_of(place / "recommender", RECOMMENDER, components, shop=snapshot.manifest.shop).path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    """Exit code, the JSON on standard output, standard error."""
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), json.loads(out), err


def test_judged(search: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = run(
        capsys, search, snapshot.path, "--task", "judged", "--split", "all", "--trec-run", place / "run.txt",
        "--scores", place / "scores.parquet",
    )  # fmt: skip
    assert code == 0
    assert found["protocol"] == "by query, all part, judged products alone, ties averaged"
    assert found["system"] == "full"
    assert set(found["systems"]) == {
        "bm25", "dense", "hybrid", "full", "cross-encoder",
        "BM25 titles", "BM25 titles + description", "BM25 all text fields",
    }  # fmt: skip
    assert found["queries_or_users"] == found["counts"]["queries"] == snapshot.judgments()["query_id"].n_unique()
    for name, value in found["metrics"].items():
        assert 0.0 <= found["intervals"][name]["low"] <= value <= found["intervals"][name]["high"] <= 1.0
    scores = pl.read_parquet(place / "scores.parquet")
    full = scores.filter((pl.col("system") == "full") & (pl.col("metric") == "ndcg@10"))["value"]
    assert np.nanmean(full.to_numpy()) == pytest.approx(found["metrics"]["ndcg@10"])
    assert (place / "run.txt").read_text().count("\n") == snapshot.judgments().height


def test_retrieval(search: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = run(
        capsys, search, snapshot.path, "--task", "retrieval", "--split", "test", "--stages", "bm25,hybrid", "--k", "5"
    )
    assert code == 0
    assert found["system"] == "hybrid"
    recalls = {"recall@5", "recall@10", "recall@100", "recall@1000"}
    assert {"ndcg@5", "ndcg@5 judged-only", *recalls, "unjudged@10"} == set(found["metrics"])
    assert not any("no good match" in name for name in found["counts"]), "no calibration, no cut-off"
    words = {"BM25 titles", "BM25 titles + description", "BM25 all text fields"}
    assert set(found["baselines"]) == {"bm25", "not fine-tuned encoder", *words}
    assert found["baselines"]["bm25"]["difference"]["ndcg@5"]["mean"] == pytest.approx(
        found["metrics"]["ndcg@5"] - found["systems"]["bm25"]["ndcg@5"]
    )


def test_retrieval_counts_searches_without_a_good_match(
    search: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing reaches a probability of 1: every search of the stages with the cross-encoder ends without an answer."""
    base, best = Bundle.open(search), snapshot.manifest.max_grade
    Calibration(
        cross_encoder=base.manifest.components["cross_encoder"].digest,
        threshold=best,
        max_grade=best,
        curve=Platt(slope=1, intercept=0),
        cutoff=CutOff(probability=1.0, irrelevant_share=0.2, confidence=0.9, k=10, queries=40),
    ).save(place / "calibration")
    parts = components_of(base) | components_in(place, "calibration")
    calibrated = bundle_of(place / "calibrated", PRODUCT_SEARCH, parts, shop=snapshot.manifest.shop).path
    given = [calibrated, snapshot.path, "--task", "retrieval", "--split", "test", "--k", "5", "--stages"]
    code, found, _ = run(capsys, *given, "full")
    assert code == 0
    good = snapshot.judgments("test").filter(pl.col("grade") >= best)["query_id"].n_unique()
    answers = (found["counts"]["no good match, rightly"], found["counts"]["no good match though one was judged"])
    assert answers == (found["counts"]["queries"] - good, good)
    _, found, _ = run(capsys, *given, "hybrid")
    assert not any("no good match" in name for name in found["counts"])


def test_recommend_gives_two_tables(
    recommender: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = run(
        capsys, recommender, snapshot.path, "--task", "recommend", "--repeats", "both", "--trec-run", place / "rec.txt",
        "--out", place / "rec",
    )  # fmt: skip
    assert code == 0
    excluded, allowed = found["tables"]
    assert "repeats excluded" in excluded["protocol"]
    assert "refit" in excluded["protocol"]
    assert "repeats allowed" in allowed["protocol"]
    assert set(excluded["systems"]) == {"engine", "item-knn", "popularity", "popularity, last 28 days"}
    assert {"own-history-frequency", "own-history-recency"} <= set(allowed["systems"])
    names = ("recall", "ndcg", "hit_rate", "map", "mrr", "novelty", "diversity_by_category", "head_share")
    assert set(excluded["metrics"]) == {f"{name}@{k}" for name in names for k in (10, 20)}
    assert 0.0 < excluded["overall"]["engine"]["coverage@10"] <= excluded["overall"]["engine"]["coverage@20"] <= 1.0
    assert excluded["tests"]["baseline"] == "popularity"
    assert excluded["tests"]["claims"] == 3 * 10, "what lists are like is no claim"
    assert set(excluded["slices"]["by"]) == {"history", "segment", "product age"}
    overall = excluded["overall"]
    assert 0.0 <= overall["popularity"]["personalisation@10"] < overall["item-knn"]["personalisation@10"] <= 1.0
    assert excluded["systems"]["popularity"]["head_share@10"] > overall["engine"]["head_share of the history"]
    for variant, found in (("repeats-excluded", excluded), ("repeats-allowed", allowed)):
        users = pl.read_parquet(place / "rec" / variant / "users.parquet")
        assert users["engine: map@10"].mean() == pytest.approx(found["metrics"]["map@10"])
        assert (place / "rec" / variant / "report.html").is_file()
        assert_ir_measures_agrees(place / "rec" / variant, users)
    assert (place / "rec-repeats-allowed.txt").is_file()
    assert (place / "rec-repeats-excluded.txt").is_file()


def test_two_recommenders_are_interleaved(
    recommender: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    popular = components_in(place, "popularity", parts=["train", "validation"])
    other = bundle_of(place / "popular", RECOMMENDER, popular, shop=snapshot.manifest.shop).path
    options = (snapshot.path, "--task", "recommend", "--out", place / "shared", "--against")
    code, found, _ = run(capsys, recommender, *options, other)
    assert code == 0
    shared = found["interleaving"]
    assert shared["against"] == found["against"]
    assert shared["lists"] >= shared["users"] == found["tests"]["systems"]["engine"]["ndcg@10"]["n"]
    assert shared["share"]["low"] <= shared["share"]["mean"] <= shared["share"]["high"]
    assert shared["share"]["mean"] == pytest.approx(shared["wins"] + shared["ties"] / 2)
    assert "Which one would shoppers choose?" in (place / "shared" / "report.html").read_text()
    _, turned, _ = run(capsys, other, *options, recommender)
    assert turned["interleaving"]["share"]["mean"] == pytest.approx(1 - shared["share"]["mean"], abs=0.03)
    with pytest.raises(SystemExit):
        main(["evaluate", str(recommender), *map(str, options), str(other)])
    assert "interleaved with" in " ".join(capsys.readouterr().out.split())


def assert_ir_measures_agrees(folder: Path, users: pl.DataFrame) -> None:
    """Where no scores tie, each user's reciprocal rank in the files is ours."""
    qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.trec")))
    ours = dict(users.select("user_id", "engine: mrr@10").drop_nulls().iter_rows())
    assert {row.query_id for row in qrels} == set(ours)
    run_rows = list(ir_measures.read_trec_run(str(folder / "run.trec")))
    found = {row.query_id: row.value for row in ir_measures.iter_calc([ir_measures.RR @ 10], qrels, run_rows)}
    same = [found.get(user, 0.0) == pytest.approx(value) for user, value in ours.items()]
    assert np.mean(same) > 0.8


def test_the_folder_says_what_the_report_says(
    search: Path, snapshot: Snapshot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "out"
    code, found, _ = run(
        capsys, search, snapshot.path, "--split", "all", "--k", "5", "--out", out, "--baseline", "BM25 titles"
    )
    assert code == 0
    assert json.loads((out / "report.json").read_text()) == found
    assert found["snapshot"] == snapshot.manifest.snapshot_id
    assert found["tests"]["baseline"] == found["slices"]["baseline"] == "BM25 titles"
    assert found["tests"]["claims"] == (len(found["systems"]) - 1) * len(found["metrics"])
    gain = found["tests"]["systems"]["full"]["ndcg@5"]
    assert gain["gain"] == pytest.approx(found["baselines"]["BM25 titles"]["difference"]["ndcg@5"]["mean"])
    assert 0.0 < gain["p"] <= gain["p_holm"] <= 1.0
    for group in found["slices"]["by"].values():
        weighted = sum(row["n"] * row["mean"] for row in group["rows"]) / sum(row["n"] for row in group["rows"])
        assert weighted == pytest.approx(found["metrics"]["ndcg@5"]), "the slices are the whole"
    assert len(list((out / "runs").iterdir())) == len(found["systems"]) - 1
    table = pl.read_parquet(out / "queries.parquet")
    assert table.height == found["queries_or_users"]
    assert table["searches"].sum() > 0
    assert (out / "run.trec").read_text().count("\n") == snapshot.judgments().height


def test_a_baseline_that_is_not_there_is_told_before_anything_is_measured(
    search: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluate.search.judged_metrics", None)
    monkeypatch.setattr("training.evaluate.search.retrieval_metrics", None)
    for task in ("judged", "retrieval"):
        code, _, err = run(capsys, search, snapshot.path, "--task", task, "--split", "all", "--baseline", "best")
        assert (code, err.count("\n")) == (2, 1)
        assert "--baseline best; expected one of bm25, dense, hybrid, " in err


@pytest.mark.parametrize("option", ["--out", "--trec-run", "--scores"])
def test_a_place_that_takes_no_file_is_told_before_anything_is_measured(
    search: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr("training.evaluate.run.build_index", None)
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, search, snapshot.path, option, tmp_path / "file" / "in" / "it")
    assert (code, err.count("\n")) == (1, 1)
    assert str(tmp_path / "file") in err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_second_run_uses_the_index_of_the_first(
    recommender: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _ = run(capsys, recommender, snapshot.path, "--task", "recommend", "--split", "validation")
    monkeypatch.setattr("training.evaluate.run.build_index", None)
    _, second, _ = run(capsys, recommender, snapshot.path, "--task", "recommend", "--split", "validation")
    assert first == second


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "guess"], "--task guess; expected one of judged, retrieval, recommend"),
        (["--split", "tomorrow"], "--split tomorrow; expected train, validation, test or all"),
        (["--k", "ten"], "--k ten; expected whole numbers"),
        (["--stages", "best"], "stages `best`; expected one of bm25, dense, hybrid, full"),
        (["--task", "recommend"], "is a product-search model; expected a recommender model"),
    ],
)
def test_wrong_usage_is_one_line(
    search: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    code, found, err = run(capsys, search, snapshot.path, *options)
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert found["error"]["type"] == "UsageError"


def test_repeats_and_split_of_recommendations_are_checked(
    recommender: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, recommender, snapshot.path, "--task", "recommend", "--repeats", "maybe")
    assert (code, "expected one of allowed, excluded, both" in err) == (2, True)
    code, _, err = run(capsys, recommender, snapshot.path, "--task", "recommend", "--split", "all")
    assert (code, "on the all part of a snapshot split by time" in err) == (2, True)


def test_a_missing_model_or_snapshot_is_one_line(
    search: Path, snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, tmp_path, snapshot.path)
    assert (code, "no manifest.json" in err) == (1, True)
    code, _, err = run(capsys, search, tmp_path / "nothing")
    assert (code, "is no snapshot" in err) == (1, True)


def test_people_get_tables(search: Path, snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(search), str(snapshot.path), "--split", "all"])
    out, _ = capsys.readouterr()
    assert not end.value.code
    assert "full minus baseline" in out
    assert "BM25 all text fields" in out
    assert "p after Holm" in out
    assert "with a typo" in out
