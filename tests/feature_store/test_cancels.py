"""A cancel takes back the newest purchase before it: by hand, and against a plain loop over a stack."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.cancels import match_cancels
from feature_store.splits import PART

START = datetime(2025, 1, 1, tzinfo=UTC)
Row = tuple[str, int, float | None]


def frame(rows: list[Row], *, user: str | None = "u", part: str = "train") -> pl.LazyFrame:
    """Events of one user on one product: (type, hour, quantity)."""
    return pl.LazyFrame(
        {
            "row": range(1, len(rows) + 1),
            "user_id": [user] * len(rows),
            "product_id": ["p"] * len(rows),
            "part": [part] * len(rows),
            "timestamp": [START + timedelta(hours=hour) for _, hour, _ in rows],
            "event_type": [kind for kind, _, _ in rows],
            "quantity": [quantity for _, _, quantity in rows],
        },
        schema={
            "row": pl.Int64,
            "user_id": pl.String,
            "product_id": pl.String,
            "part": PART,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.String,
            "quantity": pl.Float64,
        },
    )


def taken(rows: list[Row]) -> dict[int, float]:
    return dict(match_cancels(frame(rows)).taken.iter_rows())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("purchase", 0, 6), ("purchase", 1, 6), ("cancel", 2, -6)], {2: 6}),
        ([("purchase", 0, 6), ("purchase", 1, 6), ("cancel", 2, -6), ("cancel", 3, -6)], {2: 6, 1: 6}),
        ([("purchase", 0, 6), ("purchase", 1, 6), ("cancel", 2, -8)], {2: 6, 1: 2}),
        ([("purchase", 0, 6), ("cancel", 1, -2)], {1: 2}),
        ([("cancel", 0, -6), ("purchase", 1, 6)], {}),
        ([("purchase", 1, 6), ("cancel", 1, -6)], {1: 6}),
        ([("purchase", 0, 3), ("cancel", 1, None)], {1: 3}),
        ([("purchase", 0, None), ("cancel", 1, -5)], {1: 1}),
        ([("purchase", 0, 4), ("purchase", 1, 4), ("cancel", 2, None)], {2: 4}),
        ([("purchase", 0, 4), ("cancel", 1, -4), ("purchase", 2, 4), ("cancel", 3, -4)], {1: 4, 3: 4}),
    ],
)
def test_by_hand(rows: list[Row], expected: dict[int, float]) -> None:
    assert taken(rows) == expected


def test_counts() -> None:
    netted = match_cancels(frame([("cancel", 0, -1), ("purchase", 1, 1), ("cancel", 2, -1), ("cancel", 3, -1)]))
    assert (netted.cancels, netted.unmatched) == (3, 2)


def test_a_cancel_without_user_matches_nothing() -> None:
    netted = match_cancels(frame([("purchase", 0, 1), ("cancel", 1, -1)], user=None))
    assert (netted.taken.height, netted.cancels, netted.unmatched) == (0, 1, 1)


def test_users_products_and_parts_are_kept_apart() -> None:
    bought = frame([("purchase", 0, 1)])
    for column, other in (("user_id", "v"), ("product_id", "q"), ("part", "test")):
        later = frame([("cancel", 5, -1)]).with_columns(
            pl.lit(other).cast(PART if column == "part" else pl.String).alias(column), row=pl.lit(9, dtype=pl.Int64)
        )
        netted = match_cancels(pl.concat([bought, later]))
        assert netted.taken.is_empty(), column


def loop(rows: list[Row]) -> dict[int, float]:
    """The same by a plain loop: cancels in the order of time, each eats from the newest purchase backwards."""
    order = sorted(range(len(rows)), key=lambda row: (rows[row][1], rows[row][2] is not None, rows[row][2] or 0.0, row))
    left = {row: rows[row][2] or 1.0 for row in order if rows[row][0] == "purchase"}
    eaten: dict[int, float] = {}
    for row in order:
        kind, hour, quantity = rows[row]
        if kind != "cancel":
            continue
        asked = float("inf") if quantity is None else abs(quantity)
        for purchase in reversed([one for one in order if one in left and rows[one][1] <= hour and left[one] > 0]):
            amount = min(asked, left[purchase])
            left[purchase] -= amount
            eaten[purchase + 1] = eaten.get(purchase + 1, 0.0) + amount
            asked -= amount
            if asked == 0 or quantity is None:
                break
    return eaten


EVENT = st.one_of(
    st.tuples(st.just("purchase"), st.integers(0, 6), st.one_of(st.none(), st.integers(1, 5).map(float))),
    st.tuples(st.just("cancel"), st.integers(0, 6), st.one_of(st.none(), st.integers(-6, -1).map(float))),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT, max_size=12))
def test_against_a_plain_loop(rows: list[Row]) -> None:
    assert taken(rows) == loop(rows)


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENT, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Row], random: object) -> None:
    def amounts(some: list[Row]) -> list[tuple[Row, float]]:
        return sorted(((some[row - 1], amount) for row, amount in taken(some).items()), key=str)

    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert amounts(rows) == amounts(shuffled)
