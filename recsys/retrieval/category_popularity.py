"""What sells in the categories that a user has looked at lately."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue import Catalogue
from recsys.retrieval.each_user import User, each_user, passing
from recsys.retrieval.order import in_order
from recsys.retrieval.vocabulary import broken, read_table, read_text
from recsys.types import Candidates, Mask, PositionHistories, Positions, Scores

SETTINGS, TABLE = "category_popularity.json", "category_popularity.parquet"


@dataclass(frozen=True, slots=True)
class CategorySettings:
    """How histories are read.

    Attributes:
        half_life_events: an event so many events before the user's newest counts half; 0 counts all alike.
        depth: how many parts of a category's path tell it from others, from the top; 0 takes the whole path.
    """

    half_life_events: float = 10.0
    depth: int = 0


class CategoryPopularityRecommender:
    """score = P(category | the user's recent events) x P(product | category).

    Args:
        sales: float32 [catalogue], what each product sells, 0 or more.
        categories: int64 [catalogue], each product's category by number, -1 where it has none.
        half_life_events: see CategorySettings.
    """

    name = "category-popularity"

    def __init__(self, *, sales: Scores, categories: NDArray[np.int64], half_life_events: float) -> None:
        self.half_life_events = half_life_events
        self.categories = categories
        count = int(categories.max(initial=-1)) + 1
        members = np.flatnonzero((categories >= 0) & (sales > 0))
        self.members = members[np.argsort(categories[members], kind="stable")]
        self.offsets = np.searchsorted(categories[self.members], np.arange(count + 1)).astype(np.int64)
        total = np.bincount(categories[members], weights=sales[members], minlength=count)
        self.shares = sales[self.members] / total[categories[self.members]]

    @classmethod
    def load(cls, folder: Path, *, catalogue: Catalogue) -> "CategoryPopularityRecommender":
        """Read the component; categories are today's.

        Raises:
            BundleError: a file is missing or damaged.
        """
        try:
            settings = CategorySettings(**json.loads(read_text(folder / SETTINGS)))
        except (ValueError, TypeError) as error:
            raise broken(folder / SETTINGS, expected="the settings of popularity by category") from error
        table = read_table(folder / TABLE, columns=("product_id", "score"))
        positions = catalogue.positions(table["product_id"])
        sales = np.zeros(len(catalogue), dtype=np.float32)
        sales[positions[positions >= 0]] = table["score"].to_numpy()[positions >= 0]
        categories = catalogue.numbers("category", depth=settings.depth)
        return cls(sales=sales, categories=categories, half_life_events=settings.half_life_events)

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        """The k products that sell best where the user looks; see Recommender."""
        return [self._rank(one, k=k, allowed=allowed) for one in each_user(histories, exclude=exclude)]

    def _rank(self, user: User, *, k: int, allowed: Mask | None) -> Candidates:
        own, weights = self._read(user.positions)
        sizes = self.offsets[own + 1] - self.offsets[own]
        rows = np.arange(sizes.sum()) + np.repeat(self.offsets[own] - np.cumsum(sizes) + sizes, sizes)
        found = self.members[rows]
        scores = (np.repeat(weights, sizes) * self.shares[rows]).astype(np.float32)
        kept = passing(found, allowed=allowed, hidden=user.hidden) & (scores > 0)
        positions, best = in_order(found[kept], scores[kept], k=k)
        return Candidates(positions, best, self.name)

    def _read(self, positions: Positions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The categories of a history, distinct, and the share of each in its recent events."""
        ages = np.arange(len(positions))[::-1]
        weights = 0.5 ** (ages / self.half_life_events) if self.half_life_events > 0 else np.ones(len(positions))
        met = self.categories[positions]
        own, place = np.unique(met[met >= 0], return_inverse=True)
        shares = np.bincount(place, weights=weights[met >= 0], minlength=len(own))
        return own, shares / max(shares.sum(), np.finfo(np.float64).tiny)
