"""What the recommendation blender reads of a candidate, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.candidate_signals import ProductFacts, candidate_matrix, signal_names
from recsys.types import EVENT_CODES, Candidates, PositionHistories

DAY = 86_400_000_000
NAN = float("nan")


def facts(*, calendar: bool = True) -> ProductFacts:
    return ProductFacts(
        sales=np.array([3.0, 1.0, NAN, 0.0], dtype=np.float32),
        ever=np.array([6.0, 10.0, NAN, 0.0], dtype=np.float32),
        first=np.array([10, 20, -1, 90]) * DAY,
        last=np.array([95, 99, -1, 99]) * DAY,
        categories=np.array([0, 0, 1, -1]),
        brands=np.array([0, 1, 1, 1]),
        prices=np.array([10.0, 20.0, 40.0, NAN], dtype=np.float32),
        calendar=calendar,
    )


def brought(source: str, positions: list[int], scores: list[float]) -> Candidates:
    return Candidates(np.array(positions, dtype=np.int64), np.array(scores, dtype=np.float32), source)


def history(*events: tuple[int, int, str]) -> PositionHistories:
    return PositionHistories(
        np.array([0, len(events)]),
        np.array([position for position, _, _ in events], dtype=np.int64),
        np.array([day * DAY for _, day, _ in events], dtype=np.int64),
        np.array([EVENT_CODES[event] for *_, event in events], dtype=np.int8),
    )


def test_signals_by_hand() -> None:
    lists = [brought("a", [2, 0], [5.0, 3.0]), brought("b", [0], [0.2]), brought("c", [], [])]
    own = history((0, 80, "purchase"), (0, 90, "purchase"), (1, 97, "view"), (2, 98, "view"))
    matrix = candidate_matrix(lists, np.array([0, 2]), history=own, now=100 * DAY, facts=facts())
    names = signal_names(("a", "b", "c"))
    assert matrix.shape == (2, len(names))
    told = {name: matrix[:, place].tolist() for place, name in enumerate(names)}
    nan = pytest.approx(NAN, nan_ok=True)
    assert (told["a.score"], told["a.rank"]) == ([0.0, 1.0], [0.5, 1.0])
    assert (told["b.score"], told["b.rank"]) == ([1.0, nan], [1.0, nan])
    assert (told["c.score"], told["c.rank"]) == ([nan, nan], [nan, nan])
    assert told["sales"] == [pytest.approx(np.log(4.0)), nan]
    assert told["sales.ever"] == [pytest.approx(np.log(7.0)), nan]
    assert told["sales.rise"] == [pytest.approx(np.log((3 / 4) / (6 / 16)), abs=1e-4), nan]
    assert (told["sold.days"], told["age.days"]) == ([5.0, nan], [90.0, nan])
    assert told["bought.times"] == [pytest.approx(np.log(3.0)), 0.0]
    assert (told["bought.days"], told["met.days"]) == ([10.0, nan], [10.0, 2.0])
    assert told["met.times"] == [pytest.approx(np.log(3.0)), pytest.approx(np.log(2.0))]
    assert (told["category.share"], told["brand.share"]) == ([0.75, 0.25], [0.5, 0.5])
    assert told["price.gap"] == [0.0, pytest.approx(np.log(4.0))]
    assert told["history.events"] == [pytest.approx(np.log(5.0))] * 2
    assert told["history.products"] == [pytest.approx(np.log(4.0))] * 2
    assert (told["history.again"], told["idle.days"], told["sources"]) == ([0.5, 0.5], [2.0, 2.0], [2.0, 1.0])


def test_a_shop_without_a_calendar_tells_no_days() -> None:
    names = signal_names(("a",))
    matrix = candidate_matrix(
        [brought("a", [1], [1.0])], np.array([1]), history=history((1, 5, "view")), now=9, facts=facts(calendar=False)
    )
    days = [place for place, name in enumerate(names) if name.endswith(".days")]
    assert len(days) == 5
    assert np.isnan(matrix[:, days]).all()


@given(data=st.data())
def test_a_products_row_needs_no_other_row(data: st.DataObject) -> None:
    """But for the sources' own lists, which are what was brought."""
    pool = np.array(sorted(data.draw(st.sets(st.integers(0, 3), min_size=1))), dtype=np.int64)
    events = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99), st.sampled_from(["view", "purchase"])))
    )
    lists = [brought("a", pool.tolist(), [float(len(pool) - place) for place in range(len(pool))])]
    whole = candidate_matrix(lists, pool, history=history(*events), now=100 * DAY, facts=facts())
    for place, position in enumerate(pool):
        alone = candidate_matrix(
            lists[:0], np.array([position]), history=history(*events), now=100 * DAY, facts=facts()
        )
        np.testing.assert_array_equal(whole[place, 2:-1], alone[0, :-1])
