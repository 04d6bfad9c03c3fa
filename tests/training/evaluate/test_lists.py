"""Full rankings of many users at once: ties followed to their end, figures as by brute force."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.engine.ladder import Filled
from recsys.metrics.ranking import ndcg, recall
from recsys.types import Rung
from training.evaluate import lists as module
from training.evaluate.lists import METRICS, blocks, closed_lists, rank_users, score_lists


def filled(positions: list[int], scores: list[float], source: str = "a") -> Filled:
    count = len(positions)
    return Filled(
        np.array(positions, dtype=np.int64),
        np.array(scores, dtype=np.float32),
        (source,) * count,
        (Rung.PERSONAL,) * count,
    )


class Catalogue:
    """Answers with the head of one long list, and remembers how deep it was asked."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.depths = scores, []  # type: ignore[var-annotated]

    def __call__(self, users: NDArray[np.int64], k: int) -> Iterable[Filled]:
        self.depths.append((len(users), k))
        return [filled(list(range(len(self.scores)))[:k], self.scores[:k]) for _ in users]


def test_a_list_without_ties_at_the_cut_is_asked_for_once() -> None:
    ask = Catalogue([float(score) for score in range(100, 0, -1)])
    lists = closed_lists(ask, users=3, k=5)
    assert ask.depths == [(3, 10)]
    assert len(lists) == 3


def test_a_tie_at_the_cut_is_followed_to_its_end() -> None:
    ask = Catalogue([9.0] + [1.0] * 60 + [0.5] * 60)
    (found,) = closed_lists(ask, users=1, k=5)
    assert ask.depths == [(1, 10), (1, 40), (1, 160)]
    assert len(found.positions) == 121


def test_a_tie_over_the_whole_catalogue_ends_with_it() -> None:
    ask = Catalogue([1.0] * 30)
    (found,) = closed_lists(ask, users=1, k=5)
    assert len(found.positions) == 30


def test_no_user_no_list() -> None:
    assert closed_lists(Catalogue([1.0]), users=0, k=5) == []
    assert score_lists([], [], products=3, cuts=(5,))["recall@5"].shape == (0,)


def test_by_hand() -> None:
    lists = [filled([4, 2, 7], [3.0, 2.0, 1.0]), filled([1, 0], [2.0, 1.0]), filled([], [])]
    relevant = [np.array([2, 9]), np.array([], dtype=np.int64), np.array([1])]
    found = score_lists(lists, relevant, products=10, cuts=(2,))
    assert found["recall@2"].tolist()[0] == 0.5
    assert found["ndcg@2"][0] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert np.isnan(found["recall@2"][1])
    assert found["recall@2"][2] == found["ndcg@2"][2] == 0.0


def test_blocks_of_bounded_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = [filled(list(range(size)), [float(size)] * size) for size in (3, 0, 9, 1, 2)]
    relevant = [np.array([0, 2]), np.array([1]), np.array([8]), np.array([], dtype=np.int64), np.array([1])]
    whole = score_lists(lists, relevant, products=10, cuts=(2, 5), names=tuple(METRICS))
    monkeypatch.setattr(module, "CELLS", 10)
    assert list(blocks([3, 0, 9, 1, 2], least=5)) == [slice(0, 2), slice(2, 3), slice(3, 5)]
    parts = score_lists(lists, relevant, products=10, cuts=(2, 5), names=tuple(METRICS))
    assert list(parts) == list(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_users_in_blocks_get_the_figures_and_lists_of_the_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    made = [
        filled(generator.permutation(40).tolist(), np.sort(generator.integers(0, 6, 40))[::-1].tolist())
        for _ in range(7)
    ]
    relevant = [np.sort(generator.choice(40, size, replace=False)) for size in (3, 0, 1, 5, 2, 1, 4)]
    asked: list[int] = []

    def ask(users: NDArray[np.int64], k: int) -> Iterable[Filled]:
        asked.append(len(users))
        return [filled(made[user].positions[:k].tolist(), made[user].scores[:k].tolist()) for user in users]

    monkeypatch.setattr(module, "USERS", at_once)
    found, runs = rank_users(ask, relevant, products=40, cuts=(2, 5), names=tuple(METRICS))
    whole = score_lists(made, relevant, products=40, cuts=(2, 5), names=tuple(METRICS))
    assert list(found) == list(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values)
    assert [runs[row][0].tolist() for row in range(7)] == [row.positions[:5].tolist() for row in made]
    assert max(asked) == min(at_once, 7)


def test_nobody_has_metrics_all_the_same() -> None:
    found, runs = rank_users(Catalogue([1.0]), [], products=3, cuts=(5,))
    assert ({name: values.shape for name, values in found.items()}, len(runs)) == (
        {"recall@5": (0,), "ndcg@5": (0,)},
        0,
    )


def test_leave_one_out_is_hit_and_discount() -> None:
    found = score_lists([filled([5, 3], [2.0, 1.0])], [np.array([3])], products=10, cuts=(10,))
    assert found["recall@10"][0] == 1.0
    assert found["ndcg@10"][0] == pytest.approx(1 / np.log2(3))


def test_equal_scores_of_two_sources_are_no_tie() -> None:
    both = Filled(
        np.array([1, 2]), np.array([1.0, 1.0], dtype=np.float32), ("a", "b"), (Rung.PERSONAL, Rung.POPULARITY)
    )
    assert score_lists([both], [np.array([1])], products=5, cuts=(1,))["recall@1"][0] == 1.0
    same = filled([1, 2], [1.0, 1.0])
    assert score_lists([same], [np.array([1])], products=5, cuts=(1,))["recall@1"][0] == 0.5


users = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9), unique=True, max_size=8),
        st.lists(st.integers(0, 3), min_size=8, max_size=8),
        st.sets(st.integers(0, 9), max_size=5),
    ),
    min_size=1,
    max_size=5,
)


@given(rows=users, k=st.integers(1, 10))
def test_equal_to_the_metrics_of_each_user_alone(rows: list[tuple[list[int], list[int], set[int]]], k: int) -> None:
    lists = [filled(places, sorted(map(float, scores), reverse=True)[: len(places)]) for places, scores, _ in rows]
    relevant = [np.array(sorted(wanted), dtype=np.int64) for _, _, wanted in rows]
    found = score_lists(lists, relevant, products=10, cuts=(k,))
    for row, (one, wanted) in enumerate(zip(lists, relevant, strict=True)):
        grades = np.isin(one.positions, wanted).astype(float)
        expected = recall(grades, one.scores, threshold=1.0, k=k, relevant=len(wanted))
        assert found[f"recall@{k}"][row] == pytest.approx(expected, nan_ok=True)
        expected = ndcg(grades, one.scores, k=k, ideal=np.ones(len(wanted)))
        assert found[f"ndcg@{k}"][row] == pytest.approx(expected, nan_ok=True)
