"""Repeat purchases: what a user has bought, as its usual interval passes again.

A product's score is the chance that it is bought again, times how near the time since its last purchase lies to the
usual interval: exp(-z^2 / 2), z the distance of the two logarithms in standard deviations. It peaks when the interval
has just passed. Interval and chance are the product's own, drawn towards its category's and the shop's where little is
known, and follow what this user has shown with the product.

Source: Bhagat, Muralidharan, Lobzhanidze and Vishwanath, "Buy it again: modeling repeat purchase recommendations",
KDD 2018 (repeat customer probability, log-normal intervals), with the intervals pooled by empirical Bayes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.retrieval.each_user import User, each_user, moments, passing
from recsys.retrieval.order import in_order
from recsys.retrieval.vocabulary import broken, read_table, read_text
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions

SETTINGS, PRODUCTS, CATEGORIES = "repeat.json", "products.parquet", "categories.parquet"
MICROSECONDS_A_DAY = 86_400_000_000
SAME_DAY = 0.5
"""Days that have passed since a purchase of today."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RepeatSettings:
    """What holds for the whole shop.

    Attributes:
        until: the last moment that was learned from, microseconds since 1970-01-01 UTC.
        days: how long before that the learned events began; what was bought longer ago is not brought.
        log_interval: natural logarithm of the usual days between two purchases of a product.
        rate: share of purchases that are followed by another of the same product, 0 to 1.
        spread: standard deviation of the logarithm of intervals, above 0.
        shrink: purchases that what stands above counts as.
    """

    until: int
    days: float
    log_interval: float
    rate: float
    spread: float
    shrink: float


class RepeatRecommender:
    """The user's own products that are due.

    Args:
        log_intervals: float64 [catalogue], natural logarithm of days.
        rates: float64 [catalogue], 0 to 1.
        settings: see RepeatSettings.
    """

    name = "repeat"

    def __init__(self, *, log_intervals: Floats, rates: Floats, settings: RepeatSettings) -> None:
        self.log_intervals, self.rates, self.settings = log_intervals, rates, settings

    @classmethod
    def load(cls, folder: Path, *, catalogue: Catalogue) -> "RepeatRecommender":
        """Read the component; a product that it never saw has its category's interval, else the shop's.

        Raises:
            BundleError: a file is missing or damaged.
        """
        try:
            settings = RepeatSettings(**json.loads(read_text(folder / SETTINGS)))
        except (ValueError, TypeError) as error:
            raise broken(folder / SETTINGS, expected="the settings of repeat purchases") from error
        categories = read_table(folder / CATEGORIES, columns=("category", "log_interval", "rate"))
        above = {name: row for name, *row in categories.select("category", "log_interval", "rate").iter_rows()}
        shop = [settings.log_interval, settings.rate]
        values = np.array([above.get(name, shop) for name in catalogue.column("category")], dtype=np.float64)
        products = read_table(folder / PRODUCTS, columns=("product_id", "log_interval", "rate"))
        positions = catalogue.positions(products["product_id"])
        values = values.reshape(len(catalogue), 2)
        values[positions[positions >= 0]] = products.select("log_interval", "rate").to_numpy()[positions >= 0]
        return cls(log_intervals=values[:, 0], rates=values[:, 1], settings=settings)

    @property
    def intervals(self) -> Floats:
        """float64 [catalogue]: the usual days between two purchases."""
        return np.asarray(np.exp(self.log_intervals), dtype=np.float64)

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The user's k products that are most likely bought again now; see Recommender."""
        users = zip(each_user(histories, exclude=exclude), moments(histories, until=self.settings.until), strict=True)
        return [self._rank(user, now=int(now), k=k, allowed=allowed) for user, now in users]

    def _rank(self, user: User, *, now: int, k: int, allowed: Mask | None) -> Candidates:
        own = read_purchases(user)
        prior, shrink = self.settings, self.settings.shrink
        interval = own.log_gaps + shrink * self.log_intervals[own.positions]
        interval /= own.times - 1 + shrink
        rate = (own.times - 1 + shrink * self.rates[own.positions]) / (own.times + shrink)
        passed = now // MICROSECONDS_A_DAY - own.last
        distance = (np.log(np.maximum(passed, SAME_DAY)) - interval) / prior.spread
        scores = (rate * np.exp(-(distance**2) / 2)).astype(np.float32)
        known = passed <= prior.days + max(0.0, (now - prior.until) / MICROSECONDS_A_DAY)
        kept = passing(own.positions, allowed=allowed, hidden=user.hidden) & known & (scores > 0)
        positions, best = in_order(own.positions[kept], scores[kept], k=k)
        return Candidates(positions, best, self.name)


@dataclass(frozen=True, slots=True)
class Purchases:
    """What one user has bought.

    Attributes:
        positions: int64 [products], distinct, ascending.
        times: int64 [products], the days on which it was bought.
        last: int64 [products], the latest of them, days since 1970-01-01.
        log_gaps: float64 [products], the sum of the logarithms of the days between one and the next.
    """

    positions: Positions
    times: NDArray[np.int64]
    last: NDArray[np.int64]
    log_gaps: Floats


def read_purchases(user: User) -> Purchases:
    """The purchases of a user, by product; several of one day are one."""
    bought = user.event_types == EVENT_CODES["purchase"]
    days = user.timestamps[bought] // MICROSECONDS_A_DAY
    pairs = np.unique(np.stack([user.positions[bought], days], axis=1), axis=0)
    positions, first, times = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    gaps = np.diff(pairs[:, 1], prepend=0)
    gaps[first] = 1  # the logarithm of a first purchase's gap is 0
    owner = np.repeat(np.arange(len(positions)), times)
    return Purchases(
        positions=positions,
        times=times,
        last=pairs[first + times - 1, 1],
        log_gaps=np.bincount(owner, weights=np.log(gaps), minlength=len(positions)).astype(np.float64),
    )
