"""Signals of the lexical index: BM25 by field against the formula, shared words, phrases, NaN for absent fields."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.meaning import Understanding
from recsys.retrieval.lexical import LexicalIndex
from recsys.retrieval.lexical_signals import K1, LexicalSignals

TITLES = ["blue velvet sofa", "velvet chair", "sofa blue", "blue blue lamp of glass"]
DESCRIPTIONS = ["soft", None, "velvet and oak", "blue light"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LexicalSignals:
    frame = pl.DataFrame(
        {
            "position": range(4),
            "product_id": [f"p{row}" for row in range(4)],
            "title": TITLES,
            "description": DESCRIPTIONS,
        }
    )
    catalogue = Catalogue(frame)
    return LexicalSignals(LexicalIndex.build(catalogue, tmp_path_factory.mktemp("signals") / "index"), catalogue)


def column(source: LexicalSignals, name: str, query: str) -> np.ndarray:
    return source.compute(Understanding(query, query), np.arange(4))[:, source.names.index(name)]


def test_bm25_of_a_field_is_a_share_of_the_most_there_can_be(source: LexicalSignals) -> None:
    found = column(source, "bm25.title", "velvet lamp")
    lengths = np.array([3, 2, 2, 5])
    size = K1 * (0.25 + 0.75 * lengths / lengths.mean())
    velvet, lamp = math.log(1 + 2.5 / 2.5), math.log(1 + 3.5 / 1.5)
    once = (K1 + 1) / (1 + size)
    expected = np.array([velvet, velvet, 0.0, lamp]) * once / ((velvet + lamp) * (K1 + 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shared_words_and_phrases(source: LexicalSignals) -> None:
    np.testing.assert_allclose(column(source, "words.title", "velvet sofas"), [1, 0.5, 0.5, 0])
    np.testing.assert_allclose(column(source, "words.anywhere", "velvet sofas"), [1, 0.5, 1, 0])
    np.testing.assert_allclose(column(source, "words.phrase", "velvet sofas"), [1, 0, 0, 0])
    np.testing.assert_allclose(column(source, "words.phrase", "blue"), [1, 0, 1, 1])


def test_fields_that_no_product_has_are_absent(source: LexicalSignals) -> None:
    assert source.absent == {"bm25.brand", "bm25.category", "bm25.attributes"}
    assert np.isnan(column(source, "bm25.brand", "velvet")).all()


@pytest.mark.parametrize("query", ["", "  ", "?!", "-velvet"])
def test_a_query_without_words_says_nothing(source: LexicalSignals, query: str) -> None:
    assert np.isnan(source.compute(Understanding(query, query), np.arange(4))).all()


@pytest.mark.parametrize("query", ["\ud800 sofa", "x" * 10_000, '"blue velvet" (sofa', "brand:acme sofa", "☃"])
def test_no_query_raises(source: LexicalSignals, query: str) -> None:
    assert source.compute(Understanding(query, query), np.arange(4)).shape == (4, len(source.names))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(4)), st.integers(1, 4), st.sampled_from(["blue velvet", "sofa", "light of oak"]))
def test_a_products_row_does_not_hang_on_its_company(
    source: LexicalSignals, order: list[int], count: int, query: str
) -> None:
    everything = source.compute(Understanding(query, query), np.arange(4))
    some = np.array(order[:count])
    np.testing.assert_array_equal(source.compute(Understanding(query, query), some), everything[some])
    assert source.compute(Understanding(query, query), some[:0]).shape == (0, len(source.names))
