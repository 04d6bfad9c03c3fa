"""The image tower, from pictures to rankings: it has to help where only the picture knows the answer."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.live import read_live
from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.errors import IndexMismatchError, SnapshotError
from recsys.metrics.intervals import paired_bootstrap
from recsys.metrics.ranking import ndcg
from recsys.ranking.signals import IMAGE
from recsys.settings import load_settings
from tests.training.images.conftest import OTHERS, Taught, questions, train, with_tower


def indexed(catalogue: Catalogue, bundle: Bundle, folder: Path, *, pictures: Path | None) -> Engine:
    build_index(catalogue, search=bundle, recommender=None, folder=folder, shop="sample", pictures=pictures)
    return Engine.open(folder)


def with_column(catalogue: Catalogue, column: pl.Series) -> Catalogue:
    return Catalogue(catalogue.frame.with_columns(column))


def test_pictures_answer_what_words_leave_out(
    catalogue: Catalogue, other_shop: Path, text_only: Bundle, taught: Taught, tmp_path: Path
) -> None:
    """On products never seen, whose words name no colour, and on pairs of colour and kind never asked in training."""
    asked = [one for one in questions(products=OTHERS, seed=1) if not one.trained]
    assert len(asked) >= 50
    values = {}
    for name, bundle, pictures in (("text", text_only, None), ("joined", taught.bundle, other_shop)):
        engine = indexed(catalogue, bundle, tmp_path / name, pictures=pictures)
        for stages in ("dense", "hybrid"):
            rankings = engine.finder.run([one.query for one in asked], k=10, allowed=None, stages=stages)
            values[name, stages] = [
                ndcg([one.grades.get(product, 0.0) for product in catalogue.ids(ranked.positions)], k=10,
                     ideal=list(one.grades.values()))
                for ranked, one in zip(rankings, asked, strict=True)
            ]  # fmt: skip
    for stages in ("dense", "hybrid"):
        gain = paired_bootstrap(values["joined", stages], values["text", stages], seed=0)
        assert gain.low > 0.05, (stages, gain)
    metrics = taught.info.metrics
    assert metrics["validation/ndcg@10"] > metrics["validation/start.ndcg@10"] + 0.05


def test_what_text_and_picture_add_sums_to_the_score(
    catalogue: Catalogue, other_shop: Path, taught: Taught, tmp_path: Path
) -> None:
    engine = indexed(catalogue, taught.bundle, tmp_path / "index", pictures=other_shop)
    assert f"{OTHERS} of {OTHERS} products" in engine.manifest.stages["images"]
    answer = engine.search(["navy armchair"], k=5, stages="hybrid", explain=True)[0]
    assert all({"bm25", "dense", "image"} == set(hit.parts) for hit in answer.hits)
    for hit in answer.hits:
        assert sum(hit.parts.values()) == pytest.approx(hit.score, abs=1e-6)
    assert any(abs(hit.parts["image"]) > 0.02 for hit in answer.hits)


def test_products_without_picture_keep_their_text_vector_byte_for_byte(
    catalogue: Catalogue, other_shop: Path, text_only: Bundle, taught: Taught, tmp_path: Path
) -> None:
    urls = catalogue.column("image_url").to_list()
    half = pl.Series("image_url", [url if row % 2 else None for row, url in enumerate(urls)], dtype=pl.String)
    some = with_column(catalogue, half)
    joined = indexed(some, taught.bundle, tmp_path / "joined", pictures=other_shop).finder.dense
    alone = indexed(some, text_only, tmp_path / "alone", pictures=other_shop).finder.dense
    every = np.arange(len(some))
    assert joined is not None
    assert alone is not None
    assert joined.images is not None
    assert alone.images is None
    assert np.array_equal(joined.index.at(every)[::2], alone.index.at(every)[::2])
    assert not np.isclose(joined.index.at(every)[1::2], alone.index.at(every)[1::2]).all(axis=1).any()
    query = joined.encode(["red sofa"])[0]
    cosines = joined.images.cosines(every, query)
    assert np.isnan(cosines[::2]).all()
    assert np.isfinite(cosines[1::2]).all()
    assert not joined.images.parts(every, query)[::2].any()


def test_pictures_that_cannot_be_read_are_counted_and_named(
    catalogue: Catalogue, other_shop: Path, taught: Taught, tmp_path: Path
) -> None:
    shutil.copytree(other_shop / "pictures", tmp_path / "shop" / "pictures")
    urls = catalogue.column("image_url").to_list()
    torn = tmp_path / "shop" / urls[0]
    torn.write_bytes(torn.read_bytes()[:60])
    (tmp_path / "shop" / urls[1]).write_bytes(b"no picture")
    (tmp_path / "shop" / urls[2]).unlink()
    urls[3] = "https://shop.example/p.png"
    urls[4] = (tmp_path / "shop" / urls[4]).as_uri()
    some = with_column(catalogue, pl.Series("image_url", urls))
    engine = indexed(some, taught.bundle, tmp_path / "index", pictures=tmp_path / "shop")
    ids = some.product_ids
    assert engine.manifest.stages["images"] == (
        f"{OTHERS - 4} of {OTHERS} products have a picture; not read: 2 damaged ({ids[0]}, {ids[1]}); "
        f"1 missing ({ids[2]}); 1 not on this disk ({ids[3]})"
    )


def test_a_catalogue_without_pictures_is_searched_by_text(catalogue: Catalogue, taught: Taught, tmp_path: Path) -> None:
    engine = indexed(catalogue, taught.bundle, tmp_path / "index", pictures=None)
    assert engine.manifest.absent["images"].startswith("no product has a picture; not read: 300 without a folder")
    assert "image" not in engine.search(["navy armchair"], k=1, stages="hybrid", explain=True)[0].hits[0].parts


def test_a_tower_beside_another_text_encoder_stays_out(
    catalogue: Catalogue, other_shop: Path, taught: Taught, tmp_path: Path
) -> None:
    shutil.copytree(taught.bundle.path, tmp_path / "parts")
    settings = tmp_path / "parts" / "image_tower" / "image_tower.json"
    settings.write_text(settings.read_text().replace('"text": "', '"text": "0'))
    info = taught.info.model_copy(update={"digest": ""})
    bundle = with_tower(taught.bundle, tmp_path / "parts" / "image_tower", info=info, out=tmp_path / "bundle")
    engine = indexed(catalogue, bundle, tmp_path / "index", pictures=other_shop)
    assert engine.manifest.absent["images"] == "it was learned for another text encoder; run `recsys train images`"


def test_the_image_cosine_is_a_signal(catalogue: Catalogue, other_shop: Path, taught: Taught, tmp_path: Path) -> None:
    finder = indexed(catalogue, taught.bundle, tmp_path / "index", pictures=other_shop).finder
    assert finder.dense is not None
    assert finder.dense.images is not None
    vector = finder.dense.encode(["red sofa"])[0]
    top = np.array([5, 2, 9])
    assert np.array_equal(
        finder.known(top, vector=vector, relevance=None)[IMAGE], finder.dense.images.cosines(top, vector)
    )


@pytest.fixture(scope="module")
def vectors_shop(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with image vectors of its own encoder (the mean colour and its square) in place of pictures."""
    from recsys.models.pictures import read_picture

    folder = tmp_path_factory.mktemp("vectors") / "shop"
    old = Path(snapshot.manifest.settings["shop_folder"])
    shutil.copytree(old, folder, ignore=shutil.ignore_patterns("pictures"))
    products = pl.read_parquet(folder / "products.parquet")
    rows = []
    for url in products["image_url"]:
        pixels = read_picture(old / url, size=8)
        assert pixels is not None
        mean = pixels[2:6, 2:6].mean(axis=(0, 1)) / 255
        rows.append([*mean.tolist(), *(mean**2).tolist(), float(mean.std()), float(mean.min())])
    products.drop("image_url").with_columns(pl.Series("image_vector", rows)).write_parquet(folder / "products.parquet")
    return folder


def test_the_shops_own_vectors_teach_a_tower(vectors_shop: Path, text_only: Bundle, tmp_path: Path) -> None:
    snapshot = build_snapshot(vectors_shop, out=tmp_path / "snapshot")
    info = train(snapshot, base=text_only, place=tmp_path, epochs=8)
    assert info.metrics["validation/ndcg@10"] > info.metrics["validation/start.ndcg@10"] + 0.03
    bundle = with_tower(text_only, tmp_path / "image_tower", info=info, out=tmp_path / "bundle")
    today = snapshot.catalogue()
    engine = indexed(today, bundle, tmp_path / "index", pictures=None)
    assert engine.manifest.stages["images"] == "600 of 600 products have a picture"
    narrow = today.column("image_vector").list.head(5)
    with pytest.raises(IndexMismatchError, match="width 5; expected width 8, on which the image tower was trained"):
        indexed(with_column(today, narrow), bundle, tmp_path / "index", pictures=None)
    assert Engine.open(tmp_path / "index").manifest.digest == engine.manifest.digest  # the last good one stays


def test_vectors_of_other_widths_and_without_end_are_set_aside(vectors_shop: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(vectors_shop, shop)
    products = pl.read_parquet(shop / "products.parquet")
    rows = products["image_vector"].to_list()
    rows[0], rows[1], rows[2], rows[3] = rows[0][:3], [float("nan"), *rows[1][1:]], [], None
    products.with_columns(pl.Series("image_vector", rows)).write_parquet(shop / "products.parquet")
    settings = load_settings(home=tmp_path / "home")
    assert len(read_live(shop, as_of=None, settings=settings).catalogue) == 598
    reasons = build_snapshot(shop, out=tmp_path / "snapshot").manifest.quarantine["products"]
    assert reasons == {"image vector not finite": 1, "image vector of another width than most": 1}


def test_training_without_pictures_says_what_to_do(snapshot: Snapshot, text_only: Bundle, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"600 missing .*put the pictures beside the tables"):
        train(snapshot, base=text_only, place=tmp_path, pictures=str(tmp_path))
