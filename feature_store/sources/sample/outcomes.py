"""What shoppers would have done: the chances behind the clicks, for tests that know the truth of other orders."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from feature_store.sources.sample import actions
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.events import USERS_AT_ONCE, named
from feature_store.sources.sample.lists import Shelves, make_lists, opinion, shelve
from feature_store.sources.sample.queries import Queries, make_queries
from feature_store.sources.sample.sessions import make_sessions
from feature_store.sources.sample.users import tastes
from feature_store.sources.sample.world import ProductCodes, World, all_codes, product_ids, spans


def click_chances(world: World) -> pl.DataFrame:
    """How likely every product of every list was clicked if the shopper looked at it, whatever its place.

    A click comes about where this happens and the shopper looks at the place, the logged propensity.

    Returns:
        Columns `list_id`, `product_id` and `chance`, float64 in (0, 1).
    """
    queries, codes = make_queries(world), all_codes(world)
    return pl.concat(run_chances(world, queries, codes, shelves=shelve(codes)))


def run_chances(world: World, queries: Queries, codes: ProductCodes, *, shelves: Shelves) -> Iterator[pl.DataFrame]:
    """The chances of one run of users after the other, as their events are made."""
    for rows in spans(world.users, size=USERS_AT_ONCE):
        liked = tastes(world, rows)
        sessions = make_sessions(world, rows, liked)
        lists = make_lists(world, sessions, liked, codes=codes, shelves=shelves, queries=queries)
        shown = actions.impressions(rows, sessions, lists)
        yield pl.DataFrame(
            {
                "list_id": named("L", shown.listed),
                "product_id": product_ids(world, shown.product),
                "chance": actions.odds(lists.liking[lists.shown] - actions.CLICK_BAR),
            }
        )


def browsing_chances(world: World, codes: ProductCodes, *, users: Keys, day: float) -> Reals:
    """How likely each user, browsing on a day, clicks each product that they look at.

    Args:
        world: the shop.
        codes: of the products.
        users: int64 [users], rows of the shop's users.
        day: days after the shop's start.

    Returns:
        float64 [users, products], in (0, 1).
    """
    rows = np.broadcast_to(np.arange(len(codes)), (len(users), len(codes)))
    liking = opinion(tastes(world, users), codes.take(rows), user=np.arange(len(users)), day=np.full(len(users), day))
    return actions.odds(liking - actions.CLICK_BAR)
