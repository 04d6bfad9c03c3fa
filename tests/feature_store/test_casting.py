"""How one value of a shop becomes a value of the contract, and when it does not."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from feature_store.casting import cast, text

TIME = pl.Datetime("us", "UTC")
NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


def read(values: list[object], *, wanted: pl.DataType, **more: object) -> list[tuple[object, str | None]]:
    """Value and problem of each."""
    series = pl.Series("x", values, strict=False, dtype=more.pop("stored", None))  # type: ignore[arg-type]
    settings = {"timezone": None, "order": False} | more
    one = cast("x", stored=series.dtype, wanted=wanted, **settings)  # type: ignore[arg-type]
    return series.to_frame().select(one.value, one.problem.alias("problem")).rows()  # type: ignore[return-value]


BAD = "x unreadable"
CASES: list[tuple[list[object], pl.DataType, list[tuple[object, str | None]]]] = [
    (["007", "", None], pl.String(), [("007", None), (None, None), (None, None)]),
    ([7, None], pl.String(), [("7", None), (None, None)]),
    ([17850.0, 2.5, float("nan"), None], pl.String(), [("17850", None), ("2.5", None), (None, None), (None, None)]),
    ([True, False], pl.String(), [("true", None), ("false", None)]),
    ([{"colour": "blue"}], pl.String(), [('{"colour":"blue"}', None)]),
    ([["a", "b"], []], pl.String(), [('["a","b"]', None), ("[]", None)]),
    (["1.5", " 2 ", "x", "inf", ""], pl.Float64(), [(1.5, None), (2.0, None), (None, BAD), (None, BAD), (None, None)]),
    (["nan", " NaN ", "1"], pl.Float64(), [(None, None), (None, None), (1.0, None)]),
    ([float("nan"), float("inf"), 1.5], pl.Float64(), [(None, None), (None, BAD), (1.5, None)]),
    (["NaN", "nano"], pl.String(), [("NaN", None), ("nano", None)]),
    ([float("nan"), 3.0], pl.Int64(), [(None, None), (3, None)]),
    (["nan", "3"], pl.Int64(), [(None, None), (3, None)]),
    ([1, None], pl.Float64(), [(1.0, None), (None, None)]),
    ([date(2025, 1, 1)], pl.Float64(), [(None, BAD)]),
    (["3", "3.0", "3.5"], pl.Int64(), [(3, None), (3, None), (None, BAD)]),
    ([3.0, 3.5], pl.Int64(), [(3, None), (None, BAD)]),
    (["yes", "N", "1", "maybe"], pl.Boolean(), [(True, None), (False, None), (True, None), (None, BAD)]),
    ([1, 0, 2], pl.Boolean(), [(True, None), (False, None), (None, BAD)]),
    (["[1, 2.5]", "[ ]", "1, 2"], pl.List(pl.Float32()), [([1.0, 2.5], None), ([], None), (None, BAD)]),
    ([[1, 2], None], pl.List(pl.Float32()), [([1.0, 2.0], None), (None, None)]),
    ([" view ", "look"], pl.Enum(["view"]), [("view", None), (None, BAD)]),
]


@pytest.mark.parametrize(("values", "wanted", "expected"), CASES, ids=lambda case: str(case)[:40])
def test_values(values: list[object], wanted: pl.DataType, expected: list[tuple[object, str | None]]) -> None:
    assert read(values, wanted=wanted) == [
        (pytest.approx(value) if isinstance(value, float) else value, problem) for value, problem in expected
    ]


def test_a_float32_is_its_shortest_decimal() -> None:
    assert read([2.55, 477.95], wanted=pl.Float64(), stored=pl.Float32()) == [(2.55, None), (477.95, None)]


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-01T12:00:00Z",
        "2025-06-01 12:00:00+00:00",
        "2025-06-01T14:00:00.000+0200",
        "2025-06-01T12:00Z",
        "2025-06-01 12:00:00 UTC",
        " 2025-06-01T07:30:00-04:30 ",
    ],
)
def test_written_instants(text: str) -> None:
    assert read([text], wanted=TIME) == [(NOON, None)]


def test_a_date_is_its_first_moment() -> None:
    midnight = NOON.replace(hour=0)
    assert read(["2025-06-01", "2025-06-31"], wanted=TIME) == [(midnight, None), (None, BAD)]
    assert read(["2025-06-01"], wanted=TIME, timezone="Europe/Berlin") == [(midnight, None)]


def test_instants_without_zone() -> None:
    without = "x without time zone"
    naive = NOON.replace(tzinfo=None)
    assert read(["2025-06-01T12:00:00", "2025-13-01T12:00:00Z", "soon"], wanted=TIME) == [
        (None, without),
        (None, BAD),
        (None, BAD),
    ]
    assert read([naive], wanted=TIME) == [(None, without)]
    assert read(["2025-06-01T14:00:00"], wanted=TIME, timezone="Europe/Berlin") == [(NOON, None)]
    assert read([naive.replace(hour=14)], wanted=TIME, timezone="Europe/Berlin") == [(NOON, None)]


def test_hours_that_never_were_or_stood_twice() -> None:
    never, twice = "2025-03-30T02:30:00", "2025-10-26T02:30:00"
    found = read([never, twice], wanted=TIME, timezone="Europe/Berlin")
    assert [value for value, _ in found] == [None, None]


def test_other_stored_times() -> None:
    assert read([date(2025, 6, 1)], wanted=TIME) == [(NOON.replace(hour=0), None)]
    nano = pl.Datetime("ns", "Europe/Berlin")
    assert read([NOON], wanted=TIME, stored=nano) == [(NOON, None)]
    assert read([1_700_000_000], wanted=TIME) == [(None, BAD)]


def test_numbers_that_only_order() -> None:
    first = datetime(1970, 1, 1, tzinfo=UTC)
    assert read([0, 5], wanted=TIME, order=True) == [(first, None), (first.replace(microsecond=5), None)]
    assert read(["0", "2025-06-01T12:00:00Z"], wanted=TIME, order=True) == [(first, None), (NOON, None)]


@pytest.mark.parametrize("unit", ["ms", "us"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_instants_outside_the_calendar_are_unreadable_and_can_be_shown(unit: str, zone: str | None) -> None:
    """A file can hold the year -1199 or 287,000; nothing that reads it on could."""
    stored = pl.Datetime(unit, zone)  # type: ignore[arg-type]
    numbers = pl.Series("x", [-(10**17), 9 * 10**18, 0]).cast(stored)
    one = cast("x", stored=stored, wanted=TIME, timezone="UTC", order=False)
    found = numbers.to_frame().select(one.value, one.problem.is_not_null().alias("problem")).rows()
    assert found == [(None, True), (None, True), (datetime(1970, 1, 1, tzinfo=UTC), False)]
    shown = numbers.to_frame().select(text(pl.col("x"), stored)).to_series().to_list()
    assert shown[:2] == [str(-(10**17)), str(9 * 10**18)]
    assert shown[2].startswith("1970-01-01 00:00:00")


def test_the_year_zero_is_unreadable() -> None:
    assert read(["0000-01-01", "0000-12-31T23:59:59Z"], wanted=TIME) == [(None, BAD), (None, BAD)]
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert read(["0001-01-01T00:00:00Z"], wanted=TIME) == [(first, None)]
