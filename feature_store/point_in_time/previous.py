"""The product that each row's user viewed last, as of the row: the other half of what goes with what."""

from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from feature_store.joins import same_rows
from feature_store.point_in_time.definitions import NUMBER, Feature, Latest, Measure
from feature_store.point_in_time.streams import Records, Streams, kind_codes
from feature_store.point_in_time.task import Engine

VIEW = Measure("events", ("view",), NUMBER)


class Compute(Protocol):
    """`engine.compute`."""

    def __call__(
        self,
        rows: pl.DataFrame,
        features: list[Feature],
        streams: Streams,
        *,
        staging: Path,
        engine: Engine,
        real: type[np.floating],
    ) -> pl.DataFrame:
        """The features' columns."""


def with_previous(
    rows: pl.DataFrame, streams: Streams, *, compute: Compute, staging: Path, engine: Engine
) -> pl.DataFrame:
    """Add `previous_id`, null where the user is unknown or has viewed nothing; of several at one instant the last id.

    Args:
        rows: with user_id and timestamp.
        streams: with the events.
        compute: `engine.compute`.
        staging: for working files.
        engine: answers the partitions.
    """
    views = streams["events"].frame.filter(pl.col("kind").is_in(kind_codes(VIEW.kinds)))
    ids = views.select(pl.col("product_id").unique().sort()).collect(engine="streaming")
    same_rows(ids.height, ids["product_id"].n_unique(), of="products viewed")
    numbered = views.join(ids.with_row_index("number").lazy(), on="product_id", how="inner")
    last = Feature("number", "user", "the number of the product viewed last", Latest(VIEW))
    found = compute(rows, [last], {"events": Records(numbered)}, staging=staging, engine=engine, real=np.float64)
    previous = ids["product_id"].gather(found["number"].cast(pl.UInt32))
    return rows.with_columns(previous.alias("previous_id"))
