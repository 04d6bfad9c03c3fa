"""What one record of a stream can be worth: named Polars expressions, kept as whole numbers.

Sums of whole numbers are exact in any order, so that a partition, a day built later or a record kept online gives the
same bits as everything computed at once. Real values enter as whole millionths.
"""

from dataclasses import dataclass

import polars as pl

MILLION = 1_000_000
MISSING = -(1 << 63)
"""What stands for a value that is not there."""
LEAST_LOOK = 0.05
"""Chances to look below it count as this much, so that one click is worth 20 at most."""


@dataclass(frozen=True)
class Value:
    """What a record is worth.

    Attributes:
        formula: the same in words; part of the versions of the features that use it, so it changes with `of`.
        of: the expression over the stream's columns; null where it is missing.
        scale: how many whole numbers make 1.
        needs: columns without which it says nothing.
    """

    formula: str
    of: pl.Expr
    scale: int = MILLION
    needs: tuple[str, ...] = ()

    @property
    def whole(self) -> pl.Expr:
        """int64: the value in whole numbers, MISSING where it is not there or beyond 63 bits."""
        scaled = self.of if self.scale == 1 else (self.of * self.scale).round()
        return scaled.cast(pl.Int64, strict=False).fill_null(MISSING)


HASHED = {"user": "user_id", "product": "product_id"}
"""Values that are hashed ids, and their columns."""


def hashed(column: str) -> pl.Expr:
    """int64: a number for each text, to be compared within one run and never kept; null where there is none."""
    number = pl.col(column).hash().reinterpret(signed=True)
    return pl.when(pl.col(column).is_not_null()).then(number)


PLACE = pl.max_horizontal(pl.col("position"), pl.lit(1)).cast(pl.Float64)
LOOKED = pl.coalesce(pl.col("propensity"), 1.0 / (PLACE + 1.0).log(2.0), pl.lit(1.0))

VALUES: dict[str, Value] = {
    "one": Value("1", pl.lit(1, dtype=pl.Int64), scale=1),
    "quantity": Value("quantity, 1 where it is missing", pl.col("quantity").fill_null(1.0)),
    "spent": Value("price * quantity", pl.col("price") * pl.col("quantity").fill_null(1.0), needs=("price",)),
    "priced units": Value(
        "quantity where there is a price",
        pl.when(pl.col("price").is_not_null()).then(pl.col("quantity").fill_null(1.0)),
        needs=("price",),
    ),
    "price": Value("price", pl.col("price"), needs=("price",)),
    "looked": Value("propensity, else 1 / log2(position + 1) with the first place 1, else 1", LOOKED),
    "click / looked": Value(
        f"1 / max(chance to look, {LEAST_LOOK}); the chance: propensity, else 1 / log2(position + 1), else 1",
        1.0 / LOOKED.clip(lower_bound=LEAST_LOOK),
    ),
    "stock": Value("1 in stock, 0 out of stock", pl.col("in_stock").cast(pl.Int64), scale=1, needs=("in_stock",)),
    "grade": Value("grade", pl.col("grade").cast(pl.Float64), needs=("grade",)),
    "number": Value("the product's number among those viewed, by id", pl.col("number").cast(pl.Int64), scale=1),
    "user": Value("hash of user_id", hashed(HASHED["user"]), scale=1, needs=("user_id",)),
    "product": Value("hash of product_id", hashed(HASHED["product"]), scale=1),
}
"""By name. Chances to look at a place: the discount of DCG, Järvelin and Kekäläinen (2002), where none is logged;
weighting by their inverse: Joachims, Swaminathan, Schnabel (2017), "Unbiased learning-to-rank with biased feedback"."""
