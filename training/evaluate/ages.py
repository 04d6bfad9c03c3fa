"""How old products were when they were bought: new ones are what a recommender knows least of."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.types import Positions
from training.evaluate.slices import NONE, Slicing

ENDS = (7, 28, 91)
LABELS = ("up to 7 days", "8 to 28 days", "29 to 91 days", "over 91 days")
RULE = (
    "the age that most of the relevant products had when the user first got them in this part, the younger of two;"
    " counted from available_from, else from the shop's first event on the product"
)


def slice_ages(
    snapshot: Snapshot, catalogue: Catalogue, *, split: str, user_ids: Sequence[str], relevant: Sequence[Positions]
) -> tuple[Slicing, ...]:
    """Users by the age of what they turned out to get; nothing where the shop has no calendar.

    Args:
        snapshot: the events.
        catalogue: its products.
        split: the part in which the users got the products.
        user_ids: sorted.
        relevant: for each user the relevant positions; none gives the slice "none".
    """
    if snapshot.manifest.timestamps != "calendar" or not user_ids:
        return ()
    rows = np.repeat(np.arange(len(user_ids)), [len(row) for row in relevant])
    pairs = pl.DataFrame({"row": rows, "position": np.concatenate(list(relevant))}).cast(pl.Int64)
    users = pl.DataFrame({"row": range(len(user_ids)), "user_id": user_ids}, schema_overrides={"row": pl.Int64})
    bought = (
        snapshot.interactions(split)
        .select("user_id", "position", "timestamp")
        .join(users, on="user_id")
        .group_by("row", "position")
        .agg(pl.col("timestamp").min())
    )
    aged = pairs.join(bought, on=["row", "position"]).join(first_seen(snapshot, catalogue), on="position")
    # A product can be bought before the day that its shop names; it is new then.
    days = (aged["timestamp"] - aged["first"]).dt.total_microseconds().to_numpy() / (timedelta(days=1) / MICROSECOND)
    places = np.searchsorted(ENDS, days, side="left")
    counts: list[Counter[int]] = [Counter() for _ in user_ids]
    for row, place in zip(aged["row"].to_list(), places.tolist(), strict=True):
        counts[row][place] += 1
    labels = [LABELS[min(own, key=lambda place: (-own[place], place))] if own else NONE for own in counts]
    return (Slicing("product age", labels, (*LABELS, NONE), RULE),)


MICROSECOND = timedelta(microseconds=1)


def first_seen(snapshot: Snapshot, catalogue: Catalogue) -> pl.DataFrame:
    """Columns position and first: when each product came, as far as the shop tells."""
    events = snapshot.interactions().group_by("position").agg(seen=pl.col("timestamp").min())
    stated = pl.DataFrame({"position": range(len(catalogue))}, schema={"position": pl.Int64}).with_columns(
        stated=catalogue.column("available_from").cast(pl.Datetime("us", "UTC"))
    )
    return stated.join(events, on="position").select("position", first=pl.coalesce("stated", "seen"))
