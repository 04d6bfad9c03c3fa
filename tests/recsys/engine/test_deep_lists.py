"""How deep a shaped list is looked for: as plain MMR over whole pools has it, and no deeper than a list can use."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.engine import likeness, shaping
from recsys.engine.ladder import Filled, Ladder
from recsys.engine.likeness import by_vectors
from recsys.engine.policy import ListShape
from recsys.engine.shaping import Shaper, in_band, usual_price
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Rung

USER = PositionHistories(
    offsets=np.array([0, 1]),
    positions=np.array([0]),
    timestamps=np.array([0]),
    event_types=np.array([EVENT_CODES["view"]], dtype=np.int8),
)


class Everything:
    """Brings every product, the first position first, and remembers how many were asked for."""

    name = "item-knn"

    def __init__(self, products: int) -> None:
        self.products = products
        self.asked: list[int] = []

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        self.asked.append(k)
        open_products = np.ones(self.products, dtype=np.bool_) if allowed is None else allowed
        lists = []
        for user in range(len(histories)):
            hidden = np.zeros(0, dtype=np.int64) if exclude is None else exclude[user]
            found = np.setdiff1d(np.flatnonzero(open_products), hidden)[:k]
            lists.append(Candidates(found, -found.astype(np.float32), self.name))
        return lists


def shaper_of(table: np.ndarray, shape: ListShape, *, categories: np.ndarray, **columns: np.ndarray) -> Shaper:
    count = len(table)
    return Shaper(
        shape=shape,
        categories=categories,
        brands=columns.get("brands", np.full(count, -1)),
        prices=columns.get("prices", np.full(count, np.nan)),
        likeness=by_vectors(table.__getitem__),
    )


def filled(shaper: Shaper, source: Everything, *, k: int, **limits: Any) -> Filled:
    limits = {"allowed": None, "exclude": None} | limits
    (found,) = shaper.fill(Ladder((source,)), USER, [""], k=k, rung=Rung.PERSONAL, **limits)
    return found


def plain(shaper: Shaper, table: np.ndarray, open_products: list[int], *, k: int) -> list[int]:
    """The list as it is defined: MMR over pools with all pairs' likeness, each four times as deep, until it is full."""
    unit = table.astype(np.float64) / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-30)
    alike = (unit @ unit.T).astype(np.float32)
    diversity, band = shaper.shape.diversity, shaper.shape.price_band
    depth = max(shaping.DEEPER * k, shaping.LEAST)
    while True:
        pool = open_products[:depth]
        if band is not None:
            usual = usual_price(shaper.prices, USER)
            pool = [one for one in pool if in_band(shaper.prices[[one]], usual, band)[0]]
        chosen: list[int] = []
        while len(chosen) < k:
            due = [
                one
                for one in pool
                if one not in chosen
                and all(groups[one] < 0 or sum(groups[chosen] == groups[one]) < most for groups, most in shaper.caps)
            ]
            worth = []
            for one in due:
                near = max((float(alike[one, other]) for other in chosen), default=0.0)
                place = pool.index(one)
                worth.append(((1 - diversity) * (1 - place / len(pool)) - diversity * near, -place, one))
            if not worth:
                break
            chosen.append(max(worth)[2])
        if len(chosen) == k or len(open_products) <= depth:
            return chosen
        depth *= shaping.DEEPER


shapes = st.fixed_dictionaries(
    {"diversity": st.sampled_from([0.0, 0.3, 0.9])},
    optional={"per_category": st.integers(1, 3), "price_band": st.sampled_from([(0.5, 2.0), (1.0, 1.0)])},
)


@given(
    products=st.integers(1, 90),
    groups=st.integers(1, 8),
    shape=shapes,
    k=st.integers(1, 9),
    share=st.sampled_from([0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_lists_are_those_of_whole_pools(
    products: int, groups: int, shape: dict[str, Any], k: int, share: float, seed: int
) -> None:
    """The very same where they can be filled or variety is not asked for; never shorter."""
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(products, 3)).astype(np.float32)
    categories = np.minimum(generator.geometric(0.4, products) - 1, groups - 1) - generator.integers(0, 2)
    prices = generator.choice([1.0, 2.0, 5.0, np.nan], products)
    shaper = shaper_of(table, ListShape(**shape), categories=categories, prices=prices)
    allowed, hidden = generator.random(products) < share, np.array([0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shaping, "LEAST", 4)
        patch.setattr(shaping, "DEEPER", 2)
        patch.setattr(shaping, "PLACES", 1)
        found = filled(shaper, Everything(products), k=k, allowed=allowed, exclude=[hidden]).positions.tolist()
        wanted = plain(shaper, table, np.setdiff1d(np.flatnonzero(allowed), hidden).tolist(), k=k)
    assert len(found) == len(wanted)
    if len(wanted) == k or not shape["diversity"]:
        assert found == wanted


@given(products=st.integers(1, 90), k=st.integers(1, 12), most=st.tuples(*[st.integers(1, 3)] * 2), seed=st.integers())
def test_two_caps_end_where_nothing_fits(products: int, k: int, most: tuple[int, int], seed: int) -> None:
    generator = np.random.default_rng(abs(seed))
    table = generator.normal(size=(products, 3)).astype(np.float32)
    categories, brands = (generator.integers(-1, 6, products) for _ in range(2))
    shape = ListShape(per_category=most[0], per_brand=most[1])
    shaper = shaper_of(table, shape, categories=categories, brands=brands)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shaping, "LEAST", 4)
        patch.setattr(shaping, "DEEPER", 2)
        found = filled(shaper, Everything(products), k=k)
        assert found.positions.tolist() == plain(shaper, table, list(range(products)), k=k)


def test_a_cap_that_cannot_be_filled_ends_the_search() -> None:
    """Five categories of 300, three of each: fifteen products are all there can be, and the first pool has them."""
    source, table = Everything(1500), np.random.default_rng(0).normal(size=(1500, 8)).astype(np.float32)
    shaper = shaper_of(table, ListShape(diversity=0.3, per_category=3), categories=np.arange(1500) % 5)
    found = filled(shaper, source, k=20)
    assert np.bincount(found.positions % 5).tolist() == [3] * 5
    assert source.asked == [80]


def test_the_search_goes_on_for_a_category_that_stands_deeper() -> None:
    """The fifth category begins at position 400, so two more pools are looked at, and none after it was found."""
    source, table = Everything(5000), np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    categories = np.where(np.arange(5000) < 400, np.arange(5000) % 4, 4)
    shaper = shaper_of(table, ListShape(diversity=0.3, per_category=3), categories=categories)
    found = filled(shaper, source, k=20)
    assert np.bincount(categories[found.positions]).tolist() == [3] * 5
    assert source.asked == [80, 320, 1280]
    source.asked.clear()
    assert len(filled(shaper, source, k=20, allowed=categories < 4).positions) == 12
    assert source.asked == [80]


def test_memory_grows_with_the_products_and_not_with_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one product of the last category stands behind all others: 20,000 pairs of pairs would be 1.6 GB."""
    monkeypatch.setattr(likeness, "HELD", 1024)
    products = 20_000
    table = np.random.default_rng(0).normal(size=(products, 16)).astype(np.float32)
    categories = np.where(np.arange(products) < products - 1, 0, 1)
    shaper = shaper_of(table, ListShape(diversity=0.3, per_category=3), categories=categories)
    tracemalloc.start()
    try:
        found = filled(shaper, Everything(products), k=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.positions) == 4
    assert peak < 400 * products


@given(count=st.integers(1, 40), held=st.integers(1, 50), seed=st.integers(0, 99))
def test_rows_of_likeness_do_not_hang_on_what_is_held(count: int, held: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    table[seed % count] = 0.0
    unit = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "HELD", held)
        row = by_vectors(table.__getitem__)(np.arange(count))
        np.testing.assert_allclose([row(place) for place in range(count)], unit @ unit.T, atol=1e-6)
