"""Fusion by hand, and what must not matter."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.retrieval.fusion import mean_ranks, reciprocal_rank, stretched, weighted
from recsys.retrieval.order import in_order
from recsys.types import Candidates


def listed(source: str, scores: dict[int, float]) -> Candidates:
    positions = np.array(list(scores), dtype=np.int64)
    return Candidates(*in_order(positions, np.array(list(scores.values()), dtype=np.float32), k=99), source)


BM25 = listed("bm25", {4: 9.0, 1: 5.0, 7: 1.0})
DENSE = listed("dense", {1: 0.9, 8: 0.8, 4: 0.8})


def test_reciprocal_rank_by_hand() -> None:
    fused = reciprocal_rank([BM25, DENSE], k=10)
    expected = {
        1: Fraction(1, 62) + Fraction(1, 61),
        4: Fraction(1, 61) + Fraction(1) / Fraction(125, 2),  # ranks 2 and 3 tie: 2.5 each
        8: Fraction(1) / Fraction(125, 2),
        7: Fraction(1, 63),
    }
    assert fused.positions.tolist() == [1, 4, 8, 7]
    np.testing.assert_allclose(fused.scores, [float(expected[position]) for position in (1, 4, 8, 7)], rtol=1e-6)
    assert fused.source == "bm25+dense"


def test_weights_and_constant() -> None:
    fused = reciprocal_rank([BM25, DENSE], k=2, constant=0, weights=[0.0, 2.0])
    assert fused.positions.tolist() == [1, 4]
    np.testing.assert_allclose(fused.scores, [2.0, 2 / 2.5])


def test_weighted_by_hand() -> None:
    fused = weighted([BM25, DENSE], k=10, weights=[1.0, 0.5])
    assert fused.positions.tolist() == [1, 4, 7, 8]
    np.testing.assert_allclose(fused.scores, [0.5 + 0.5, 1.0, 0.0, 0.0], atol=1e-6)


def test_ties_go_to_the_lower_position() -> None:
    lists = [listed("a", dict.fromkeys(range(999, -1, -1), 1.0)), listed("b", dict.fromkeys(range(1000), 0.5))]
    for fuse in (reciprocal_rank, weighted):
        assert fuse(lists, k=10).positions.tolist() == list(range(10))


def test_empty_lists() -> None:
    empty = listed("dense", {})
    for fuse in (reciprocal_rank, weighted):
        assert len(fuse([], k=5).positions) == 0
        assert len(fuse([empty, empty], k=5).positions) == 0
        assert fuse([BM25, empty], k=5).positions.tolist() == [4, 1, 7]


def test_ranks_and_stretches() -> None:
    assert mean_ranks(np.array([5, 3, 3, 1], dtype=np.float32)).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert stretched(np.array([5, 3, 1], dtype=np.float32)).tolist() == [1.0, 0.5, 0.0]
    assert stretched(np.array([2, 2], dtype=np.float32)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("fuse", [reciprocal_rank, weighted])
@given(
    scores=st.lists(st.dictionaries(st.integers(0, 20), st.sampled_from([0.0, 1.0, 2.5])), min_size=1, max_size=4),
    k=st.integers(0, 25),
)
def test_order_of_the_lists_makes_no_difference(fuse, scores: list[dict[int, float]], k: int) -> None:  # noqa: ANN001
    lists = [listed(str(number), one) for number, one in enumerate(scores)]
    one, other = fuse(lists, k=k), fuse(lists[::-1], k=k)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
    assert len(one.positions) == min(k, len({position for part in scores for position in part}))
