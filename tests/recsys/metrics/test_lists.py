"""What lists are like, by hand and by plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.metrics import lists as module
from recsys.metrics.lists import coverage, head_of, head_share, novelty, path_variety, personalisation, similarity

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


def test_lists_that_are_all_empty_have_no_similarity() -> None:
    found = similarity(np.full((3, 2), -1), vectors=np.zeros((0, 4), dtype=np.float32))
    assert np.isnan(found).tolist() == [True, True, True]


# Home > Sofas > Corner, Home > Sofas, Home > Lamps, Garden > Lamps, no path
PATHS = np.array([[0, 0, 0], [0, 0, -1], [0, 1, -1], [1, 2, -1], [-1, -1, -1]], dtype=np.int32)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0, 1], 1 - 2 * 2 / 5),
        ([1, 2], 1 - 2 * 1 / 4),
        ([2, 3], 1.0),
        ([1, 1], 0.0),
        ([0, 1, 2, 3], np.mean([1 / 5, 1 - 2 / 5, 1, 1 / 2, 1, 1])),
        ([1, 2, 4, -1], 0.5),
        ([1, 4], math.nan),
        ([2, -1], math.nan),
    ],
)
def test_variety_by_category_path_by_hand(row: list[int], expected: float) -> None:
    assert path_variety(np.array([row]), paths=PATHS) == pytest.approx(expected, nan_ok=True)


def test_variety_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = np.random.default_rng(0).integers(-1, 5, size=(30, 6))
    whole = path_variety(lists, paths=PATHS)
    monkeypatch.setattr(module, "CELLS", 200)
    np.testing.assert_array_equal(path_variety(lists, paths=PATHS), whole)


def test_the_head_holds_half_of_what_is_known() -> None:
    assert head_of(np.array([5, 1, 1, 3])).tolist() == [True, False, False, False]
    assert head_of(np.array([4, 1, 2, 3])).tolist() == [True, False, False, True]
    assert head_of(np.array([2, 2, 2, 0])).tolist() == [True, True, True, False], "as popular as the last of the head"
    assert not head_of(np.zeros(3, dtype=np.int64)).any()


def test_the_share_of_the_head_by_hand() -> None:
    found = head_share(LISTS, head=np.array([True, False, False, True]))
    assert found.tolist()[:2] == [1 / 2, 2 / 3]
    assert math.isnan(found[2])


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[0, 1], [0, 1], [0, 1]], 0.0),
        ([[0, 1], [2, 3]], 1.0),
        ([[0, 1], [1, 2], [3, 4]], 1 - 1 / 6),
        ([[0, 1, 2], [2, -1, -1]], 0.0),
        ([[0, 1], [-1, -1]], math.nan),
    ],
)
def test_personalisation_by_hand(lists: list[list[int]], expected: float) -> None:
    assert personalisation(np.array(lists)) == pytest.approx(expected, nan_ok=True)


@given(seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_personalisation_equals_all_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lists = np.stack([generator.permutation(9)[:4] for _ in range(7)])
    lists[generator.random(lists.shape) < 0.2] = -1
    pairs = [(set(a) - {-1}, set(b) - {-1}) for i, a in enumerate(lists.tolist()) for b in lists.tolist()[:i]]
    could = sum(min(len(a), len(b)) for a, b in pairs)
    assert personalisation(lists) == pytest.approx(1 - sum(len(a & b) for a, b in pairs) / could)
