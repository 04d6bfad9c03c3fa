"""The lists that shoppers are shown, and what they do with them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_store.sources.sample import draws, truth, words
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.queries import Queries
from feature_store.sources.sample.relevance import grades
from feature_store.sources.sample.sessions import Sessions
from feature_store.sources.sample.users import Tastes
from feature_store.sources.sample.world import ProductCodes, World

MOST_LISTS = 3
DRAWN = 24
SHOWN = 6
POLICIES = ("lexical", "popularity", "shuffled")
SEARCH_SHARE = 0.6
SHUFFLED_SHARE = 0.12
DEPTH = 1.15
NEWNESS_DAYS = 25.0
HIDDEN = -1e9


@dataclass(frozen=True, slots=True)
class Shelves:
    """The shop's products by kind, best first.

    Attributes:
        rows: int64 [products].
        starts: int64 [kinds + 1]; the products of a kind are rows[starts[kind]] to rows[starts[kind + 1]].
    """

    rows: Keys
    starts: Keys


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists as shown; the first axis is lists, the second the place in the list.

    Attributes:
        key: int64 [lists], the list's number in the whole shop.
        session: int64 [lists], row of the sessions.
        query: int64 [lists], row of the queries, -1 where the shopper browses.
        policy: int64 [lists], row of POLICIES.
        order: int64 [lists], the how-many-eth list of its session.
        rows: int64 [lists, SHOWN], rows of the products.
        shown: bool [lists, SHOWN], False where the shop had nothing more.
        liking: float64 [lists, SHOWN], what the shopper would think of the product, in logits.
    """

    key: Keys
    session: Keys
    query: Keys
    policy: Keys
    order: Keys
    rows: Keys
    shown: NDArray[np.bool_]
    liking: Reals


def shelve(codes: ProductCodes) -> Shelves:
    """Sort the products by kind and by quality."""
    rows = np.lexsort((-codes.quality, codes.kind))
    counts = np.bincount(codes.kind, minlength=len(words.KINDS))
    return Shelves(rows=rows, starts=np.concatenate([[0], np.cumsum(counts)]))


def make_lists(
    world: World, sessions: Sessions, tastes: Tastes, *, codes: ProductCodes, shelves: Shelves, queries: Queries
) -> Lists:
    """The lists of the sessions: one to three each, searched or browsed."""
    seed = world.seed
    count = 1 + draws.whole(sessions.key, below=MOST_LISTS, seed=seed, stream="lists")
    session = np.repeat(np.arange(len(count)), count)
    order = np.arange(len(session)) - np.repeat(np.cumsum(count) - count, count)
    key = sessions.key[session] * MOST_LISTS + order
    filled = shelves.starts[sessions.kind + 1] > shelves.starts[sessions.kind]
    keep = filled[session]
    session, order, key = session[keep], order[keep], key[keep]
    user, kind, day = sessions.user[session], sessions.kind[session], sessions.day[session]
    searched = draws.chance(SEARCH_SHARE, key, seed=seed, stream="searched")
    query = np.where(searched, asked(world, queries, tastes, user=user, kind=kind, key=key), -1)
    policy = np.where(searched, 0, 1)
    policy = np.where(draws.chance(SHUFFLED_SHARE, key, seed=seed, stream="shuffled"), 2, policy)
    drawn = candidates(world, shelves, kind=kind, key=key)
    found = codes.take(drawn)
    match = grades(queries.codes.take(np.maximum(query, 0)[:, None]), found)
    match = np.where(query[:, None] >= 0, match, 2)
    hidden = repeated(drawn) | (found.launch > day[:, None])
    order_score = offered(world, found, key=key, match=match, policy=policy)
    best = np.argsort(-np.where(hidden, HIDDEN, order_score), axis=1, kind="stable")[:, :SHOWN]
    liking = opinion(tastes, found, user=user, day=day) + 0.9 * (match - 2.0)
    return Lists(
        key=key,
        session=session,
        query=query,
        policy=policy,
        order=order,
        rows=np.take_along_axis(drawn, best, axis=1),
        shown=~np.take_along_axis(hidden, best, axis=1),
        liking=np.take_along_axis(liking, best, axis=1),
    )


def asked(world: World, queries: Queries, tastes: Tastes, *, user: Keys, kind: Keys, key: Keys) -> Keys:
    """The query that each searcher types: of the kind wanted, often with a colour or brand that the user likes."""
    column = {int(number): place for place, number in enumerate(world.kinds)}
    by_kind: list[list[int]] = [[] for _ in column]
    for row, number in enumerate(queries.codes.kind.tolist()):
        by_kind[column[number]].append(row)
    width = max(len(rows) for rows in by_kind)
    table = np.full((len(words.KINDS), width), -1)
    for number, rows in zip(world.kinds.tolist(), by_kind, strict=True):
        table[number, : len(rows)] = rows
    options = table[kind]
    codes = queries.codes.take(np.maximum(options, 0))
    liked = np.where(codes.family >= 0, tastes.family[user[:, None], codes.family], 0.0)
    liked += np.where(codes.brand >= 0, tastes.brand[user[:, None], codes.brand], 0.0)
    liked -= np.where(codes.tier >= 0, np.abs(codes.tier - tastes.tier[user][:, None]), 0.0)
    known = draws.uniform(np.arange(len(queries.texts)), seed=world.seed, stream="fame")[np.maximum(options, 0)]
    weights = np.where(options >= 0, np.exp(liked) / (0.08 + known), 0.0)
    return np.take_along_axis(options, draws.pick(weights, key, seed=world.seed, stream="typed")[:, None], axis=1)[:, 0]


def candidates(world: World, shelves: Shelves, *, kind: Keys, key: Keys) -> Keys:
    """int64 [lists, DRAWN], products of the kind, better ones more often; some stand twice."""
    keys = key[:, None] * DRAWN + np.arange(DRAWN)
    depth = draws.uniform(keys, seed=world.seed, stream="drawn") ** DEPTH
    first, end = shelves.starts[kind][:, None], shelves.starts[kind + 1][:, None]
    return np.asarray(shelves.rows[first + np.floor(depth * (end - first)).astype(np.int64)])


def repeated(rows: Keys) -> NDArray[np.bool_]:
    """bool, True where a row's value stands earlier in the same row."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    again = np.zeros(rows.shape, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    result = np.empty_like(again)
    np.put_along_axis(result, order, again, axis=1)
    return result


def offered(world: World, found: ProductCodes, *, key: Keys, match: Keys, policy: Keys) -> Reals:
    """The score by which the shop orders a list: by words, by popularity, or by chance."""
    noise = draws.normal(key[:, None] * DRAWN + np.arange(DRAWN), seed=world.seed, stream="order")
    by_words = 0.9 * match + 0.3 * found.quality + noise
    by_sales = 0.5 * found.quality + 0.8 * noise
    return np.asarray(np.select([policy[:, None] == 0, policy[:, None] == 1], [by_words, by_sales], noise))


def opinion(tastes: Tastes, found: ProductCodes, *, user: Keys, day: Reals) -> Reals:
    """float64 [lists, DRAWN], how much each user likes each product on that day, in logits."""
    at = user[:, None]
    age = day[:, None] - found.launch
    newness = np.where((found.launch > 0) & (age >= 0), np.exp(-np.maximum(age, 0.0) / NEWNESS_DAYS), 0.0)
    family = np.where(found.colour >= 0, tastes.family[at, np.maximum(found.colour, 0) // 4], 0.0)
    return np.asarray(
        2.0 * (tastes.style[at] == found.style)
        + 1.2 * tastes.brand[at, found.brand]
        + 0.5 * family
        - 1.1 * np.abs(tastes.tier[at] - found.tier)
        + 0.3 * found.quality
        + 1.0 * newness
    )


def examined(world: World, key: Keys) -> NDArray[np.bool_]:
    """bool [lists, SHOWN], which places each shopper looks at."""
    keys = key[:, None] * SHOWN + np.arange(SHOWN)
    odds = truth.examination(np.arange(1, SHOWN + 1))
    return draws.chance(np.broadcast_to(odds, keys.shape), keys, seed=world.seed, stream="looked")
