"""Every default feature against a plain loop, on made-up streams with late arrivals, ties, copies and gaps."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.point_in_time import task
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import DAY, HOUR, MINUTE, Change, Feature, Latest, Measure, Total, Window
from feature_store.point_in_time.engine import Threads, compute
from feature_store.point_in_time.streams import Records, Streams, event_frame
from recsys.errors import SnapshotError
from tests.feature_store.point_in_time.reference import Happened, Record, value

T0 = 1_735_689_600_000_000  # 2025-01-01
KINDS = ("impression", "view", "click", "search", "add_to_cart", "purchase", "cancel")
MORE = (
    Feature("user_views_1h", "user", "", Total(Measure("events", ("view", "click")), Window(hours=1))),
    Feature("user_views_13h", "user", "", Total(Measure("events", ("view",)), Window(hours=13))),
    Feature("user_price", "user", "", Latest(Measure("events", ("purchase",), "price"))),
    Feature("product_price_moved", "product", "", Change(Measure("events", ("view",), "price"), Window(hours=48))),
)
ASKED = (
    *(one for one in DEFAULTS if one.entity != "follow" and one.measures[0].stream == "events"),
    *MORE,
)

instants = st.builds(
    lambda days, parts, off: T0 + days * DAY + parts * 5 * MINUTE + off,
    st.integers(0, 40),
    st.sampled_from([0, 0, 1, 6, 12, 144, 287]),
    st.sampled_from([-1, 0, 0, 1, 7 * MINUTE]),
)
lags = st.sampled_from([None, None, None, 0, -HOUR, 1, 2 * HOUR, 3 * DAY, 30 * DAY, 95 * DAY])
happened = st.builds(
    lambda user, product, query, kind, time, lag, price, quantity, place, propensity, session: Happened(
        user,
        product,
        query,
        kind,
        time,
        None if lag is None else time + lag,
        price,
        quantity,
        place,
        propensity,
        session,
    ),
    st.sampled_from([None, "u1", "u2", "û3"]),
    st.sampled_from(["p1", "p2", "p3"]),
    st.sampled_from([None, "sofa", "blue sofa"]),
    st.sampled_from(KINDS),
    instants,
    lags,
    st.sampled_from([None, 0.0, 9.99, 20.0]),
    st.sampled_from([None, 1.0, 3.0]),
    st.sampled_from([None, 0, 1, 4]),
    st.sampled_from([None, 0.01, 0.5]),
    st.sampled_from([None, "s1", "u1"]),
)
asked = st.tuples(
    st.sampled_from([None, "u1", "u2", "u9"]),
    st.sampled_from([None, "p1", "p2", "p9"]),
    st.sampled_from([None, "sofa", "blue sofa", "lamp"]),
    instants.map(lambda instant: instant + 0) | st.integers(0, 60).map(lambda day: T0 + day * DAY),
)
Row = tuple[str | None, str | None, str | None, int]


def stream(events: Sequence[Happened]) -> Streams:
    utc = pl.Datetime("us", "UTC")
    schema = {
        "user_id": pl.String,
        "product_id": pl.String,
        "query": pl.String,
        "event_type": pl.String,
        "timestamp": pl.Int64,
        "known_at": pl.Int64,
        "price": pl.Float64,
        "quantity": pl.Float64,
        "position": pl.Int64,
        "propensity": pl.Float64,
        "session_id": pl.String,
    }
    rows = [tuple(vars(event).values()) for event in events]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("timestamp").cast(utc), pl.col("known_at").cast(utc)
    )
    return {"events": Records(event_frame(frame.lazy()))}


def table(rows: Sequence[Row]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "product_id": pl.String, "query": pl.String, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    )


def answer(rows: Sequence[Row], events: Sequence[Happened], features: Sequence[Feature] = ASKED) -> pl.DataFrame:
    with TemporaryDirectory() as staging:
        return compute(table(rows), features, stream(events), staging=Path(staging), engine=Threads(2))


def own(feature: Feature, row: Row, events: Sequence[Record]) -> list[Record] | None:
    """The events of the row's key; None where the row has none."""
    user, product, query, _ = row
    wanted: dict[str, tuple[str | None, Callable[[Any], str | None]]] = {
        "user_id": (user, lambda one: one.user),
        "product_id": (product, lambda one: one.product),
        "query": (query, lambda one: one.query),
    }
    if any(wanted[key][0] is None for key in feature.keys):
        return None
    return [one for one in events if all(wanted[key][1](one) == wanted[key][0] for key in feature.keys)]


@settings(max_examples=60)
@given(st.lists(happened, max_size=40), st.lists(asked, min_size=1, max_size=12))
def test_every_feature_is_what_a_plain_loop_finds(events: list[Happened], rows: list[Row]) -> None:
    check(answer(rows, events), ASKED, rows, events)


def check(found: pl.DataFrame, features: Sequence[Feature], rows: Sequence[Row], events: Sequence[Record]) -> None:
    """Hold the features of rows against the plain loop over all records of their stream."""
    for feature in features:
        expected = []
        for row in rows:
            mine = own(feature, row, events)
            expected.append(None if mine is None else value(feature, mine, events, row[3]))
        column = found[feature.name].to_list()
        assert [one is None for one in column] == [one is None for one in expected], feature.name
        np.testing.assert_allclose(
            [one for one in column if one is not None],
            [one for one in expected if one is not None],
            rtol=1e-5,
            atol=1e-5,
            err_msg=feature.name,
        )


@settings(max_examples=30)
@given(
    st.lists(happened, max_size=30),
    st.lists(happened, min_size=1, max_size=15),
    st.lists(asked, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_what_is_known_later_changes_nothing(events, later, rows, random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    newest = max(row[3] for row in rows)
    hidden = [
        Happened(**{**vars(one), "known": newest + 1 + random.randrange(90 * DAY)})
        if random.random() < 0.5
        else Happened(**{**vars(one), "time": newest + random.randrange(90 * DAY), "known": None})
        for one in later
    ]
    mixed = events + hidden
    random.shuffle(mixed)
    assert answer(rows, mixed).equals(answer(rows, events))


@settings(max_examples=15)
@given(st.lists(happened, min_size=1, max_size=40), st.lists(asked, min_size=2, max_size=10))
def test_any_number_of_partitions_and_any_order_give_the_same_bits(events: list[Happened], rows: list[Row]) -> None:
    whole = answer(rows, events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "RECORDS", 3)
        assert answer(rows, events[::-1]).equals(whole)
    assert answer(rows[::-1], events).equals(whole.reverse())
    for number, row in enumerate(rows):
        assert answer([row], events).equals(whole[number]), "a batch is its rows, one by one"


def test_the_edges_of_a_window_and_of_the_instant() -> None:
    """A row at noon on the 9th: 7 days begin at midnight of the 2nd; the row's own instant is not before it."""
    noon = T0 + 8 * DAY + 12 * HOUR
    views = Feature("views", "user", "", Total(Measure("events", ("view",)), Window(hours=7 * 24)))
    times = [T0 + DAY - 1, T0 + DAY, noon - 1, noon]
    events = [Happened("u1", "p1", None, "view", time, None) for time in times]
    assert answer([("u1", None, None, noon)], events, [views])["views"].to_list() == [2.0]
    assert answer([("u1", None, None, noon + 1)], events, [views])["views"].to_list() == [3.0]


def test_a_backfill_counts_from_the_moment_it_was_known() -> None:
    views = Feature("views", "user", "", Total(Measure("events", ("view",)), Window(hours=7 * 24)))
    events = [Happened("u1", "p1", None, "view", T0, T0 + 3 * DAY)]
    rows: list[Row] = [("u1", None, None, T0 + 3 * DAY + off) for off in (-1, 0, 4 * DAY, 5 * DAY)]
    assert answer(rows, events, [views])["views"].to_list() == [0.0, 1.0, 1.0, 0.0]


def test_a_price_beyond_all_numbers_is_a_missing_one() -> None:
    prices = [
        Happened("u1", "p1", None, "purchase", T0 + number, None, price) for number, price in enumerate([9.5, 1e300])
    ]
    spent = next(one for one in DEFAULTS if one.name == "user_spent_90d")
    assert answer([("u1", None, None, T0 + DAY)], prices, [spent])["user_spent_90d"].to_list() == [9.5]


def test_times_that_lie_too_far_apart_for_one_partition_get_several() -> None:
    views = Feature("views", "user", "", Total(Measure("events", ("view",))))
    users = [f"u{number}" for number in range(3000)]
    events = [Happened(user, "p1", None, "view", time, None) for user in users for time in (0, T0)]
    rows: list[Row] = [(user, None, None, T0 + 1) for user in users]
    found = answer(rows, events, [views])["views"]
    assert found.to_list() == [2.0] * 3000
    assert not math.isnan(found.sum())


@pytest.mark.parametrize("times", [0, 2])
def test_an_engine_that_loses_or_doubles_a_partition_is_noticed(times: int) -> None:
    class Wrong:
        def __call__(self, tasks: Sequence[task.Task]) -> task.Answers:
            first, *rest = Threads(1)(tasks)
            yield from [first] * times
            yield from rest

    rows: list[Row] = [(user, None, None, T0 + DAY) for user in ("u1", "u2")]
    views = Feature("views", "user", "", Total(Measure("events", ("view",))))
    with TemporaryDirectory() as staging, pytest.raises(SnapshotError, match=rf"\A{times} answers for 1 partitions"):
        compute(table(rows), [views], stream([]), staging=Path(staging), engine=Wrong())
