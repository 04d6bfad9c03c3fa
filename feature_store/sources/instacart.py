"""Instacart, online grocery baskets: no dates and no prices, but each user's orders one after the other.

Source: "The Instacart Online Grocery Shopping Dataset 2017", data dictionary
https://gist.github.com/jeremystan/c3b39d947d9b88b3ccff3147dbcf6c6b.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from feature_store.sources.public_set import Converted, PublicSet
from feature_store.sources.raw import joined_path, need_columns, need_file, scan_text

LINE = ("order_id", "product_id", "add_to_cart_order")
FILES = {
    "products": ("product_id", "product_name", "aisle_id", "department_id"),
    "aisles": ("aisle_id", "aisle"),
    "departments": ("department_id", "department"),
    "orders": ("order_id", "user_id", "order_number", "order_dow", "order_hour_of_day", "days_since_prior_order"),
    "order_products__prior": LINE,
    "order_products__train": LINE,
}
"""By file the columns that are read."""
MOST_IN_ORDER = 10_000
"""Places kept free between two orders of a user, so that a timestamp tells the order and the place in the basket."""


def convert(raw: Path, options: Mapping[str, str]) -> Converted:
    """Products and events; the orders that the competition kept to itself (`test`) have no products and give none."""
    files = tuple(need_file(raw, f"{name}.csv") for name in FILES)
    named = dict(zip(FILES, files, strict=True))
    tables = {name: need_columns(scan_text(file), FILES[name], file=file) for name, file in named.items()}
    lines = pl.concat(tables[name].select(FILES[name]) for name in ("order_products__prior", "order_products__train"))
    return Converted(
        tables={"products": products(tables), "events": events(lines, tables["orders"])},
        files=files,
        timestamps="order",
        notes=("timestamps only order: the place of the order, then the place in the basket; there are no dates",),
    )


def products(tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """products.csv with the names of departments and aisles; `missing` is none."""
    return (
        tables["products"]
        .join(tables["aisles"], on="aisle_id", how="left")
        .join(tables["departments"], on="department_id", how="left")
        .with_columns(pl.col("department", "aisle").replace("missing", None))
        .select(
            "product_id",
            pl.col("product_name").alias("title"),
            joined_path("department", "aisle").alias("category"),
        )
        .sort(pl.col("product_id").cast(pl.Int64, strict=False))
    )


def events(lines: pl.LazyFrame, orders: pl.LazyFrame) -> pl.LazyFrame:
    """A purchase for each line of a basket; hours and weekdays of orders are kept as the shop's own columns."""
    place = pl.col("order_number", "add_to_cart_order").cast(pl.Int64, strict=False)
    return (
        lines.join(orders, on="order_id", how="left")
        .with_columns(place)
        .select(
            "user_id",
            "product_id",
            (pl.col("order_number") * MOST_IN_ORDER + pl.col("add_to_cart_order")).alias("timestamp"),
            pl.lit("purchase").alias("event_type"),
            "order_id",
            "order_dow",
            "order_hour_of_day",
            "days_since_prior_order",
        )
    )


INSTACART = PublicSet(
    name="instacart",
    title="Instacart 2017",
    licence="Instacart's terms: non-commercial use; accept them where you download it",
    link="https://www.kaggle.com/c/instacart-market-basket-analysis",
    documentation="https://gist.github.com/jeremystan/c3b39d947d9b88b3ccff3147dbcf6c6b",
    instructions="download the competition's files from the page with your own account and unpack all of them",
    convert=convert,
)
