"""Positions, histories and filters of a catalogue against plain loops."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import SnapshotError
from recsys.types import Filters, Histories

CATEGORIES = [None, "Home", "Home > Sofas", "Home > Sofas > Blue", "Home > Sofaset", "Office"]


def make(count: int = 24) -> Catalogue:
    """Products p00, p02, p04, ... so that every odd id is unknown."""
    rows = range(count)
    frame = pl.DataFrame(
        {
            "position": list(rows),
            "product_id": [f"p{2 * row:02d}" for row in rows],
            "title": [f"title {row}" for row in rows],
            "brand": [(None, "Nord", "Sud")[row % 3] for row in rows],
            "category": [CATEGORIES[row % 6] for row in rows],
            "price": [None if row % 5 == 0 else float(row) for row in rows],
            "in_stock": [(None, True, False, True)[row % 4] for row in rows],
        },
        schema_overrides={"position": pl.Int64},
    )
    return Catalogue(frame)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 60).map(lambda number: f"p{number:02d}"), max_size=30))
def test_positions(ids: list[str]) -> None:
    catalogue = make()
    known = catalogue.product_ids.to_list()
    expected = [known.index(one) if one in known else -1 for one in ids]
    found = catalogue.positions(ids)
    assert found.dtype == np.int64
    assert found.tolist() == expected
    many = catalogue.positions(ids * 1000)
    assert many.tolist() == expected * 1000
    assert catalogue.ids(found[found >= 0]) == [one for one in ids if one in known]


def test_an_empty_catalogue_knows_nothing() -> None:
    empty = Catalogue(make().frame.head(0))
    assert empty.positions(["p00", "p02"]).tolist() == [-1, -1]
    assert make().positions([]).tolist() == []
    assert make().positions(["", "p00", "\U0010ffff"]).tolist() == [-1, 0, -1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=6), max_size=5))
def test_histories_lose_unknown_products_alone(users: list[list[int]]) -> None:
    catalogue = make()
    flat = [number for events in users for number in events]
    histories = Histories(
        offsets=np.cumsum([0, *(len(events) for events in users)], dtype=np.int64),
        product_ids=tuple(f"p{number:02d}" for number in flat),
        timestamps=np.arange(len(flat), dtype=np.int64),
        event_types=np.arange(len(flat), dtype=np.int8) % 8,
        segments=("",) * len(users),
    )
    encoded = catalogue.encode(histories)
    assert len(encoded) == len(users)
    for user, events in enumerate(users):
        assert encoded.of(user).tolist() == [number // 2 for number in events if number % 2 == 0 and number < 48]
    kept = [place for place, number in enumerate(flat) if number % 2 == 0 and number < 48]
    assert encoded.timestamps.tolist() == kept
    assert encoded.event_types.tolist() == [place % 8 for place in kept]


FILTERS = st.builds(
    Filters,
    brand=st.lists(st.sampled_from(["Nord", "Sud", "West"]), max_size=2).map(tuple),
    category=st.lists(st.sampled_from(["Home", "Home > Sofas", "Garden"]), max_size=2).map(tuple),
    price_min=st.one_of(st.none(), st.integers(0, 24).map(float)),
    price_max=st.one_of(st.none(), st.integers(0, 24).map(float)),
    in_stock=st.one_of(st.none(), st.booleans()),
    exclude=st.lists(st.sampled_from(["p00", "p04", "p05"]), max_size=2).map(tuple),
    only=st.none() | st.lists(st.sampled_from(["p02", "p04", "p06", "p07"]), max_size=3).map(tuple),
)


def passes(row: dict[str, object], filters: Filters) -> bool:
    """One product against a filter, rule by rule."""
    category, price = row["category"], row["price"]
    below = [one for one in filters.category if category == one or str(category).startswith(one + " > ")]
    return (
        (not filters.brand or row["brand"] in filters.brand)
        and (not filters.category or bool(below))
        and (filters.price_min is None or (price is not None and price >= filters.price_min))  # type: ignore[operator]
        and (filters.price_max is None or (price is not None and price <= filters.price_max))  # type: ignore[operator]
        and (filters.in_stock is None or row["in_stock"] is filters.in_stock)
        and row["product_id"] not in filters.exclude
        and (filters.only is None or row["product_id"] in filters.only)
    )


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_filters(filters: Filters) -> None:
    catalogue = make()
    mask = catalogue.mask(filters)
    if filters.empty:
        assert mask is None
        return
    assert mask is not None
    assert mask.dtype == np.bool_
    assert mask.tolist() == [passes(row, filters) for row in catalogue.frame.iter_rows(named=True)]


def test_texts_and_columns_stand_in_the_order_of_positions() -> None:
    catalogue = make()
    assert [text.startswith(f"title {row}") for row, text in enumerate(catalogue.texts())] == [True] * 24
    assert catalogue.column("price")[1] == 1.0
    assert catalogue.column("colour").to_list() == [None] * 24


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    catalogue = make()
    for name, compression in (("a", "zstd"), ("b", "uncompressed")):
        catalogue.frame.write_parquet(tmp_path / name, compression=compression, row_group_size=5)
        assert Catalogue.read(tmp_path / name).digest == catalogue.digest
    other = Catalogue(catalogue.frame.with_columns(pl.col("title").replace("title 3", "title 33")))
    assert other.digest != catalogue.digest


@pytest.mark.parametrize(
    "broken",
    [
        lambda frame: frame.reverse(),
        lambda frame: frame.with_columns(pl.col("position") + 1),
        lambda frame: frame.with_columns(product_id=pl.lit("p")),
        lambda frame: frame.drop("title"),
        lambda frame: frame.drop("product_id"),
    ],
)
def test_a_catalogue_out_of_order_is_refused(broken: object, tmp_path: Path) -> None:
    broken(make().frame).write_parquet(tmp_path / "catalogue.parquet")  # type: ignore[operator]
    with pytest.raises(SnapshotError, match="order of its product ids"):
        Catalogue.read(tmp_path / "catalogue.parquet")


def test_a_catalogue_that_is_gone_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="is missing"):
        Catalogue.read(tmp_path / "catalogue.parquet")
    (tmp_path / "catalogue.parquet").write_bytes(b"PAR1")
    with pytest.raises(SnapshotError, match="is damaged"):
        Catalogue.read(tmp_path / "catalogue.parquet")
