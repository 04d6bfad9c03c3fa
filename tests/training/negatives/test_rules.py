"""Windows, margins and draws by hand; what is known to be right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.negatives.known import Known
from training.negatives.rules import below, drawn, window


def places(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_a_window_takes_ranks_of_each_list_by_turns() -> None:
    lists = [places(9, 1, 2, 3), places(8, 2, 4, 5, 6)]
    assert window(lists, start=1, stop=3).tolist() == [1, 2, 4]
    assert window(lists, start=0, stop=2).tolist() == [9, 8, 1, 2]
    assert window(lists, start=5, stop=9).tolist() == []


@pytest.mark.parametrize(
    ("absolute", "relative", "passing"),
    [
        (None, None, [True, True, True, True]),
        (0.1, None, [False, False, True, True]),
        (None, 0.05, [False, True, True, True]),
        (0.2, 0.05, [False, False, False, True]),
    ],
)
def test_margins_by_hand(absolute: float | None, relative: float | None, passing: list[bool]) -> None:
    """Below .8: by .1 means at most .7, by 5 % at most .76."""
    scores = np.array([0.78, 0.75, 0.65, 0.1], dtype=np.float32)
    assert below(scores, 0.8, absolute=absolute, relative=relative).tolist() == passing


def test_a_share_of_a_negative_score_leads_downwards() -> None:
    """A pair of cosine -.2 leaves room below -.21, never above."""
    found = below(np.array([-0.19, -0.2, -0.3], dtype=np.float32), -0.2, absolute=None, relative=0.05)
    assert found.tolist() == [False, False, True]


@given(count=st.integers(0, 50), seed=st.integers(0, 9), text=st.text(max_size=5))
def test_a_draw_is_a_permutation_that_can_be_drawn_again(count: int, seed: int, text: str) -> None:
    found = drawn(count, seed=seed, text=text)
    assert sorted(found.tolist()) == list(range(count))
    assert found.tolist() == drawn(count, seed=seed, text=text).tolist()


def test_draws_differ_by_seed_and_by_query() -> None:
    base = drawn(50, seed=0, text="sofa").tolist()
    assert base != drawn(50, seed=1, text="sofa").tolist()
    assert base != drawn(50, seed=0, text="lamp").tolist()


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=12))
def test_known_is_a_set_of_pairs(pairs: list[tuple[int, int]]) -> None:
    query, twin = (places(*column) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    known = Known.of(query, twin, twins=7)
    found = known.holds(np.arange(5)[:, None], np.arange(7))
    assert {(int(q), int(t)) for q, t in zip(*np.nonzero(found), strict=True)} == set(pairs)
    for number in range(5):
        assert known.among(number).tolist() == sorted({t for q, t in pairs if q == number})
