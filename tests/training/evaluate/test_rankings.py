"""Flat arrays of lists: what goes in comes out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.evaluate.rankings import Rankings, by_score

Lists = list[list[int]]


@given(st.lists(st.lists(st.integers(0, 99), unique=True, max_size=6), max_size=6), st.integers(1, 8))
def test_lists_come_back_and_are_padded(rows: Lists, k: int) -> None:
    made = Rankings.of((np.array(row, dtype=np.int64), -np.arange(len(row), dtype=np.float32)) for row in rows)
    assert len(made) == len(rows)
    assert [made[number][0].tolist() for number in range(len(rows))] == rows
    assert [made[number][1].tolist() for number in range(len(rows))] == [
        [-float(n) for n in range(len(r))] for r in rows
    ]
    assert made.padded(k=k).tolist() == [(row + [-1] * k)[:k] for row in rows]
    cut = Rankings.of((made[number] for number in range(len(rows))), depth=k)
    assert [cut[number][0].tolist() for number in range(len(rows))] == [row[:k] for row in rows]


def test_equal_scores_stand_by_position() -> None:
    positions, scores = by_score(np.array([7, 3, 5]), np.array([1.0, 1.0, 2.0], dtype=np.float32))
    assert (positions.tolist(), scores.tolist()) == ([5, 3, 7], [2.0, 1.0, 1.0])
