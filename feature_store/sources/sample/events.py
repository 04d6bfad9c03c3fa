"""The events table, made for one run of users at a time."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.sources.sample import actions, truth
from feature_store.sources.sample.actions import SECOND, Rows
from feature_store.sources.sample.draws import Keys
from feature_store.sources.sample.lists import POLICIES, Shelves, make_lists, shelve
from feature_store.sources.sample.queries import Queries
from feature_store.sources.sample.sessions import make_sessions
from feature_store.sources.sample.users import tastes, user_ids
from feature_store.sources.sample.world import START, ProductCodes, World, product_ids, spans

USERS_AT_ONCE = 1_024
SCHEMA = pl.Schema(
    [
        ("event_id", pl.String()),
        ("user_id", pl.String()),
        ("product_id", pl.String()),
        ("timestamp", pl.Datetime("us", "UTC")),
        ("event_type", pl.String()),
        ("quantity", pl.Float64()),
        ("price", pl.Float64()),
        ("order_id", pl.String()),
        ("session_id", pl.String()),
        ("query", pl.String()),
        ("query_id", pl.String()),
        ("position", pl.Int64()),
        ("list_id", pl.String()),
        ("policy", pl.String()),
        ("propensity", pl.Float64()),
    ]
)
MARKS = {
    "search": "s",
    "impression": "i",
    "click": "c",
    "view": "v",
    "add_to_cart": "a",
    "remove_from_cart": "r",
    "purchase": "p",
    "cancel": "x",
}
PRICED = ("add_to_cart", "purchase", "cancel")


def event_frames(
    world: World, queries: Queries, codes: ProductCodes, *, size: int = USERS_AT_ONCE
) -> Iterator[pl.DataFrame]:
    """The events in runs of `size` users, each run in the order of time; memory holds one run."""
    shelves = shelve(codes)
    for rows in spans(world.users, size=size):
        yield event_frame(world, rows, queries=queries, codes=codes, shelves=shelves)


def event_frame(world: World, rows: Keys, *, queries: Queries, codes: ProductCodes, shelves: Shelves) -> pl.DataFrame:
    """The events of the users in the given rows, in the columns of SCHEMA."""
    liked = tastes(world, rows)
    sessions = make_sessions(world, rows, liked)
    lists = make_lists(world, sessions, liked, codes=codes, shelves=shelves, queries=queries)
    shown = actions.impressions(rows, sessions, lists)
    clicks, carts, purchases = actions.bought(world, shown, lists, codes)
    again = actions.repeats(world, purchases, codes)
    parts = [
        actions.searches(shown),
        shown,
        clicks,
        clicks.only("view", micros=clicks.micros + SECOND),
        carts,
        actions.removals(world, carts, purchases),
        purchases,
        again.only("view", micros=again.micros - 60 * SECOND),
        again,
        actions.cancels(world, purchases),
        actions.cancels(world, again),
    ]
    frame = pl.concat([written(world, part, queries=queries, codes=codes) for part in parts])
    return frame.sort("timestamp", "event_id")


def written(world: World, rows: Rows, *, queries: Queries, codes: ProductCodes) -> pl.DataFrame:
    """The rows in the columns of SCHEMA."""
    asked, listed = np.maximum(rows.query, 0), rows.position > 0
    price = pl.Series(codes.price[rows.product].astype(np.float64)).round(2)
    values = {
        "event_id": named("E", rows.key, suffix=MARKS[rows.event_type]),
        "user_id": present(pl.Series(user_ids(rows.user), dtype=pl.String), rows.user >= 0),
        "product_id": present(pl.Series(product_ids(world, rows.product), dtype=pl.String), rows.product >= 0),
        "timestamp": pl.Series(rows.micros).cast(pl.Duration("us")),
        "event_type": pl.repeat(rows.event_type, len(rows), eager=True),
        "quantity": present(pl.Series(rows.quantity.astype(np.float64)), rows.quantity > 0),
        "price": present(price, np.full(len(rows), rows.event_type in PRICED)),
        "order_id": present(named("O", rows.order), rows.order != -1),
        "session_id": named("S", rows.session),
        "query": present(pl.Series(queries.texts).gather(asked), rows.query >= 0),
        "query_id": present(pl.Series(queries.ids()).gather(asked), rows.query >= 0),
        "position": present(pl.Series(rows.position), listed),
        "list_id": present(named("L", rows.listed), rows.listed >= 0),
        "policy": present(pl.Series(POLICIES).gather(np.maximum(rows.policy, 0)), rows.policy >= 0),
        "propensity": present(pl.Series(truth.examination(np.maximum(rows.position, 1)).round(6)), listed),
    }
    return pl.DataFrame(values).with_columns(timestamp=pl.lit(START) + pl.col("timestamp")).cast(SCHEMA)


def named(mark: str, keys: Keys, *, suffix: str = "") -> pl.Series:
    """Ids made of a letter and a number; keys below -1 get a second letter."""
    number = pl.Series(keys)
    letters = pl.when(number < 0).then(pl.lit(mark + "R")).otherwise(pl.lit(mark))
    return pl.select(pl.concat_str(letters, number.abs().cast(pl.String), pl.lit(suffix))).to_series()


def present(values: pl.Series, there: NDArray[np.bool_]) -> pl.Series:
    """The values, null where they are not there."""
    return pl.select(pl.when(pl.Series(there)).then(values)).to_series()
