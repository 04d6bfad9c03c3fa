"""Words that look mistyped, and how far two words are apart."""

from functools import cache

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from training.evaluate.typos import mistyped, near_words, slips_between, used_again, vocabulary


def catalogue(*titles: str) -> Catalogue:
    rows = {"position": range(len(titles)), "product_id": [f"p{n}" for n in range(len(titles))], "title": titles}
    frame = pl.DataFrame(rows, schema_overrides={"position": pl.Int64, "title": pl.String})
    return Catalogue(frame.with_columns(category=pl.lit("Home > Armchairs"), attributes=pl.lit('{"colour": "Crème"}')))


SHOP = catalogue("Velvet sofas, 80 cm", "Steelyard lamp")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("velvet sofa", []),
        ("VELVET Armchair", []),
        ("velvt sofa", ["velvt"]),
        ("vlevet", ["vlevet"]),
        ("sofaa lmap", ["sofaa", "lmap"]),
        ("velt", []),  # two slips, in a short word
        ("steleyadr", ["steleyadr"]),  # two slips, in a long one
        ("stleeayrdd", []),  # three
        ("81 cm", []),
        ("cn", []),
        ("sofa4", []),
        ("", []),
        ("créme", ["créme"]),
        ("garden rake", []),
    ],
)
def test_what_looks_mistyped(query: str, expected: list[str]) -> None:
    assert mistyped([query], catalogue=SHOP) == [expected]


def test_what_others_type_too_is_a_word() -> None:
    assert mistyped(["velvit sofa", "velvit"], catalogue=SHOP) == [[], []]
    assert mistyped(["velvit sofa"], catalogue=SHOP, typed=["velvit lamp"]) == [[]]
    assert mistyped(["velvit sofa", "Velvit  Sofa"], catalogue=SHOP) == [["velvit"], ["velvit"]], "the same query twice"
    assert mistyped(["coutch"], catalogue=SHOP, typed=["couch red", "couch blue"]) == [["coutch"]]
    assert used_again([f"word {n}" for n in range(5000)] + ["rare one", "rare two"]) == {"word"}


def test_an_empty_catalogue_knows_no_word() -> None:
    assert vocabulary(catalogue()) == set()
    assert mistyped(["sofa"], catalogue=catalogue()) == [[]]


@cache
def by_definition(a: str, b: str) -> int:
    """Optimal string alignment, by recursion."""
    if not a or not b:
        return len(a) + len(b)
    costs = [
        by_definition(a[:-1], b) + 1,
        by_definition(a, b[:-1]) + 1,
        by_definition(a[:-1], b[:-1]) + (a[-1] != b[-1]),
    ]
    if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
        costs.append(by_definition(a[:-2], b[:-2]) + 1)
    return min(costs)


short = st.text("abc", max_size=6)


@given(short, short)
def test_slips_are_counted_as_by_definition(a: str, b: str) -> None:
    assert slips_between(a, b) == by_definition(a, b) == slips_between(b, a)


@given(
    st.lists(st.text("abcdé", min_size=4, max_size=9), min_size=1, max_size=8), st.text("abcdé", min_size=4, max_size=9)
)
def test_no_near_word_is_overlooked(known: list[str], word: str) -> None:
    slips = 1 if len(word) < 8 else 2
    assert (near_words({word}, known) == {word}) == any(by_definition(word, one) <= slips for one in known)
