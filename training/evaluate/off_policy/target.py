"""How a model would have ordered the products of each list, and what that says of the logged order."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.ladder import Filled, Ladder, take
from recsys.types import PositionHistories, Positions
from training.evaluate.lists import tie_groups
from training.evaluate.off_policy.logged import Floats, Logged
from training.evaluate.trial import BEFORE, read_positions

LISTS_AT_ONCE = 256


def read_histories(
    snapshot: Snapshot, catalogue: Catalogue, *, split: str, logged: Logged
) -> tuple[PositionHistories, tuple[str, ...]]:
    """What the users did before the part, and their segments."""
    source = SnapshotHistories(snapshot, parts=BEFORE[split])
    found = read_positions(source, logged.user_ids, catalogue=catalogue)
    return found, found.segments


def rank_lists(
    ladder: Ladder, logged: Logged, *, histories: PositionHistories, segments: tuple[str, ...], products: int
) -> Positions:
    """int64 [places]: the rank of each list's products by the ladder, 0 first; equal where it can't tell them apart.

    It is asked for each list at the moment when that was shown.

    Args:
        ladder: the recommenders.
        logged: the lists.
        histories: of the users.
        segments: of the users.
        products: size of the catalogue.
    """
    ranks = np.zeros(len(logged.positions), dtype=np.int64)
    for start in range(0, len(logged.users), LISTS_AT_ONCE):
        rows = np.arange(start, min(start + LISTS_AT_ONCE, len(logged.users)))
        users = logged.users[rows]
        allowed = np.zeros(products, dtype=np.bool_)
        allowed[logged.positions[logged.offsets[rows[0]] : logged.offsets[rows[-1] + 1]]] = True
        lists = ladder.fill(
            replace(take(histories, users), now=logged.moments[rows]),
            [segments[user] for user in users.tolist()],
            k=int(allowed.sum()),
            products=products,
            allowed=allowed,
        )
        for row, table in zip(rows, rank_tables(lists, products=products), strict=True):
            low, high = logged.offsets[row], logged.offsets[row + 1]
            ranks[low:high] = table[logged.positions[low:high]]
    return ranks


def rank_tables(lists: Iterator[Filled], *, products: int) -> Iterator[Positions]:
    """For each list int64 [catalogue], the rank of each product; what the list lacks stands together at the end."""
    for found in lists:
        table = np.full(products, products, dtype=np.int64)
        table[found.positions] = tie_groups([found])
        yield table


def choices(ranks: Positions, offsets: Positions, *, appeal: Floats) -> tuple[Floats, Floats]:
    """How the order by rank weighs each logged place of lists in random order.

    In a list of n products each stands in a place with the chance 1 / n; under the order by rank with the chance 1 / g
    in the g places that it shares with those of its rank, and never elsewhere.

    Args:
        ranks: int64 [places], of the product that stood there, within its list.
        offsets: int64 [lists + 1].
        appeal: float64 [places], of the product that stood there.

    Returns:
        float64 [places] each: the weight, n / g where the order would put this product in this place, else 0; and the
        mean appeal of what it would put there.
    """
    sizes = np.diff(offsets)
    lists = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((ranks, lists))
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (ranks[order][1:] != ranks[order][:-1]) | (lists[1:] != lists[:-1])
    runs = np.cumsum(begins) - 1  # of the place
    own = np.empty_like(runs)
    own[order] = runs  # of the product
    shared = np.bincount(runs).astype(np.float64)
    mean = np.bincount(runs, weights=appeal[order]) / shared
    weights: NDArray[np.float64] = np.where(own == runs, sizes[lists] / shared[runs], 0.0)
    return weights, mean[runs]
