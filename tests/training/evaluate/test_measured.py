"""Reports: means, intervals, tests and slices by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from recsys.errors import UsageError
from tests.training.evaluate.made import ATTACK, table
from training.evaluate.measured import Measured, beside, report

nan = np.nan


@pytest.fixture
def measured() -> Measured:
    return replace(
        table(),
        systems={
            "full": {"ndcg@10": np.array([1.0, 0.5, nan]), "unjudged@10": np.array([0.5, 0.5, nan])},
            "BM25 titles": {"ndcg@10": np.array([0.5, 0.25, nan]), "only here": np.array([nan, nan, nan])},
        },
    )


def test_the_report_leaves_nan_out_and_pairs_the_differences(measured: Measured) -> None:
    found = report(measured, seed=0)
    assert found["queries_or_users"] == 3
    assert found["metrics"] == {"ndcg@10": 0.75, "unjudged@10": 0.5}
    assert found["systems"]["BM25 titles"] == {"ndcg@10": 0.375, "only here": None}
    assert set(found["baselines"]["BM25 titles"]["difference"]) == {"ndcg@10"}
    assert found["baselines"]["BM25 titles"]["difference"]["ndcg@10"] == {"mean": 0.375, "low": 0.25, "high": 0.5}
    assert found["intervals"]["ndcg@10"]["low"] == 0.5


def test_tests_and_slices_compare_with_the_same_baseline(measured: Measured) -> None:
    found = report(measured, seed=0)
    tests, slices = found["tests"], found["slices"]
    assert tests["baseline"] == slices["baseline"] == "BM25 titles"
    assert tests["systems"] == {"full": {"ndcg@10": {"gain": 0.375, "n": 2, "p": 0.5, "p_holm": 0.5}}}
    assert tests["claims"] == 1, "how much was judged is no claim about quality"
    (head, tail) = slices["by"]["frequency"]["rows"]
    assert (head["slice"], head["n"], head["mean"], head["baseline"], head["gain"]) == ("head", 1, 1.0, 0.5, 0.5)
    assert (tail["n"], tail["gain"], tail["gain_low"], tail["gain_high"]) == (1, 0.25, 0.25, 0.25)
    assert head["metrics"] == {"ndcg@10": 1.0, "unjudged@10": 0.5}
    assert [row["slice"] for row in slices["by"]["category"]["rows"]] == [ATTACK, "$a_b$ -->"], "none counts nobody"


def test_a_baseline_can_be_named_and_must_be_there(measured: Measured) -> None:
    more = replace(
        measured, systems={**measured.systems, "bm25": measured.systems["full"]}, baselines=["BM25 titles", "bm25"]
    )
    assert report(more, seed=0)["tests"]["baseline"] == "bm25"
    assert report(more, seed=0, baseline="BM25 titles")["tests"]["claims"] == 2
    with pytest.raises(UsageError, match="--baseline best; expected one of BM25 titles, bm25"):
        report(more, seed=0, baseline="best")
    with pytest.raises(UsageError, match="which is the system under evaluation"):
        report(more, seed=0, baseline="full")


def test_a_table_without_a_baseline_has_no_tests(measured: Measured) -> None:
    found = report(replace(measured, baselines=[]), seed=0)
    assert found["tests"] is found["slices"] is None


def test_where_nothing_counts_the_report_says_so(measured: Measured) -> None:
    empty = {"full": {"ndcg@10": np.full(3, nan)}, "BM25 titles": {"ndcg@10": np.zeros(3)}}
    found = report(replace(measured, systems=empty), seed=0)
    assert found["metrics"] == found["intervals"] == {"ndcg@10": None}
    assert found["baselines"]["BM25 titles"]["difference"] == {"ndcg@10": None}
    assert found["tests"]["systems"] == {}
    json.loads(json.dumps(found, allow_nan=False))


def test_the_same_seed_gives_the_same_report(measured: Measured) -> None:
    assert report(measured, seed=3) == report(measured, seed=3)


def test_another_model_stands_beside_with_its_lists() -> None:
    other = replace(table(), model="small/1")
    both = beside(table(), other)
    assert both.baselines[0] == both.against == "small/1"
    assert both.runs["small/1"] is other.runs["full"]
    assert report(both, seed=0)["tests"]["baseline"] == "small/1"
    with pytest.raises(ValueError, match="not the same"):
        beside(table(), replace(other, keys=["a", "b", "c"]))
