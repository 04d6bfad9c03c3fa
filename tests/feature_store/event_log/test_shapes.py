"""Events in the shapes of UBI 1.3, Amazon Personalize and Google Retail, as their own documents show them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.event_log.contract import COLUMNS, microseconds
from feature_store.event_log.door import Door
from feature_store.event_log.shapes.names import TRANSLATORS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def taken(shape: str, *rows: Any, key: str | None = "k") -> list[dict[str, Any]]:
    checked = Door().check(rows, shape=shape, key=key, now=NOW)
    assert checked.refused == []
    found = [json.loads(event.body) for event in checked.events]
    return [one | {"attributes": json.loads(one["attributes"])} if "attributes" in one else one for one in found]


def refused(shape: str, row: Any) -> str:
    checked = Door().check([row], shape=shape, now=NOW)
    assert checked.events == []
    return checked.refused[0].reason


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


UBI = {
    "application": "amazon-shop",
    "action_name": "add_to_cart",
    "query_id": "00112233-4455-6677-8899-aabbccddeeff",
    "session_id": "84266fdbd31d4c2c6d0665f7e8380fa3",
    "client_id": "BugsBunny::Firefox@0967084",
    "user_id": "u1",
    "timestamp": "2018-11-13T20:20:39+00:00",
    "message_type": "CONVERSION",
    "event_attributes": {"object": {"object_id": "XYZ-12345", "object_id_field": "sku"}, "position": {"ordinal": 3}},
}


def test_ubi() -> None:
    (found,) = taken("ubi", UBI)
    assert len(found.pop("event_id")) == 32
    assert found == {
        "user_id": "u1",
        "product_id": "XYZ-12345",
        "timestamp": at("2018-11-13T20:20:39Z"),
        "event_type": "add_to_cart",
        "session_id": "84266fdbd31d4c2c6d0665f7e8380fa3",
        "query_id": "00112233-4455-6677-8899-aabbccddeeff",
        "position": 3,
        "attributes": {name: UBI[name] for name in ("application", "message_type", "event_attributes")},
    }


def test_a_client_of_ubi_is_no_user_and_a_message_is_the_query_of_a_search() -> None:
    search = {"action_name": "search", "timestamp": "2018-11-13T20:20:39Z", "client_id": "c", "message": "blue sofa"}
    (found,) = taken("ubi", search)
    assert "user_id" not in found
    assert (found["session_id"], found["event_type"], found["query"]) == ("c", "search", "blue sofa")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action_name": "brand_filter"}, "action_name none of click, click_through"),
        ({"action_name": None}, "action_name missing"),
        ({"timestamp": "2018-11-13T20:20:39"}, "timestamp without time zone"),
        ({"event_attributes": {"position": {"ordinal": 1}}}, "product_id missing"),
    ],
)
def test_what_ubi_can_not_say_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refused("ubi", UBI | changes).startswith(reason)


PERSONALIZE = {
    "trackingId": "t",
    "userId": "u1",
    "sessionId": "s1",
    "eventList": [
        {
            "eventId": "e1",
            "eventType": "Purchase",
            "eventValue": 3.5,
            "itemId": "p1",
            "sentAt": 1719511760,
            "recommendationId": "RID-1",
            "impression": ["p1", "p2"],
            "properties": '{"discount": "12"}',
        },
        {"eventType": "AddToCart", "itemId": "p2", "sentAt": 1719511761.25},
    ],
}


def test_personalize() -> None:
    first, second, bought, carted = taken("personalize", PERSONALIZE)
    shared = {"user_id": "u1", "session_id": "s1", "list_id": "RID-1", "timestamp": 1719511760_000000}
    assert first == shared | {
        "event_id": "e1/impression/1", "event_type": "impression", "product_id": "p1", "position": 1
    }  # fmt: skip
    assert (second["event_id"], second["product_id"], second["position"]) == ("e1/impression/2", "p2", 2)
    assert bought == shared | {
        "event_id": "e1", "event_type": "purchase", "product_id": "p1", "value": 3.5,
        "attributes": {"properties": {"discount": "12"}},
    }  # fmt: skip
    assert (carted["event_type"], carted["timestamp"]) == ("add_to_cart", 1719511761_250000)
    assert len(carted["event_id"]) == 32


def test_one_event_that_personalize_has_wrong_keeps_its_whole_row_out() -> None:
    wrong = PERSONALIZE | {"eventList": [*PERSONALIZE["eventList"], {"eventType": "stare", "sentAt": 1}]}
    assert refused("personalize", wrong).startswith("eventType none of view, watch")
    assert refused("personalize", PERSONALIZE | {"eventList": []}) == "eventList missing"
    assert refused("personalize", {"eventList": [{"eventType": "view", "itemId": "p", "sentAt": 1e30}]}) == (
        "sentAt unreadable"
    )


RETAIL = {
    "eventType": "purchase-complete",
    "visitorId": "v1",
    "eventTime": "2020-01-01T03:33:33.000001Z",
    "sessionId": "s1",
    "attributionToken": "token",
    "productDetails": [
        {"product": {"id": "p1", "priceInfo": {"price": 9.99}}, "quantity": 3},
        {"product": {"id": "p2"}, "quantity": 1},
    ],
    "purchaseTransaction": {"id": "o1", "revenue": 39.96, "currencyCode": "USD"},
}


def test_retail() -> None:
    first, second = taken("retail", RETAIL)
    assert first["event_id"] != second["event_id"]
    del first["event_id"]
    assert first == {
        "user_id": "v1",
        "product_id": "p1",
        "timestamp": at("2020-01-01T03:33:33.000001Z"),
        "event_type": "purchase",
        "quantity": 3.0,
        "price": 9.99,
        "order_id": "o1",
        "session_id": "s1",
        "list_id": "token",
        "attributes": {"purchaseTransaction": RETAIL["purchaseTransaction"]},
    }
    assert (second["product_id"], second["order_id"]) == ("p2", "o1")


def test_a_search_of_retail_is_a_search_and_what_it_showed() -> None:
    search = {
        "eventType": "search", "eventId": "e", "visitorId": "v", "userInfo": {"userId": "u"}, "searchQuery": "sofa",
        "eventTime": "2020-01-01T03:33:33Z", "productDetails": [{"product": {"id": "p1"}}, {"product": {"id": "p2"}}],
    }  # fmt: skip
    found = taken("retail", search)
    assert [(one["event_id"], one["event_type"], one.get("product_id"), one.get("position")) for one in found] == [
        ("e", "search", None, None),
        ("e/1", "impression", "p1", 1),
        ("e/2", "impression", "p2", 2),
    ]
    assert {one["user_id"] for one in found} == {"u"}
    assert {one["query"] for one in found} == {"sofa"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"eventType": "home-page-view"}, "eventType none of detail-page-view"),
        ({"productDetails": []}, "productDetails missing"),
        ({"productDetails": [{"product": {}}]}, "product_id missing"),
        ({"eventTime": None}, "timestamp missing"),
    ],
)
def test_what_retail_can_not_say_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refused("retail", RETAIL | changes).startswith(reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "eventList", "eventType", "sentAt", "impression", "properties", "productDetails", "product", "userInfo",
    "action_name", "event_attributes", "object", "timestamp", "eventTime", "itemId", "eventId", "visitorId",
)  # fmt: skip
NESTED = st.recursive(JSON, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner | st.lists(inner, max_size=2)))


@given(st.sampled_from(sorted(TRANSLATORS)), st.lists(NESTED, max_size=3))
def test_no_row_however_wrong_breaks_the_door(shape: str, rows: list[Any]) -> None:
    checked = Door().check(rows, shape=shape, now=NOW)
    for event in checked.events:
        assert set(json.loads(event.body)) <= set(COLUMNS)
    assert all(one.reason for one in checked.refused)


@pytest.mark.parametrize(
    ("shape", "row"),
    [("ubi", UBI), ("personalize", PERSONALIZE), ("retail", RETAIL)],
    ids=["ubi", "personalize", "retail"],
)
@given(place=st.sampled_from(NAMES), value=JSON)
def test_any_wrong_value_is_told(shape: str, row: dict[str, Any], place: str, value: Any) -> None:
    checked = Door().check([row | {place: value}], shape=shape, now=NOW)
    assert bool(checked.events) != bool(checked.refused)
