"""What passes the door holds the contract of the events table, and what does not is told why."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store import contracts, validate
from feature_store.checking import check_table, type_table
from feature_store.config import ShopConfig
from feature_store.event_log import contract
from feature_store.event_log.compact import part_frame
from feature_store.event_log.door import CLOCK_SKEW, Door
from feature_store.event_log.log import Stored
from feature_store.event_log.table import numbered
from feature_store.masking import Mask
from feature_store.readers import RawTable
from tests.event_logs import row

NOW = datetime(2025, 4, 1, tzinfo=UTC)


def reasons(*rows: Any, **options: Any) -> list[tuple[int, str]]:
    return [tuple(one) for one in Door(**options).check(rows, now=NOW).refused]


def body(one: Any, **options: Any) -> dict[str, Any]:
    (event,) = Door(told_known_at=True, **options).check([one], now=NOW).events
    found: dict[str, Any] = json.loads(event.body)
    assert (event.event_id, event.user_id) == (found["event_id"], found.get("user_id"))
    return found


def test_the_copies_of_constants_agree() -> None:
    assert contract.LONGEST_ID == contracts.LONGEST_ID
    assert CLOCK_SKEW == validate.CLOCK_SKEW
    assert [*contract.EventKind.__args__] == contracts.EVENT_TYPES
    assert set(contract.COLUMNS) == {*contracts.contract_columns("events"), "attributes"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"timestamp": None}, "timestamp missing"),
        ({"timestamp": "2025-03-30T10:00:00"}, "timestamp without time zone"),
        ({"timestamp": "yesterday"}, "timestamp unreadable"),
        ({"timestamp": 1743328800}, "timestamp unreadable"),
        ({"timestamp": "2025-04-02T00:00:01Z"}, "timestamp in the future"),
        ({"event_type": "stare"}, "event_type none of the known types"),
        ({"product_id": None}, "product_id missing"),
        ({"product_id": "p" * 121}, "product_id too long"),
        ({"user_id": ["u1"]}, "user_id unreadable"),
        ({"user_id": "u\x00"}, "user_id unreadable"),
        ({"user_id": "\ud800"}, "user_id unreadable"),
        ({"price": -1}, "price below the least allowed"),
        ({"price": float("inf")}, "price infinite"),
        ({"propensity": 0}, "propensity not above 0"),
        ({"propensity": 1.5}, "propensity above the most allowed"),
        ({"position": 1.5}, "position unreadable"),
        ({"position": 2**64}, "position above the most allowed"),
        ({"event_type": "purchase", "quantity": 0}, "purchase quantity not above 0"),
        ({"colour": "red"}, "colour is no column of events (your own fields go under attributes)"),
        ({"attributes": {"long": "x" * 20_000}}, "attributes too long"),
        ({"known_at": "2025-03-30T10:00:00Z"}, "known_at is told by the log"),
    ],
)
def test_a_row_that_breaks_the_contract_is_named_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert reasons(row(), row() | changes, row(1)) == [(1, reason)]


@pytest.mark.parametrize("one", [None, 5, "text", [], [row()]])
def test_what_is_no_object_is_refused(one: Any) -> None:
    assert reasons(one) == [(0, "no JSON object")]


def test_missing_values_are_left_out_and_numbers_pass_as_ids() -> None:
    found = body(row() | {"user_id": 17850, "query": "", "price": float("nan"), "session_id": None})
    assert found == row() | {"user_id": "17850", "timestamp": 1743328800000000}


def test_moments_are_kept_to_the_microsecond() -> None:
    found = body(row(timestamp="2025-03-30T12:00:00.123456+02:00", known_at=datetime(1900, 1, 1, tzinfo=UTC)))
    assert found["timestamp"] == 1743328800123456
    assert found["known_at"] == -2208988800000000


def test_an_event_without_id_gets_one() -> None:
    plain = row(event_id=None)

    def made(*rows: Any, **options: Any) -> list[str]:
        return [event.event_id for event in Door().check(rows, now=NOW, **options).events]

    assert len({*made(plain, plain), *made(plain)}) == 3
    twice = made(plain, plain, key="k")
    assert len(set(twice)) == 2
    assert made(plain, plain, key="k") == twice
    assert [*made(plain, key="k"), *made(plain, key="k", start=1)] == twice
    assert not {*made(plain, plain, key="other"), *made(row(event_id=None, price=1), key="k")} & set(twice)
    assert made(row(5), key="k") == ["e5"]


def test_users_are_masked_and_stay_apart() -> None:
    door = Door(Mask(b"k" * 32))
    found = door.check([row(0), row(7), row(1), row(2, user_id=None)], now=NOW).events
    first, same, other, nobody = (event.user_id for event in found)
    assert first == same == Mask(b"k" * 32)("u00")
    assert first != other
    assert nobody is None
    assert "u00" not in found[0].body
    assert Mask(b"j" * 32)("u00") != first


TEXT = st.text(max_size=12)
ANY = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.lists(TEXT, max_size=2)
    | st.dictionaries(TEXT, TEXT)
)
IDS = st.text(min_size=1, max_size=130) | st.integers() | ANY
NUMBERS = st.floats(-2, 3) | st.integers(-1, 3) | ANY
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("user_id", "product_id", "event_id", "order_id", "session_id", "query_id", "list_id", "policy"), IDS
    ),
    **dict.fromkeys(("value", "quantity", "price", "position", "propensity"), NUMBERS),
    "timestamp": st.datetimes(datetime(1990, 1, 1), datetime(2025, 3, 31), timezones=st.just(UTC)).map(str) | ANY,
    "event_type": st.sampled_from(contracts.EVENT_TYPES) | ANY,
    "query": TEXT,
    "attributes": st.dictionaries(TEXT, ANY, max_size=3),
}


@given(st.lists(st.fixed_dictionaries({}, optional=LIKELY) | ANY | st.fixed_dictionaries(LIKELY), max_size=6))
def test_what_passes_holds_the_contract_and_loses_nothing(rows: list[Any]) -> None:
    """Whatever is sent is either an event that the events table takes as it is, or is named."""
    checked = Door().check(rows, now=NOW)
    assert len(checked.events) + len(checked.refused) == len(rows)
    assert len({one.row for one in checked.refused}) == len(checked.refused)
    if not checked.events:
        return
    frame = part_frame([Stored(number, 5, event.body) for number, event in enumerate(checked.events, start=1)])
    assert frame["event_id"].to_list() == [event.event_id for event in checked.events]
    assert frame["user_id"].to_list() == [event.user_id for event in checked.events]
    kinds = dict(frame.schema)
    raw = RawTable("events", Path("events"), (), "Parquet", numbered(frame.lazy()), kinds)
    typed = type_table(raw, config=ShopConfig())
    held = contracts.CONTRACTS["events"].filter(typed.frame)
    assert held.result.collect().height == len(checked.events), held.failure.details()
    assert typed.nans == {}
    assert frame["known_at"].to_list() == [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=5)] * frame.height


def test_a_part_keeps_what_the_rows_said(tmp_path: Path) -> None:
    full = row(
        event_type="purchase", value=1.5, quantity=2, price=9.99, order_id="o", session_id="s", query="blue sofa",
        query_id="q", position=3, list_id="l", policy="shuffled", propensity=0.25, attributes={"colour": "blau"},
    )  # fmt: skip
    (event,) = Door().check([full], now=NOW).events
    frame = part_frame([Stored(1, 5, event.body)])
    assert frame.schema == {**contracts.contract_columns("events"), "attributes": pl.String()}
    kept = frame.drop("known_at").row(0, named=True)
    assert kept == full | {"timestamp": datetime(2025, 3, 30, 10, tzinfo=UTC), "attributes": '{"colour": "blau"}'}
    typed = type_table(
        RawTable("events", tmp_path, (), "Parquet", numbered(frame.lazy()), dict(frame.schema)),
        config=ShopConfig(),
    )
    assert check_table(typed, staging=tmp_path).quarantine.is_empty()
