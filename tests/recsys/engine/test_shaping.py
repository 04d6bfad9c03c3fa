"""The shape of a list: against brute force, and as promises that hold for every list."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.engine.ladder import Filled, Ladder, take
from recsys.engine.likeness import by_category, by_vectors
from recsys.engine.policy import ListShape, RecommendPolicy
from recsys.engine.recommend import Recommendations
from recsys.engine.returns import come_back, still_owned, waiting_days
from recsys.engine.shaping import Shaper, choose, in_band, usual_price
from recsys.errors import UsageError
from recsys.retrieval.popularity import PopularityRecommender
from recsys.retrieval.repeat import RepeatRecommender, RepeatSettings
from recsys.types import EVENT_CODES, Candidates, Mask, PositionHistories, Positions, Rung
from tests.recsys.engine.conftest import catalogue_of

PRODUCTS = 16
DAY = 86_400_000_000
VIEW, PURCHASE = EVENT_CODES["view"], EVENT_CODES["purchase"]


def shop(*, bare: bool = False) -> Catalogue:
    rows: list[dict[str, object]] = [{"product_id": f"p{number:02}", "title": "t"} for number in range(PRODUCTS)]
    for number, row in enumerate(rows if not bare else ()):
        row |= {"brand": "AB"[number % 2] if number % 5 else None, "price": float(2 ** (number % 6))}
        row |= {
            "category": f"C{number % 4}" if number % 7 else None,
            "in_stock": None if number == 1 else number % 3 > 0,
        }
    return catalogue_of(rows)


class Ranked:
    """Brings products to everyone with a history, each user's in an order of the user's own."""

    name = "item-knn"

    def recommend(
        self,
        histories: PositionHistories,
        *,
        k: int,
        allowed: Mask | None = None,
        exclude: Sequence[Positions] | None = None,
    ) -> list[Candidates]:
        lists = []
        for user in range(len(histories)):
            order = np.random.default_rng(int(histories.of(user).sum())).permutation(10)
            kept = [p for p in order if (allowed is None or allowed[p]) and (exclude is None or p not in exclude[user])]
            scores = np.arange(len(kept), 0, -1).astype(np.float32)
            lists.append(Candidates(np.array(kept[:k], dtype=np.int64), scores[:k], self.name))
        return lists


def histories(users: Sequence[Sequence[tuple[int, int, int]]], *, now: int | None = None) -> PositionHistories:
    """Of (position, day, event)."""
    events = [event for user in users for event in user]
    return PositionHistories(
        offsets=np.cumsum([0, *map(len, users)], dtype=np.int64),
        positions=np.array([position for position, _, _ in events], dtype=np.int64),
        timestamps=np.array([day * DAY for _, day, _ in events], dtype=np.int64),
        event_types=np.array([code for *_, code in events], dtype=np.int8),
        now=None if now is None else now * DAY,
    )


def recommendations(catalogue: Catalogue, shape: ListShape | None = None, **more: Any) -> Recommendations:
    popular = PopularityRecommender({"": np.arange(PRODUCTS, 0, -1).astype(np.float32)})
    policy = RecommendPolicy(shape=shape or ListShape())
    return Recommendations(catalogue, Ladder((Ranked(),), popularity=popular), (), policy, **more)


def lists(own: Recommendations, users: PositionHistories, *, k: int, **wishes: Any) -> list[Filled]:
    return list(
        own.lists(
            users,
            [""] * len(users),
            k=k,
            allowed=None,
            repeats=wishes.pop("repeats", None),
            wishes=ListShape(**wishes) if wishes else None,
            rung=Rung.PERSONAL,
        )
    )


def plain_mmr(
    rungs: list[int], alike: np.ndarray, caps: list[tuple[np.ndarray, int]], *, diversity: float, k: int
) -> list[int]:
    """Maximal marginal relevance as it is written down."""
    count, chosen = len(rungs), []
    while len(chosen) < k:
        best, highest = None, -np.inf
        due = [
            place
            for place in range(count)
            if place not in chosen
            and all(
                groups[place] < 0 or sum(groups[one] == groups[place] for one in chosen) < most for groups, most in caps
            )
        ]
        for place in due:
            if rungs[place] != rungs[due[0]]:
                continue
            value = (1 - diversity) * (1 - place / count)
            if chosen:
                value -= diversity * max(float(alike[place, one]) for one in chosen)
            if value > highest + 1e-12:
                best, highest = place, value
        if best is None:
            break
        chosen.append(best)
    return chosen


@given(
    count=st.integers(1, 12),
    k=st.integers(1, 14),
    diversity=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    seed=st.integers(0, 1000),
    most=st.integers(1, 3),
)
def test_variety_under_caps_equals_brute_force(count: int, k: int, diversity: float, seed: int, most: int) -> None:
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(count, 3)).astype(np.float32)
    row = by_vectors(table.__getitem__)(np.arange(count))
    alike = np.stack([row(place) for place in range(count)])
    rungs = np.sort(generator.integers(0, 3, count))
    groups = generator.integers(-1, 3, count)
    found = choose(k=k, rungs=rungs, caps=[(groups, most)], alike=row, diversity=diversity)
    assert found.tolist() == plain_mmr(rungs.tolist(), alike, [(groups, most)], diversity=diversity, k=k)


@given(
    count=st.integers(0, 15),
    k=st.integers(1, 16),
    seed=st.integers(0, 1000),
    most=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_caps_are_never_exceeded_and_the_order_is_kept_otherwise(
    count: int, k: int, seed: int, most: tuple[int, int]
) -> None:
    generator = np.random.default_rng(seed)
    caps = [(generator.integers(-1, 4, count), one) for one in most]
    found = choose(k=k, rungs=np.zeros(count, dtype=np.int64), caps=caps)
    assert found.tolist() == sorted(set(found.tolist()))
    for groups, one in caps:
        assert all(many <= one for group, many in Counter(groups[found].tolist()).items() if group >= 0)
    if len(found) < k:  # nothing that was left out would have fitted
        for place in set(range(count)) - set(found.tolist()):
            assert any(groups[place] >= 0 and (groups[found] == groups[place]).sum() >= one for groups, one in caps)


def test_a_lower_rung_never_rises_above_a_higher_one() -> None:
    alike = np.ones((3, 3), dtype=np.float32)
    found = choose(k=3, rungs=np.array([0, 0, 1]), alike=alike.__getitem__, diversity=1.0)
    assert found.tolist() == [0, 1, 2]
    alike[2] = alike[:, 2] = 0.0
    assert choose(k=3, rungs=np.array([0, 0, 1]), alike=alike.__getitem__, diversity=1.0).tolist() == [0, 1, 2]
    assert choose(k=3, rungs=np.array([0, 0, 0]), alike=alike.__getitem__, diversity=1.0).tolist() == [0, 2, 1]


def test_likeness_without_vectors_is_the_category() -> None:
    row = by_category(np.array([0, 1, -1, 0, -1]))(np.array([0, 3, 2, 4]))
    assert [row(place).tolist() for place in range(4)] == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_prices_are_held_to_what_the_user_buys() -> None:
    prices = np.array([1.0, 10.0, 30.0, np.nan])
    bought = histories([[(0, 1, VIEW), (1, 1, PURCHASE), (2, 1, PURCHASE), (3, 1, PURCHASE)]])
    assert usual_price(prices, bought) == 20.0
    assert usual_price(prices, histories([[(0, 1, VIEW), (3, 1, PURCHASE)]])) == 1.0
    assert np.isnan(usual_price(prices, histories([[]])))
    assert in_band(prices, 20.0, (0.5, 1.5)).tolist() == [False, True, True, True]
    assert in_band(prices, float("nan"), (0.5, 1.5)).all()


def test_what_was_bought_comes_back_after_a_while() -> None:
    users = histories(
        [[(0, 10, PURCHASE), (1, 95, PURCHASE), (1, 10, PURCHASE), (2, 10, VIEW)], [], [(0, 99, PURCHASE)]]
    )
    now = np.array([100, 100, 100]) * DAY
    never = still_owned(users, now=now, waits=np.full(3, np.inf))
    assert [row.tolist() for row in never] == [[0, 1], [], [0]]
    month = still_owned(users, now=now, waits=np.full(3, 30.0))
    assert [row.tolist() for row in month] == [[1], [], [0]]
    intervals = np.array([200.0, 2.0, 5.0])
    waits = waiting_days(ListShape(return_interval=0.5, return_days=50.0), products=3, intervals=intervals)
    assert waits.tolist() == [50.0, 1.0, 2.5]
    assert waiting_days(ListShape(), products=2, intervals=None).tolist() == [np.inf, np.inf]
    assert waiting_days(ListShape(return_days=9.0), products=2, intervals=intervals[:2]).tolist() == [9.0, 9.0]


def test_what_was_bought_comes_back_little_by_little() -> None:
    """Bought 30 and 60 days ago with a half-life of 30: half and three quarters of the relevance are back."""
    users = histories([[(5, 40, PURCHASE), (3, 40, PURCHASE), (5, 70, PURCHASE), (2, 99, VIEW)]], now=100)
    back = come_back(np.array([5, 3, 2, 9]), users, until=0, half_life=30.0)
    np.testing.assert_allclose(back, [0.5, 0.75, 1.0, 1.0])
    unsaid = replace(users, now=None)
    np.testing.assert_allclose(come_back(np.array([5]), unsaid, until=130 * DAY, half_life=30.0), [0.75])
    np.testing.assert_allclose(come_back(np.array([5]), unsaid, until=0, half_life=30.0), [1 - 0.5 ** (29 / 30)])
    places = choose(k=4, rungs=np.zeros(4, dtype=np.int64), back=np.array([0.5, 0.75, 1.0, 1.0]))
    assert places.tolist() == [1, 0, 2, 3]  # 3/4 x 3/4, 1 x 1/2 before the equal 1/2 x 1, 1/4 x 1
    assert waiting_days(ListShape(return_half_life=30.0), products=1, intervals=None).tolist() == [30.0]
    both = ListShape(return_half_life=30.0, return_days=5.0)
    assert waiting_days(both, products=1, intervals=None).tolist() == [5.0]
    interval = ListShape(return_half_life=30.0, return_interval=2.0)
    assert waiting_days(interval, products=1, intervals=np.array([4.0])).tolist() == [8.0]


def test_an_owned_product_rises_as_time_passes() -> None:
    """Everything but the first two rungs' products is out of stock of ideas: the personal list has ten products."""
    own = recommendations(shop())
    bought = histories([[(3, 1, PURCHASE)]])
    (fresh,) = lists(own, replace(bought, now=20 * DAY), k=10, return_half_life=30.0)
    assert 3 not in fresh.positions
    places = []
    for now in (40, 60, 100, 2000):
        (found,) = lists(own, replace(bought, now=now * DAY), k=10, return_half_life=30.0)
        places.append(found.positions.tolist().index(3))
    assert places == sorted(places, reverse=True)
    (plain,) = lists(own, replace(bought, now=40 * DAY), k=10, repeats=True)
    assert places[-1] == plain.positions.tolist().index(3) < places[0]
    (again,) = lists(own, replace(bought, now=40 * DAY), k=10, repeats=True, return_half_life=30.0)
    assert again.positions.tolist() == plain.positions.tolist()


ragged = st.lists(
    st.lists(
        st.tuples(st.integers(0, PRODUCTS - 1), st.integers(0, 90), st.sampled_from([VIEW, PURCHASE])), max_size=6
    ),
    min_size=1,
    max_size=5,
)
shapes = st.fixed_dictionaries(
    {},
    optional={
        "diversity": st.sampled_from([0.0, 0.3, 0.9]),
        "per_category": st.integers(1, 3),
        "per_brand": st.integers(1, 4),
        "price_band": st.sampled_from([(0.0, 1.0), (0.5, 2.0), (1.0, 1.0)]),
        "available": st.booleans(),
        "return_days": st.sampled_from([0.0, 20.0, 1000.0]),
        "return_half_life": st.sampled_from([5.0, 30.0]),
    },
)


@given(users=ragged, shape=shapes, k=st.integers(1, 9), vectors=st.booleans())
def test_every_list_holds_to_its_shape(
    users: list[list[tuple[int, int, int]]], shape: dict[str, Any], k: int, vectors: bool
) -> None:
    catalogue, events = shop(), histories(users, now=100)
    table = np.random.default_rng(0).normal(size=(PRODUCTS, 4)).astype(np.float32)
    own = recommendations(catalogue, vectors=(lambda positions: table[positions]) if vectors else None)
    frame = catalogue.frame.to_dict(as_series=False)
    together = lists(own, events, k=k, **shape)
    assert len(together) == len(events)
    for user, found in enumerate(together):
        positions = found.positions.tolist()
        assert len(set(positions)) == len(positions) == len(found.scores) == len(found.sources) == len(found.rungs) <= k
        assert list(found.rungs) == sorted(found.rungs, key=[Rung.PERSONAL, Rung.POPULARITY].index)
        for column, most in (("category", shape.get("per_category")), ("brand", shape.get("per_brand"))):
            counts = Counter(frame[column][place] for place in positions if frame[column][place] is not None)
            assert most is None or all(many <= most for many in counts.values())
        if shape.get("available"):
            assert all(frame["in_stock"][place] is not False for place in positions)
        usual = usual_price(np.array(frame["price"]), take(events, np.array([user])))
        if "price_band" in shape and np.isfinite(usual):
            low, high = shape["price_band"]
            assert all(low * usual <= frame["price"][place] <= high * usual for place in positions)
        wait = shape.get("return_days", shape.get("return_half_life", np.inf))
        hidden = {place for place, day, code in users[user] if code == PURCHASE and 100 - day < wait}
        assert not hidden & set(positions)
        (alone,) = lists(own, take(events, np.array([user])), k=k, **shape)
        assert alone.positions.tolist() == positions
        assert (alone.scores.tolist(), alone.sources, alone.rungs) == (
            found.scores.tolist(),
            found.sources,
            found.rungs,
        )


@given(users=ragged, k=st.integers(1, PRODUCTS), most=st.integers(1, 3))
def test_lower_rungs_fill_what_a_cap_takes_away(users: list[list[tuple[int, int, int]]], k: int, most: int) -> None:
    """As many products as the cap and what the user owns allow, wherever they stand."""
    catalogue, events = shop(), histories(users)
    categories = catalogue.numbers("category")
    for user, found in enumerate(lists(recommendations(catalogue), events, k=k, per_category=most)):
        owned = {place for place, _, code in users[user] if code == PURCHASE}
        open_products = [place for place in range(PRODUCTS) if place not in owned]
        groups = Counter(int(categories[place]) for place in open_products)
        possible = sum(many if group < 0 else min(many, most) for group, many in groups.items())
        assert len(found.positions) == min(k, possible)


def test_a_list_is_deepened_until_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.engine.shaping.LEAST", 1)
    monkeypatch.setattr("recsys.engine.shaping.DEEPER", 1)
    depths: list[int] = []

    class Shallow(Ranked):
        def recommend(self, histories: PositionHistories, **given: Any) -> list[Candidates]:
            depths.append(given["k"])
            return super().recommend(histories, **given)

    shaper = Shaper.of(shop(), ListShape(price_band=(1.0, 1.0)), vectors=None)
    shaper = replace(shaper, prices=np.where(np.arange(PRODUCTS) == 7, 1.0, 5.0))
    monkeypatch.setattr("recsys.engine.shaping.DEEPER", 2)
    users = histories([[(7, 1, VIEW)]])
    (found,) = shaper.fill(Ladder((Shallow(),)), users, [""], k=1, allowed=None, exclude=None, rung=Rung.PERSONAL)
    assert found.positions.tolist() == [7]
    assert depths == sorted(set(depths))


def test_the_callers_wishes_win_over_the_policy() -> None:
    policy = ListShape(per_category=2, diversity=0.5)
    assert policy.with_wishes(None) == policy
    assert policy.with_wishes(ListShape(per_category=None, per_brand=1)) == ListShape(diversity=0.5, per_brand=1)
    own = recommendations(shop(), ListShape(per_brand=1))
    users = histories([[(0, 1, VIEW)]])
    shaped, free = lists(own, users, k=8), lists(own, users, k=8, per_brand=None)
    assert len(shaped[0].positions) < len(free[0].positions) == 8


def test_a_shop_that_knows_nothing_of_its_products_has_plain_lists() -> None:
    own, users = recommendations(shop(bare=True)), histories([[(0, 1, PURCHASE)], []])
    before = lists(own, users, k=6)
    after = lists(own, users, k=6, diversity=0.5, per_category=1, per_brand=1, price_band=(1.0, 1.0), available=True)
    assert [one.positions.tolist() for one in before] == [one.positions.tolist() for one in after]


def test_what_is_not_known_is_refused_by_name() -> None:
    users = histories([[(0, 1, PURCHASE)]])
    own = recommendations(shop())
    with pytest.raises(UsageError, match="return_days without a calendar"):
        lists(own, users, k=3, return_days=5.0)
    with pytest.raises(UsageError, match="return_half_life without a calendar"):
        lists(own, users, k=3, return_half_life=5.0)
    with pytest.raises(UsageError, match="return_interval without a recommender of repeat purchases"):
        lists(own, replace(users, now=9 * DAY), k=3, return_interval=1.0)
    assert len(lists(own, replace(users, now=9 * DAY), k=3, return_days=5.0)) == 1
    with pytest.raises(ValueError, match="holds no price"):
        ListShape(price_band=(2.0, 1.0))


def test_a_product_comes_back_when_its_interval_has_passed() -> None:
    settings = RepeatSettings(until=100 * DAY, days=100.0, log_interval=np.log(10.0), rate=0.5, spread=1.0, shrink=5.0)
    repeat = RepeatRecommender(
        log_intervals=np.full(PRODUCTS, np.log(10.0)), rates=np.full(PRODUCTS, 0.5), settings=settings
    )
    own = recommendations(shop(), repeat=repeat)
    users = histories([[(3, 95, PURCHASE), (4, 80, PURCHASE)]])
    (found,) = lists(own, users, k=PRODUCTS, return_interval=1.0)
    assert 4 in found.positions
    assert 3 not in found.positions
    (later,) = lists(own, replace(users, now=120 * DAY), k=PRODUCTS, return_interval=1.0)
    assert 3 in later.positions
