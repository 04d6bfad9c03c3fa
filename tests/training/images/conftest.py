"""Two sample shops with pictures: one to learn from, and another of which no product has ever been seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_store.live import read_live
from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.sources.sample import truth, words
from feature_store.sources.sample.world import World, all_codes, product_ids
from feature_store.sources.sample.write import write_sample
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.models.backbone import resolve_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.settings import load_settings
from recsys.text.tokenizer import TextTokenizer
from tests.bundles import bundle_of, components_in, components_of
from training.images.config import ImagesConfig
from training.images.stage import ImagesStage
from training.metric_log import Silent

PRODUCTS, OTHERS = 600, 300


@dataclass(frozen=True)
class Question:
    """A colour and a kind as a shopper asks for them, and the grade of each product that has the kind."""

    query: str
    trained: bool
    grades: dict[str, float]


def questions(*, products: int, seed: int) -> list[Question]:
    """Every colour of every kind that there is; half of these pairs are asked in training, half in the test."""
    world = World(products=products, users=20, seed=seed)
    codes, ids = all_codes(world), product_ids(world, np.arange(products))
    found = []
    for kind in np.unique(codes.kind[codes.colour >= 0]).tolist():
        rows = np.flatnonzero(codes.kind == kind)
        for family, names in enumerate(truth.COLOUR_FAMILIES):
            grades = {ids[row]: 3.0 * (codes.colour[row] // 4 == family) for row in rows}
            if any(grades.values()):
                query = f"{names[(kind + family) % len(names)]} {words.KINDS[kind].noun}"
                found.append(Question(query, (kind + family) % 2 == 0, grades))
    return found


def write_questions(shop: Path, asked: list[Question]) -> None:
    """Put them in the place of the shop's queries and judgments."""
    queries = {f"Q{number:04}": one for number, one in enumerate(asked)}
    rows = [(name, product, grade) for name, one in queries.items() for product, grade in one.grades.items()]
    pl.DataFrame({"query_id": list(queries), "query": [one.query for one in asked]}).write_parquet(
        shop / "queries.parquet"
    )
    pl.DataFrame(rows, schema=["query_id", "product_id", "grade"], orient="row").write_parquet(
        shop / "judgments.parquet"
    )


@dataclass(frozen=True)
class Taught:
    """A tower that has learned, with what it learned from."""

    snapshot: Snapshot
    info: ComponentInfo
    bundle: Bundle


@pytest.fixture(scope="session")
def text_only(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with the stock text encoder and nothing else."""
    place, source = tmp_path_factory.mktemp("text"), resolve_backbone()
    TextEncoder.load(source, layers=3).save(place / "text_encoder")
    TextTokenizer.load(source).save(place / "text_encoder")
    return bundle_of(place / "bundle", PRODUCT_SEARCH, components_in(place, "text_encoder"), shop="sample")


@pytest.fixture(scope="session")
def other_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other products, whose words never name a colour."""
    place = tmp_path_factory.mktemp("other") / "sample"
    return write_sample(place, products=OTHERS, users=20, seed=1, images=True, hide_colour=1.0).folder


@pytest.fixture(scope="session")
def catalogue(other_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return read_live(other_shop, as_of=None, settings=load_settings(home=tmp_path_factory.mktemp("home"))).catalogue


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Seven in ten of the coloured products do not say their colour; their pictures show it."""
    place = tmp_path_factory.mktemp("shop")
    shop = write_sample(place / "sample", products=PRODUCTS, users=20, seed=0, images=True, hide_colour=0.7).folder
    write_questions(shop, [one for one in questions(products=PRODUCTS, seed=0) if one.trained])
    return build_snapshot(shop, out=place / "snapshot")


@pytest.fixture(scope="session")
def taught(snapshot: Snapshot, text_only: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    place = tmp_path_factory.mktemp("taught")
    info = train(snapshot, base=text_only, place=place, epochs=20)
    return Taught(snapshot, info, with_tower(text_only, place / "image_tower", info=info, out=place / "bundle"))


def train(snapshot: Snapshot, *, base: Bundle, place: Path, **settings: object) -> ComponentInfo:
    """Learn a tower into place / "image_tower"."""
    (place / "image_tower").mkdir()
    config = ImagesConfig.model_validate({"precision": "fp32", **settings})
    return ImagesStage().train(
        snapshot,
        config=config,
        folder=place / "image_tower",
        work=place / "work",
        run=Silent(),
        base=base,
        start=None,
        refit=False,
    )


def with_tower(base: Bundle, tower: Path, *, info: ComponentInfo, out: Path) -> Bundle:
    """The base with an image tower."""
    return bundle_of(out, PRODUCT_SEARCH, components_of(base) | {"image_tower": (tower, info)}, shop="sample")
