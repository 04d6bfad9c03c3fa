"""The sample shop's pictures: one for each product, its colour in the middle, and words that may leave it out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from feature_store.sources.sample import words
from feature_store.sources.sample.pictures import SHADES, outline
from feature_store.sources.sample.world import World, all_codes, product_ids
from feature_store.sources.sample.write import write_sample
from recsys.errors import UsageError


def products(folder: Path, **options: object) -> pl.DataFrame:
    write_sample(folder, products=120, users=5, seed=3, **options)  # type: ignore[arg-type]
    return pl.read_parquet(folder / "products.parquet")


def test_pictures_show_the_colour_and_change_nothing_else(tmp_path: Path) -> None:
    plain, drawn = products(tmp_path / "plain"), products(tmp_path / "drawn", images=True)
    assert drawn.drop("image_url").equals(plain)
    codes = all_codes(World(products=120, users=5, seed=3))
    urls = dict(drawn.select("product_id", "image_url").iter_rows())
    for product, colour in zip(product_ids(World(120, 5, 3), np.arange(120)), codes.colour, strict=True):
        with Image.open(tmp_path / "drawn" / urls[product]) as image:
            assert image.size == (32, 32)
            assert colour < 0 or image.getpixel((16, 16)) == SHADES[colour]
    again = products(tmp_path / "again", images=True)
    assert all(
        (tmp_path / "again" / url).read_bytes() == (tmp_path / "drawn" / url).read_bytes() for url in again["image_url"]
    )


def test_hidden_colours_stand_in_no_word(tmp_path: Path) -> None:
    frame = products(tmp_path / "shop", hide_colour=1.0)
    said = " ".join(frame["title"]) + " ".join(frame["attributes"])
    assert not [name for name in words.COLOURS if f" {name} " in said or f'"{name}"' in said]
    shown = products(tmp_path / "some", hide_colour=0.5)["attributes"].str.contains('"colour"').sum()
    assert 0 < shown < products(tmp_path / "all")["attributes"].str.contains('"colour"').sum()
    with pytest.raises(UsageError, match="a share from 0 to 1"):
        products(tmp_path / "wrong", hide_colour=1.5)


def test_every_kind_has_an_outline_of_its_own() -> None:
    found = {tuple(np.round(outline(kind), 6).flatten().tolist()) for kind in range(len(words.KINDS))}
    assert len(found) == len(words.KINDS)
    assert len(SHADES) == len(words.COLOURS)
