"""Who is asked for recommendations in a split, and how systems are asked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.ladder import Filled, Ladder, take
from recsys.types import PositionHistories, Positions

PURCHASE = "purchase"
BEFORE: Mapping[str, tuple[str, ...]] = {"validation": ("train",), "test": ("train", "validation")}

Ask = Callable[[NDArray[np.int64], int], Iterable[Filled]]


@dataclass(frozen=True)
class Trial:
    """The users of one split and what they turned out to buy.

    Attributes:
        user_ids: sorted.
        histories: what they did before, in catalogue positions.
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
    """Users with a purchase in the split; those who never bought before are left out and counted."""
    relevant = (pl.col("event_type") == PURCHASE) | (snapshot.manifest.split.kind == "leave-one-out")
    bought = (
        snapshot.interactions(split)
        .filter(relevant & pl.col("user_id").is_not_null())
        .group_by("user_id")
        .agg(pl.col("position").unique().sort())
        .sort("user_id")
    )
    before = snapshot.interactions(*BEFORE[split]).filter(relevant)["user_id"].unique()
    kept = bought.filter(pl.col("user_id").is_in(before.drop_nulls().implode()))
    user_ids = kept["user_id"].to_list()
    histories = SnapshotHistories(snapshot, parts=BEFORE[split]).read(user_ids)
    return Trial(
        user_ids=user_ids,
        histories=catalogue.encode(histories),
        segments=histories.segments,
        relevant=[np.asarray(row, dtype=np.int64) for row in kept["position"].to_list()],
        left_out=bought.height - kept.height,
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
