"""Signals of the products alone, whatever is asked: price, stock, what sells, what is new, ratings.

Prices, ages and sales stand beside those of the same catalogue, as shares or ratios: what is dear, new or popular keeps
its meaning from one night's catalogue to the next, and no clock is needed.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.meaning import Understanding
from recsys.types import Positions, Scores, Vectors

Floats = NDArray[np.float64]


class ProductSignals:
    """The signals of one catalogue, computed once; see `recsys.types.Signals`.

    Args:
        catalogue: the products.
        popularity: float32 [products], what each sold, 0 for nothing; None where the shop has no events.
    """

    names = (
        "price.log",
        "price.to_category",
        "stock.in_stock",
        "popularity.share",
        "freshness.share",
        "rating.mean",
        "rating.count",
    )

    def __init__(self, catalogue: Catalogue, *, popularity: Scores | None = None) -> None:
        columns = product_columns(catalogue, popularity=popularity)
        self.matrix: Vectors = np.stack([columns[name].astype(np.float32) for name in self.names], axis=1)
        self.absent = frozenset(name for name in self.names if np.isnan(columns[name]).all())

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        """The rows of these products; the query decides nothing."""
        rows: Vectors = self.matrix[positions]
        return rows


def product_columns(catalogue: Catalogue, *, popularity: Scores | None) -> Mapping[str, Floats]:
    """float64 [products] by name, NaN where it is unknown.

    - price.log: log(1 + price).
    - price.to_category: log of (1 + price) over (1 + the median price of the category); of the whole catalogue for
      products without category.
    - stock.in_stock: 1 or 0.
    - popularity.share: share of the products that sold less, 0 for what did not sell.
    - freshness.share: share of the dated products that are older.
    - rating.mean, and rating.count as log(1 + count).
    """
    price = numbers(catalogue, "price")
    dates = catalogue.column("available_from")
    dated = dates.dtype != pl.String  # a catalogue without the column has no dates
    nothing = np.full(len(catalogue), np.nan)
    return {
        "price.log": np.log1p(price),
        "price.to_category": np.log1p(price) - np.log1p(category_medians(catalogue, price)),
        "stock.in_stock": numbers(catalogue, "in_stock"),
        "popularity.share": nothing if popularity is None else shares(popularity.astype(np.float64)),
        "freshness.share": shares(as_floats(dates.dt.timestamp("us"))) if dated else nothing,
        "rating.mean": numbers(catalogue, "rating"),
        "rating.count": np.log1p(numbers(catalogue, "rating_count")),
    }


def category_medians(catalogue: Catalogue, price: Floats) -> Floats:
    """float64 [products]: the median price of each product's category, NaN where nothing there has a price."""
    frame = pl.DataFrame({"category": catalogue.column("category").fill_null(""), "price": pl.Series(price)})
    known = frame.with_columns(pl.col("price").fill_nan(None))
    whole = known["price"].median()
    own = known.select(
        pl.when(pl.col("category") == "")
        .then(pl.lit(whole, dtype=pl.Float64))
        .otherwise(pl.col("price").median().over("category"))
        .alias("price")
    )
    return as_floats(own["price"])


def shares(values: Floats) -> Floats:
    """The share of the known values that are below each, 0 to 1; NaN where a value is unknown."""
    known = ~np.isnan(values)
    found = np.full(len(values), np.nan)
    ordered = np.sort(values[known])
    found[known] = np.searchsorted(ordered, values[known], side="left") / max(len(ordered) - 1, 1)
    return found


def numbers(catalogue: Catalogue, name: str) -> Floats:
    """A column as float64 [products], NaN where it is null, absent or no number."""
    return as_floats(catalogue.column(name).cast(pl.Float64, strict=False))


def as_floats(column: pl.Series) -> Floats:
    """A column of numbers as float64, NaN where it is null."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
