"""The recommenders of a bundle, opened on a catalogue."""

from collections.abc import Callable
from pathlib import Path

from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import COMPONENTS
from recsys.catalogue import Catalogue
from recsys.retrieval.category_popularity import CategoryPopularityRecommender
from recsys.retrieval.factors import FactorRecommender
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.product_vectors import ProductVectors
from recsys.retrieval.repeat import RepeatRecommender
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.types import Recommender


def load_recommender(component: str, place: Path, *, catalogue: Catalogue) -> Recommender:
    """One recommender other than two-tower, which needs its products' vectors as well.

    Raises:
        BundleError: a file is missing or damaged.
    """
    if component in ("als", "bpr"):
        return FactorRecommender.load(place, catalogue=catalogue)
    if component in ("item_knn", "bought_together"):
        return ItemKnnRecommender.load(place, catalogue=catalogue)
    if component == "category_popularity":
        return CategoryPopularityRecommender.load(place, catalogue=catalogue)
    if component == "repeat":
        return RepeatRecommender.load(place, catalogue=catalogue)
    return PopularityRecommender.load(place, catalogue=catalogue, name=component)


def load_recommenders(
    bundle: Bundle, catalogue: Catalogue, *, vectors: Callable[[], ProductVectors]
) -> dict[str, Recommender]:
    """Every recommender of a bundle, by name.

    Args:
        bundle: the components.
        catalogue: today's products.
        vectors: opens the index of two-tower's product vectors.

    Raises:
        BundleError: a file is missing or damaged.
        IndexMismatchError: the index of product vectors is.
    """
    found: dict[str, Recommender] = {}
    for name, component in COMPONENTS.items():
        place = bundle.component(component)
        if place is not None:
            found[name] = (
                TwoTowerRecommender.load(place, catalogue=catalogue, vectors=vectors())
                if component == "two_tower"
                else load_recommender(component, place, catalogue=catalogue)
            )
    return found


def own_histories() -> dict[str, Recommender]:
    """The user's own products by frequency and by recency, which need no component."""
    own = (OwnHistoryRecommender(by="frequency"), OwnHistoryRecommender(by="recency"))
    return {recommender.name: recommender for recommender in own}
