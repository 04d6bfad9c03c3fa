"""Metrics equal the mean over every order of ties, hand-made figures and two other implementations."""

import math
from collections.abc import Callable
from itertools import pairwise, permutations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from recsys.metrics.ranking import average_precision, dcg, hit_rate, mrr, ndcg, precision, recall

K = 3
METRICS: dict[str, Callable[..., float]] = {
    "ndcg": lambda grades, scores=None: ndcg(grades, scores),
    "ndcg@k": lambda grades, scores=None: ndcg(grades, scores, k=K),
    "mrr": lambda grades, scores=None: mrr(grades, scores, threshold=2),
    "mrr@k": lambda grades, scores=None: mrr(grades, scores, threshold=2, k=K),
    "hit_rate": lambda grades, scores=None: hit_rate(grades, scores, threshold=2, k=K),
    "precision": lambda grades, scores=None: precision(grades, scores, threshold=2, k=K),
    "recall": lambda grades, scores=None: recall(grades, scores, threshold=2, k=K),
    "map": lambda grades, scores=None: average_precision(grades, scores, threshold=2),
    "map@k": lambda grades, scores=None: average_precision(grades, scores, threshold=2, k=K),
}
tied_lists = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6)
plain_lists = st.lists(st.integers(0, 3), min_size=1, max_size=30)


def plain_values(grades: list[int]) -> dict[str, float]:
    """The metrics of a list in a fixed order, by their textbook definitions."""
    relevant = [grade >= 2 for grade in grades]
    total = sum(relevant)

    def discounted(some: list[int]) -> float:
        return sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(some, start=1))

    def quotient(above: float, below: float) -> float:
        return above / below if below else math.nan

    best = sorted(grades, reverse=True)
    firsts = [rank for rank, hit in enumerate(relevant, start=1) if hit][:1]
    precisions = [sum(relevant[:rank]) / rank if relevant[rank - 1] else 0.0 for rank in range(1, len(grades) + 1)]
    return {
        "ndcg": quotient(discounted(grades), discounted(best)),
        "ndcg@k": quotient(discounted(grades[:K]), discounted(best[:K])),
        "mrr": 1 / firsts[0] if firsts else math.nan,
        "mrr@k": (1 / firsts[0] if firsts[0] <= K else 0.0) if firsts else math.nan,
        "hit_rate": float(firsts[0] <= K) if firsts else math.nan,
        "precision": sum(relevant[:K]) / K,
        "recall": quotient(sum(relevant[:K]), total),
        "map": quotient(sum(precisions), total),
        "map@k": quotient(sum(precisions[:K]), total),
    }


def over_all_orders(name: str, grades: list[int], scores: list[int]) -> float:
    """The mean of a metric over every order of the list that keeps the scores descending."""
    values = [
        plain_values([grades[item] for item in order])[name]
        for order in permutations(range(len(grades)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    return float(np.mean(values))


@pytest.mark.parametrize("name", METRICS)
@given(pairs=tied_lists)
@settings(max_examples=60, deadline=None)
def test_ties_are_averaged_over_all_their_orders(name: str, pairs: list[tuple[int, int]]) -> None:
    grades, scores = [grade for grade, _ in pairs], [score for _, score in pairs]
    expected = over_all_orders(name, grades, scores)
    assert METRICS[name](grades, scores) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
@given(pairs=tied_lists, seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_file_order_says_nothing(name: str, pairs: list[tuple[int, int]], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(pairs))
    grades, scores = np.array(pairs).T
    shuffled = METRICS[name](grades[order], scores[order])
    assert shuffled == pytest.approx(METRICS[name](grades, scores), nan_ok=True, abs=1e-12)


def test_ndcg_by_hand() -> None:
    value = ndcg([0, 3, 1])
    assert value == pytest.approx((7 / math.log2(3) + 1 / math.log2(4)) / (7 + 1 / math.log2(3)))
    assert ndcg([0, 3, 1], k=1) == 0.0
    assert dcg([0, 3, 1], k=2) == pytest.approx(7 / math.log2(3))


def test_ndcg_takes_its_ideal_from_all_judged_products() -> None:
    assert ndcg([1], ideal=[1, 3, 0]) == pytest.approx(1 / (7 + 1 / math.log2(3)))
    assert math.isnan(ndcg([0, 0]))
    assert math.isnan(ndcg([]))


def test_binary_metrics_by_hand() -> None:
    grades = [0, 2, 3, 0, 2]
    assert mrr(grades, threshold=2) == pytest.approx(1 / 2)
    assert mrr(grades, threshold=2, k=1) == 0.0
    assert hit_rate(grades, threshold=2, k=1) == 0.0
    assert hit_rate(grades, threshold=2, k=2) == 1.0
    assert precision(grades, threshold=2, k=2) == pytest.approx(1 / 2)
    assert precision(grades, threshold=2, k=10) == pytest.approx(3 / 10)
    assert recall(grades, threshold=2, k=3) == pytest.approx(2 / 3)
    assert recall(grades, threshold=2, k=3, relevant=8) == pytest.approx(2 / 8)
    assert average_precision(grades, threshold=2) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    assert average_precision(grades, threshold=2, k=3) == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_two_tied_products_share_both_ranks() -> None:
    assert ndcg([1, 0], [5, 5]) == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert mrr([2, 0], [5, 5], threshold=2) == pytest.approx(3 / 4)
    assert hit_rate([2, 0], [5, 5], threshold=2, k=1) == pytest.approx(1 / 2)


@pytest.mark.parametrize("metric", ["mrr", "hit_rate", "recall", "map"])
def test_nothing_relevant_has_no_value(metric: str) -> None:
    assert math.isnan(METRICS[metric]([0, 1]))
    assert math.isnan(METRICS[metric]([]))


@pytest.mark.parametrize("scores", [[1.0], [1.0, math.nan]])
def test_scores_that_fit_no_grade_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="scores of shape"):
        ndcg([1, 0], scores)


@given(grades=plain_lists)
@settings(max_examples=100, deadline=None)
def test_bounds_and_the_best_order(grades: list[int]) -> None:
    for name, metric in METRICS.items():
        value = metric(grades)
        assert math.isnan(value) or -1e-12 <= value <= 1 + 1e-12, name
    if any(grades):
        assert ndcg(sorted(grades, reverse=True)) == pytest.approx(1.0)


@given(grades=plain_lists)
@settings(max_examples=40, deadline=None)
def test_ir_measures_agrees_without_ties(grades: list[int]) -> None:
    qrels = [ir_measures.Qrel("q", f"d{item}", grade) for item, grade in enumerate(grades)]
    run = [ir_measures.ScoredDoc("q", f"d{item}", -float(item)) for item in range(len(grades))]
    wanted = {
        ir_measures.RR(rel=2): "mrr",
        ir_measures.RR(rel=2) @ K: "mrr@k",
        ir_measures.Success(rel=2) @ K: "hit_rate",
        ir_measures.P(rel=2) @ K: "precision",
        ir_measures.R(rel=2) @ K: "recall",
        ir_measures.AP(rel=2): "map",
        ir_measures.AP(rel=2) @ K: "map@k",
    }
    found = ir_measures.calc_aggregate(list(wanted), qrels, run)
    for measure, name in wanted.items():
        assert found[measure] == pytest.approx(np.nan_to_num(METRICS[name](grades)), abs=1e-9), name
    gains = [ir_measures.Qrel("q", f"d{item}", 2**grade - 1) for item, grade in enumerate(grades)]
    linear = ir_measures.calc_aggregate([ir_measures.nDCG, ir_measures.nDCG @ K], gains, run)
    assert linear[ir_measures.nDCG] == pytest.approx(np.nan_to_num(ndcg(grades)), abs=1e-9)
    assert linear[ir_measures.nDCG @ K] == pytest.approx(np.nan_to_num(ndcg(grades, k=K)), abs=1e-9)


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_scikit_learn_agrees_with_ties(pairs: list[tuple[int, int]]) -> None:
    grades, scores = np.array(pairs).T
    for k in (None, K, 10):
        expected = ndcg_score([2.0**grades - 1], [scores], k=k)
        assert np.nan_to_num(ndcg(grades, scores, k=k)) == pytest.approx(expected, abs=1e-9)
