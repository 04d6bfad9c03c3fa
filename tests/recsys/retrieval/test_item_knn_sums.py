"""Sums by position, over the whole catalogue or over the positions that occur."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.retrieval.item_knn import DENSE, summed

ROWS = st.lists(st.tuples(st.integers(0, 30), st.floats(0.01, 100)), max_size=40)


@given(rows=ROWS, spare=st.sampled_from([0, 40 * DENSE + 1]))
def test_sums_are_those_of_a_loop_in_catalogues_of_any_size(rows: list[tuple[int, float]], spare: int) -> None:
    expected: dict[int, float] = {}
    for position, value in rows:
        expected[position] = expected.get(position, 0.0) + value
    positions = np.array([position for position, _ in rows], dtype=np.int64)
    values = np.array([value for _, value in rows], dtype=np.float64)
    found, sums = summed(positions, values, products=31 + spare)
    assert dict(zip(found.tolist(), sums.tolist(), strict=True)) == expected
    assert found.tolist() == sorted(found.tolist())
