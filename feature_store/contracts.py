"""The input contract: one dataframely schema for each table of a shop folder.

A row that breaks a rule is set aside with the rule's name; the bounds here are those that hold for every shop, the
rest (known products, the shop's best grade, the future) is checked where the tables meet, in `validate`.
"""

import dataframely as dy
import polars as pl

from recsys.types import EventType

EVENT_TYPES = [event.value for event in EventType]
LONGEST_ID = 120  # characters; an id of four-byte characters still fits an LMDB key (511 bytes)


class Line(dy.Schema):
    """What every row carries while it is checked.

    Columns:
        row: number of the row in its file, from 1.
        problem: what the checks outside the schema found; null where nothing.
        rest: the columns outside the contract as one struct.
    """

    row = dy.Int64()
    problem = dy.String(nullable=True)
    rest = dy.Any()

    @dy.rule()
    def checked(cls) -> pl.Expr:
        """No check outside the schema found a problem."""
        return pl.col("problem").is_null()


class Products(Line):
    """products: the only table a shop must have. Prices are in `currency`; times are UTC."""

    product_id = dy.String(min_length=1, max_length=LONGEST_ID)
    title = dy.String(regex=r"\S")
    description = dy.String(nullable=True)
    brand = dy.String(nullable=True)
    category = dy.String(nullable=True)
    price = dy.Float64(nullable=True, min=0)
    currency = dy.String(nullable=True)
    in_stock = dy.Bool(nullable=True)
    image_url = dy.String(nullable=True)
    image_vector = dy.List(dy.Float32(nullable=True), nullable=True)
    attributes = dy.String(nullable=True)
    group_id = dy.String(nullable=True)
    sku = dy.String(nullable=True)
    gtin = dy.String(nullable=True)
    rating = dy.Float64(nullable=True, min=0)
    rating_count = dy.Int64(nullable=True, min=0)
    seller = dy.String(nullable=True)
    locale = dy.String(nullable=True)
    available_from = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    valid_from = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    known_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")

    @dy.rule()
    def image_vector_not_finite(cls) -> pl.Expr:
        """Every number of an image vector is one."""
        numbers = pl.col("image_vector").list
        return numbers.eval(pl.element().is_finite().fill_null(value=False)).list.all()

    @dy.rule()
    def image_vector_of_another_width_than_most(cls) -> pl.Expr:
        """Image vectors come from one encoder; an empty one is none."""
        width = pl.col("image_vector").list.len().replace(0, None)
        return width == width.drop_nulls().mode().max()


class Users(Line):
    """users."""

    user_id = dy.String(min_length=1, max_length=LONGEST_ID)
    segment = dy.String(nullable=True)
    locale = dy.String(nullable=True)
    country = dy.String(nullable=True)
    created_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    attributes = dy.String(nullable=True)


class Events(Line):
    """events: user_id may be null (kept for co-occurrence), product_id is null for a search alone."""

    user_id = dy.String(nullable=True, max_length=LONGEST_ID)
    product_id = dy.String(nullable=True)
    timestamp = dy.Datetime(time_zone="UTC", time_unit="us")
    event_type = dy.Enum(EVENT_TYPES)
    event_id = dy.String(nullable=True)
    value = dy.Float64(nullable=True)
    quantity = dy.Float64(nullable=True)
    price = dy.Float64(nullable=True, min=0)
    order_id = dy.String(nullable=True)
    session_id = dy.String(nullable=True)
    query = dy.String(nullable=True)
    query_id = dy.String(nullable=True)
    position = dy.Int64(nullable=True, min=0)
    list_id = dy.String(nullable=True)
    policy = dy.String(nullable=True)
    propensity = dy.Float64(nullable=True, min_exclusive=0, max=1)
    known_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")

    @dy.rule()
    def product_id_missing(cls) -> pl.Expr:
        """Only a search has no product."""
        return pl.col("product_id").is_not_null() | (pl.col("event_type") == "search")

    @dy.rule()
    def purchase_quantity_not_above_0(cls) -> pl.Expr:
        """A purchase moves at least something; stock corrections are no purchases."""
        return (pl.col("event_type") != "purchase") | (pl.col("quantity") > 0)


class Queries(Line):
    """queries."""

    query_id = dy.String(min_length=1)
    query = dy.String(regex=r"\S")
    locale = dy.String(nullable=True)


class Judgments(Line):
    """judgments: grade 0 means irrelevant; the shop's best grade stands in shop.toml."""

    query_id = dy.String(min_length=1)
    product_id = dy.String(min_length=1)
    grade = dy.Float32(min=0)
    weight = dy.Float32(nullable=True, min_exclusive=0)
    rater_sd = dy.Float32(nullable=True, min=0)
    judged_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")


CONTRACTS: dict[str, type[Line]] = {
    "products": Products,
    "users": Users,
    "events": Events,
    "queries": Queries,
    "judgments": Judgments,
}

REQUIRED: dict[str, tuple[str, ...]] = {
    "products": ("product_id", "title"),
    "users": ("user_id",),
    "events": ("user_id", "product_id", "timestamp", "event_type"),
    "queries": ("query_id", "query"),
    "judgments": ("query_id", "product_id", "grade"),
}


MOMENTS: dict[str, tuple[str, ...]] = {
    "products": ("known_at",),
    "users": ("created_at",),
    "events": ("timestamp", "known_at"),
    "judgments": ("judged_at",),
}
"""The columns that say when a row happened or came to be known: it is unknown before the latest of them."""


def contract_columns(table: str) -> dict[str, pl.DataType]:
    """The contract columns of a table with their types, in the order of the contract."""
    schema = pl.Schema(CONTRACTS[table])
    return {name: kind for name, kind in schema.items() if name not in Line.column_names()}


def reason_of(rule: str) -> str:
    """A rule's name as a person reads it: `price|min` is "price below the least allowed"."""
    column, _, check = rule.partition("|")
    words = {
        "nullability": "missing",
        "min_length": "empty",
        "regex": "empty",
        "min": "below the least allowed",
        "min_exclusive": "not above 0",
        "max_length": f"longer than {LONGEST_ID} characters",
        "max": "above the most allowed",
        "inf": "infinite",
        "nan": "not a number",
    }
    return f"{column} {words.get(check, check)}" if check else column.replace("_", " ")
