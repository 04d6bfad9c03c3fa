"""From a shop's products to the catalogue: one row for each product, numbered by its id."""

from datetime import datetime

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.frames import shaped


def catalogue_frame(products: CheckedTable, *, currency: str | None, now: datetime | None) -> pl.DataFrame:
    """The catalogue as it is valid at `now`.

    Where a product has several rows (`valid_from`), the newest one valid at `now` counts; a product that is valid only
    later stands with its first row.

    Args:
        products: the checked table.
        currency: the shop's, for products that name none.
        now: the snapshot's instant; None takes the newest row of each product.
    """
    started = pl.col("valid_from") <= now if now is not None else pl.lit(value=True)
    valid = (pl.col("valid_from").is_null() | started).alias("valid")
    since = pl.col("valid_from").dt.timestamp("us").fill_null(-(1 << 62))
    chosen = (
        products.frame.with_columns(valid, pl.col("currency").fill_null(pl.lit(currency, dtype=pl.String)))
        .with_columns(pl.when("valid").then(-since).otherwise(since).alias("distance"))
        .sort("product_id", pl.col("valid").not_(), "distance")
        .unique("product_id", keep="first", maintain_order=True)
        .with_row_index("position")
    )
    return shaped(chosen, "catalogue", unknown=products.unknown).collect()
