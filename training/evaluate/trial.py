"""Who is asked for recommendations in a split, and how systems are asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.ladder import Filled, Ladder, take
from recsys.types import HistorySource, PositionHistories, Positions

PURCHASE = "purchase"
BEFORE: Mapping[str, tuple[str, ...]] = {"validation": ("train",), "test": ("train", "validation")}

USERS = 32_768
"""Users who are read, and whose lists are held, at once."""

Ask = Callable[[NDArray[np.int64], int], Iterable[Filled]]


@dataclass(frozen=True)
class Trial:
    """The users of one split and what they turned out to buy.

    Attributes:
        user_ids: sorted.
        histories: what they did before, in catalogue positions, asked at the moment of each user's first purchase in
            the split, of which nothing else is told.
        segments: their segments.
        relevant: for each user the distinct products bought afterwards, ascending.
        left_out: users who bought afterwards but never before.
    """

    user_ids: list[str]
    histories: PositionHistories
    segments: tuple[str, ...]
    relevant: list[Positions]
    left_out: int


def read_trial(snapshot: Snapshot, catalogue: Catalogue, *, split: str) -> Trial:
    """Users with a purchase in the split; those who never bought before are left out and counted.

    A shop without a calendar has no moments to ask at.
    """
    relevant = (pl.col("event_type") == PURCHASE) | (snapshot.manifest.split.kind == "leave-one-out")
    bought = (
        snapshot.scan("interactions", split)
        .filter(relevant & pl.col("user_id").is_not_null())
        .group_by("user_id")
        .agg(pl.col("position").unique().sort(), moment=pl.col("timestamp").min().dt.timestamp("us"))
        .sort("user_id")
        .collect()
    )
    before = snapshot.scan("interactions", *BEFORE[split]).filter(relevant).select(pl.col("user_id").unique()).collect()
    kept = bought.filter(pl.col("user_id").is_in(before["user_id"].drop_nulls().implode()))
    user_ids = kept["user_id"].to_list()
    histories = read_positions(SnapshotHistories(snapshot, parts=BEFORE[split]), user_ids, catalogue=catalogue)
    moments = None if snapshot.manifest.timestamps == "order" else kept["moment"].to_numpy()
    return Trial(
        user_ids=user_ids,
        histories=replace(histories, now=moments),
        segments=histories.segments,
        relevant=[np.asarray(row, dtype=np.int64) for row in kept["position"].to_list()],
        left_out=bought.height - kept.height,
    )


def read_positions(source: HistorySource, user_ids: Sequence[str], *, catalogue: Catalogue) -> PositionHistories:
    """Users' histories in positions, read USERS at a time: as text, the products' ids take many times the room.

    Args:
        source: where they are read.
        user_ids: in the order wanted.
        catalogue: that numbers the products.
    """
    starts = range(0, max(len(user_ids), 1), USERS)
    parts = [catalogue.encode(source.read(user_ids[start : start + USERS])) for start in starts]
    sizes = [np.diff(part.offsets) for part in parts]
    return PositionHistories(
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(sizes), dtype=np.int64)]),
        positions=np.concatenate([part.positions for part in parts]),
        timestamps=np.concatenate([part.timestamps for part in parts]),
        event_types=np.concatenate([part.event_types for part in parts]),
        segments=tuple(segment for part in parts for segment in part.segments),
        attributes=tuple(told for part in parts for told in part.attributes),
    )


def held(histories: PositionHistories) -> list[Positions]:
    """For each user all distinct products of the history, ascending."""
    return [np.unique(histories.of(user)) for user in range(len(histories))]


def asker(ladder: Ladder, trial: Trial, *, products: int, exclude: list[Positions] | None) -> Ask:
    """A function of (users, k) that gives their lists."""

    def ask(users: NDArray[np.int64], k: int) -> Iterable[Filled]:
        return ladder.fill(
            take(trial.histories, users),
            [trial.segments[user] for user in users],
            k=k,
            products=products,
            exclude=None if exclude is None else [exclude[user] for user in users],
        )

    return ask
