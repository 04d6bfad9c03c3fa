"""Coverage, novelty and similarity of lists, by hand and by plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.metrics.lists import coverage, novelty, similarity

LISTS = np.array([[0, 1, -1], [1, 3, 0], [-1, -1, -1]])


def test_coverage_counts_distinct_products() -> None:
    assert coverage(LISTS, products=6) == 3 / 6
    assert coverage(np.zeros((0, 3), dtype=np.int64), products=6) == 0.0
    assert math.isnan(coverage(LISTS, products=0))


def test_novelty_by_hand() -> None:
    found = novelty(LISTS, counts=np.array([7, 3, 0, 0]), users=7)
    assert found[0] == pytest.approx((0.0 + 1.0) / 2)
    assert found[1] == pytest.approx((0.0 + 1.0 + 3.0) / 3)
    assert math.isnan(found[2])


@given(seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_similarity_equals_a_plain_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(8, 3)).astype(np.float32)
    lists = np.array([[*generator.permutation(8)[:4]], [*generator.permutation(8)[:2], -1, -1], [5, -1, -1, -1]])
    found = similarity(lists, vectors=vectors)
    for row, positions in enumerate(lists):
        inside = [vectors[position] for position in positions if position >= 0]
        cosines = [
            float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            for first, a in enumerate(inside)
            for second, b in enumerate(inside)
            if first != second
        ]
        expected = np.mean(cosines) if cosines else math.nan
        assert found[row] == pytest.approx(expected, nan_ok=True, abs=1e-5)


def test_a_product_without_a_direction_is_like_nothing() -> None:
    assert similarity(np.array([[0, 1]]), vectors=np.array([[0.0, 0.0], [1.0, 0.0]], dtype=np.float32)) == 0.0
