"""What a recommendation blender reads of a candidate: who brought it, what it sells, what the user had of it.

Counts enter as log(1 + n), times as days before now, shares as 0 to 1. NaN is "unknown": a product that a source did
not bring has neither its score nor its rank, one that the user never bought has no day of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.types import EVENT_CODES, Candidates, PositionHistories, Positions, Scores, Vectors

MICROSECONDS_A_DAY = 86_400_000_000
PURCHASE = EVENT_CODES["purchase"]
PRODUCT = ("sales", "sales.ever", "sales.rise", "sold.days", "age.days")
OWN = ("bought.times", "bought.days", "met.times", "met.days", "category.share", "brand.share", "price.gap")
USER = ("history.events", "history.products", "history.again", "idle.days", "sources")
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def signal_names(sources: Sequence[str]) -> tuple[str, ...]:
    """The columns of `candidate_matrix`, in order."""
    brought = [f"{source}.{kind}" for source in sources for kind in ("score", "rank")]
    return (*brought, *PRODUCT, *OWN, *USER)


@dataclass(frozen=True)
class ProductFacts:
    """What is known of each product of a catalogue.

    Attributes:
        sales: float32 [catalogue], its events' weights, those of half a month ago counting half; NaN where unseen.
        ever: float32 [catalogue], the same without forgetting; NaN where unseen.
        first: int64 [catalogue], its first event, microseconds since 1970-01-01 UTC; -1 where unknown.
        last: int64 [catalogue], its last event; -1 where unknown, as in a shop without a calendar.
        categories: int64 [catalogue], numbers of whole category paths, -1 where unknown.
        brands: int64 [catalogue], numbers of brands, -1 where unknown.
        prices: float32 [catalogue], NaN where unknown or 0.
        calendar: whether timestamps tell days; without, no signal tells any.
    """

    sales: Scores
    ever: Scores
    first: Numbers
    last: Numbers
    categories: Numbers
    brands: Numbers
    prices: Scores
    calendar: bool

    @cached_property
    def rise(self) -> Scores:
        """float32 [catalogue]: log of the share of late sales over the share of all; 0 sells as it always did."""
        late, ever = (column / max(float(np.nansum(column)), 1e-9) for column in (self.sales, self.ever))
        return np.asarray(np.log((late + 1e-6) / (ever + 1e-6)), dtype=np.float32)


def candidate_matrix(
    lists: Sequence[Candidates], pool: Positions, *, history: PositionHistories, now: int, facts: ProductFacts
) -> Vectors:
    """float32 [pool, signals] of one user's candidates, in the order of `signal_names`; a row needs no other row.

    Args:
        lists: what each source brought, in the order of the sources.
        pool: int64 [candidates], distinct, ascending, each brought by one source at least.
        history: of this user alone.
        now: the moment of the recommendation, in the timestamps' unit.
        facts: of the catalogue.
    """
    columns: list[NDArray[np.floating]] = []
    for found in lists:
        columns += brought(found, pool)
    columns += product_columns(pool, now=now, facts=facts)
    columns += own_columns(pool, history=history, now=now, facts=facts)
    columns += user_columns(pool, lists=lists, history=history, now=now, facts=facts)
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)


def brought(found: Candidates, pool: Positions) -> list[Floats]:
    """A source's score, 1 for its best and 0 for its last, and 1 / rank, of each candidate; NaN where not brought."""
    scores, ranks = np.full(len(pool), np.nan), np.full(len(pool), np.nan)
    if len(found.positions):
        places = np.searchsorted(pool, found.positions)
        span = float(found.scores[0]) - float(found.scores[-1])
        scores[places] = (found.scores - found.scores[-1]) / span if span > 0 else 1.0
        ranks[places] = 1.0 / np.arange(1, len(places) + 1)
    return [scores, ranks]


def product_columns(pool: Positions, *, now: int, facts: ProductFacts) -> list[NDArray[np.floating]]:
    """PRODUCT: what each candidate sells, whether that rises, and the days since its last and first event."""
    last, first = (days_before(now, moments[pool], facts=facts) for moments in (facts.last, facts.first))
    return [np.log1p(facts.sales[pool]), np.log1p(facts.ever[pool]), facts.rise[pool], last, first]


def own_columns(
    pool: Positions, *, history: PositionHistories, now: int, facts: ProductFacts
) -> list[NDArray[np.floating]]:
    """OWN: what this user had of each candidate, of its category and brand, and how its price lies to the usual one."""
    bought = history.event_types == PURCHASE
    columns: list[NDArray[np.floating]] = []
    for chosen in (bought, np.ones(len(bought), dtype=np.bool_)):
        times, latest = met(pool, history.positions[chosen], history.timestamps[chosen])
        columns += [np.log1p(times), days_before(now, latest, facts=facts)]
    columns += [share(numbers, pool, history.positions) for numbers in (facts.categories, facts.brands)]
    with np.errstate(divide="ignore"):
        paid, asked = (np.log(facts.prices[rows]) for rows in (history.positions[bought], pool))
    usual = float(np.nanmean(paid)) if np.isfinite(paid).any() else np.nan
    return [*columns, asked - usual]


def user_columns(
    pool: Positions, *, lists: Sequence[Candidates], history: PositionHistories, now: int, facts: ProductFacts
) -> list[NDArray[np.floating]]:
    """USER: the length of the history, how much of it was bought again, the days since its end; who agrees."""
    purchases = history.positions[history.event_types == PURCHASE]
    again = 1.0 - len(np.unique(purchases)) / len(purchases) if len(purchases) else np.nan
    newest = history.timestamps.max(initial=-1)
    alike = [np.log1p(len(history.positions)), np.log1p(len(np.unique(history.positions))), again]
    alike.append(float(days_before(now, np.array([newest]), facts=facts)[0]))
    agreeing = np.zeros(len(pool))
    for found in lists:
        agreeing += np.isin(pool, found.positions)
    return [*(np.full(len(pool), value) for value in alike), agreeing]


def met(pool: Positions, positions: Positions, timestamps: Numbers) -> tuple[Floats, Numbers]:
    """How often each candidate stands in a history, float64 [pool], and when last, int64 [pool], -1 for never."""
    own, place, counts = np.unique(positions, return_inverse=True, return_counts=True)
    latest = np.full(len(own), -1, dtype=np.int64)
    np.maximum.at(latest, place, timestamps)
    times, when = np.zeros(len(pool)), np.full(len(pool), -1, dtype=np.int64)
    if len(own):
        rows = np.minimum(np.searchsorted(own, pool), len(own) - 1)
        there = own[rows] == pool
        times[there], when[there] = counts[rows[there]], latest[rows[there]]
    return times, when


def share(numbers: Numbers, pool: Positions, positions: Positions) -> Floats:
    """float64 [pool]: the share of a history's events that have the candidate's number; NaN where it has none."""
    wanted, own = numbers[pool], numbers[positions]
    own = own[own >= 0]
    if not len(own):
        return np.full(len(pool), np.nan)
    times, _ = met(wanted, own, np.zeros(len(own), dtype=np.int64))
    return np.where(wanted >= 0, times / len(own), np.nan)


def days_before(now: int, moments: Numbers, *, facts: ProductFacts) -> Floats:
    """float64: days from each moment to now, 0 or more; NaN where it is -1 or the shop has no calendar."""
    days = np.maximum(now - moments, 0) / MICROSECONDS_A_DAY
    return np.where((moments >= 0) & facts.calendar, days, np.nan)
