"""Two recommenders interleaved before the sample shop's own shoppers, whose every chance to click is known."""

from pathlib import Path

import numpy as np
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample import truth
from feature_store.sources.sample.outcomes import browsing_chances
from feature_store.sources.sample.users import user_ids
from feature_store.sources.sample.world import DAYS, World, all_codes, product_ids
from feature_store.sources.sample.write import write_sample
from recsys.metrics.interleaving import Chances, Preference, interleave
from recsys.retrieval.item_knn import ItemKnnRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.types import Positions
from training.holdout import Holdout
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.popularity import PopularityConfig, fit_popularity

WORLD = World(products=200, users=250, seed=9)
LOOKS = truth.examination(np.arange(1, 7))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interleaved")


@pytest.fixture(scope="module")
def snapshot(place: Path) -> Snapshot:
    write_sample(place / "shop", products=WORLD.products, users=WORLD.users, seed=WORLD.seed)
    return build_snapshot(place / "shop", out=place / "snapshot", split="time")


@pytest.fixture(scope="module")
def holdout(snapshot: Snapshot) -> Holdout:
    return Holdout.read(snapshot, catalogue=snapshot.catalogue(), part="test")


@pytest.fixture(scope="module")
def shoppers(snapshot: Snapshot, holdout: Holdout) -> Chances:
    """What the users like, in catalogue positions."""
    rows = {name: row for row, name in enumerate(user_ids(np.arange(WORLD.users)))}
    users = np.array([rows[name] for name in holdout.trial.user_ids])
    table = browsing_chances(WORLD, all_codes(WORLD), users=users, day=DAYS - 14.0)
    made = snapshot.catalogue().positions(product_ids(WORLD, np.arange(WORLD.products)))
    by_position = np.empty_like(table)
    by_position[:, made] = table
    return lambda user, positions: by_position[user, positions]


def prefer(one: list[Positions], other: list[Positions], shoppers: Chances) -> Preference:
    return interleave(one, other, chances=shoppers, looks=LOOKS, seed=0, repeats=20)


def test_shoppers_prefer_what_they_like(snapshot: Snapshot, holdout: Holdout, shoppers: Chances, place: Path) -> None:
    """The order by their own taste beats item-kNN, that beats popularity, and that beats chance."""
    catalogue, histories = snapshot.catalogue(), holdout.trial.histories
    fit_popularity(snapshot, parts=["train", "validation"], config=PopularityConfig(), folder=place / "popularity")
    fit_item_knn(snapshot, parts=["train", "validation"], config=ItemKnnConfig(), folder=place / "item_knn")
    everything = np.arange(len(catalogue))
    generator = np.random.default_rng(0)
    lists = {
        "taste": [np.argsort(-shoppers(user, everything))[:6] for user in range(len(histories))],
        "item-knn": [
            found.positions
            for found in ItemKnnRecommender.load(place / "item_knn", catalogue=catalogue).recommend(histories, k=6)
        ],
        "popularity": [
            found.positions
            for found in PopularityRecommender.load(place / "popularity", catalogue=catalogue).recommend(histories, k=6)
        ],
        "chance": [generator.permutation(everything)[:6] for _ in range(len(histories))],
    }
    for better, worse in zip(list(lists), list(lists)[1:], strict=False):
        found = prefer(lists[better], lists[worse], shoppers)
        assert found.share.low > 0.5, (better, worse)
    same = prefer(lists["popularity"], lists["popularity"], shoppers)
    assert same.share.low < 0.5 < same.share.high
