"""No request, however wrong, gets a 500: it gets the one error shape with a 4xx, or an answer."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROUTES = ("search", "rank", "recommend", "similar", "rerank")


def check(answer: httpx.Response) -> None:
    assert answer.status_code in {200, 400, 413, 422}, answer.text
    body = answer.json()
    if answer.status_code == 200:
        assert "hits" in body or "results" in body
    else:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"found", "expected", "action"}
        assert all(isinstance(text, str) and text for text in body["error"].values())


@pytest.mark.parametrize(
    ("route", "body", "found"),
    [
        ("search", {"query": "sofa", "k": 100_000}, "body.k is 100000"),
        ("search", {"query": "sofa", "k": 0}, "body.k is 0"),
        ("search", {"query": "sofa", "k": "many"}, "body.k is 'many'"),
        ("search", {"query": ["sofa"]}, "body.query is ['sofa']"),
        ("search", {"query": "x" * 10_000}, "body.query is 'xxx"),
        ("search", {"query": "sofa", "filter": {}}, "body.filter is {}"),
        ("search", {"query": "sofa", "stages": "fast"}, "body.stages is 'fast'"),
        (
            "search",
            {"query": "sofa", "filters": {"price_min": 9, "price_max": 1}},
            "body.filters: price_min 9 is",
        ),
        ("search", {"query": "sofa", "filters": {"price_min": -1}}, "body.filters.price_min is -1"),
        ("search", {}, "body.query is missing"),
        ("rank", {"query": "sofa"}, "body.product_ids is missing"),
        ("rank", {"query": "sofa", "product_ids": ["p"] * 1001}, "body.product_ids is"),
        ("recommend", {"events": [{"product_id": "p", "event_type": "stare"}]}, "body.events.0.event_type is 'stare'"),
        ("recommend", {"user_id": "u", "shape": {"diversity": 2}}, "body.shape.diversity is 2"),
        ("recommend", {"user_id": "u", "shape": {"per_brand": 0}}, "body.shape.per_brand is 0"),
        ("recommend", {"user_id": "u", "shape": {"price_band": [2, 1]}}, "body.shape: price_band begins at 2"),
        ("recommend", {"user_id": "u", "shape": {"sorted": True}}, "body.shape.sorted is True"),
        ("recommend", {"user_id": "u", "at": "2026-03-01T12:00:00"}, "body.at is '2026-03-01T12:00:00'"),
        ("recommend", {"user_id": "u", "at": "noon"}, "body.at is 'noon'"),
        ("similar", {"product_id": ""}, "body.product_id is ''"),
        ("rerank", {"query": "sofa", "documents": [{"body": "x"}]}, "body.documents.0"),
    ],
)
def test_wrong_fields_are_named(client: httpx.Client, route: str, body: Any, found: str) -> None:
    answer = client.post(f"/v1/{route}", json=body)
    assert answer.status_code == 422
    check(answer)
    assert answer.json()["error"]["found"].startswith(found)
    assert len(answer.json()["error"]["found"]) < 200
    assert "should" not in answer.json()["error"]["expected"]


def test_what_was_expected_reads_as_such(client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": "sofa", "k": 0})
    assert answer.json()["error"]["expected"] == "a value greater than or equal to 1"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b'{"query": "\\ud800", "product_id": "\\ud800", "user_id": "\\ud800", "documents": ["\\ud800"]}',
        b'{"query": "sofa", "k": NaN, "documents": [NaN]}',
        b'{"query": "sofa", "filters": {"price_min": NaN}, "product_ids": [], "documents": [Infinity]}',
        b'{"query": "sofa", "filters": {"price_max": 1e999}}',
        b'{"k": 1e400}',
        b"[" * 100_000,
    ],
)
def test_bodies_that_are_no_request(client: httpx.Client, route: str, body: Any) -> None:
    answer = client.post(f"/v1/{route}", content=body, headers={"content-type": "application/json"})
    check(answer)
    assert answer.status_code in {400, 422} or route in {"recommend", "rerank", "rank"}


def test_a_body_above_the_limit_is_refused_with_and_without_a_length(client: httpx.Client) -> None:
    large = json.dumps({"query": "red", "documents": ["x" * 30_000] * 200}).encode()
    check(client.post("/v1/rerank", content=large))
    assert client.post("/v1/rerank", content=large).status_code == 413
    pieces = (large[start : start + 65_536] for start in range(0, len(large), 65_536))
    assert client.post("/v1/rerank", content=pieces).status_code == 413


def test_a_form_is_told_to_be_json(client: httpx.Client) -> None:
    answer = client.post("/v1/search", data={"query": "red"})
    assert answer.status_code == 415
    assert answer.json()["error"]["expected"] == "application/json"


@pytest.mark.parametrize("kind", ["APPLICATION/JSON", "application/json ; charset=utf-8", "application/problem+json"])
def test_json_by_another_spelling_is_json(client: httpx.Client, kind: str) -> None:
    for body, status in (({"query": "red"}, 200), ({}, 422)):
        answer = client.post("/v1/search", content=json.dumps(body), headers={"content-type": kind})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"query": "red", "k": ' + b"9" * 5000 + b"}", b'{"query": "\xf6"}'])
def test_what_no_parser_takes_is_told_as_such(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["expected"].startswith("JSON in UTF-8, nested less deeply")


def test_routes_and_methods_that_are_not_there(client: httpx.Client) -> None:
    for answer, status in [(client.get("/v1/absent"), 404), (client.get("/v1/search"), 405)]:
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"found", "expected", "action"}


TEXT = st.text(st.characters(codec=None), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NAMES = ("query", "k", "filters", "product_ids", "user_id", "events", "product_id", "documents", "top_n", "fields")
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "query": TEXT,
        "k": st.integers(-2, 2000),
        "filters": st.dictionaries(st.sampled_from(("brand", "category", "price_min", "in_stock", "only")), JSON),
        "product_ids": st.lists(st.sampled_from(("p001", "p031", "absent")) | TEXT, max_size=5),
        "user_id": TEXT,
        "events": st.lists(st.fixed_dictionaries({"product_id": TEXT}), max_size=3),
        "product_id": TEXT,
        "documents": st.lists(TEXT | st.fixed_dictionaries({"text": TEXT}), max_size=4),
        "top_n": st.integers(-1, 9),
        "fields": st.lists(st.sampled_from(("title", "price", "absent")), max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(route=st.sampled_from(ROUTES), body=JSON | LIKELY | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
def test_fuzz(client: httpx.Client, route: str, body: Any) -> None:
    check(client.post(f"/v1/{route}", content=json.dumps(body), headers={"content-type": "application/json"}))


@settings(max_examples=50, deadline=None)
@given(query=TEXT)
def test_any_text_is_a_query(client: httpx.Client, query: str) -> None:
    answer = client.post("/v1/search", content=json.dumps({"query": query}))
    lone = any("\ud800" <= sign <= "\udfff" for sign in query)
    assert answer.status_code == (422 if lone else 200)
