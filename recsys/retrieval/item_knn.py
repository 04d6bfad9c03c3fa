"""Item-kNN: products that keep company with those of the history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.retrieval.each_user import User, each_user, passing
from recsys.retrieval.order import in_order
from recsys.retrieval.vocabulary import broken, catalogue_rows, read_table, read_text
from recsys.types import Candidates, Mask, PositionHistories, Positions, Scores

SETTINGS = "item_knn.json"
NEIGHBOURS = "neighbours.parquet"
MICROSECONDS_A_DAY = 86_400_000_000
DENSE = 16
"""Products for each position to be summed, up to which a sum over the whole catalogue is the faster one."""


@dataclass(frozen=True, slots=True)
class ItemKnnSettings:
    """How a history is read.

    Attributes:
        counts: whether a product counts as often as it occurs; False counts it once, at its latest event.
        half_life_days: an event so much older than the user's newest counts half; 0 counts all alike.
        name: what it is called in answers: "item-knn", or "bought-together" where baskets were counted.
    """

    counts: bool = False
    half_life_days: float = 0.0
    name: str = "item-knn"


class ItemKnnRecommender:
    """Sums the similarities of a product to the products of the history.

    Args:
        offsets: int64 [catalogue + 1]; the neighbours of position p stand from offsets[p] to offsets[p + 1].
        neighbours: int64 [pairs], positions.
        scores: float32 [pairs], similarities above 0.
        settings: how histories are read.
    """

    def __init__(
        self, *, offsets: NDArray[np.int64], neighbours: Positions, scores: Scores, settings: ItemKnnSettings
    ) -> None:
        self.name = settings.name
        self.offsets, self.neighbours, self.scores, self.settings = offsets, neighbours, scores, settings

    @classmethod
    def load(cls, folder: Path, *, catalogue: Catalogue) -> "ItemKnnRecommender":
        """Read the component and number it by the catalogue; pairs with a product that left it are dropped.

        Raises:
            BundleError: a file is missing or damaged.
        """
        try:
            settings = ItemKnnSettings(**json.loads(read_text(folder / SETTINGS)))
        except (ValueError, TypeError) as error:
            raise broken(folder / SETTINGS, expected="the settings of item-kNN") from error
        pairs = read_table(folder / NEIGHBOURS, columns=("row", "neighbour", "score"))
        rows = catalogue_rows(folder, catalogue=catalogue)
        positions = np.full(max(int(rows.max(initial=-1)), highest(pairs["row"]), highest(pairs["neighbour"])) + 1, -1)
        known = np.flatnonzero(rows >= 0)
        positions[rows[known]] = known
        left, right = positions[pairs["row"].to_numpy()], positions[pairs["neighbour"].to_numpy()]
        kept = np.flatnonzero((left >= 0) & (right >= 0))
        kept = kept[np.argsort(left[kept], kind="stable")]
        offsets = np.searchsorted(left[kept], np.arange(len(catalogue) + 1)).astype(np.int64)
        scores = pairs["score"].to_numpy()[kept].astype(np.float32)
        return cls(offsets=offsets, neighbours=right[kept].astype(np.int64), scores=scores, settings=settings)

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k products most similar to the history as a whole; see Recommender."""
        return [self._rank(one, k=k, allowed=allowed) for one in each_user(histories, exclude=exclude)]

    def _rank(self, user: User, *, k: int, allowed: Mask | None) -> Candidates:
        own, weights = read_history(user.positions, user.timestamps, settings=self.settings)
        sizes = self.offsets[own + 1] - self.offsets[own]
        pairs = np.arange(sizes.sum()) + np.repeat(self.offsets[own] - np.cumsum(sizes) + sizes, sizes)
        values = self.scores[pairs] * np.repeat(weights, sizes)
        found, scores = summed(self.neighbours[pairs], values, products=len(self.offsets) - 1)
        kept = passing(found, allowed=allowed, hidden=user.hidden) & (scores > 0)
        positions, best = in_order(found[kept], scores[kept].astype(np.float32), k=k)
        return Candidates(positions, best, self.name)


def read_history(
    positions: Positions, timestamps: NDArray[np.int64], *, settings: ItemKnnSettings
) -> tuple[Positions, NDArray[np.float64]]:
    """The distinct positions of one history, ascending, and the weight of each.

    Args:
        positions: int64 [events].
        timestamps: int64 [events], microseconds.
        settings: see ItemKnnSettings.
    """
    weights = np.ones(len(positions))
    if settings.half_life_days > 0 and len(positions):
        age = (timestamps.max() - timestamps) / MICROSECONDS_A_DAY
        weights = 0.5 ** (age / settings.half_life_days)
    distinct, own = np.unique(positions, return_inverse=True)
    total = np.zeros(len(distinct))
    (np.add if settings.counts else np.maximum).at(total, own, weights)
    return distinct, total


def summed(
    positions: Positions, values: NDArray[np.float64], *, products: int
) -> tuple[Positions, NDArray[np.float64]]:
    """Each distinct position, ascending, and the sum of its values, in the order in which they stand.

    Args:
        positions: int64 [n], below `products`.
        values: float64 [n], above 0.
        products: size of the catalogue.
    """
    if products <= DENSE * len(positions):  # counting over all products costs less than sorting the positions
        total = np.bincount(positions, weights=values, minlength=products).astype(np.float64)
        found: Positions = np.flatnonzero(total).astype(np.int64)
        return found, total[found]
    found, place = np.unique(positions, return_inverse=True)
    sums = np.bincount(place, weights=values, minlength=len(found)).astype(np.float64)
    return found, sums


def highest(column: object) -> int:
    """The highest number of a column, -1 where it is empty."""
    return int(np.max(np.asarray(column), initial=-1))
