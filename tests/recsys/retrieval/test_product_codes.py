"""Codes of brand, category and price by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.errors import BundleError
from recsys.retrieval.product_codes import ProductCodes

ROWS = [
    ("a", "Acme", "Home > Sofas > Corner", 10.0),
    ("b", "ACME ", "Home > Sofas", 20.0),
    ("c", "Bolt", "Home > Lamps", 30.0),
    ("d", "Bolt", "Garden", 40.0),
    ("e", "Rare", "Garden", None),
    ("f", None, None, 1000.0),
]


def shop(rows: list[tuple[str, str | None, str | None, float | None]] = ROWS) -> Catalogue:
    names = ("product_id", "brand", "category", "price")
    schema = dict.fromkeys(names[:3], pl.String) | {"price": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return Catalogue(frame.with_columns(title=pl.col("product_id")).with_row_index("position"))


def fitted() -> ProductCodes:
    return ProductCodes.fit(shop(), learned=np.arange(5))


def test_brands_and_paths_that_two_products_share_have_codes() -> None:
    codes = fitted()
    assert codes.brands == ("acme", "bolt")
    assert codes.categories == (("garden", "home"), ("home > sofas",), ())
    assert codes.sizes == (3, 3, 2, 1, len(codes.prices) + 2)


def test_what_is_rare_new_or_unknown_is_0() -> None:
    found = fitted().encode(shop())
    assert found[:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert found[:, 1].tolist() == [2, 2, 2, 1, 1, 0]
    assert found[:, 2].tolist() == [1, 1, 0, 0, 0, 0]
    assert not found[:, 3].any()
    assert found[4, 4] == 0
    other = fitted().encode(shop([("z", "Nobody", "Attic > Boxes", 25.0)]))
    assert other[0, :4].tolist() == [0, 0, 0, 0]
    assert other[0, 4] > 0


def test_price_codes_rise_and_end_inside_the_sizes() -> None:
    codes = fitted()
    prices = [0.0, 10.0, 15.0, 20.0, 39.0, 40.0, 10**9]
    found = codes.encode(shop([(f"p{place}", None, None, price) for place, price in enumerate(prices)]))[:, 4]
    assert (np.diff(found) >= 0).all()
    assert found.min() == 1
    assert found.max() == codes.sizes[4] - 1


def test_a_shop_without_any_of_it_has_zeros() -> None:
    rows = [("a", None, None, None), ("b", None, None, None)]
    codes = ProductCodes.fit(shop(rows), learned=np.arange(2))
    assert not codes.encode(shop(rows)).any()
    assert all(size >= 1 for size in codes.sizes)


def test_save_is_load_and_damage_is_one_line(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    assert ProductCodes.load(tmp_path) == fitted()
    (tmp_path / "product_codes.json").write_text("{")
    with pytest.raises(BundleError, match="product_codes") as caught:
        ProductCodes.load(tmp_path)
    assert "\n" not in str(caught.value)
