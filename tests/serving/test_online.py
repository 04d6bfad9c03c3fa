"""Online features over HTTP: an acknowledged event is in them, once; a store that fails is told and is never a 500."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from feature_store.event_log.door import Door
from feature_store.event_log.sqlite import SqliteLog
from feature_store.event_log.writer import Writer
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online.opening import value_store
from feature_store.online.redis_values import RedisValues
from feature_store.online.values import ValueStore
from feature_store.online.watch import Watch
from feature_store.online_features.follow import Follower
from feature_store.online_features.publish import publish
from feature_store.online_features.store import OnlineFeatures
from recsys.errors import StorageError
from recsys.settings import load_settings
from serving.events import EventDesk
from serving.online import OnlineDesk
from serving.telemetry import Telemetry
from tests.event_logs import row
from tests.redis_server import free_port, redis_server
from tests.serving.conftest import Shelf, serving_at
from tests.serving.test_bad_requests import JSON
from tests.shops import small_tables, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("small") / "shop", small_tables())


def fill(shop: Path, store: ValueStore, home: Path) -> None:
    publish(shop, open_store=lambda _: store, settings=load_settings(home=home), ttl_days=1, idle_days=1e5)


def service(store: ValueStore, folder: Path) -> AbstractContextManager[httpx.Client]:
    """A service over a store, with an event log of its own."""
    shelf = Shelf(folder / "indexes")
    shelf.publish("first")
    online = OnlineDesk(Watch())

    def desk(telemetry: Telemetry) -> EventDesk:
        log = SqliteLog(folder / "log.db")
        online.features = OnlineFeatures(store)
        online.follower = follower = Follower(online.features, log, observe=telemetry.followed)
        telemetry.online(online)
        return EventDesk(Door(), Writer(log, observe=lambda *_: follower.wake()), telemetry)

    return serving_at(shelf.live(), desk=desk, online=online)


@pytest.fixture
def client(shop: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    store = LmdbValues(tmp_path / "features")
    fill(shop, store, tmp_path / "home")
    with service(store, tmp_path) as client:
        yield client


def views(client: httpx.Client, *keys: str) -> list[float]:
    answer = client.post("/v1/features", json={"entity": "product", "keys": keys, "features": ["product_views_7d"]})
    assert answer.status_code == 200, answer.text
    return [one for (one,) in answer.json()["values"]]


def view(client: httpx.Client, name: str, product: str) -> None:
    now = datetime.now(UTC).isoformat()
    event = row(event_id=name, product_id=product, timestamp=now)
    assert client.post("/v1/events", json={"events": [event]}).status_code == 200


def wait_for(look: Callable[[], bool]) -> None:
    """Look until it is so; the test's own time limit ends it otherwise."""
    while not look():
        pass


def test_an_acknowledged_event_is_in_the_features_once(client: httpx.Client) -> None:
    assert views(client, "p01", "p02", "p01") == [0, 0, 0], "the shop's own events are of another year"
    view(client, "a", "p01")
    wait_for(lambda: views(client, "p01") == [1])
    view(client, "a", "p01")
    view(client, "b", "p02")
    wait_for(lambda: views(client, "p02") == [1])
    assert views(client, "p01", "p02", "nothing") == [1, 1, 0]
    ready = client.get("/health/ready").json()
    assert ready["online"] == {"histories": "answers", "features": "answers"}
    figures = client.get("/metrics").text
    assert 'recsys_online_up{part="features"} 1.0' in figures
    wait_for(lambda: "recsys_online_behind 0.0" in client.get("/metrics").text)
    wait_for(lambda: "recsys_online_events_total 2.0" in client.get("/metrics").text)


def test_the_answer_names_what_it_holds(client: httpx.Client) -> None:
    answer = client.post("/v1/features", json={"entity": "user_product", "keys": [["u01", "p01"]]}).json()
    assert answer["entity"] == "user_product"
    assert "user_product_days_since_view" in answer["features"]
    assert [len(one) for one in answer["values"]] == [len(answer["features"])]
    assert datetime.fromisoformat(answer["at"]).year >= 2025
    schema = client.get("/openapi.json").json()
    (example,) = schema["components"]["schemas"]["FeaturesRequest"]["examples"]
    assert client.post("/v1/features", json=example).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        ({"keys": ["p01"], "features": ["stars"]}, 400, "no feature stars of product"),
        ({"keys": [["p01", "p02"]]}, 400, "a key of 2 parts"),
        ({"keys": ["p01"], "at": "2001-01-01T00:00:00Z"}, 400, "features as of"),
        ({"keys": ["p01"], "at": "9999-12-31T23:59:59-14:00"}, 200, ""),
        ({"keys": ["p01"] * 1_001}, 422, "keys"),
        ({"keys": ["p01"], "entity": "shelf"}, 422, "entity"),
    ],
)
def test_what_can_t_be_asked(client: httpx.Client, body: dict[str, Any], status: int, found: str) -> None:
    answer = client.post("/v1/features", json=body)
    assert answer.status_code == status, answer.text
    assert found in answer.text


@pytest.fixture(scope="module")
def shared(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("features")
    store = LmdbValues(folder / "features")
    fill(shop, store, folder / "home")
    with service(store, folder) as client:
        yield client


@settings(max_examples=60, deadline=None)
@given(
    body=st.fixed_dictionaries(
        {"keys": JSON | st.lists(JSON | st.text(max_size=4), max_size=3)},
        optional={"entity": JSON | st.sampled_from(["user", "query_product", "follow"]), "features": JSON, "at": JSON},
    )
)
def test_no_body_however_wrong_is_a_500(shared: httpx.Client, body: Any) -> None:
    answer = shared.post("/v1/features", content=json.dumps(body))
    assert answer.status_code in {200, 400, 422}, answer.text


def test_nothing_published_is_503_until_something_is(shop: Path, tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "features")
    with service(store, tmp_path) as client:
        answer = client.post("/v1/features", json={"keys": ["p01"]})
        assert answer.status_code == 503
        assert answer.json()["error"]["action"] == "publish again: recsys table publish SHOP"
        view(client, "a", "p01")
        assert client.get("/health/ready").json()["online"]["features"] == "answers"
        fill(shop, LmdbValues(tmp_path / "features"), tmp_path / "home")
        wait_for(lambda: views(client, "p01") == [1])


def test_a_full_map_is_told_and_reads_go_on(shop: Path, tmp_path: Path) -> None:
    store = LmdbValues(tmp_path / "features", room=1 << 15)
    fill(shop, store, tmp_path / "home")
    with service(store, tmp_path) as client:
        for number in range(40):
            view(client, f"e{number}", f"p{number:02d}")
        wait_for(lambda: "fill the 32,768 bytes" in client.get("/health/ready").text)
        assert client.get("/health/ready").status_code == 200
        assert 'recsys_online_up{part="features"} 0.0' in client.get("/metrics").text
        assert len(views(client, "p01")) == 1
        fill(shop, LmdbValues(tmp_path / "features"), tmp_path / "home")
        wait_for(lambda: views(client, "p01", "p39") == [1, 1])


@pytest.mark.services
def test_a_redis_that_goes_away_and_comes_back(shop: Path, tmp_path: Path) -> None:
    port = free_port()
    store = RedisValues(f"redis://127.0.0.1:{port}/0", shop="small", timeout_s=0.5)
    with service(store, tmp_path) as client:
        with redis_server(tmp_path, port=port):
            fill(shop, store, tmp_path / "home")
            view(client, "a", "p01")
            wait_for(lambda: views(client, "p01") == [1])
        answer = client.post("/v1/features", json={"keys": ["p01"]})
        assert answer.status_code == 503
        assert "Redis at 127.0.0.1 fails" in answer.json()["error"]["found"]
        view(client, "b", "p01")
        assert client.post("/v1/recommend", json={"user_id": "u-sofa"}).status_code == 200
        wait_for(lambda: "Redis at 127.0.0.1 fails" in client.get("/health/ready").text)
        assert 'recsys_online_up{part="features"} 0.0' in client.get("/metrics").text
        with redis_server(tmp_path, port=port):
            fill(shop, store, tmp_path / "home")
            wait_for(lambda: views(client, "p01") == [2])
            wait_for(lambda: client.get("/health/ready").json()["online"]["features"] == "answers")
    store.client.close()


def test_a_store_that_fails_is_spared_for_a_second() -> None:
    time = [0.0]
    watch = Watch(clock=lambda: time[0])

    def fails() -> int:
        raise StorageError("no answer", expected="one", action="start it")

    assert watch.ask(fails, otherwise=7) == 7
    assert watch.ask(lambda: 1, otherwise=7) == 7, "spared for a second"
    assert (watch.failures, str(watch.failure)) == (2, "no answer; expected one; start it")
    time[0] = 1.5
    assert watch.ask(lambda: 1, otherwise=7) == 1
    assert (watch.failures, watch.failure) == (2, None)


def told_of_features(client: httpx.Client) -> str:
    """What readiness says of the features, when the metric says the same."""
    body: str | dict[str, str] = client.get("/health/ready").json()["online"]["features"]
    up = 'recsys_online_up{part="features"} 1.0' in client.get("/metrics").text
    found = body if isinstance(body, str) else body["found"]
    return found if up == (found == "answers") else f"{found}, and the metric says otherwise"


GONE = "the online features that were published are gone"


@pytest.mark.services
def test_features_that_a_server_has_lost_are_told(shop: Path, tmp_path: Path) -> None:
    with redis_server(tmp_path) as address:
        home = load_settings(home=tmp_path / "home", online_store=address)
        stores = [value_store(home, shop="small") for _ in range(3)]
        with service(stores[0], tmp_path) as client:
            view(client, "a", "p01")
            assert client.post("/v1/features", json={"keys": ["p01"]}).status_code == 503
            assert told_of_features(client) == "answers", "nothing was ever published"
            fill(shop, stores[1], tmp_path / "home")
            wait_for(lambda: views(client, "p01") == [1])
            with Redis.from_url(address) as server:
                server.flushall()
            wait_for(lambda: told_of_features(client) == GONE)
            assert client.get("/health/ready").status_code == 200
            assert "recsys_online_behind 1.0" in client.get("/metrics").text
            (started := tmp_path / "started").mkdir()
            with service(stores[2], started) as later:
                wait_for(lambda: told_of_features(later) == GONE)
                assert later.post("/v1/features", json={"keys": ["p01"]}).status_code == 503
                fill(shop, stores[1], tmp_path / "home")
                wait_for(lambda: told_of_features(later) == "answers")
            wait_for(lambda: told_of_features(client) == "answers")
            assert views(client, "p02") == [0]
        for store in stores:
            assert isinstance(store, RedisValues)
            store.client.close()


def test_features_that_have_expired_are_told(shop: Path, tmp_path: Path) -> None:
    time = [1e9]

    def opened() -> LmdbValues:
        return LmdbValues(tmp_path / "features", clock=lambda: time[0])

    Follower(OnlineFeatures(opened()), SqliteLog(tmp_path / "none.db")).catch_up()  # nothing was ever published
    fill(shop, opened(), tmp_path / "home")
    with service(opened(), tmp_path) as client:
        assert views(client, "p01") == [0]
        time[0] += 2 * 86_400
        wait_for(lambda: told_of_features(client) == GONE)
        (started := tmp_path / "started").mkdir()
        with service(opened(), started) as later:
            wait_for(lambda: told_of_features(later) == GONE)
        fill(shop, opened(), tmp_path / "home")
        wait_for(lambda: told_of_features(client) == "answers")
