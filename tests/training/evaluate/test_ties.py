"""Batched metrics equal the exact ones of recsys.metrics and the mean over all orders of ties."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.metrics.ranking import average_precision, hit_rate, mrr, ndcg, recall
from training.evaluate.ties import Places, hit_rate_at, map_at, mrr_at, ndcg_at, recall_at, smooth


def test_a_tied_group_shares_its_hits() -> None:
    smoothed = smooth(np.array([[1.0, 0.0, 0.0, 1.0]]), np.array([[1, 2, 2, 2]]))
    assert smoothed.tolist() == [[1.0, 1 / 3, 1 / 3, 1 / 3]]


def test_groups_do_not_run_over_the_end_of_a_list() -> None:
    smoothed = smooth(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[1, 5], [5, 5]]))
    assert smoothed.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_by_hand() -> None:
    relevance, relevant = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), np.array([4, 0])
    assert recall_at(relevance, relevant, k=2)[0] == 1 / 4
    best = 1 + 1 / np.log2(3)
    assert ndcg_at(relevance, relevant, k=2)[0] == pytest.approx((1 / np.log2(3)) / best)
    assert np.isnan(recall_at(relevance, relevant, k=2)[1])
    assert np.isnan(ndcg_at(relevance, relevant, k=2)[1])


def test_a_list_shorter_than_the_cut_is_filled_with_nothing() -> None:
    assert ndcg_at(np.array([[1.0]]), np.array([2]), k=5)[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


@given(
    rows=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=6),
    unseen=st.integers(0, 3),
    k=st.integers(1, 7),
)
def test_equal_to_the_metrics_of_one_query(rows: list[tuple[int, int]], unseen: int, k: int) -> None:
    rows = sorted(rows, key=lambda row: -row[1])
    grades, scores = np.array([float(grade) for grade, _ in rows]), np.array([float(score) for _, score in rows])
    total = int(grades.sum()) + unseen
    smoothed = smooth(grades[None, :], scores[None, :].astype(np.int64))
    relevant = np.array([total])
    ideal = np.ones(total)
    expected = ndcg(grades, scores, k=k, ideal=ideal) if total else np.nan
    assert ndcg_at(smoothed, relevant, k=k)[0] == pytest.approx(expected, nan_ok=True)
    expected = recall(grades, scores, threshold=1.0, k=k, relevant=total)
    assert recall_at(smoothed, relevant, k=k)[0] == pytest.approx(expected, nan_ok=True)
    places = Places.of(grades[None, :], scores[None, :].astype(np.int64))
    expected = average_precision(grades, scores, threshold=1.0, k=k, relevant=total)
    assert map_at(places, relevant, k=k)[0] == pytest.approx(expected, nan_ok=True)
    found = int(grades.sum())
    expected = hit_rate(grades, scores, threshold=1.0, k=k) if found else 0.0 if total else np.nan
    assert hit_rate_at(places.first, relevant, k=k)[0] == pytest.approx(expected, nan_ok=True)
    expected = mrr(grades, scores, threshold=1.0, k=k) if found else 0.0 if total else np.nan
    assert mrr_at(places.first, relevant, k=k)[0] == pytest.approx(expected, nan_ok=True)


def test_equal_to_the_mean_over_all_orders() -> None:
    grades, scores = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([2, 1, 1, 1, 0])
    orders = [order for order in permutations(range(5)) if (np.diff(scores[list(order)]) <= 0).all()]
    values = [ndcg_at(grades[list(order)][None, :], np.array([2]), k=3)[0] for order in orders]
    assert ndcg_at(smooth(grades[None, :], scores[None, :]), np.array([2]), k=3)[0] == pytest.approx(np.mean(values))


def test_the_first_hit_is_where_it_is_in_the_mean_over_all_orders() -> None:
    grades, scores = np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.array([2, 1, 1, 1, 0])
    orders = [order for order in permutations(range(5)) if (np.diff(scores[list(order)]) <= 0).all()]
    firsts = [int(np.argmax(grades[list(order)])) for order in orders]
    expected = [firsts.count(place) / len(orders) for place in range(5)]
    assert Places.of(grades[None, :], scores[None, :]).first[0] == pytest.approx(expected)


def test_no_list_at_all() -> None:
    places = Places.of(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert map_at(places, np.zeros(0, dtype=np.int64), k=2).shape == places.first.shape[:1] == (0,)
