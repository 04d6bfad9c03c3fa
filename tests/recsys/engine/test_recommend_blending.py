"""The blend: who is asked, in which order, who is named, and when it stays out."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lightgbm import Dataset, train

from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import settings_digests
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.engine.ladder import Ladder
from recsys.engine.recommend_blending import BlendRecommender, find_blends, gather, read_facts, union
from recsys.engine.recommenders import load_recommender, own_histories
from recsys.errors import BundleError
from recsys.ranking.candidate_blender import ALLOWED, EXCLUDED, CandidateBlender, CandidateSettings, TableSettings
from recsys.ranking.candidate_signals import ProductFacts, candidate_matrix, signal_names
from recsys.retrieval.own_history import OwnHistoryRecommender
from recsys.retrieval.popularity import PopularityRecommender
from recsys.settings import Settings
from recsys.testing.recommender import check_recommender, histories_of
from recsys.types import EVENT_CODES, Histories, Recommender
from tests.bundles import bundle_of
from tests.recsys.engine.conftest import write_item_knn, write_popularity

PRODUCTS = 20
SOURCES = ("own-history-frequency", "popularity")
LISTS = [[1, 1, 7], [], [3, 4, 5, 6], [0]]


def facts(products: int = PRODUCTS) -> ProductFacts:
    generator = np.random.default_rng(0)
    sales = generator.random(products).astype(np.float32)
    moments = generator.integers(0, 9, products)
    return ProductFacts(
        sales, sales, moments, moments, moments % 3, moments % 2 - 1, sales + np.float32(1), calendar=True
    )


def blender(*, trees: bool, **weights: float) -> CandidateBlender:
    """Trees that like what is sold, over a linear function."""
    names = ("sales", "bought.times")
    booster = None
    if trees:
        generator = np.random.default_rng(1)
        rows = generator.random((200, 2))
        data = Dataset(rows, label=(rows[:, 0] > 0.5).astype(int), group=[20] * 10, feature_name=list(names))
        booster = train({"objective": "lambdarank", "num_threads": 1, "verbosity": -1}, data, num_boost_round=5)
    table = TableSettings(
        signals=names if trees else (),
        weights={f"{name}.rank": weight for name, weight in weights.items()},
        trees=trees,
    )
    settings = CandidateSettings(
        sources=SOURCES, candidates=5, until=9, calendar=True, learned_over={}, tables={EXCLUDED: table, ALLOWED: table}
    )
    return CandidateBlender(settings, {EXCLUDED: booster, ALLOWED: booster} if trees else {})


def sources() -> tuple[Recommender, ...]:
    scores = np.arange(PRODUCTS, 0, -1).astype(np.float32)
    return OwnHistoryRecommender(by="frequency"), PopularityRecommender({"": scores})


def blend(own: CandidateBlender) -> BlendRecommender:
    return BlendRecommender(own, EXCLUDED, sources(), facts())


@pytest.mark.parametrize("trees", [False, True])
def test_a_blend_holds_the_protocol(trees: bool) -> None:
    own = blend(blender(trees=trees, popularity=1.0))
    check_recommender(own, histories=histories_of(LISTS), catalogue=PRODUCTS)


def test_each_product_is_named_after_the_list_in_which_it_stands_highest() -> None:
    own = blend(blender(trees=False, **{"own-history-frequency": 2.0, "popularity": 1.0}))
    (found,) = own.recommend(histories_of([[7, 1, 1]]), k=9)
    assert found.source == "blend"
    assert found.positions.tolist() == [1, 0, 7, 2, 3, 4]
    np.testing.assert_allclose(found.scores, [2 + 1 / 2, 1, 2 / 2, 1 / 3, 1 / 4, 1 / 5], rtol=1e-6)
    own_history, popular = own.blender.settings.sources
    assert found.brought_by == (own_history, popular, own_history, *[popular] * 3)


def test_lists_of_the_ladder_name_who_brought_each_product() -> None:
    ladder = Ladder(personal=(blend(blender(trees=False, popularity=1.0)),), popularity=sources()[1])  # type: ignore[arg-type]
    (found,) = ladder.fill(histories_of([[19]]), [""], k=8, products=PRODUCTS)
    assert found.positions.tolist() == [0, 1, 2, 3, 4, 19, 5, 6]
    assert found.sources == ("popularity",) * 5 + ("own-history-frequency",) + ("popularity",) * 2
    assert [rung.value for rung in found.rungs] == ["personal"] * 6 + ["popularity"] * 2


def test_the_score_is_the_linear_function_and_the_trees(tmp_path: Path) -> None:
    own = blender(trees=True, popularity=0.5)
    histories = histories_of([[7, 1, 1]])
    (lists,) = gather(sources(), histories, candidates=5)
    matrix = candidate_matrix(lists, union(lists), history=histories, now=9, facts=facts())
    names = signal_names(SOURCES)
    wide = matrix[:, [names.index("sales"), names.index("bought.times")]].astype(np.float64)
    linear = 0.5 * np.nan_to_num(matrix[:, names.index("popularity.rank")])
    np.testing.assert_allclose(
        own.score(matrix, table=EXCLUDED), linear + own.trees[EXCLUDED].predict(wide, num_threads=1), rtol=1e-5
    )
    own.save(tmp_path)
    again = CandidateBlender.load(tmp_path)
    np.testing.assert_array_equal(again.score(matrix, table=ALLOWED), own.score(matrix, table=ALLOWED))
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".txt"}
    (tmp_path / f"{EXCLUDED}.txt").write_text("no tree")
    with pytest.raises(BundleError, match="can't be read"):
        CandidateBlender.load(tmp_path)
    strange = own.settings.model_dump(mode="json") | {"sources": ["als"]}
    (tmp_path / "blender.json").write_text(json.dumps(strange))
    with pytest.raises(BundleError, match=r"popularity\.rank, which this release does not compute"):
        CandidateBlender.load(tmp_path)


@pytest.fixture
def bundle(catalogue: Catalogue, tmp_path: Path) -> Bundle:
    """Item-kNN, popularity, and a blender that trusts popularity; on where bought products may come back."""
    write_item_knn(tmp_path / "item_knn", catalogue.product_ids[:4])
    write_popularity(tmp_path / "popularity", {"": ["p05", "p06", "p00"]})
    folder = tmp_path / "recommend_blender"
    infos = {name: ComponentInfo(name=name, parts=["train"], config={"k": 1}) for name in ("item_knn", "popularity")}
    kept = bundle_of(tmp_path / "before", "recommender", {name: (tmp_path / name, one) for name, one in infos.items()})
    table = TableSettings(signals=(), weights={"popularity.rank": 2.0, "item-knn.rank": 0.5}, trees=False)
    CandidateBlender(
        CandidateSettings(
            sources=("item-knn", "popularity"),
            candidates=5,
            until=9,
            calendar=True,
            learned_over=settings_digests(kept),
            tables={EXCLUDED: table, ALLOWED: table},
        ),
        {},
    ).save(folder)
    empty = {"product_id": ["p05"], "sales": [1.0], "ever": [1.0], "first": [1], "last": [2]}
    pl.DataFrame(empty).write_parquet(folder / "products.parquet")
    infos["recommend_blender"] = ComponentInfo(name="recommend_blender", parts=["train", "validation"])
    return bundle_of(
        tmp_path / "bundle",
        "recommender",
        {name: (tmp_path / name, one) for name, one in infos.items()},
        policy={"order": ["item-knn"], "blend": [ALLOWED], "repeat_order": ["own-history-recency", "item-knn"]},
    )


def test_a_blend_that_earned_its_place_is_asked_first(catalogue: Catalogue, bundle: Bundle, tmp_path: Path) -> None:
    build_index(catalogue, search=None, recommender=bundle, folder=tmp_path / "index", shop="demo", backbone="")
    engine = Engine.open(tmp_path / "index", settings=Settings(home=tmp_path, tracking_uri=""))
    assert [one.name for one in engine.recommendations.asked(repeats=False).personal] == ["item-knn"]
    names = [one.name for one in engine.recommendations.asked(repeats=True).personal]
    assert names == ["blend", "own-history-recency", "item-knn"]
    bought = Histories(
        np.array([0, 1]), ("p00",), np.array([1]), np.array([EVENT_CODES["purchase"]], dtype=np.int8), ("",)
    )
    (plain,) = engine.recommend_histories(bought, k=3, repeats=False)
    assert [(hit.product_id, hit.source) for hit in plain.hits][:2] == [("p01", "item-knn"), ("p02", "item-knn")]
    (answer,) = engine.recommend_histories(bought, k=5, repeats=True)
    assert [(hit.product_id, hit.source) for hit in answer.hits] == [
        ("p05", "popularity"),
        ("p06", "popularity"),
        ("p00", "popularity"),
        ("p01", "item-knn"),
        ("p02", "item-knn"),
    ]
    assert answer.rung == "session"


@pytest.mark.parametrize("what", ["settings", "gone", "contents", "machine"])
def test_a_blend_over_other_sources_stays_out(catalogue: Catalogue, bundle: Bundle, tmp_path: Path, what: str) -> None:
    """The same settings on newer events, or on another machine, are as good; other settings are not."""
    machine = {"devices": 2, "strategy": "ddp", "precision": "bf16-mixed", "accelerator": "gpu", "checkpoint_steps": 5}
    config = {"settings": {"k": 2}, "contents": {"k": 1, "best_epoch": 7}, "machine": {"k": 1} | machine}.get(what, {})
    parts = {name: (bundle.path / name, info) for name, info in bundle.manifest.components.items()}
    parts["item_knn"] = (bundle.path / "item_knn", ComponentInfo(name="item_knn", parts=["train"], config=config))
    if what == "gone":
        del parts["item_knn"]
    other = bundle_of(tmp_path / "changed", "recommender", parts)
    known = own_histories() | {
        name: load_recommender(component, place, catalogue=catalogue)
        for name, component in (("item-knn", "item_knn"), ("popularity", "popularity"))
        if (place := other.component(component)) is not None
    }
    found, why = find_blends(other, catalogue, recommenders=known)
    good = what in ("contents", "machine")
    assert bool(found) == good
    assert why.endswith("run `recsys train recommend-blender`") != good


def test_what_is_known_of_products_is_numbered_by_the_catalogue(catalogue: Catalogue, bundle: Bundle) -> None:
    place = bundle.component("recommend_blender")
    assert place is not None
    found = read_facts(place, catalogue, calendar=True)
    assert np.flatnonzero(np.isfinite(found.sales)).tolist() == np.flatnonzero(found.first >= 0).tolist() == [5]
    assert found.prices.tolist() == [10.0 * (number + 1) for number in range(12)]
    assert found.categories.tolist() == [2] * 4 + [0] * 4 + [1] * 4
