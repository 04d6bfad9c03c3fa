"""Every route over real HTTP, against answers worked out by hand."""

import json
from typing import Any

import httpx
import pytest


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["product_id"] for hit in answer.json()["hits"]]


def test_search_orders_by_score_then_position(client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": "red sofa", "k": 4})
    # bits: red 1, sofa 4: 5 = red sofa is the first with both, then 7, 13, 15
    assert ids(answer) == ["p005", "p007", "p013", "p015"]
    body = answer.json()
    assert body["rung"] == "query"
    assert body["model_version"] == "stock"
    assert body["hits"][0] == {"product_id": "p005", "rank": 1, "score": 2.0, "source": "words"}


def test_search_filters_and_fields(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/search",
        json={"query": "red sofa", "k": 2, "filters": {"price_min": 60}, "fields": ["title", "price", "brand"]},
    )
    assert ids(answer) == ["p007", "p013"]
    assert answer.json()["hits"][0]["fields"] == {"title": "red blue sofa", "price": 70.0, "brand": None}


def test_unknown_field_is_a_plain_refusal(client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": "red", "fields": ["colour"]})
    assert answer.status_code == 400
    assert answer.json()["error"]["found"] == "no column 'colour' in the catalogue"


def test_rank_takes_the_callers_products_only(client: httpx.Client) -> None:
    body = {"query": "blue lamp", "product_ids": ["p001", "p002", "p010", "absent"]}
    assert ids(client.post("/v1/rank", json=body)) == ["p010", "p002"]


def test_recommend_by_user_and_by_session(client: httpx.Client) -> None:
    assert ids(client.post("/v1/recommend", json={"user_id": "u-sofa", "k": 2})) == ["p004", "p005"]
    answer = client.post("/v1/recommend", json={"events": [{"product_id": "p003"}, {"product_id": "absent"}], "k": 1})
    assert ids(answer) == ["p003"]
    assert answer.json()["rung"] == "session"
    both = {"user_id": "u-sofa", "events": [{"product_id": "p003"}], "k": 1}
    assert (ids(client.post("/v1/recommend", json=both)), answer.json()["rung"]) == (["p003"], "session")


@pytest.mark.parametrize("body", [{}, {"events": []}, {"events": [{"product_id": "absent"}]}, {"user_id": "absent"}])
def test_nobody_known_still_gets_an_answer(client: httpx.Client, body: Any) -> None:
    answer = client.post("/v1/recommend", json=body)
    assert ids(answer)
    assert answer.json()["rung"] in {"personal", "session"}


def test_numbers_pass_as_ids(client: httpx.Client) -> None:
    assert client.post("/v1/recommend", json={"user_id": 17850}).status_code == 200


def test_similar(client: httpx.Client) -> None:
    assert ids(client.post("/v1/similar", json={"product_id": "p003", "k": 2})) == ["p003", "p007"]
    nothing = client.post("/v1/similar", json={"product_id": "absent"})
    assert ids(nothing) == []
    assert nothing.json()["rung"] == "none"


def test_rerank_in_the_common_shape(client: httpx.Client) -> None:
    body = {
        "model": "any",
        "query": "red mug",
        "documents": ["a blue lamp", {"text": "a red mug"}, "a red lamp"],
        "top_n": 2,
        "return_documents": True,
        "max_tokens_per_doc": 4096,
    }
    answer = client.post("/v1/rerank", json=body)
    assert answer.status_code == 200
    assert answer.json()["results"] == [
        {"index": 1, "relevance_score": 2.0, "document": {"text": "a red mug"}},
        {"index": 2, "relevance_score": 1.0, "document": {"text": "a red lamp"}},
    ]
    assert answer.json()["id"]
    bare = client.post("/v1/rerank", json={"query": "red", "documents": ["red", "red"]}).json()["results"]
    assert bare == [{"index": 0, "relevance_score": 1.0}, {"index": 1, "relevance_score": 1.0}]
    assert client.post("/v1/rerank", json={"query": "red", "documents": []}).json()["results"] == []


def test_empty_catalogue_answers_with_the_rung_none(shelf: Any, serve: Any) -> None:
    shelf.publish("bare", size=0)
    with serve(shelf.live()) as client:
        for route, body in [
            ("search", {"query": "red"}),
            ("rank", {"query": "red", "product_ids": ["p001"]}),
            ("recommend", {"user_id": "u-sofa"}),
            ("recommend", {"events": [{"product_id": "p001"}]}),
            ("similar", {"product_id": "p001"}),
        ]:
            answer = client.post(f"/v1/{route}", json=body)
            assert ids(answer) == []
            assert answer.json()["rung"] == "none"


def test_health_and_metrics(shelf: Any, serve: Any) -> None:
    shelf.publish("first")
    with serve(shelf.live()) as client:
        check_health_and_metrics(client)


def check_health_and_metrics(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["products"] == 32
    client.post("/v1/search", json={"query": "red"})
    client.post("/v1/search", json={"query": 1.5, "k": 0})
    text = client.get("/metrics").text
    assert 'recsys_answers_total{route="search",rung="query"} 1.0' in text
    assert 'recsys_request_seconds_count{route="/v1/search",status="200"} 1.0' in text
    assert 'recsys_request_seconds_count{route="/v1/search",status="422"} 1.0' in text
    assert 'recsys_stage_seconds_count{stage="model"} 1.0' in text
    assert "recsys_index_ready 1.0" in text
    assert "recsys_index_age_seconds" in text


def test_no_index_yet_is_alive_but_not_ready(shelf: Any, serve: Any) -> None:
    with serve(shelf.live()) as client:
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert ready.json()["failure"]["action"] == "run `recsys index SHOP`"
        answer = client.post("/v1/search", json={"query": "red"})
        assert answer.status_code == 503
        assert answer.json()["error"]["expected"]


def test_openapi_tells_routes_examples_and_errors(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert {f"/v1/{route}" for route in ("search", "rank", "recommend", "similar", "rerank")} <= set(schema["paths"])
    for name in ("SearchRequest", "RankRequest", "RecommendRequest", "SimilarRequest", "RerankRequest"):
        for example in schema["components"]["schemas"][name]["examples"]:
            route = name.removesuffix("Request").lower()
            answer = client.post(f"/v1/{route}", json=example)
            assert answer.status_code == 200, (name, answer.text)
    refused = schema["paths"]["/v1/search"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused["$ref"].endswith("FailureResponse")
    assert json.dumps(schema)


def test_a_corrected_query_is_named_and_can_be_switched_off(client: httpx.Client) -> None:
    body = client.post("/v1/search", json={"query": "red soffa", "k": 1}).json()
    assert body["corrected_query"] == "red sofa"
    assert "understanding" not in body
    typed = client.post("/v1/search", json={"query": "red soffa", "k": 1, "correct": False}).json()
    assert "corrected_query" not in typed


def test_what_was_read_comes_with_the_explanation(client: httpx.Client) -> None:
    body = client.post("/v1/search", json={"query": "red sofa", "explain": True}).json()
    assert body["understanding"]["text"] == "red sofa"
    assert body["understanding"]["spans"] == []
