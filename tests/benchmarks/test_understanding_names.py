"""What is held against the names and quantities that a query says: precision and recall by hand."""

import random

import polars as pl
import pytest

from benchmarks.understanding_names import Answers, Meant, categories, hold, named, of_best, own_words
from recsys.catalogue import Catalogue
from recsys.meaning import CategoryShare, Quantity, Span, SpanKind, Understanding
from recsys.understanding.attributes import Fact, product_facts

HOME, SOFAS = Fact(SpanKind.CATEGORY, "", "Home"), Fact(SpanKind.CATEGORY, "", "Home > Sofas")
BLUE, RED, NORD = Fact(SpanKind.COLOUR, "", "Blue"), Fact(SpanKind.COLOUR, "", "Red"), Fact(SpanKind.BRAND, "", "Nord")
PRODUCTS = pl.DataFrame(
    {
        "product_id": ["a", "b", "c"],
        "title": ["Nord sofa 200 cm", "Nord sofa 2 m, pack of 2", "sofa 201 cm"],
        "brand": ["Nord", "Nord", None],
        "category": ["Home > Sofas"] * 3,
        "attributes": ['{"colour": "Blue", "size": "200 cm"}', '{"colour": "Red", "size": "200 cm"}', "{}"],
    }
)


def span(kind: SpanKind, *values: str) -> Span:
    return Span(0, 1, kind, "", values, 0.9)


def test_a_category_counts_by_its_leaf() -> None:
    assert named({HOME, SOFAS, BLUE}) == sorted([SOFAS, BLUE])
    assert named({HOME}) == [HOME]


def test_best_products_share_what_all_of_them_are() -> None:
    meant = of_best(PRODUCTS, [frozenset({HOME, SOFAS, NORD, BLUE}), frozenset({HOME, SOFAS, NORD, RED})] * 2)
    assert meant.possible == {HOME, SOFAS, NORD, BLUE, RED}
    assert meant.shared == sorted([SOFAS, NORD])
    assert [(one.value, one.unit) for one in meant.common] == [(2000.0, "mm")]
    assert len(meant.measured) == 4


def test_right_and_found_by_hand() -> None:
    """A span that fits one of several products is right; a shared fact that no span names is not found."""
    length, weight = Quantity(0, 1, 2000.0, "mm"), Quantity(0, 1, 5.0, "g")
    meant = Meant({SOFAS, HOME, BLUE, NORD}, [SOFAS, NORD], [length], [length])
    spans = (span(SpanKind.COLOUR, "Red", "Blue"), span(SpanKind.BRAND, "Sud"), span(SpanKind.CATEGORY, SOFAS.value))
    read = Understanding("q", "q", quantities=(Quantity(0, 1, 2010.0, "mm"), weight), spans=spans)
    found: Answers = {}
    hold(found, read, meant)
    assert found == {
        "colour spans that are right": [True],
        "brand spans that are right": [False],
        "category spans that are right": [True],
        "category facts that are found": [True],
        "brand facts that are found": [False],
        "quantities that are right": [True, False],
        "quantities that are found": [True],
    }


@pytest.mark.parametrize(
    ("paths", "first", "third"), [(["Home > Sofas"], 1, 1), (["Home", "A > B", "Home > Sofas"], 0, 1)]
)
def test_the_category_is_looked_for_at_its_own_depth(paths: list[str], first: int, third: int) -> None:
    read = Understanding("q", "q", categories=tuple(CategoryShare(path, 0.3, 0) for path in paths))
    found: Answers = {}
    categories(found, read, Meant([], [NORD, SOFAS], [], []))
    assert found["their category, top-1"] == [first]
    assert found["their category, top-3"] == [third]


def test_made_up_queries_say_a_leaf_and_two_facts_of_one_product() -> None:
    catalogue = Catalogue(PRODUCTS.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64)))
    facts = [frozenset(row) for row in product_facts(PRODUCTS)]
    made = list(own_words(catalogue, facts, draw=random.Random(0)))
    assert len(made) == 2  # the third product has no facts but its category
    for text, meant in made:
        assert text.endswith(" sofas")
        assert len(meant.shared) == 3
        assert all(fact.value.split(" > ")[-1].lower() in text for fact in meant.shared)
        assert set(meant.shared) <= set(meant.possible)
