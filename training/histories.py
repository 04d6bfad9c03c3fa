"""A snapshot's events as training sees them: who did what how often."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.errors import NothingToLearnError

MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of the matrix of users and products that are not 0.

    Attributes:
        users: int64 [cells].
        rows: int64 [cells], products by their row in the vocabulary.
        values: float32 [cells], how much the events of the cell weigh; 1 is one event of the strongest kind.
        product_ids: the vocabulary, sorted.
    """

    users: NDArray[np.int64]
    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    product_ids: pl.Series

    @property
    def shape(self) -> tuple[int, int]:
        """Users and products."""
        return int(self.users.max(initial=-1)) + 1, len(self.product_ids)


def read_cells(snapshot: Snapshot, *, parts: Sequence[str], counts: bool = False, half_life_days: float = 0.0) -> Cells:
    """Known users' events on the products they met.

    Args:
        snapshot: the events.
        parts: the parts of the snapshot to read.
        counts: whether a cell is the sum of its events' weights; False makes it the largest one.
        half_life_days: an event so much older than the newest counts half; 0 counts all alike.

    Raises:
        NothingToLearnError: no known user did anything.
    """
    events = snapshot.interactions(*parts).filter(pl.col("user_id").is_not_null())
    if not events.height:
        raise NothingToLearnError(
            f"no event of a known user in {snapshot.path}",
            expected="events with user_id and product_id",
            action="add an events table to the shop and build the snapshot again",
        )
    # The strongest kind of event weighs 1, so that settings mean the same in every shop.
    weight = pl.col("weight") / pl.col("weight").max() * recency(half_life_days=half_life_days)
    cells = (
        events.with_columns(weight=weight)
        .group_by("user_id", "product_id")
        .agg(pl.col("weight").sum() if counts else pl.col("weight").max())
        .sort("user_id", "product_id")
    )
    product_ids = cells["product_id"].unique().sort()
    return Cells(
        users=cells["user_id"].rle_id().to_numpy().astype(np.int64),
        rows=product_ids.search_sorted(cells["product_id"]).to_numpy().astype(np.int64),
        values=cells["weight"].to_numpy().astype(np.float32),
        product_ids=product_ids,
    )


def recency(*, half_life_days: float) -> pl.Expr:
    """An expression over `timestamp`: 1 for the newest event, halved with every half-life before it."""
    if half_life_days <= 0:
        return pl.lit(1.0)
    age = (pl.col("timestamp").max() - pl.col("timestamp")).dt.total_microseconds() / MICROSECONDS_A_DAY
    return (age * float(-np.log(2.0) / half_life_days)).exp()
