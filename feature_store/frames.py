"""The frames of a snapshot: one dataframely schema for each file. Columns of the shop's own may follow, as text."""

from collections.abc import Container, Iterable

import dataframely as dy
import polars as pl

from feature_store.contracts import EVENT_TYPES

PARTS = ("train", "validation", "test")


class CatalogueFrame(dy.Schema):
    """catalogue.parquet: one row for each product, sorted by product_id; `position` is the row number from 0."""

    position = dy.Int64(min=0)
    product_id = dy.String(primary_key=True)
    title = dy.String()
    description = dy.String(nullable=True)
    brand = dy.String(nullable=True)
    category = dy.String(nullable=True)
    price = dy.Float64(nullable=True, min=0)
    currency = dy.String(nullable=True)
    in_stock = dy.Bool(nullable=True)
    image_url = dy.String(nullable=True)
    attributes = dy.String(nullable=True)
    group_id = dy.String(nullable=True)
    rating = dy.Float64(nullable=True)
    rating_count = dy.Int64(nullable=True)
    locale = dy.String(nullable=True)
    available_from = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    sku = dy.String(nullable=True)
    gtin = dy.String(nullable=True)
    seller = dy.String(nullable=True)
    image_vector = dy.List(dy.Float32(nullable=True), nullable=True)
    valid_from = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    known_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")


class InteractionFrame(dy.Schema):
    """interactions.parquet: views, clicks, cart additions and purchases net of cancels, sorted by user and time.

    Columns:
        position: of the product in the catalogue.
        weight: what the shop says an event of this type is worth, above 0.
        quantity: of a purchase, what is left after its cancels.
        slot: the place in a list at which the product stood, where known.
        part: "train", "validation" or "test".
    """

    user_id = dy.String(nullable=True)
    product_id = dy.String()
    position = dy.Int64(min=0)
    timestamp = dy.Datetime(time_zone="UTC", time_unit="us")
    event_type = dy.Enum(EVENT_TYPES)
    weight = dy.Float32(min_exclusive=0)
    quantity = dy.Float64(nullable=True, min_exclusive=0)
    price = dy.Float64(nullable=True, min=0)
    order_id = dy.String(nullable=True)
    session_id = dy.String(nullable=True)
    part = dy.Enum(list(PARTS))
    value = dy.Float64(nullable=True)
    query = dy.String(nullable=True)
    query_id = dy.String(nullable=True)
    list_id = dy.String(nullable=True)
    slot = dy.Int64(nullable=True, min=0)
    event_id = dy.String(nullable=True)


class ImpressionFrame(dy.Schema):
    """impressions.parquet: what was shown, at which slot, by which policy, and how likely a shopper looks there.

    Columns:
        slot: the place in the list.
        policy: what put the list in order.
        propensity: the chance that a shopper looks at the place, above 0.
    """

    user_id = dy.String(nullable=True)
    product_id = dy.String()
    position = dy.Int64(min=0)
    timestamp = dy.Datetime(time_zone="UTC", time_unit="us")
    session_id = dy.String(nullable=True)
    query = dy.String(nullable=True)
    query_id = dy.String(nullable=True)
    list_id = dy.String(nullable=True)
    slot = dy.Int64(nullable=True, min=0)
    policy = dy.String(nullable=True)
    propensity = dy.Float64(nullable=True, min_exclusive=0, max=1)
    part = dy.Enum(list(PARTS))


class SearchFrame(dy.Schema):
    """searches.parquet: what shoppers typed."""

    user_id = dy.String(nullable=True)
    timestamp = dy.Datetime(time_zone="UTC", time_unit="us")
    session_id = dy.String(nullable=True)
    query = dy.String(nullable=True)
    query_id = dy.String(nullable=True)
    list_id = dy.String(nullable=True)
    part = dy.Enum(list(PARTS))


class JudgmentFrame(dy.Schema):
    """judgments.parquet: each pair of query and product once, with its mean grade on the shop's own scale."""

    query_id = dy.String(primary_key=True)
    query = dy.String()
    product_id = dy.String(primary_key=True)
    position = dy.Int64(min=0)
    grade = dy.Float32(min=0)
    weight = dy.Float32(min_exclusive=0)
    rater_sd = dy.Float32(nullable=True)
    locale = dy.String(nullable=True)
    part = dy.Enum(list(PARTS))


class UserFrame(dy.Schema):
    """users.parquet: everyone in the users table or the events, sorted by user_id."""

    user_id = dy.String(primary_key=True)
    segment = dy.String(nullable=True)
    locale = dy.String(nullable=True)
    country = dy.String(nullable=True)
    created_at = dy.Datetime(nullable=True, time_zone="UTC", time_unit="us")
    attributes = dy.String(nullable=True)


class QuarantineFrame(dy.Schema):
    """quarantine.parquet: every row set aside, with its number in the file (from 1) and its values as JSON."""

    table = dy.String()
    row = dy.Int64(min=1)
    reason = dy.String()
    values = dy.String()


FRAMES: dict[str, type[dy.Schema]] = {
    "catalogue": CatalogueFrame,
    "interactions": InteractionFrame,
    "impressions": ImpressionFrame,
    "searches": SearchFrame,
    "judgments": JudgmentFrame,
    "users": UserFrame,
    "quarantine": QuarantineFrame,
}


def shaped(frame: pl.LazyFrame, name: str, *, unknown: Iterable[str]) -> pl.LazyFrame:
    """The frame in the order of its schema, the shop's own columns behind as text; see `slim` and `filled`."""
    return filled(slim(frame, name, unknown=unknown), name)


def slim(
    frame: pl.LazyFrame,
    name: str,
    *,
    unknown: Iterable[str],
    without: Container[str] = frozenset(),
    beside: Iterable[str] = (),
) -> pl.LazyFrame:
    """Only those columns of the schema that the frame has, and the shop's own ones out of `rest`.

    A column of the shop whose name the snapshot needs itself gets `shop_` before it.

    Args:
        frame: with the struct `rest` where `unknown` is not empty.
        name: of the snapshot's frame.
        unknown: the shop's own columns.
        without: columns known to hold nothing, which need no room while rows are sorted.
        beside: columns outside the schema that checks still need.
    """
    wanted, present = pl.Schema(FRAMES[name]), frame.collect_schema()
    columns = [pl.col(one).cast(dtype) for one, dtype in wanted.items() if one in present and one not in without]
    own = (pl.col("rest").struct.field(one).alias(f"shop_{one}" if one in wanted else one) for one in unknown)
    return frame.select(*columns, *own, *beside)


def filled(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """All columns of the schema in its order, those that the frame lacks as null; the frame's other columns behind."""
    wanted, present = pl.Schema(FRAMES[name]), frame.collect_schema()
    columns = [pl.col(one) if one in present else pl.lit(None, dtype=dtype).alias(one) for one, dtype in wanted.items()]
    return frame.select(*columns, *(one for one in present if one not in wanted))
