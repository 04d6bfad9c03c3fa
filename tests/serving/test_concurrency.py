"""Concurrent clients share batches, one failing call fails alone, and an exchange of the index drops no request."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from recsys.errors import StorageError


def test_waiting_calls_that_agree_are_answered_together(shelf: Any, serve: Any) -> None:
    shelf.publish("first")
    live = shelf.live()
    engine = shelf.opened[0]
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert gate.wait(30)

    engine.before = hold
    with serve(live) as client, ThreadPoolExecutor(24) as pool:
        first = pool.submit(client.post, "/v1/search", json={"query": "mug"})
        assert held.wait(30)
        rest = [pool.submit(client.post, "/v1/search", json={"query": f"lamp {n}", "k": 3}) for n in range(20)]
        odd = pool.submit(client.post, "/v1/search", json={"query": "lamp", "k": 4})
        until(lambda: open_requests(client) == 23)  # 22 searches and the asking itself
        gate.set()
        answers = [future.result() for future in (first, *rest, odd)]
    assert [answer.status_code for answer in answers] == [200] * 22
    assert sorted(engine.batches) == [1, 1, 20]
    assert {len(answer.json()["hits"]) for answer in answers[1:-1]} == {3}
    assert len(answers[-1].json()["hits"]) == 4


def test_histories_that_cant_be_read_are_told_to_come_back(shelf: Any, serve: Any) -> None:
    def fail() -> None:
        raise StorageError("no whole histories", expected="those of `recsys index`", action="run `recsys index SHOP`")

    shelf.publish("first")
    live = shelf.live()
    live.engine.before = fail
    with serve(live) as client:
        answer = client.post("/v1/recommend", json={"user_id": "u-sofa"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["found"] == "no whole histories"


def test_one_poisoned_call_does_not_fail_its_neighbours(shelf: Any, serve: Any) -> None:
    shelf.publish("first")
    live = shelf.live()
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert gate.wait(30)

    shelf.opened[0].before = hold
    with serve(live) as client, ThreadPoolExecutor(8) as pool:
        pool.submit(client.post, "/v1/search", json={"query": "mug", "k": 1})
        assert held.wait(30)
        calls = [pool.submit(client.post, "/v1/search", json={"query": q}) for q in ("red", "poison", "blue")]
        until(lambda: open_requests(client) == 5)
        gate.set()
        answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200, 500, 200]
    assert answers[1].json()["error"]["found"] == "internal error ArithmeticError"
    assert answers[0].json()["hits"][0]["product_id"] == "p001"
    assert answers[2].json()["hits"][0]["product_id"] == "p002"


def test_index_is_exchanged_under_load_without_a_lost_request(shelf: Any, serve: Any) -> None:
    shelf.publish("first", size=8)
    with serve(shelf.live()) as client, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def shop() -> list[tuple[int, str]]:
            seen = []
            while not stop.is_set():
                answer = client.post("/v1/search", json={"query": "red", "k": 100})
                seen.append((answer.status_code, len(answer.json().get("hits", []))))
            return seen

        shoppers = [pool.submit(shop) for _ in range(3)]
        for number, size in enumerate((16, 32, 64), start=1):
            shelf.publish(f"next-{number}", size=size)
            until(lambda size=size: client.get("/health/ready").json()["products"] == size)
        stop.set()
        seen = [entry for shopper in shoppers for entry in shopper.result()]
    assert {status for status, _ in seen} == {200}
    assert {hits for _, hits in seen} <= {4, 8, 16, 32}
    assert seen[-1][1] == 32


def test_an_index_that_fails_to_load_leaves_the_old_one_and_is_told(shelf: Any, serve: Any) -> None:
    shelf.publish("first", size=8)
    with serve(shelf.live()) as client:
        shelf.publish("second", size=16, digest="broken")
        until(lambda: "failure" in client.get("/health/ready").json())
        ready = client.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["products"] == 8
        assert "unreadable segment" in ready.json()["failure"]["found"]
        assert client.post("/v1/search", json={"query": "red"}).status_code == 200
        text = client.get("/metrics").text
        assert "recsys_index_stale 1.0" in text
        assert "recsys_index_failures 1.0" in text
        shelf.publish("third", size=16)
        until(lambda: client.get("/health/ready").json()["products"] == 16)
        assert "failure" not in client.get("/health/ready").json()
        assert "recsys_index_stale 0.0" in client.get("/metrics").text


def test_a_request_under_way_is_answered_before_the_service_ends(shelf: Any, serve: Any) -> None:
    shelf.publish("first")
    live = shelf.live()
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert gate.wait(30)

    shelf.opened[0].before = hold
    with ThreadPoolExecutor(1) as pool:
        with serve(live) as client:
            call = pool.submit(httpx.post, f"{client.base_url}/v1/search", json={"query": "red"}, timeout=30)
            assert held.wait(30)
            threading.Timer(0.05, gate.set).start()
        assert call.result().status_code == 200


def open_requests(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("recsys_requests_open "))))


def until(reached: object, *, tries: int = 500) -> None:
    """Ask again a bounded number of times; the pause is an event nobody sets."""
    never = threading.Event()
    for _ in range(tries):
        if reached():  # type: ignore[operator]
            return
        never.wait(0.01)
    raise AssertionError("the state was never reached")
