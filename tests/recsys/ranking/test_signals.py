"""Signals: values by hand, NaN for what a shop lacks, rows that do not hang on their company."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.errors import BundleError
from recsys.meaning import Understanding
from recsys.ranking.product_signals import ProductSignals
from recsys.ranking.signals import (
    COSINE,
    LOGIT,
    RELEVANCE,
    SIGNALS,
    absent_signals,
    definitions_digest,
    group_of,
    signal_matrix,
    stage_signals,
)
from recsys.ranking.text_signals import TextSignals, compare, quantities
from recsys.types import Positions, Vectors

DAY = datetime(2025, 1, 1, tzinfo=UTC)


ANY = Understanding("any", "any")


def catalogue_of(columns: Mapping[str, list[object]]) -> Catalogue:
    count = len(next(iter(columns.values())))
    known = {"position": list(range(count)), "product_id": [f"p{row}" for row in range(count)]}
    return Catalogue(pl.DataFrame({**known, "title": ["sofa"] * count, **columns}))


def column(source: ProductSignals, name: str) -> list[float]:
    positions = np.arange(len(source.matrix))
    return source.compute(ANY, positions)[:, source.names.index(name)].tolist()


def test_product_signals_by_hand() -> None:
    catalogue = catalogue_of(
        {
            "category": ["Sofas", "Sofas", "Sofas", None],
            "price": [1.0, 3.0, None, 7.0],
            "in_stock": [True, False, None, True],
            "available_from": [DAY, DAY + timedelta(days=2), None, DAY + timedelta(days=1)],
            "rating": [5.0, None, 1.0, 2.0],
            "rating_count": [0, None, 3, 7],
        }
    )
    source = ProductSignals(catalogue, popularity=np.array([0, 5, 5, 9], dtype=np.float32))
    assert source.absent == frozenset()
    logs = np.log(np.array([2.0, 4.0, np.nan, 8.0]))
    np.testing.assert_allclose(column(source, "price.log"), logs, rtol=1e-6)
    # medians: 2 among sofas, 3 in the whole catalogue
    np.testing.assert_allclose(column(source, "price.to_category"), logs - np.log([3, 3, 3, 4]), rtol=1e-5)
    np.testing.assert_array_equal(column(source, "stock.in_stock"), [1, 0, np.nan, 1])
    np.testing.assert_allclose(column(source, "popularity.share"), [0, 1 / 3, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(column(source, "freshness.share"), [0, 1, np.nan, 0.5])
    np.testing.assert_allclose(column(source, "rating.count"), np.log([1, np.nan, 4, 8]), rtol=1e-6)


def test_what_a_shop_lacks_is_nan_and_named() -> None:
    source = ProductSignals(catalogue_of({"price": [1.0, 2.0]}))
    assert source.absent == frozenset(source.names) - {"price.log", "price.to_category"}
    matrix = source.compute(ANY, np.array([1, 0]))
    assert np.isnan(matrix[:, source.names.index("popularity.share")]).all()
    assert {"popularity.share", COSINE} <= absent_signals([source], known=[RELEVANCE])
    assert not {"price.log", RELEVANCE} & absent_signals([source], known=[RELEVANCE])


def test_an_empty_catalogue() -> None:
    assert ProductSignals(catalogue_of({"price": []})).compute(ANY, np.zeros(0, dtype=np.int64)).shape == (0, 7)


@pytest.mark.parametrize(
    ("query", "title", "expected"),
    [
        ("16 gb stick", "USB stick 16GB", (1.0, 0.0)),
        ("16gb stick", "USB stick 32 GB", (0.0, 1.0)),
        ("16gb stick", "USB stick", (0.0, 0.0)),
        ("5.5 inch 2 pack", "3-pack, 5.5 inches", (0.5, 0.5)),
        ("blue sofa", "sofa 3", (np.nan, np.nan)),
    ],
)
def test_numbers_agree_or_conflict(query: str, title: str, expected: tuple[float, float]) -> None:
    np.testing.assert_array_equal(compare(quantities(query), quantities(title)), expected)


def test_text_signals_count_words() -> None:
    source = TextSignals(catalogue_of({"title": ["blue velvet sofa", "lamp"]}))
    found = source.compute(Understanding("a red sofa", "a red sofa"), np.array([1, 0]))
    np.testing.assert_array_equal(found[:, 0], [3, 3])
    np.testing.assert_array_equal(found[:, 1], [1, 3])
    assert source.compute(Understanding("sofa", "sofa"), np.zeros(0, dtype=np.int64)).shape == (0, 4)


class Fixed:
    """Brings the position itself as two signals."""

    names = ("price.log", COSINE)
    absent: frozenset[str] = frozenset()

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        return np.stack([positions, -positions], axis=1).astype(np.float32)


def test_the_matrix_has_the_wanted_columns_in_order() -> None:
    positions = np.array([4, 2])
    known = {COSINE: np.array([0.5, 0.25], dtype=np.float32)}
    matrix = signal_matrix([COSINE, "rating.mean", "price.log"], [Fixed()], query=ANY, positions=positions, known=known)
    np.testing.assert_array_equal(matrix, np.array([[0.5, np.nan, 4], [0.25, np.nan, 2]], dtype=np.float32))


def test_logits_are_finite_at_the_ends() -> None:
    scores = np.array([0.0, 0.5, 1.0], dtype=np.float32)
    logits = stage_signals(cosines=None, relevance=scores)[LOGIT]
    assert np.isfinite(logits).all()
    assert logits[1] == 0.0
    assert logits[0] == pytest.approx(-logits[2])
    assert stage_signals(cosines=None, relevance=None) == {}


def test_definitions_are_told_apart() -> None:
    names = list(SIGNALS)
    assert definitions_digest(names) != definitions_digest(names[::-1])
    with pytest.raises(BundleError, match=r"signals price\.shoe"):
        definitions_digest(["price.shoe"])
    assert group_of("bm25.title") == "bm25"
