"""What a recommender must hold to; call `check_recommender` from the tests of your own."""

from collections.abc import Sequence

import numpy as np

from recsys.engine.ladder import take
from recsys.testing.conformance import require, require_list, require_same
from recsys.types import EVENT_CODES, Candidates, PositionHistories, Positions, Recommender


def histories_of(lists: Sequence[Sequence[int]], *, event: str = "purchase") -> PositionHistories:
    """Histories of these positions, each oldest first, one event a second.

    Args:
        lists: the positions of each user.
        event: the type of all events.
    """
    lengths = [len(one) for one in lists]
    positions = np.array([position for one in lists for position in one], dtype=np.int64)
    return PositionHistories(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        positions=positions,
        timestamps=np.concatenate([np.arange(length) * 1_000_000 for length in [*lengths, 0]]).astype(np.int64),
        event_types=np.full(len(positions), EVENT_CODES[event], dtype=np.int8),
    )


def check_recommender(
    recommender: Recommender,
    *,
    histories: PositionHistories,
    catalogue: int,
    k: int = 10,
    tolerance: float = 1e-5,
    personal: bool = True,
    seed: int = 0,
) -> None:
    """Hold a recommender to its protocol.

    Order and ties, k of 0 and beyond the catalogue, masks and exclusions, batches against single users, the same
    answer twice, and that a personal model has nothing for a user of whom it knows nothing.

    Args:
        recommender: the stage.
        histories: at least two users, of whom one has an answer.
        catalogue: how many products it knows.
        k: how many to ask for.
        tolerance: how far scores may differ between batch sizes.
        personal: False for popularity and its kin, which answer without a history.
        seed: of the masks.

    Raises:
        ConformanceError: which promise is broken.
    """
    require(isinstance(recommender.name, str) and recommender.name, "name is empty")
    require(recommender.recommend(histories_of([]), k=k) == [], "no users bring no lists")
    found = recommender.recommend(histories, k=k)
    require(len(found) == len(histories), f"{len(histories)} users bring {len(found)} lists")
    require(any(len(one.positions) for one in found), "no user has an answer: give histories that have")
    for user, one in enumerate(found):
        require_list(one, k=k, catalogue=catalogue, what=f"user {user}")
    require_same(found, recommender.recommend(histories, k=k), tolerance=0.0, what="asked twice")
    singles = [recommender.recommend(take(histories, np.array([user])), k=k)[0] for user in range(len(histories))]
    require_same(found, singles, tolerance=tolerance, what="batch against single")
    for one in recommender.recommend(histories, k=0):
        require(len(one.positions) == 0, "k = 0 brings candidates")
    for user, one in enumerate(recommender.recommend(histories, k=catalogue + 5)):
        require_list(one, k=catalogue, catalogue=catalogue, what=f"user {user} with k beyond the catalogue")
    if personal:
        for one in recommender.recommend(histories_of([[], []]), k=k):
            require(len(one.positions) == 0, "a user without a history gets a guess")
    check_limits(recommender, histories=histories, catalogue=catalogue, k=k, found=found, seed=seed)


def check_limits(
    recommender: Recommender,
    *,
    histories: PositionHistories,
    catalogue: int,
    k: int,
    found: Sequence[Candidates],
    seed: int,
) -> None:
    """Masks of every size, exclusions, and both at once."""
    generator = np.random.default_rng(seed)
    for one in recommender.recommend(histories, k=k, allowed=np.zeros(catalogue, dtype=np.bool_)):
        require(len(one.positions) == 0, "a mask that allows nothing brings candidates")
    exclude: list[Positions] = [one.positions[::2] for one in found]
    for share in (1 / max(catalogue, 1), 0.1, 0.5, 1.0):
        allowed = generator.random(catalogue) < share
        allowed[generator.integers(catalogue)] = True
        for hidden in (None, exclude):
            lists = recommender.recommend(histories, k=k, allowed=allowed, exclude=hidden)
            for user, one in enumerate(lists):
                require_list(
                    one,
                    k=k,
                    catalogue=catalogue,
                    allowed=allowed,
                    exclude=None if hidden is None else hidden[user],
                    what=f"user {user} with {share:.0%} allowed",
                )
