"""A shop of sofas, covers, pans and tea: small enough to count by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.understanding.reader import QueryReader

COLOURS = ("Navy blue", "Forest", "Blue", "White")


def catalogue_of(rows: Sequence[dict[str, object]]) -> Catalogue:
    numbered = [{"product_id": f"p{place:03}", **row, "position": place} for place, row in enumerate(rows)]
    schema = {"product_id": pl.String, "title": pl.String, "brand": pl.String, "category": pl.String}
    return Catalogue(pl.DataFrame(numbered, {**schema, "attributes": pl.String, "position": pl.Int64}))


def shop_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(40):
        colour, brand = COLOURS[number % 4], ("Halden", "Apple & Finch")[number // 4 % 2]
        attributes = json.dumps({"colour": colour, "material": ("velvet", "linen")[number // 8 % 2]})
        rows += [
            {"title": f"{brand} corner sofa {colour} {number % 3 + 2} m", "category": "Home > Sofas", "brand": brand},
            {"title": f"Sofa cover {colour}", "category": "Home > Sofa covers", "brand": brand},
            {"title": f"Frying pan {20 + number % 2 * 8} cm steel", "category": "Kitchen > Pans, Pots & Lids"},
            {"title": f"Green tea apple {number % 2 + 1} kg pack of 3", "category": "Kitchen > Teas", "brand": "Chai"},
        ]
        rows[-4]["attributes"] = rows[-3]["attributes"] = attributes
    return rows


@pytest.fixture(scope="session")
def shop() -> Catalogue:
    return catalogue_of(shop_rows())


@pytest.fixture(scope="session")
def reader(shop: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> QueryReader:
    return QueryReader.build(shop, Path(tmp_path_factory.mktemp("reader")) / "understanding")
