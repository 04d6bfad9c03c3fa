"""A catalogue from titles, for tests that need no shop."""

from collections.abc import Callable, Sequence

import polars as pl
import pytest

from recsys.catalogue import Catalogue

COLUMNS = ("brand", "category", "attributes", "description")


def catalogue_of(titles: Sequence[str], **columns: Sequence[str | None]) -> Catalogue:
    frame = pl.DataFrame({"position": range(len(titles)), "title": list(titles)}, schema_overrides={"title": pl.String})
    ids = [f"p{position:06}" for position in range(len(titles))]
    extra = {name: pl.Series(columns.get(name, [None] * len(titles)), dtype=pl.String) for name in COLUMNS}
    return Catalogue(frame.with_columns(pl.Series("product_id", ids, dtype=pl.String), **extra))


@pytest.fixture
def make_catalogue() -> Callable[..., Catalogue]:
    return catalogue_of
