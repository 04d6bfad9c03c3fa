"""Everyone the shop knows: the users table and whoever stands in the events."""

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.frames import shaped


def user_frame(users: CheckedTable | None, *, events: CheckedTable | None) -> pl.DataFrame:
    """One row for each user, sorted by id; users known from their events alone have nothing but the id."""
    unknown = users.unknown if users else ()
    told = users.frame if users else pl.LazyFrame(schema={"user_id": pl.String, "rest": pl.Null})
    if events is not None:
        seen = events.frame.select(pl.col("user_id").drop_nulls().unique())
        new = seen.join(told.select("user_id"), on="user_id", how="anti")
        told = pl.concat([told, new], how="diagonal")
    return shaped(told.sort("user_id"), "users", unknown=unknown).collect(engine="streaming")
