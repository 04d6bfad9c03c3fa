"""An index is whole or absent, and answers only with the bundles and the catalogue it was built from."""

import errno
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.catalogue import Catalogue
from recsys.engine import build as building
from recsys.engine.build import build_index
from recsys.engine.current import current_index, set_current
from recsys.engine.engine import Engine
from recsys.engine.manifest import is_whole, read_manifest, stored_files
from recsys.engine.recommend import ByVectors
from recsys.errors import BundleError, IndexMismatchError, MissingDependencyError
from recsys.models.backbone import STOCK
from recsys.models.two_tower import TwoTower
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.product_vectors import HeldVectors
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.settings import Settings
from recsys.testing.recommender import histories_of
from tests.bundles import bundle_of, components_in

LEXICAL_ALONE = {"bm25": "tantivy", "understanding": "spelling, quantities, colour, brand, category"}


@pytest.fixture
def index(catalogue: Catalogue, search_bundle: Bundle, recommender_bundle: Bundle, tmp_path: Path) -> Path:
    return build_index(
        catalogue,
        search=search_bundle,
        recommender=recommender_bundle,
        folder=tmp_path / "index",
        shop="demo",
        versions={"product-search": "product-search/3"},
    )


def test_the_manifest_says_what_is_there(index: Path, search_bundle: Bundle, recommender_bundle: Bundle) -> None:
    manifest = read_manifest(index)
    assert manifest.products == 12
    assert manifest.bundles["product-search"].digest == search_bundle.digest
    assert manifest.model_version == f"product-search/3+{recommender_bundle.digest[:12]}"
    assert manifest.stages["dense"] == "fine-tuned text encoder, exact"
    assert {"bm25", "cross-encoder", "two-tower", "item-knn", "popularity"} <= set(manifest.stages)
    assert manifest.absent == {"calibration": "the product-search model has none"}


def test_the_manifest_says_what_is_missing(catalogue: Catalogue, tmp_path: Path) -> None:
    build_index(catalogue, search=None, recommender=None, folder=tmp_path / "bare", shop="", backbone="")
    manifest = read_manifest(tmp_path / "bare")
    assert manifest.stages == LEXICAL_ALONE
    assert manifest.absent == {
        "dense": "no text encoder asked for",
        "cross-encoder": "no product-search model",
        "recommender": "no recommender model",
    }
    assert manifest.model_version == "stock"


def test_an_unknown_backbone_that_was_asked_for_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    with pytest.raises(MissingDependencyError, match="backbone nobody/nothing is neither a folder"):
        build_index(catalogue, search=None, recommender=None, folder=folder, shop="", backbone="nobody/nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_stock_backbone_that_is_not_installed_leaves_lexical_search(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Path:
        raise MissingDependencyError(f"backbone {name} is neither a folder", expected="it", action="install it")

    monkeypatch.setattr(building, "resolve_backbone", absent)
    build_index(catalogue, search=None, recommender=None, folder=tmp_path / "bare", shop="")
    manifest = read_manifest(tmp_path / "bare")
    assert manifest.stages == LEXICAL_ALONE
    assert manifest.absent["dense"] == f"backbone {STOCK} is neither a folder"


def test_the_same_content_has_the_same_digest(
    index: Path, catalogue: Catalogue, search_bundle: Bundle, recommender_bundle: Bundle, tmp_path: Path
) -> None:
    again = build_index(
        catalogue, search=search_bundle, recommender=recommender_bundle, folder=tmp_path / "again", shop="demo"
    )
    assert read_manifest(again).digest == read_manifest(index).digest
    other = build_index(catalogue, search=search_bundle, recommender=None, folder=tmp_path / "other", shop="demo")
    assert read_manifest(other).digest != read_manifest(index).digest


def test_another_shops_model_is_refused_and_the_last_index_stays(
    index: Path, catalogue: Catalogue, search_bundle: Bundle
) -> None:
    before = read_manifest(index)
    with pytest.raises(IndexMismatchError, match="learned for the shop `demo`"):
        build_index(catalogue, search=search_bundle, recommender=None, folder=index, shop="elsewhere")
    with pytest.raises(IndexMismatchError, match="is a product-search bundle"):
        build_index(catalogue, search=None, recommender=search_bundle, folder=index, shop="demo")
    assert read_manifest(index) == before


def test_a_full_disk_leaves_the_last_index(
    index: Path, catalogue: Catalogue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(path.name for path in index.parent.iterdir())
    monkeypatch.setattr(building.LexicalIndex, "build", full)
    with pytest.raises(OSError, match="No space left"):
        build_index(catalogue, search=None, recommender=None, folder=index, shop="demo", backbone="")
    assert sorted(path.name for path in index.parent.iterdir()) == before
    assert Engine.open(index, settings=settings).search(["sofa"])[0].hits


def test_without_faiss_one_line_says_what_to_install(
    catalogue: Catalogue, search_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"shoprank\[cpu\]"):
        build_index(catalogue, search=search_bundle, recommender=None, folder=tmp_path / "index", shop="demo")
    assert not (tmp_path / "index").exists()


def test_a_catalogue_other_than_the_indexed_one_is_refused(index: Path, settings: Settings) -> None:
    path = index / "catalogue.parquet"
    pl.read_parquet(path).with_columns(price=pl.col("price") + 1).write_parquet(path)
    manifest = read_manifest(index).model_copy(update={"files": stored_files(index)})
    (index / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(IndexMismatchError, match="which was indexed"):
        Engine.open(index, settings=settings)


def test_a_bundle_other_than_the_indexed_one_is_refused(
    catalogue: Catalogue, search_bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / "bundle"
    shutil.copytree(search_bundle.path, place)
    index = build_index(catalogue, search=Bundle.open(place), recommender=None, folder=tmp_path / "index", shop="demo")
    name = "cross_encoder"
    info = search_bundle.manifest.components[name]
    write_bundle(
        place, kind="product-search", shop="demo", components={name: (search_bundle.path / name, info)}, policy={},
        snapshot="another", config={},
    )  # fmt: skip
    with pytest.raises(IndexMismatchError, match=f"no bundle {search_bundle.digest[:12]}"):
        Engine.open(index, settings=settings)
    shutil.copytree(search_bundle.path, settings.bundles / search_bundle.digest)
    assert Engine.open(index, settings=settings).search(["sofa"])[0].hits


def test_a_bundle_with_a_changed_byte_is_refused(
    catalogue: Catalogue, search_bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    place = tmp_path / "bundle"
    shutil.copytree(search_bundle.path, place)
    index = build_index(catalogue, search=Bundle.open(place), recommender=None, folder=tmp_path / "index", shop="demo")
    weights = place / "cross_encoder" / "head.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(bytes(body))
    with pytest.raises(BundleError, match=r"head\.safetensors altered"):
        Engine.open(index, settings=settings)


def test_a_changed_byte_anywhere_is_refused_unless_speed_is_asked_for(index: Path, settings: Settings) -> None:
    names = read_manifest(index).files
    assert {"dense/vectors.npy", "lexical/meta.json", "catalogue.parquet", "two-tower/inner/vectors.npy"} <= set(names)
    for name in names:
        whole = (index / name).read_bytes()
        (index / name).write_bytes(bytes([*whole[:-1], whole[-1] ^ 1]))
        with pytest.raises(IndexMismatchError, match=rf"{re.escape(name)} was altered .*recsys index SHOP"):
            Engine.open(index, settings=settings)
        (index / name).write_bytes(whole)
    vectors = index / "dense" / "vectors.npy"
    vectors.write_bytes(bytes([*vectors.read_bytes()[:-1], 0]))
    assert Engine.open(index, settings=settings, verify=False).search(["sofa"])[0].hits


@pytest.mark.parametrize("text", ["", "{", "{}", '{"format_version": 99, "catalogue_digest": "x", "products": 1}'])
def test_a_damaged_manifest_is_refused(index: Path, settings: Settings, text: str) -> None:
    (index / "manifest.json").write_text(text)
    with pytest.raises(IndexMismatchError, match="recsys index"):
        Engine.open(index, settings=settings)


def test_a_folder_that_is_no_index_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(IndexMismatchError, match="recsys index"):
        Engine.open(tmp_path, settings=settings)


def test_the_live_index_is_swapped_in_one_step(index: Path, tmp_path: Path) -> None:
    indexes = tmp_path / "indexes"
    with pytest.raises(IndexMismatchError, match="no live index"):
        current_index(indexes)
    set_current(indexes, index)
    assert current_index(indexes) == index.resolve()
    with pytest.raises(IndexMismatchError, match=r"no manifest\.json"):
        set_current(indexes, tmp_path)
    assert current_index(indexes) == index.resolve()
    assert [path.name for path in indexes.iterdir()] == ["current.json"]
    assert json.loads((indexes / "current.json").read_text())["digest"] == read_manifest(index).digest
    shutil.rmtree(index)
    with pytest.raises(IndexMismatchError, match="which is gone"):
        current_index(indexes)


@pytest.mark.parametrize("text", ["", "[]", '{"path": 3}', "null"])
def test_a_damaged_pointer_is_no_live_index(tmp_path: Path, text: str) -> None:
    (tmp_path / "current.json").write_text(text)
    with pytest.raises(IndexMismatchError, match="no live index"):
        current_index(tmp_path)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_every_kind_of_dense_index_answers(
    catalogue: Catalogue, search_bundle: Bundle, settings: Settings, tmp_path: Path, kind: str
) -> None:
    folder = build_index(
        catalogue, search=search_bundle, recommender=None, folder=tmp_path / "index", shop="demo", dense_kind=kind
    )
    engine = Engine.open(folder, settings=settings)
    assert len(engine.search(["blue sofa"], k=12, stages="dense")[0].hits) == 12
    assert read_manifest(folder).stages["dense"].endswith("exact" if kind == "flat" else "approximate")


def test_products_that_the_two_tower_never_saw_are_known_by_their_text(index: Path, settings: Settings) -> None:
    vectors = DenseIndex.open(index / "two-tower" / "inner").at(np.arange(12))
    assert vectors.shape == (12, 8)
    assert vectors[11].any()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf-pq"])
def test_users_are_answered_by_the_index_of_inner_products(
    catalogue: Catalogue, recommender_bundle: Bundle, settings: Settings, tmp_path: Path, kind: str
) -> None:
    folder = build_index(
        catalogue, search=None, recommender=recommender_bundle, folder=tmp_path / "i", shop="demo", dense_kind=kind
    )
    found = Engine.open(folder, settings=settings).recommendations
    (towers,) = (one for one in found.ladder.personal if isinstance(one, TwoTowerRecommender))
    assert isinstance(towers.products, DenseIndex)
    assert read_manifest(folder).stages["two-tower"] == f"bundle, {'approximate' if kind == 'hnsw' else 'exact'}"
    histories = histories_of([[0, 5], [11], [3, 3, 2]])
    held = HeldVectors(towers.products.at(np.arange(12)))
    exact = TwoTowerRecommender(towers.network, vectors=held, known=towers.known)
    for one, other in zip(towers.recommend(histories, k=5), exact.recommend(histories, k=5), strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
    cosine = DenseIndex.open(folder / "two-tower" / "cosine").at(np.arange(12))
    np.testing.assert_allclose(np.linalg.norm(cosine, axis=1), 1.0, rtol=1e-6)


def test_vectors_of_length_one_are_kept_once(
    catalogue: Catalogue, recommender_bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    """Where the tower answers by cosine, the index for users is that of neighbours as well."""
    place, component = tmp_path / "cosine", recommender_bundle.component("two_tower")
    assert component is not None
    network = TwoTower.load(component)
    shutil.copytree(component, place / "two_tower")
    TwoTower(replace(network.config, text_width=0, similarity="cosine")).save(place / "two_tower")
    shutil.copytree(str(recommender_bundle.component("popularity")), place / "popularity")
    bundle = bundle_of(
        place / "bundle", "recommender", components_in(place, "two_tower", "popularity", parts=["train"])
    )
    folder = build_index(catalogue, search=None, recommender=bundle, folder=tmp_path / "i", shop="demo", backbone="")
    assert [path.name for path in (folder / "two-tower").iterdir()] == ["inner"]
    engine = Engine.open(folder, settings=settings)
    (near,) = (one for one in engine.recommendations.neighbours if isinstance(one, ByVectors))
    assert near.index is next(iter(engine.recommendations.ladder.personal)).products  # type: ignore[attr-defined]
    (answer,) = engine.similar(["p03"], k=5)
    vectors = near.index.at(np.arange(12))
    wanted = np.lexsort((np.arange(12), -(vectors @ vectors[3])))
    assert [hit.product_id for hit in answer.hits] == [f"p{place:02}" for place in wanted if place != 3][:5]


def test_an_index_of_an_older_release_is_refused_and_built_anew(index: Path, settings: Settings) -> None:
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps(manifest | {"format_version": 1}))
    with pytest.raises(IndexMismatchError, match=r"has format 1; expected format 2; .*recsys index"):
        Engine.open(index, settings=settings)
    assert not is_whole(index)


def test_a_stock_encoder_travels_with_the_index(
    catalogue: Catalogue, backbone: Path, settings: Settings, tmp_path: Path
) -> None:
    stock = tmp_path / "stock"
    shutil.copytree(backbone, stock)
    folder = build_index(
        catalogue, search=None, recommender=None, folder=tmp_path / "index", shop="demo", backbone=str(stock)
    )
    shutil.rmtree(stock)
    engine = Engine.open(folder, settings=settings)
    assert engine.finder.available == ("bm25", "dense", "hybrid")
    assert len(engine.search(["blue sofa"], k=3)[0].hits) == 3
