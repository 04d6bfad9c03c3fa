"""Team-draft interleaving: two rankers share one list, and clicks say which one the shopper prefers.

Source: Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.intervals import Interval, bootstrap, sign_flip_test

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]
Chances = Callable[[int, Positions], Floats]
"""Of a user and products, float64 [n]: how likely each is clicked once it is looked at."""


class Drafted(NamedTuple):
    """One interleaved list.

    Attributes:
        positions: int64 [n], as shown, distinct.
        teams: int8 [n], 1 where the first ranker picked the product, -1 where the second one did.
    """

    positions: Positions
    teams: NDArray[np.int8]


class Preference(NamedTuple):
    """What many interleaved lists said.

    Attributes:
        share: lists that the first ranker wins, ties counted as half, with a 95 % interval over users; 0.5 is no
            difference.
        wins: share of lists that the first ranker wins, averaged over users.
        ties: share of lists without a winner.
        p: p-value of the paired randomisation test over users that there is no preference.
    """

    share: Interval
    wins: float
    ties: float
    p: float


def team_draft(one: Positions, other: Positions, *, k: int, generator: np.random.Generator) -> Drafted:
    """Interleave two rankings: in each round both rankers pick their best that is left, a coin decides who goes first.

    A ranker whose list is at its end stands back; the other one goes on.

    Args:
        one: int64 [n], distinct, best first.
        other: int64 [m], distinct, best first.
        k: how long the list gets, at most.
        generator: the coin.
    """
    lists = (one.tolist(), other.tolist())
    at, picked = [0, 0], [0, 0]
    shown: list[int] = []
    teams: list[int] = []
    inside: set[int] = set()
    while len(shown) < k:
        for side in (0, 1):
            while at[side] < len(lists[side]) and lists[side][at[side]] in inside:
                at[side] += 1
        left = [at[side] < len(lists[side]) for side in (0, 1)]
        if not any(left):
            break
        if not all(left):
            side = left.index(True)
        elif picked[0] != picked[1]:
            side = int(picked[0] > picked[1])
        else:
            side = int(generator.random() < 0.5)
        shown.append(lists[side][at[side]])
        teams.append(1 if side == 0 else -1)
        inside.add(shown[-1])
        picked[side] += 1
    return Drafted(np.array(shown, dtype=np.int64), np.array(teams, dtype=np.int8))


def credit(drafted: Drafted, clicked: NDArray[np.bool_]) -> int:
    """1 where the first ranker's picks were clicked more often, -1 where the second one's, 0 where as often."""
    return int(np.sign(int(drafted.teams[clicked].sum())))


def interleave(
    ones: Sequence[Positions],
    others: Sequence[Positions],
    *,
    chances: Chances,
    looks: Floats,
    seed: int,
    repeats: int = 1,
) -> Preference:
    """Simulate interleaved lists: a shopper looks at each place with its own chance and clicks what they like.

    Args:
        ones: for each user the first ranker's list.
        others: for each user the second one's.
        chances: how likely a user clicks products once they are looked at.
        looks: float64 [k], how likely each place is looked at; its length is that of the lists shown.
        seed: of coins and clicks.
        repeats: lists for each user.

    Raises:
        ValueError: the two do not have the same users.

    Source: the share of wins, Chapelle, Joachims, Radlinski and Yue, "Large-scale validation and analysis of
    interleaved search evaluation", TOIS 2012.
    """
    if len(ones) != len(others):
        raise ValueError(f"lists of {len(ones)} and of {len(others)} users")
    generator = np.random.default_rng(seed)
    outcomes = np.zeros((len(ones), repeats))
    for user, (one, other) in enumerate(zip(ones, others, strict=True)):
        for repeat in range(repeats):
            drafted = team_draft(one, other, k=len(looks), generator=generator)
            odds = looks[: len(drafted.positions)] * chances(user, drafted.positions)
            outcomes[user, repeat] = credit(drafted, generator.random(len(odds)) < odds)
    means = outcomes.mean(axis=1)
    share = bootstrap((means + 1.0) / 2.0, seed=seed)
    return Preference(
        share=share,
        wins=float((outcomes > 0).mean()) if outcomes.size else float("nan"),
        ties=float((outcomes == 0).mean()) if outcomes.size else float("nan"),
        p=sign_flip_test(means, np.zeros(len(means)), seed=seed),
    )
