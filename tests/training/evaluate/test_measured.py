"""Reports, score files and TREC runs."""

import json
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import polars as pl
import pytest

from training.evaluate.measured import Measured, RankedList, report, write_scores, write_trec_run


@pytest.fixture
def measured() -> Measured:
    nan = np.nan
    return Measured(
        protocol="by hand",
        keys=["q1", "q 2", "q3"],
        subject="full",
        systems={
            "full": {"ndcg@10": np.array([1.0, 0.5, nan])},
            "BM25": {"ndcg@10": np.array([0.5, 0.25, nan]), "only here": np.array([nan, nan, nan])},
        },
        baselines=["BM25"],
        counts={"queries": 3},
        runs={"full": [RankedList(["a b", "c"], [2.0, 1.0]), RankedList(["d"], [0.5]), RankedList([], [])]},
    )


def test_the_report_leaves_nan_out_and_pairs_the_differences(measured: Measured) -> None:
    found = report(measured, seed=0)
    assert found["queries_or_users"] == 3
    assert found["metrics"] == {"ndcg@10": 0.75}
    assert found["systems"]["BM25"] == {"ndcg@10": 0.375, "only here": None}
    assert set(found["baselines"]["BM25"]["difference"]) == {"ndcg@10"}
    assert found["baselines"]["BM25"]["difference"]["ndcg@10"] == {"mean": 0.375, "low": 0.25, "high": 0.5}
    assert found["intervals"]["ndcg@10"]["low"] == 0.5


def test_where_nothing_counts_the_report_says_so(measured: Measured) -> None:
    nothing = replace(measured, systems={"full": {"ndcg@10": np.full(3, np.nan)}, "BM25": {"ndcg@10": np.zeros(3)}})
    found = report(nothing, seed=0)
    assert found["metrics"] == found["intervals"] == {"ndcg@10": None}
    assert found["baselines"]["BM25"]["difference"] == {"ndcg@10": None}
    json.loads(json.dumps(found, allow_nan=False))


def test_the_same_seed_gives_the_same_report(measured: Measured) -> None:
    assert report(measured, seed=3) == report(measured, seed=3)


def test_scores_are_written_for_pooling(measured: Measured, tmp_path: Path) -> None:
    write_scores(measured, tmp_path / "scores.parquet")
    frame = pl.read_parquet(tmp_path / "scores.parquet")
    assert frame.columns == ["key", "system", "metric", "value"]
    rows = frame.filter(pl.col("system") == "full")
    assert rows["key"].to_list() == ["q1", "q 2", "q3"]
    assert rows["value"].to_list()[:2] == [1.0, 0.5]


def test_a_trec_run_is_what_trec_tools_read(measured: Measured, tmp_path: Path) -> None:
    write_trec_run(measured, tmp_path / "run.txt")
    rows = list(ir_measures.read_trec_run(str(tmp_path / "run.txt")))
    assert [(row.query_id, row.doc_id, row.score) for row in rows] == [
        ("q1", "a_b", 2.0),
        ("q1", "c", 1.0),
        ("q_2", "d", 0.5),
    ]
