"""The cold-start ladder: who is asked, what fills up, what never comes back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.engine.ladder import LADDER, Filled, Ladder, going_on, owned, take
from recsys.retrieval.popularity import PopularityRecommender
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Rung

VIEW, PURCHASE = EVENT_CODES["view"], EVENT_CODES["purchase"]


class Fixed:
    """Brings the same products to everyone with a history."""

    def __init__(self, name: str, positions: Sequence[int]) -> None:
        self.name, self.positions, self.asked = name, np.array(positions, dtype=np.int64), 0

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        self.asked += len(histories)
        lists = []
        for user in range(len(histories)):
            kept = self.positions if allowed is None else self.positions[allowed[self.positions]]
            kept = kept if exclude is None else kept[~np.isin(kept, exclude[user])]
            scores = -np.arange(len(kept), dtype=np.float32)
            lists.append(Candidates(kept[:k], scores[:k], self.name))
        return lists


def histories(*users: Sequence[tuple[int, int]]) -> PositionHistories:
    events = [event for user in users for event in user]
    return PositionHistories(
        offsets=np.cumsum([0, *map(len, users)], dtype=np.int64),
        positions=np.array([position for position, _ in events], dtype=np.int64),
        timestamps=np.arange(len(events), dtype=np.int64),
        event_types=np.array([code for _, code in events], dtype=np.int8),
    )


def popular(products: int = 10, **segments: Sequence[int]) -> PopularityRecommender:
    scores = {"": np.arange(products, 0, -1).astype(np.float32)}
    for name, best in segments.items():
        row = np.zeros(products, dtype=np.float32)
        row[list(best)] = np.arange(len(best), 0, -1)
        scores[name] = row
    return PopularityRecommender(scores)


def fill(
    ladder: Ladder, users: PositionHistories, *, k: int, segments: Sequence[str] | None = None, **more: Any
) -> list[Filled]:
    return list(ladder.fill(users, segments or [""] * len(users), k=k, products=10, **more))


def test_rungs_follow_each_other_and_each_product_names_who_brought_it() -> None:
    ladder = Ladder(personal=(Fixed("two-tower", [7, 8]), Fixed("item-knn", [8, 9])), popularity=popular(young=[3, 7]))
    warm, cold, unknown = fill(ladder, histories([(5, VIEW)], [], []), k=6, segments=["young", "young", ""])
    assert warm.positions.tolist() == [7, 8, 9, 3, 0, 1]
    assert warm.sources == ("two-tower", "two-tower", "item-knn", *["popularity"] * 3)
    assert warm.rungs == (*[Rung.PERSONAL] * 3, Rung.SEGMENT, *[Rung.POPULARITY] * 2)
    assert cold.positions.tolist() == [3, 7, 0, 1, 2, 4]
    assert cold.rungs[0] is Rung.SEGMENT
    assert unknown.positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(unknown.rungs) == {Rung.POPULARITY}


def test_a_lower_rung_is_asked_only_where_products_are_missing() -> None:
    full, backup = Fixed("two-tower", [1, 2, 3]), Fixed("item-knn", [4])
    fill(Ladder(personal=(full, backup)), histories([(0, VIEW)], []), k=3)
    assert full.asked == 1
    assert backup.asked == 0


def test_the_caller_names_the_rung_of_a_session() -> None:
    (found,) = fill(Ladder(personal=(Fixed("item-knn", [4]),)), histories([(0, VIEW)]), k=1, rung=Rung.SESSION)
    assert found.rungs == (Rung.SESSION,)


def test_the_ladder_is_that_of_the_documentation() -> None:
    assert [rung.value for rung in LADDER] == ["session", "personal", "text", "segment", "popularity"]


def test_text_neighbours_stand_between_the_personal_and_what_sells() -> None:
    near = Fixed("text", [6, 7, 3])
    ladder = Ladder((Fixed("two-tower", [7, 8]),), text=near, popularity=popular(young=[3, 7]))
    seen, quiet = fill(ladder, histories([(5, VIEW)], []), k=5, segments=["young", "young"])
    assert seen.positions.tolist() == [7, 8, 6, 3, 0]
    assert seen.sources == ("two-tower", "two-tower", "text", "text", "popularity")
    assert seen.rungs == (*[Rung.PERSONAL] * 2, *[Rung.TEXT] * 2, Rung.POPULARITY)
    assert quiet.rungs == (*[Rung.SEGMENT] * 2, *[Rung.POPULARITY] * 3)
    assert near.asked == 1


def test_a_product_that_no_recommender_knows_is_answered_by_its_text() -> None:
    ladder = Ladder((Fixed("item-knn", []),), text=Fixed("text", [6]), popularity=popular())
    (found,) = fill(ladder, histories([(9, VIEW)]), k=2, rung=Rung.SESSION)
    assert found.positions.tolist() == [6, 0]
    assert found.rungs == (Rung.TEXT, Rung.POPULARITY)


@pytest.mark.parametrize("rung", ["personal", "text"])
def test_who_reads_histories_is_asked_for_whole_lists_whatever_is_missing(rung: str) -> None:
    """An approximate index finds others when it is asked for more: then a user's answer would hang on the company."""
    asked: list[int] = []

    class Counting(Fixed):
        def recommend(self, histories: PositionHistories, *, k: int, **given: Any) -> list[Candidates]:
            asked.append(k)
            return super().recommend(histories, k=k, **given)

    above, below = Fixed("a", [1, 2]), Counting(rung, [3, 4, 5, 6])
    ladder = Ladder((above, below)) if rung == "personal" else Ladder((above,), text=below)
    assert [found.positions.tolist() for found in fill(ladder, histories([(0, VIEW)]), k=3)] == [[1, 2, 3]]
    assert asked == [3]


def test_no_recommender_brings_nothing() -> None:
    (found,) = fill(Ladder(), histories([(0, VIEW)]), k=5)
    assert found.positions.tolist() == []
    assert found.sources == ()


def test_owned_are_the_purchases_alone() -> None:
    first, second = owned(histories([(3, PURCHASE), (1, VIEW), (3, PURCHASE), (0, PURCHASE)], [(2, VIEW)]))
    assert first.tolist() == [0, 3]
    assert second.tolist() == []


def test_a_session_goes_on_now() -> None:
    users = histories([(3, VIEW), (1, VIEW)], [], [(2, VIEW)])
    moved = going_on(users, now=1000)
    assert moved.timestamps.tolist() == [999, 1000, 1000]
    assert moved.now == 1000
    assert going_on(histories([], []), now=5).timestamps.tolist() == []
    each = going_on(users, now=np.array([1000, 5, 70]))
    assert each.timestamps.tolist() == [999, 1000, 70]
    assert take(each, np.array([2, 0])).now.tolist() == [70, 1000]  # type: ignore[union-attr]


def test_memory_is_bounded_by_asking_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.engine.ladder.CELLS", 30)
    sizes: list[int] = []

    class Counting(Fixed):
        def recommend(self, histories: PositionHistories, **given: Any) -> list[Candidates]:
            sizes.append(len(histories))
            return super().recommend(histories, **given)

    users = histories(*([(user % 10, VIEW)] for user in range(7)))
    found = fill(Ladder(personal=(Counting("item-knn", [1, 2]),)), users, k=2)
    assert sizes == [3, 3, 1]
    assert len(found) == 7


def whole() -> Ladder:
    return Ladder(
        personal=(Fixed("a", [9, 8, 1]), Fixed("b", [1, 2, 8, 5])),
        text=Fixed("text", [5, 0, 7]),
        popularity=popular(young=[6, 2]),
    )


ragged = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([VIEW, PURCHASE])), max_size=6), min_size=1, max_size=6
)


@given(users=ragged, k=st.integers(1, 12), allowed=st.lists(st.booleans(), min_size=10, max_size=10))
def test_lists_hold_distinct_allowed_products_that_the_user_does_not_own(
    users: list[list[tuple[int, int]]], k: int, allowed: list[bool]
) -> None:
    events, mask = histories(*users), np.array(allowed)
    ladder = whole()
    has = owned(events)
    lists = fill(ladder, events, k=k, segments=["young"] * len(users), allowed=mask, exclude=has)
    for found, hidden in zip(lists, has, strict=True):
        open_products = set(np.flatnonzero(mask)) - set(hidden)
        assert len(set(found.positions.tolist())) == len(found.positions) == min(k, len(open_products))
        assert set(found.positions.tolist()) <= open_products
        assert len(found.scores) == len(found.sources) == len(found.rungs) == len(found.positions)
        assert sorted(found.rungs, key=LADDER.index) == list(found.rungs)


@given(users=ragged, k=st.integers(1, 12))
def test_a_batch_answers_as_each_user_alone(users: list[list[tuple[int, int]]], k: int) -> None:
    events = histories(*users)
    ladder = whole()
    segments = ["young" if number % 2 else "" for number in range(len(users))]
    together = fill(ladder, events, k=k, segments=segments)
    for row, found in enumerate(together):
        (alone,) = fill(ladder, take(events, np.array([row])), k=k, segments=[segments[row]])
        assert alone.positions.tolist() == found.positions.tolist()
        assert alone.scores.tolist() == found.scores.tolist()
        assert (alone.sources, alone.rungs) == (found.sources, found.rungs)


@given(users=ragged, data=st.data())
def test_taking_users_keeps_their_events(users: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(users) - 1), max_size=8))
    taken = take(histories(*users), np.array(rows, dtype=np.int64))
    assert [taken.of(row).tolist() for row in range(len(rows))] == [[p for p, _ in users[row]] for row in rows]
