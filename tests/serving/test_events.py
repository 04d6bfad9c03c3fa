"""POST /v1/events over real HTTP: what is acknowledged is on the disk, once; what is not is told why."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.event_log.door import Door
from feature_store.event_log.sqlite import SqliteLog
from feature_store.event_log.writer import Writer
from feature_store.masking import Mask
from serving.event_schemas import MAX_EVENTS
from serving.events import EventDesk
from serving.telemetry import Telemetry
from tests.event_logs import SlowLog, ids, row
from tests.serving.conftest import Shelf, serving_at
from tests.serving.test_bad_requests import JSON

Serve = Callable[..., Any]


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    shelf = Shelf(tmp_path / "indexes")
    shelf.publish("first")

    def at(log: Any, *, mask: Mask | None = None, **options: Any) -> Any:
        def desk(telemetry: Telemetry) -> EventDesk:
            writer = Writer(log, observe=telemetry.commit, **options)
            telemetry.waiting(lambda: writer.events)
            return EventDesk(Door(mask), writer, telemetry)

        return serving_at(shelf.live(), desk=desk)

    return at


@pytest.fixture
def client(serve: Serve, log: SqliteLog) -> Iterator[httpx.Client]:
    with serve(log) as client:
        yield client


def post(client: httpx.Client, *rows: Any, **options: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if (key := options.pop("key", None)) else {}
    return client.post("/v1/events", content=json.dumps({"events": rows} | options), headers=headers)


def test_what_is_acknowledged_is_in_the_log_once(client: httpx.Client, tmp_path: Path) -> None:
    answer = post(client, row(1), row(2), row(1))
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicates": 1, "refused": []}
    assert post(client, row(2), row(3)).json() == {"accepted": 1, "duplicates": 1, "refused": []}
    assert ids(SqliteLog(tmp_path / "log.db")) == ["e1", "e2", "e3"]


def test_a_bad_row_is_named_and_keeps_no_other_out(client: httpx.Client, log: SqliteLog) -> None:
    answer = post(client, row(1), row(2, timestamp="2025-01-01T00:00:00"), "text", row(3), None)
    assert answer.json() == {
        "accepted": 2,
        "duplicates": 0,
        "refused": [
            {"row": 1, "reason": "timestamp without time zone"},
            {"row": 2, "reason": "no JSON object"},
            {"row": 4, "reason": "no JSON object"},
        ],
    }
    assert ids(log) == ["e1", "e3"]
    assert post(client, row(1, event_type="stare")).json()["accepted"] == 0
    assert post(client).json() == {"accepted": 0, "duplicates": 0, "refused": []}


def test_a_request_that_is_sent_again_with_its_key_adds_nothing(client: httpx.Client) -> None:
    plain = row(event_id=None)
    assert post(client, plain, plain, key="checkout-7").json()["accepted"] == 2
    assert post(client, plain, plain, key="checkout-7").json() == {"accepted": 0, "duplicates": 2, "refused": []}
    assert post(client, plain).json()["accepted"] == 1
    assert post(client, plain).json()["accepted"] == 1


def test_foreign_shapes_are_read(client: httpx.Client) -> None:
    event = {"eventType": "view", "itemId": "p1", "sentAt": 1700000000, "impression": ["p1", "p2"]}
    answer = post(client, {"userId": "u", "sessionId": "s", "eventList": [event]}, shape="personalize")
    assert answer.json() == {"accepted": 3, "duplicates": 0, "refused": []}
    assert post(client, row(), shape="other").status_code == 422


def test_users_are_masked_at_the_door(serve: Serve, log: SqliteLog) -> None:
    mask = Mask(b"k" * 32)
    with serve(log, mask=mask) as client:
        post(client, row(0, user_id="SECRET"))
    (stored,) = log.tail([mask("SECRET")], after=0, limit=1)[0]
    assert "SECRET" not in stored.body


def test_a_full_queue_is_429_and_what_was_taken_before_is_written(serve: Serve, log: SqliteLog) -> None:
    slow = SlowLog(log)
    with serve(slow, most_waiting=10) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, client, *map(row, range(8)))
        assert slow.begun.wait(30)
        refused = post(client, *map(row, range(8, 12)))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"] == {
            "found": "8 events wait to be written",
            "expected": "at most 10 with these 4",
            "action": "send the same events again in a moment",
        }
        assert "recsys_events_waiting 8.0" in client.get("/metrics").text
        slow.may.set()
        assert first.result().json()["accepted"] == 8
        assert post(client, *map(row, range(8, 12))).json()["accepted"] == 4
    assert len(ids(log)) == 12


def test_a_full_disk_is_503_and_the_service_goes_on(client: httpx.Client, log: SqliteLog) -> None:
    post(client, row(1))
    pages = log._writer.execute("PRAGMA page_count").fetchone()[0]
    log._writer.execute(f"PRAGMA max_page_count = {pages}")
    full = post(client, *(row(number, attributes={"text": "x" * 1000}) for number in range(2, 100)))
    assert full.status_code == 503
    assert full.headers["retry-after"] == "1"
    assert "the disk is full" in full.json()["error"]["found"]
    assert client.post("/v1/search", json={"query": "red"}).status_code == 200
    log._writer.execute("PRAGMA max_page_count = 100000")
    assert post(client, *map(row, range(100))).json()["accepted"] == 99


def test_a_client_that_leaves_does_not_stop_the_log(serve: Serve, log: SqliteLog) -> None:
    slow = SlowLog(log)
    with serve(slow) as client:
        address = client.base_url
        with httpx.Client(base_url=address, timeout=0.05) as hasty:
            for number in range(3):
                with pytest.raises(httpx.ReadTimeout):
                    post(hasty, row(number))
        slow.may.set()
        assert post(client, row(9)).json()["accepted"] == 1
    assert {"e0", "e9"} <= set(ids(log))


def test_too_much_at_once_is_refused_as_a_whole(client: httpx.Client, log: SqliteLog) -> None:
    assert post(client, *[row()] * (MAX_EVENTS + 1)).status_code == 422
    large = post(client, *(row(number, attributes={"text": "x" * 16_000}) for number in range(300)))
    assert large.status_code == 413
    assert log.head() == 0


def test_figures(client: httpx.Client) -> None:
    post(client, row(1), row(1), row(2, event_type="stare"))
    text = client.get("/metrics").text
    for result in ("accepted", "duplicate", "refused"):
        assert f'recsys_events_total{{result="{result}"}} 1.0' in text
    assert "recsys_commit_events_sum 2.0" in text
    assert 'recsys_stage_seconds_count{stage="commit"} 1.0' in text


def test_the_example_of_the_page_is_taken(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    (example,) = schema["components"]["schemas"]["EventsRequest"]["examples"]
    assert client.post("/v1/events", json=example).json()["accepted"] == 1
    assert {"413", "422", "429", "503"} <= set(schema["paths"]["/v1/events"]["post"]["responses"])


@settings(max_examples=100, deadline=None)
@given(body=JSON | st.fixed_dictionaries({"events": JSON | st.lists(JSON, max_size=3)}, optional={"shape": JSON}))
def test_no_body_however_wrong_is_a_500(shared: httpx.Client, body: Any) -> None:
    answer = shared.post("/v1/events", content=json.dumps(body))
    assert answer.status_code in {200, 400, 422}, answer.text


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("events")
    shelf = Shelf(folder / "indexes")
    shelf.publish("first")
    desk = lambda telemetry: EventDesk(Door(), Writer(SqliteLog(folder / "log.db")), telemetry)  # noqa: E731
    with serving_at(shelf.live(), desk=desk) as client:
        yield client
