"""One engine, two sources of histories: what evaluation reads from the snapshot is what the online store serves."""

from pathlib import Path

import pytest

from feature_store.histories import HistoryTable, SnapshotHistories
from feature_store.online.lmdb import LmdbStore
from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import RECOMMENDER
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.settings import Settings
from recsys.types import Filters, HistorySource
from tests.bundles import bundle_of, components_in
from training.item_knn import ItemKnnConfig, fit_item_knn
from training.popularity import PopularityConfig, fit_popularity


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    place = tmp_path_factory.mktemp("histories")
    write_sample(place / "shop", products=100, users=60, seed=1)
    return build_snapshot(place / "shop", out=place / "snapshot")


@pytest.fixture(scope="module")
def index(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index")
    fit_popularity(snapshot, parts=["train"], config=PopularityConfig(), folder=place / "popularity")
    fit_item_knn(snapshot, parts=["train"], config=ItemKnnConfig(), folder=place / "item_knn")
    shop = snapshot.manifest.shop
    bundle = bundle_of(place / "bundle", RECOMMENDER, components_in(place, "popularity", "item_knn"), shop=shop)
    catalogue = snapshot.catalogue()
    return build_index(catalogue, search=None, recommender=bundle, folder=place / "index", shop=shop, backbone="")


def test_both_sources_get_the_same_answers(snapshot: Snapshot, index: Path, tmp_path: Path) -> None:
    offline = SnapshotHistories(snapshot)
    online = LmdbStore(tmp_path / "online")
    online.materialise(HistoryTable.of(snapshot.interactions(), snapshot.users()))
    sources: list[HistorySource] = [offline, online]
    settings = Settings(home=tmp_path, tracking_uri="")
    users = [*offline.user_ids(), "a stranger", ""]
    first, second = (Engine.open(index, settings=settings, histories=source) for source in sources)
    for repeats in (False, True):
        assert first.recommend(users, k=15, repeats=repeats) == second.recommend(users, k=15, repeats=repeats)
    filters = Filters(in_stock=True, price_max=200.0)
    assert first.recommend(users, filters=filters) == second.recommend(users, filters=filters)
    assert {answer.rung for answer in first.recommend(users)} >= {"personal"}
