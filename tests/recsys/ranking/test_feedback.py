"""Pseudo-relevance feedback: hand values, the sum over pairs, and what can't change it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.feedback import feedback


def unit(rows: int, *, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, 5))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def by_pairs(scores: np.ndarray, vectors: np.ndarray, *, temperature: float) -> list[float]:
    """The weighted mean written out."""
    result = []
    for row in range(len(scores)):
        others = [other for other in range(len(scores)) if other != row]
        weights = np.exp(scores[others].astype(float) / temperature)
        result.append(float(weights @ (vectors[others].astype(float) @ vectors[row].astype(float)) / weights.sum()))
    return result


def test_three_products_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    scores = np.log(np.array([2, 1, 1], dtype=np.float32))
    assert feedback(scores, vectors, temperature=1.0) == pytest.approx([1 / 2, 2 / 3, 0])


@given(st.integers(2, 12), st.integers(0, 99), st.sampled_from([0.1, 0.5, 3.0]))
def test_it_is_the_weighted_mean_over_the_others(rows: int, seed: int, temperature: float) -> None:
    scores = np.random.default_rng(seed).random(rows, dtype=np.float32)
    vectors = unit(rows, seed=seed)
    expected = by_pairs(scores, vectors, temperature=temperature)
    assert feedback(scores, vectors, temperature=temperature) == pytest.approx(expected, abs=1e-6)


def test_order_of_the_products_and_height_of_the_scores_change_nothing() -> None:
    scores, vectors = np.random.default_rng(1).random(8, dtype=np.float32), unit(8, seed=1)
    found = feedback(scores, vectors, temperature=0.3)
    turned = feedback(scores[::-1], vectors[::-1], temperature=0.3)
    assert turned[::-1] == pytest.approx(found)
    assert feedback(scores + 100, vectors, temperature=0.3) == pytest.approx(found, abs=1e-4)


def test_one_product_that_holds_all_the_weight_hears_none() -> None:
    found = feedback(np.array([1e4, 0, 0], dtype=np.float32), unit(3, seed=2), temperature=0.1)
    assert found[0] == 0
    assert np.isfinite(found).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_resemble(rows: int) -> None:
    assert feedback(np.zeros(rows, dtype=np.float32), unit(rows, seed=0), temperature=0.1).tolist() == [0.0] * rows
