"""The text of a product and of its fields."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.field_names import FIELDS
from recsys.text.fields import attribute_text, field_texts, product_text
from recsys.text.parts import cut

ROW = {
    "title": "Corner Sofa Oslo.",
    "brand": "Acme",
    "category": "Home > Living room > Sofas",
    "attributes": json.dumps({"colour": "blue", "attr_n_width": 240.0, "foldable": True, "leather": False}),
    "description": "<p>Seats  four.</p>",
}


def frame(**changed: object) -> pl.DataFrame:
    return pl.DataFrame([ROW | changed], schema=dict.fromkeys(FIELDS, pl.String))


def test_order_is_title_brand_leaf_attributes_description() -> None:
    expected = "Corner Sofa Oslo. Acme. Sofas. colour: blue, width: 240, foldable. Seats four."
    assert product_text(frame()) == [expected]


def test_what_the_title_says_is_not_said_again() -> None:
    assert product_text(frame(title="ACME sofas", attributes=None, description=None)) == ["ACME sofas"]


def test_nulls_and_absent_columns_say_nothing() -> None:
    assert product_text(pl.DataFrame({"title": ["Sofa", None]})) == ["Sofa", ""]
    assert field_texts(pl.DataFrame({"title": ["Sofa"]}), "brand") == [""]


def test_field_texts() -> None:
    assert field_texts(frame(), "category") == ["Home Living room Sofas"]
    assert field_texts(frame(), "attributes") == ["colour: blue, width: 240, foldable"]
    assert field_texts(frame(), "description") == [" Seats  four. "]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ""),
        ("{}", ""),
        ("no json", "no json"),
        ('["red", 2, null]', "red 2"),
        ('{"a": {"b": "c", "d": [1.5, true]}, "e": "", "f": null}', "a: c 1.5"),
        ('{"screen_size": 55}', "screen size: 55"),
        ("[" * 2000, "[" * 2000),
        ("[" * 100_000, "[" * 100_000),
        ("[" * 30 + "2" + "]" * 30, "2"),
        ("[" * 40 + "2" + "]" * 40, "[" * 40 + "2" + "]" * 40),
    ],
    ids=lambda text: text[:20],
)
def test_attributes_of_all_shapes(given: str, expected: str) -> None:
    assert attribute_text(given) == expected


def test_nesting_without_end_is_a_text_like_any_other() -> None:
    """Both the networks and the lexical index read it, in whatever depth of calls they stand."""
    deep = frame(attributes="[" * 2000)
    assert field_texts(deep, "attributes") == ["[" * 2000]
    assert product_text(deep, limit=50) == ["Corner Sofa Oslo. Acme. Sofas."]


@given(st.text(), st.integers(1, 40))
def test_cut_keeps_the_limit_and_the_beginning(text: str, limit: int) -> None:
    short = cut(text, limit=limit)
    assert len(short) <= limit
    assert text.startswith(short)


def test_cut_at_a_space() -> None:
    assert cut("corner sofa oslo", limit=12) == "corner sofa"
    assert cut("corner sofa oslo", limit=11) == "corner sofa"
    assert cut("cornersofa", limit=4) == "corn"
    assert product_text(frame(), limit=11) == ["Corner Sofa"]


def test_fields_that_are_not_asked_for_stay_unsaid() -> None:
    row = frame(title="Sofa", brand="ACME", description="soft")
    assert product_text(row, fields=("title",)) == ["Sofa"]
    assert product_text(row, fields=("description", "title")) == ["Sofa. soft"]
