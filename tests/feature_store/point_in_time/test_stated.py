"""Prices, stock and grades against a plain loop: a price counts from when it holds and is known, a grade once given."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.point_in_time.defaults import DEFAULTS, GRADES, PRICES, STOCK
from feature_store.point_in_time.definitions import DAY, Age, Change, Distinct, Feature, Measure, Rate, Total, Window
from feature_store.point_in_time.engine import Threads, compute
from feature_store.point_in_time.streams import Streams, shop_streams
from tests.feature_store.point_in_time.reference import Stated
from tests.feature_store.point_in_time.test_engine import Row, asked, check, instants, lags, table

GRADE = Measure("judgments", value="grade")
SHORT = Window(hours=13)
PRICED = (
    *(one for one in DEFAULTS if one.measures[0].stream == "prices"),
    Feature("changes_13h", "product", "", Total(Measure("prices"), SHORT)),
    Feature("days_since_price", "product", "", Age(PRICES)),
    Feature("days_since_stated", "product", "", Age(Measure("prices"), "first")),
    Feature("price_moved_13h", "product", "", Change(PRICES, SHORT)),
    Feature("in_stock_share", "product", "", Rate(STOCK, Measure("prices"), Window(hours=48), strength=2.0)),
)
JUDGED = (
    *(one for one in DEFAULTS if one.measures[0].stream == "judgments"),
    Feature("product_grade", "product", "", Rate(GRADE, GRADES, Window(hours=7 * 24), strength=3.0)),
    Feature("query_products", "query", "", Distinct(Measure("judgments", value="product"), SHORT)),
    Feature("query_grades", "query", "", Total(GRADE)),
    Feature("days_since_grade", "query_product", "", Age(GRADES)),
)
QUERIES = {"q1": "sofa", "q2": "blue sofa", "q3": "sofa"}

products = st.sampled_from(["p1", "p2", "p3"])
priced = st.builds(
    lambda product, time, lag, price, stock: Stated(
        product, time, None if lag is None else time + lag, price=price, stock=stock
    ),
    products,
    instants,
    lags,
    st.sampled_from([None, 0.0, 9.99, 20.0]),
    st.sampled_from([None, True, False]),
)
judged = st.builds(
    lambda product, time, query, grade: Stated(product, time, None, query=query, grade=grade),
    products,
    instants,
    st.sampled_from(["sofa", "blue sofa"]),
    st.sampled_from([0.0, 1.0, 2.5]),
)


def streams_of(prices: Sequence[Stated], judgments: Sequence[Stated]) -> Streams:
    """What a shop's tables give that say this."""
    utc = pl.Datetime("us", "UTC")
    since = pl.DataFrame(
        [(one.product, one.time, one.known, one.price, one.stock) for one in prices],
        schema={
            "product_id": pl.String,
            "valid_from": pl.Int64,
            "known_at": pl.Int64,
            "price": pl.Float64,
            "in_stock": pl.Boolean,
        },
        orient="row",
    ).with_columns(pl.col("valid_from", "known_at").cast(utc))
    ids = {"sofa": ("q1", "q3"), "blue sofa": ("q2",)}  # two queries that are one text
    graded = pl.DataFrame(
        [
            (ids[one.query or ""][number % len(ids[one.query or ""])], one.product, one.grade, one.time)
            for number, one in enumerate(judgments)
        ],
        schema={"query_id": pl.String, "product_id": pl.String, "grade": pl.Float64, "judged_at": pl.Int64},
        orient="row",
    ).with_columns(pl.col("judged_at").cast(utc))
    texts = pl.DataFrame({"query_id": [*QUERIES], "query": [*QUERIES.values()]})
    tables = {"products": since, "judgments": graded, "queries": texts}
    return shop_streams({name: SimpleNamespace(frame=one.lazy(), absent=()) for name, one in tables.items()})  # type: ignore[misc]


def answer(rows: Sequence[Row], prices: Sequence[Stated], judgments: Sequence[Stated]) -> pl.DataFrame:
    streams = streams_of(prices, judgments)
    with TemporaryDirectory() as staging:
        return compute(table(rows), (*PRICED, *JUDGED), streams, staging=Path(staging), engine=Threads(1))


@settings(max_examples=40)
@given(st.lists(priced, max_size=30), st.lists(judged, max_size=30), st.lists(asked, min_size=1, max_size=8))
def test_prices_and_grades_are_what_a_plain_loop_finds(
    prices: list[Stated], judgments: list[Stated], rows: list[Row]
) -> None:
    found = answer(rows, prices, judgments)
    check(found, PRICED, rows, prices)
    check(found, JUDGED, rows, judgments)


@settings(max_examples=25)
@given(
    st.lists(priced, max_size=20),
    st.lists(judged, max_size=20),
    st.lists(priced, min_size=1, max_size=10),
    st.lists(judged, min_size=1, max_size=10),
    st.lists(asked, min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_what_is_stated_later_changes_nothing(prices, judgments, more, graded, rows, random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    newest = max(row[3] for row in rows)
    late = [Stated(**{**vars(one), "known": newest + 1 + random.randrange(90 * DAY)}) for one in more]
    to_come = [Stated(**{**vars(one), "time": newest + random.randrange(90 * DAY)}) for one in graded]
    mixed, all_grades = prices + late, judgments + to_come
    random.shuffle(mixed)
    random.shuffle(all_grades)
    assert answer(rows, mixed, all_grades).equals(answer(rows, prices, judgments))
