"""Team-draft interleaving: by hand, fair to equal rankers, and on the side of the better one."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.metrics.interleaving import Drafted, credit, interleave, team_draft
from recsys.metrics.ranking import discounts

Positions = NDArray[np.int64]
A, B = np.array([0, 1, 2]), np.array([1, 3, 0])


def likes(relevant: list[Positions], odds: float = 1.0):  # noqa: ANN201
    return lambda user, positions: odds * np.isin(positions, relevant[user])


def test_every_list_that_can_come_about_by_hand() -> None:
    """Two coins: who picks first of each round; each of the four lists comes as often."""
    found = Counter()
    for seed in range(400):
        drafted = team_draft(A, B, k=4, generator=np.random.default_rng(seed))
        found[tuple(drafted.positions.tolist()), tuple(drafted.teams.tolist())] += 1
    assert set(found) == {
        ((0, 1, 2, 3), (1, -1, 1, -1)),
        ((0, 1, 3, 2), (1, -1, -1, 1)),
        ((1, 0, 2, 3), (-1, 1, 1, -1)),
        ((1, 0, 3, 2), (-1, 1, -1, 1)),
    }
    assert min(found.values()) > 65, "of 400, 100 each are expected with a deviation of 9"


def test_credit_by_hand() -> None:
    drafted = Drafted(np.array([0, 1, 2, 3]), np.array([1, -1, 1, -1], dtype=np.int8))
    assert credit(drafted, np.array([True, False, True, True])) == 1
    assert credit(drafted, np.array([False, True, False, False])) == -1
    assert credit(drafted, np.array([True, True, False, False])) == 0
    assert credit(drafted, np.zeros(4, dtype=np.bool_)) == 0


def test_a_list_at_its_end_stands_back() -> None:
    drafted = team_draft(np.array([5]), np.array([5, 6, 7]), k=4, generator=np.random.default_rng(0))
    assert sorted(drafted.positions.tolist()) == [5, 6, 7]
    assert drafted.teams[1:].tolist() == [-1, -1] or drafted.teams.tolist() == [-1, -1, -1]
    empty = np.zeros(0, dtype=np.int64)
    assert len(team_draft(empty, empty, k=4, generator=np.random.default_rng(0)).positions) == 0


@given(st.permutations(range(8)), st.permutations(range(8)), st.integers(1, 8), st.integers(0, 50))
def test_each_round_both_pick_their_best_that_is_left(one: list[int], other: list[int], k: int, seed: int) -> None:
    drafted = team_draft(np.array(one), np.array(other), k=k, generator=np.random.default_rng(seed))
    assert len(set(drafted.positions.tolist())) == len(drafted.positions) == k
    for place, (position, team) in enumerate(zip(drafted.positions.tolist(), drafted.teams.tolist(), strict=True)):
        above = drafted.positions[:place].tolist()
        assert position == next(best for best in (one if team == 1 else other) if best not in above)
        if place % 2:
            assert drafted.teams[place - 1 : place + 1].sum() == 0, "a round has a pick of each"


def test_two_equal_rankers_win_half() -> None:
    generator = np.random.default_rng(3)
    ones = [generator.permutation(30)[:10] for _ in range(300)]
    relevant = [generator.permutation(30)[:3] for _ in range(300)]
    same = interleave(ones, ones, chances=likes(relevant), looks=discounts(10), seed=0, repeats=10)
    assert same.share.low < 0.5 < same.share.high
    assert same.share.high - same.share.low < 0.1
    others = [generator.permutation(30)[:10] for _ in range(300)]
    alike = interleave(ones, others, chances=likes(relevant), looks=discounts(10), seed=0, repeats=10)
    assert alike.p > 0.01


def test_the_side_on_which_a_ranker_stands_does_not_matter() -> None:
    generator = np.random.default_rng(4)
    ones, others = ([generator.permutation(20)[:8] for _ in range(200)] for _ in range(2))
    relevant = [row[:2] for row in ones]
    options = {"chances": likes(relevant, 0.7), "looks": discounts(8), "repeats": 20}
    found = interleave(ones, others, seed=0, **options).share
    mirrored = interleave(others, ones, seed=1, **options).share
    assert found.mean + mirrored.mean == pytest.approx(1.0, abs=0.02)


def test_a_better_ranker_wins_more_the_better_it_is() -> None:
    generator = np.random.default_rng(5)
    relevant = [generator.permutation(50)[:4] for _ in range(300)]
    chance = [generator.permutation(50)[:10] for _ in range(300)]

    def found(right: int) -> float:
        """Of a ranker that puts so many right products first."""
        ones = [
            np.concatenate([own[:right], np.setdiff1d(row, own[:right])])[:10]
            for own, row in zip(relevant, chance, strict=True)
        ]
        preference = interleave(ones, chance, chances=likes(relevant), looks=discounts(10), seed=0, repeats=3)
        if right:
            assert preference.share.low > 0.5
            assert preference.p < 0.01
        return preference.share.mean

    shares = [found(right) for right in (0, 1, 3)]
    assert shares == sorted(shares)


def test_the_share_by_hand() -> None:
    """One product each, always looked at: the first user's click is always the first ranker's, the second gets none."""
    found = interleave(
        [np.array([1]), np.array([1])],
        [np.array([2]), np.array([2])],
        chances=likes([np.array([1]), np.array([9])]),
        looks=np.ones(2),
        seed=0,
        repeats=4,
    )
    assert (found.share.mean, found.wins, found.ties) == (0.75, 0.5, 0.5)
    with pytest.raises(ValueError, match="1 and of 2 users"):
        interleave([np.array([1])], [np.array([2])] * 2, chances=likes([]), looks=np.ones(2), seed=0)
