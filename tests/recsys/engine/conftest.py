"""A furniture shop of twelve products, and bundles with tiny networks."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import torch

from recsys.bundle.manifest import PRODUCT_SEARCH, RECOMMENDER
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.models.backbone import load_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.retrieval.vocabulary import write_vocabulary
from recsys.settings import Settings
from recsys.testing.tiny import WIDTH, tiny_backbone
from recsys.text.tokenizer import TextTokenizer
from tests.bundles import bundle_of, components_in, search_networks

torch.set_num_threads(1)

KINDS = ("sofa", "chair", "lamp")
COLOURS = ("blue", "red", "green", "white")
WORDS = (*KINDS, *COLOURS, "velvet", "oak", "steel")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    rows = [
        {
            "product_id": f"p{number:02}",
            "title": f"{COLOURS[number % 4]} {KINDS[number // 4]}",
            "brand": "Acme" if number % 2 else "Oakly",
            "category": f"Home > {KINDS[number // 4].title()}s",
            "price": 10.0 * (number + 1),
            "in_stock": number != 3,
        }
        for number in range(12)
    ]
    return catalogue_of(rows)


def catalogue_of(rows: Sequence[dict[str, object]]) -> Catalogue:
    schema = {
        "position": pl.Int64, "product_id": pl.String, "title": pl.String, "brand": pl.String,
        "category": pl.String, "price": pl.Float64, "in_stock": pl.Boolean,
    }  # fmt: skip
    ordered = sorted(rows, key=lambda row: str(row["product_id"]))
    return Catalogue(pl.DataFrame([{**row, "position": place} for place, row in enumerate(ordered)], schema=schema))


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("backbone"), seed=0, words=WORDS)


@pytest.fixture(scope="session")
def search_bundle(tmp_path_factory: pytest.TempPathFactory, backbone: Path) -> Bundle:
    place = tmp_path_factory.mktemp("search")
    policy = {"depth": 4, "candidates": 8}
    return bundle_of(place / "bundle", PRODUCT_SEARCH, search_networks(place, backbone), policy=policy)


@pytest.fixture(scope="session")
def recommender_bundle(tmp_path_factory: pytest.TempPathFactory, backbone: Path, catalogue: Catalogue) -> Bundle:
    """Two-tower over all products but the last, item-kNN over the first four, popularity with a segment."""
    place = tmp_path_factory.mktemp("recommender")
    known = catalogue.product_ids[:-1]
    network = TwoTower(TwoTowerConfig(rows=len(known) + FIRST, text_width=WIDTH, width=8, heads=2, length=5))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) * 0.3)
    network.save(place / "two_tower")
    write_vocabulary(place / "two_tower", known)
    TextEncoder(load_backbone(backbone), max_length=32).save(place / "text_encoder")
    TextTokenizer.load(backbone).save(place / "text_encoder")
    write_item_knn(place / "item_knn", catalogue.product_ids[:4])
    write_popularity(place / "popularity", {"": ["p05", "p06", "p00"], "young": ["p09", "p01"]})
    names = ("two_tower", "text_encoder", "item_knn", "popularity")
    return bundle_of(place / "bundle", RECOMMENDER, components_in(place, *names, parts=["train"]))


def write_item_knn(folder: Path, products: pl.Series) -> None:
    """Each product's neighbours are the next two in a ring."""
    folder.mkdir()
    write_vocabulary(folder, products)
    count = len(products)
    pairs = [(row, (row + step) % count, 1.0 / step) for row in range(count) for step in (1, 2)]
    pl.DataFrame(
        pairs, schema={"row": pl.Int64, "neighbour": pl.Int64, "score": pl.Float32}, orient="row"
    ).write_parquet(folder / "neighbours.parquet")
    (folder / "item_knn.json").write_text(json.dumps({}), encoding="utf-8")


def write_popularity(folder: Path, best: dict[str, list[str]]) -> None:
    folder.mkdir()
    rows = [(segment, name, float(len(ids) - place)) for segment, ids in best.items() for place, name in enumerate(ids)]
    schema = {"segment": pl.String, "product_id": pl.String, "score": pl.Float32}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / "popularity.parquet")


@pytest.fixture(scope="session")
def twins() -> Catalogue:
    """A thousand products that differ in nothing but their id."""
    same = {"title": "blue sofa", "brand": "Acme", "category": "Home > Sofas"}
    return catalogue_of([{"product_id": f"t{number:04}", **same} for number in range(1000)])


@pytest.fixture(scope="session")
def empty() -> Catalogue:
    return catalogue_of([])
