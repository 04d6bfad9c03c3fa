"""The one order, against sorting everything."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.retrieval.order import in_order, nothing, top_k

SCORES = st.lists(st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 0.5, 1.0, 3.0, np.nan]), max_size=30)


def sorted_out(scores: list[float], passing: set[int], k: int) -> list[int]:
    known = [position for position in passing if scores[position] > -np.inf]
    return sorted(known, key=lambda position: (-scores[position], position))[:k]


@given(SCORES, st.integers(-1, 35), st.data())
def test_top_k_is_a_full_sort(scores: list[float], k: int, data: st.DataObject) -> None:
    every = range(len(scores))
    allowed = data.draw(st.none() | st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    exclude = data.draw(st.none() | st.lists(st.sampled_from(every), unique=True) if scores else st.none())
    positions, found = top_k(
        np.array(scores, dtype=np.float32),
        k=k,
        allowed=None if allowed is None else np.array(allowed, dtype=np.bool_),
        exclude=None if exclude is None else np.array(exclude, dtype=np.int64),
    )
    passing = {place for place in every if (allowed is None or allowed[place]) and place not in (exclude or [])}
    assert positions.tolist() == sorted_out(scores, passing, max(k, 0))
    assert found.tolist() == [scores[position] for position in positions]
    assert (positions.dtype, found.dtype) == (np.int64, np.float32)


@given(st.permutations(list(range(12))), st.integers(0, 14))
def test_in_order_does_not_hang_on_the_order_given(places: list[int], k: int) -> None:
    positions = np.array(places, dtype=np.int64)
    scores = (positions % 3).astype(np.float32)
    found, _ = in_order(positions, scores, k=k)
    assert found.tolist() == sorted(places, key=lambda place: (-(place % 3), place))[:k]


def test_a_thousand_equal_scores() -> None:
    positions, scores = top_k(np.ones(1000, dtype=np.float32), k=10)
    assert positions.tolist() == list(range(10))
    assert scores.tolist() == [1.0] * 10


def test_the_mask_of_the_caller_stays_as_it_was() -> None:
    allowed = np.ones(4, dtype=np.bool_)
    top_k(np.arange(4, dtype=np.float32), k=2, allowed=allowed, exclude=np.array([3]))
    assert allowed.all()


def test_nothing() -> None:
    empty = nothing("bm25")
    assert (len(empty.positions), len(empty.scores), empty.source) == (0, 0, "bm25")
