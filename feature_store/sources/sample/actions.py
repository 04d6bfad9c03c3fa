"""What shoppers do with the lists they are shown: click, put in the cart, buy, buy again, send back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_store.sources.sample import draws, words
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.lists import SHOWN, Lists, examined
from feature_store.sources.sample.sessions import Sessions
from feature_store.sources.sample.world import DAYS, ProductCodes, World

SECOND, DAY = 1_000_000, 86_400_000_000
CLICK_BAR, CART_BAR, BUY_BAR = 0.9, 1.6, 0.4
CANCEL_SHARE, REMOVE_SHARE = 0.03, 0.2
MOST_REPEATS, REPEAT_SHARE = 8, 0.72
REPEAT_DAYS = np.array([kind.repeat_days for kind in words.KINDS])


@dataclass(frozen=True, slots=True)
class Rows:
    """Events of one type before they are written; every array is int64 [events] and -1 means none.

    Attributes:
        event_type: the type of all of them.
        key: one for each event of this type in the whole shop; below -1 for orders without a list.
        user: row of the shop's users, -1 where nobody was logged in.
        product: row of the shop's products.
        micros: microseconds after START.
        session: the session's key.
        listed: the list's key.
        query: row of the queries.
        policy: row of lists.POLICIES.
        position: place in the list from 1.
        order: the order's key.
        quantity: how many were bought.
    """

    event_type: str
    key: Keys
    user: Keys
    product: Keys
    micros: Keys
    session: Keys
    listed: Keys
    query: Keys
    policy: Keys
    position: Keys
    order: Keys
    quantity: Keys

    def __len__(self) -> int:
        return len(self.key)

    def only(self, event_type: str, rows: NDArray[np.bool_] | Keys | None = None, **changes: Keys) -> "Rows":
        """The rows, or some of them, as events of another type, with other values where given."""
        names = [name for name in self.__slots__ if name != "event_type"]
        chosen = np.arange(len(self)) if rows is None else rows
        return Rows(event_type=event_type, **({name: getattr(self, name)[chosen] for name in names} | changes))


def nothing(count: int) -> Keys:
    """int64 [count], -1 in every place."""
    return np.full(count, -1, dtype=np.int64)


def impressions(users: Keys, sessions: Sessions, lists: Lists) -> Rows:
    """One row for each product of each list.

    Args:
        users: int64, the rows of the shop's users that `sessions.user` counts in.
        sessions: the run's sessions.
        lists: the run's lists.
    """
    at, place = np.nonzero(lists.shown)
    session = lists.session[at]
    start = np.floor(sessions.day[session] * 86_400.0).astype(np.int64) * SECOND
    return Rows(
        event_type="impression",
        key=lists.key[at] * SHOWN + place,
        user=np.where(sessions.logged_out[session], -1, users[sessions.user[session]]),
        product=lists.rows[at, place],
        micros=start + lists.order[at] * 240 * SECOND,
        session=sessions.key[session],
        listed=lists.key[at],
        query=lists.query[at],
        policy=lists.policy[at],
        position=place + 1,
        order=nothing(len(at)),
        quantity=nothing(len(at)),
    )


def searches(shown: Rows) -> Rows:
    """One search for each list that answers a query, a second before it."""
    first = (shown.position == 1) & (shown.query >= 0)
    none = nothing(int(first.sum()))
    micros = shown.micros[first] - SECOND
    return shown.only("search", first, micros=micros, product=none, position=none, policy=none)


def bought(world: World, shown: Rows, lists: Lists, codes: ProductCodes) -> tuple[Rows, Rows, Rows]:
    """Clicks on what was looked at and liked, carts out of clicks, purchases out of carts.

    Nobody buys the same lasting product twice.
    """
    seed = world.seed
    liking = lists.liking[lists.shown]
    wanted = draws.chance(odds(liking - CLICK_BAR), shown.key, seed=seed, stream="click")
    clicked = examined(world, lists.key)[lists.shown] & wanted
    clicks = shown.only("click", clicked, micros=shown.micros[clicked] + 8 * SECOND * shown.position[clicked])
    kept = draws.chance(odds(liking[clicked] - CART_BAR), clicks.key, seed=seed, stream="cart")
    carts = clicks.only("add_to_cart", kept, micros=clicks.micros[kept] + 4 * SECOND)
    paid = draws.chance(odds(liking[clicked][kept] - BUY_BAR), carts.key, seed=seed, stream="buy")
    paid &= carts.user >= 0
    owned = paid.copy()
    owned[paid] = ~first_of_pair(carts.user[paid], carts.product[paid])
    lasting = REPEAT_DAYS[codes.kind[carts.product]] == 0
    paid &= ~(owned & lasting)
    count = 1 + draws.whole(carts.key[paid], below=3, seed=seed, stream="quantity")
    purchases = carts.only(
        "purchase",
        paid,
        micros=carts.micros[paid] + 900 * SECOND,
        order=carts.session[paid],
        quantity=np.where(lasting[paid], 1, count),
    )
    return clicks, carts, purchases


def first_of_pair(users: Keys, products: Keys) -> NDArray[np.bool_]:
    """bool, True where a user and a product stand together for the first time."""
    first = np.zeros(len(users), dtype=bool)
    pairs = users.astype(np.int64) << 32 | products
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def odds(logits: Reals) -> Reals:
    """The logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def removals(world: World, carts: Rows, purchases: Rows) -> Rows:
    """Some of what was not bought is taken out of the cart again."""
    left = ~np.isin(carts.key, purchases.key)
    gone = left & draws.chance(REMOVE_SHARE, carts.key, seed=world.seed, stream="remove")
    return carts.only("remove_from_cart", gone, micros=carts.micros[gone] + 60 * SECOND)


def repeats(world: World, purchases: Rows, codes: ProductCodes) -> Rows:
    """Later orders of what gets used up; each comes as a session of its own without a list."""
    days = REPEAT_DAYS[codes.kind[purchases.product]]
    steps = purchases.key[:, None] * MOST_REPEATS + np.arange(MOST_REPEATS)
    stays = draws.chance(REPEAT_SHARE, steps, seed=world.seed, stream="again").cumprod(axis=1).astype(bool)
    pause = 0.8 + 0.4 * draws.uniform(steps, seed=world.seed, stream="pause")
    later = np.floor(np.cumsum(pause, axis=1) * days[:, None] * 86_400.0).astype(np.int64) * SECOND
    micros = purchases.micros[:, None] + later
    at, step = np.nonzero(stays & (days[:, None] > 0) & (micros < DAYS * DAY))
    none, key = nothing(len(at)), -2 - steps[at, step]
    return purchases.only(
        "purchase",
        at,
        key=key,
        micros=micros[at, step],
        session=key,
        order=key,
        listed=none,
        query=none,
        policy=none,
        position=none,
    )


def cancels(world: World, purchases: Rows) -> Rows:
    """Some purchases are sent back a day later."""
    back = draws.chance(CANCEL_SHARE, purchases.key, seed=world.seed, stream="cancel")
    back &= purchases.micros + DAY < DAYS * DAY
    none = nothing(int(back.sum()))
    micros = purchases.micros[back] + DAY
    return purchases.only("cancel", back, micros=micros, listed=none, query=none, policy=none, position=none)
