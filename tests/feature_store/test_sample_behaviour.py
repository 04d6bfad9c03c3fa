"""The events follow the models that the generator states."""

import numpy as np
import polars as pl
import pytest

from feature_store.sources.sample import truth, words
from feature_store.sources.sample.actions import CANCEL_SHARE, REPEAT_DAYS
from feature_store.sources.sample.events import event_frames
from feature_store.sources.sample.lists import SHOWN
from feature_store.sources.sample.products import product_frame
from feature_store.sources.sample.queries import make_queries
from feature_store.sources.sample.relevance import KIND_ROWS, grades
from feature_store.sources.sample.sessions import LOGGED_OUT, make_sessions, season
from feature_store.sources.sample.users import tastes, user_frame
from feature_store.sources.sample.world import DAYS, START, World, all_codes, product_ids

WORLD = World(products=600, users=900, seed=21)
LISTED = ("impression", "click")
SIGMAS = 5.0


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return pl.concat(event_frames(WORLD, make_queries(WORLD), all_codes(WORLD)))


@pytest.fixture(scope="module")
def products() -> pl.DataFrame:
    codes = all_codes(WORLD)
    hidden = pl.DataFrame({"kind": codes.kind, "style": codes.style, "row": np.arange(WORLD.products)})
    return pl.concat([product_frame(WORLD, np.arange(WORLD.products)), hidden], how="horizontal")


def of_type(events: pl.DataFrame, *types: str) -> pl.DataFrame:
    return events.filter(pl.col("event_type").is_in(types))


def test_propensity_is_the_chance_of_being_looked_at(events: pl.DataFrame) -> None:
    listed = of_type(events, *LISTED)
    expected = truth.examination(listed["position"].to_numpy())
    np.testing.assert_allclose(listed["propensity"].to_numpy(), expected, atol=1e-6)
    assert set(listed["position"]) == set(range(1, SHOWN + 1))


def test_clicks_on_shuffled_lists_fall_off_as_propensity_says(events: pl.DataFrame) -> None:
    """Where chance orders the list, every place holds products as good, so that only the place explains the clicks."""
    shuffled = of_type(events, *LISTED).filter(pl.col("policy") == "shuffled")
    by_place = (
        shuffled.group_by("position")
        .agg(
            shown=(pl.col("event_type") == "impression").sum(),
            clicked=(pl.col("event_type") == "click").sum(),
            propensity=pl.col("propensity").first(),
        )
        .sort("position")
    )
    shown, clicked = by_place["shown"].to_numpy(), by_place["clicked"].to_numpy()
    liked = clicked.sum() / (shown * by_place["propensity"].to_numpy()).sum()
    expected = liked * by_place["propensity"].to_numpy()
    spread = np.sqrt(shown * expected * (1.0 - expected))
    assert (np.abs(clicked - shown * expected) < SIGMAS * spread).all()


def test_orderly_lists_show_the_better_products_first(events: pl.DataFrame) -> None:
    """So clicks fall off faster than the places explain: what has to be corrected for."""
    for policy in ("lexical", "popularity"):
        listed = of_type(events, *LISTED).filter(pl.col("policy") == policy)
        clicked, shown = ((pl.col("event_type") == name).sum() for name in ("click", "impression"))
        rates = listed.group_by("position").agg(rate=clicked / shown).sort("position")["rate"]
        assert rates[SHOWN - 1] / rates[0] < truth.examination(np.array([SHOWN]))[0]


def test_the_chain_of_events_is_whole(events: pl.DataFrame) -> None:
    assert events["event_id"].is_unique().all()
    place = ["list_id", "product_id", "position"]
    shown, clicked = of_type(events, "impression"), of_type(events, "click")
    assert shown.select(pl.struct("list_id", "product_id").is_unique().all()).item()
    assert clicked.join(shown, on=place, how="anti").is_empty()
    carts = of_type(events, "add_to_cart")
    assert carts.join(clicked, on=place, how="anti").is_empty()
    bought = of_type(events, "purchase").filter(pl.col("list_id").is_not_null())
    assert bought.join(carts, on=place, how="anti").is_empty()
    assert of_type(events, "remove_from_cart").join(bought, on=place, how="semi").is_empty()


def test_searches_carry_the_query_of_their_list_and_no_product(events: pl.DataFrame) -> None:
    searches = of_type(events, "search")
    assert searches["product_id"].null_count() == searches.height
    assert searches["query_id"].null_count() == 0
    assert searches["list_id"].is_unique().all()
    listed = of_type(events, "impression").select("list_id", "query_id").unique()
    assert searches.select("list_id", "query_id").join(listed, on=["list_id", "query_id"], how="anti").is_empty()


def test_what_was_found_answers_the_query(events: pl.DataFrame, products: pl.DataFrame) -> None:
    queries, codes = make_queries(WORLD), all_codes(WORLD)
    numbers = pl.DataFrame({"query_id": queries.ids(), "query_row": np.arange(len(queries.texts))})
    found = (
        of_type(events, *LISTED)
        .join(numbers, on="query_id")
        .join(products.select("product_id", "row"), on="product_id")
    )
    grade = grades(queries.codes.take(found["query_row"].to_numpy()), codes.take(found["row"].to_numpy()))
    clicked = (found["event_type"] == "click").to_numpy()
    assert grade[clicked].mean() > grade[~clicked].mean() + 0.1


def test_a_cancel_takes_back_an_earlier_purchase(events: pl.DataFrame) -> None:
    bought, cancelled = of_type(events, "purchase"), of_type(events, "cancel")
    pairs = cancelled.join(bought, on=["user_id", "product_id", "order_id", "quantity"], suffix="_bought")
    assert pairs["event_id"].n_unique() == cancelled.height
    assert (pairs["timestamp_bought"] < pairs["timestamp"]).all()
    spread = np.sqrt(CANCEL_SHARE * (1 - CANCEL_SHARE) / bought.height)
    assert abs(cancelled.height / bought.height - CANCEL_SHARE) < SIGMAS * spread


def test_some_sessions_have_no_user_and_none_of_them_buys(events: pl.DataFrame) -> None:
    sessions = of_type(events, "impression").group_by("session_id").agg(pl.col("user_id").null_count() > 0)
    share = sessions["user_id"].mean()
    assert abs(share - LOGGED_OUT) < SIGMAS * np.sqrt(LOGGED_OUT * (1 - LOGGED_OUT) / sessions.height)
    assert of_type(events, "purchase", "cancel")["user_id"].null_count() == 0


def test_nothing_happens_before_it_can(events: pl.DataFrame, products: pl.DataFrame) -> None:
    seen = events.join(products.select("product_id", "available_from"), on="product_id")
    assert (seen["timestamp"] >= seen["available_from"]).all()
    known = events.join(user_frame(WORLD, np.arange(WORLD.users)), on="user_id")
    assert (known["timestamp"] >= known["created_at"]).all()
    assert (events["timestamp"] - START).dt.total_days().is_between(0, DAYS - 1).all()


def test_what_is_used_up_is_bought_again_and_nothing_else(events: pl.DataFrame, products: pl.DataFrame) -> None:
    bought = of_type(events, "purchase").join(products.select("product_id", "kind"), on="product_id")
    times = bought.group_by("user_id", "product_id").agg(pl.len(), pl.col("kind").first())
    used_up = REPEAT_DAYS[times["kind"].to_numpy()] > 0
    again = (times["len"] > 1).to_numpy()
    assert again[used_up].mean() > 0.4
    assert not again[~used_up].any()


def test_people_click_on_the_style_they_like(events: pl.DataFrame, products: pl.DataFrame) -> None:
    rows = np.arange(WORLD.users)
    liked = pl.DataFrame(
        {"user_id": user_frame(WORLD, rows)["user_id"], "liked": tastes(WORLD, rows).style.astype(np.int8)}
    )
    listed = (
        of_type(events, *LISTED).join(liked, on="user_id").join(products.select("product_id", "style"), on="product_id")
    )
    rates = listed.group_by(pl.col("liked") == pl.col("style")).agg(rate=(pl.col("event_type") == "click").mean())
    assert rates.filter(pl.col("liked"))["rate"][0] > 1.5 * rates.filter(~pl.col("liked"))["rate"][0]


def test_what_follows_is_looked_for_next() -> None:
    world = World(products=3000, users=2000, seed=8)
    rows = np.arange(world.users)
    sessions = make_sessions(world, rows, tastes(world, rows))
    same = sessions.user[1:] == sessions.user[:-1]
    before, after = sessions.kind[:-1][same], sessions.kind[1:][same]
    for noun, others in truth.FOLLOWS.items():
        follows = np.isin(after, [KIND_ROWS[other] for other in others])
        # half of the other reasons to come could lead there too, never as often
        assert follows[before == KIND_ROWS[noun]].mean() > 2 * follows[before != KIND_ROWS[noun]].mean(), noun


def test_season_averages_to_one_over_the_year_and_peaks_in_its_month() -> None:
    kinds = np.array([KIND_ROWS["parasol"], KIND_ROWS["sofa"]])
    days = np.arange(0.0, 365.25, 0.25)
    strength = season(kinds, days)
    assert strength.mean(axis=0) == pytest.approx([1.0, 1.0], abs=1e-3)
    assert (strength[:, 1] == 1.0).all()
    peak_day = (days[strength[:, 0].argmax()] + START.timetuple().tm_yday) % 365.25
    assert peak_day / (365.25 / 12) == pytest.approx(words.KINDS[KIND_ROWS["parasol"]].peak_month - 0.5, abs=0.1)


def test_ids_in_events_are_ids_of_products(events: pl.DataFrame) -> None:
    known = set(product_ids(WORLD, np.arange(WORLD.products)))
    assert set(events["product_id"].drop_nulls()) <= known
