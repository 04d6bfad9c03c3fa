"""A snapshot's events of known users, a piece at a time."""

from collections.abc import Iterator, Sequence

import polars as pl

from feature_store.snapshot import Snapshot
from recsys.types import Positions
from training.two_tower.flat import COLUMNS

EVENTS = "interactions"
KNOWN = pl.col("user_id").is_not_null()


def known_users(snapshot: Snapshot, *parts: str, columns: Sequence[str] = COLUMNS) -> Iterator[pl.DataFrame]:
    """Some columns of the events of known users in some parts, sorted by user and time."""
    for frame in snapshot.stream(EVENTS, *parts, columns=columns):
        yield frame.filter(KNOWN)


def known_positions(snapshot: Snapshot, *parts: str) -> Positions:
    """int64, ascending: the products that known users met in some parts."""
    found = snapshot.scan(EVENTS, *parts).filter(KNOWN).select(pl.col("position").unique()).collect()
    return found["position"].sort().to_numpy()


def basket_size(snapshot: Snapshot) -> float:
    """Mean number of a user's events of the training part that share a timestamp; 0 without events."""
    events, baskets = 0, 0
    last: tuple[object, ...] | None = None
    for frame in known_users(snapshot, "train", columns=("user_id", "timestamp")):
        if len(frame):
            events += len(frame)
            baskets += frame.select(pl.struct("user_id", "timestamp").rle_id().max()).item() + 1
            baskets -= frame.row(0) == last
            last = frame.row(-1)
    return events / max(1, baskets)
