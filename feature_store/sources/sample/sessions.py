"""When users come and what they come for: taste, season, and what goes with what they looked for last."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_store.sources.sample import draws, truth, words
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.users import MOST_SESSIONS, Tastes
from feature_store.sources.sample.world import DAYS, World

FOLLOW, STAY = 0.4, 0.15
SEASON = 0.7
YEAR = 365.25
START_DAY_OF_YEAR = 60
PEAKS = np.array([kind.peak_month for kind in words.KINDS])
LOGGED_OUT = 0.12


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of a run of users; every array is [sessions].

    Attributes:
        key: int64, the session's number in the whole shop.
        user: int64, row of the run's tastes.
        kind: int64, row of words.KINDS.
        day: float64, days after START.
        logged_out: bool, True where the shop does not know who it is.
    """

    key: Keys
    user: Keys
    kind: Keys
    day: Reals
    logged_out: NDArray[np.bool_]


def follow_table(world: World) -> Reals:
    """float64 [kinds, kinds of the world], the weights of what is looked for next; zeros where nothing follows."""
    columns = {int(kind): column for column, kind in enumerate(world.kinds)}
    rows = {kind.noun: row for row, kind in enumerate(words.KINDS)}
    table = np.zeros((len(words.KINDS), len(columns)))
    for noun, others in truth.FOLLOWS.items():
        for other in others:
            if rows[other] in columns:
                table[rows[noun], columns[rows[other]]] = 1.0
    return table


def make_sessions(world: World, rows: Keys, tastes: Tastes) -> Sessions:
    """The sessions of the users in the given rows, each user's in the order of time."""
    keys = rows[:, None] * MOST_SESSIONS + np.arange(MOST_SESSIONS)
    first = np.maximum(tastes.joined, 0.0)
    there = np.arange(MOST_SESSIONS) < tastes.sessions[:, None]
    spread = np.where(there, draws.uniform(keys, seed=world.seed, stream="day"), 1.0)
    days = first[:, None] + np.sort(spread, axis=1) * (DAYS - 1.0 - first[:, None])
    kinds = chain(world, tastes, keys, days)
    return Sessions(
        key=keys[there],
        user=np.broadcast_to(np.arange(len(rows))[:, None], keys.shape)[there],
        kind=kinds[there],
        day=days[there],
        logged_out=draws.chance(LOGGED_OUT, keys[there], seed=world.seed, stream="logged out"),
    )


def chain(world: World, tastes: Tastes, keys: Keys, days: Reals) -> Keys:
    """int64 [users, sessions], the kinds looked for, each depending on the one before."""
    follows = follow_table(world)
    kinds = np.empty(keys.shape, dtype=np.int64)
    last = np.full(len(keys), -1)
    for step in range(keys.shape[1]):
        at = keys[:, step]
        weights = tastes.kind * season(world.kinds, days[:, step])
        chosen = world.kinds[draws.pick(weights, at, seed=world.seed, stream="kind wanted")]
        share = draws.uniform(at, seed=world.seed, stream="why")
        next_weights = follows[last] * (last >= 0)[:, None]
        goes_on = (share < FOLLOW) & (next_weights.sum(axis=1) > 0)
        safe = np.where(goes_on[:, None], next_weights, 1.0)
        followed = world.kinds[draws.pick(safe, at, seed=world.seed, stream="what follows")]
        stays = (share >= 1.0 - STAY) & (last >= 0)
        last = np.where(goes_on, followed, np.where(stays, last, chosen))
        kinds[:, step] = last
    return kinds


def season(kinds: Keys, days: Reals) -> Reals:
    """float64 [days, kinds], how much each kind sells on each day against its average."""
    month = PEAKS[kinds]
    peak = (month - 0.5) * YEAR / 12.0
    wave = np.cos(2.0 * np.pi * (days[:, None] + START_DAY_OF_YEAR - peak) / YEAR)
    return np.asarray(1.0 + np.where(month > 0, SEASON, 0.0) * wave)
