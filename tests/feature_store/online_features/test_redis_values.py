"""Packed values in Redis: the conformance suite, expiry dates, bounded memory, and a server that goes away."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_store.online import redis_values as module
from feature_store.online.conformance import check_value_store
from feature_store.online.redis_values import RedisValues
from recsys.errors import StorageError
from tests.redis_server import free_port, redis_server

pytestmark = pytest.mark.services
DAY = 86_400.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def store(server: str) -> Iterator[RedisValues]:
    made = RedisValues(server, shop="small")
    made.client.flushall()
    made.client.config_set("maxmemory", "0")
    made.client.config_set("maxmemory-policy", "noeviction")
    yield made
    made.client.close()


def all_of(value: bytes) -> list[tuple[str, bytes]]:
    return [(f"k{number}", value) for number in range(200)]


def test_conformance(server: str, store: RedisValues) -> None:
    made = []

    def make(clock: object) -> RedisValues:
        made.append(RedisValues(server, shop="small", clock=clock))  # type: ignore[arg-type]
        return made[-1]

    check_value_store(make)
    for one in made:
        one.client.close()


def test_every_key_has_an_expiry_date(store: RedisValues, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.publish(all_of(b"1"), ttl_s=DAY)
    assert 0 < store.client.ttl(f"{store.prefix}:{first}") <= DAY
    second = store.publish(all_of(b"2"), ttl_s=2 * DAY)
    assert 0 < store.client.ttl(f"{store.prefix}:{first}") <= module.GRACE_SECONDS
    assert DAY < store.client.ttl(f"{store.prefix}:{second}") <= 2 * DAY
    assert all(store.client.ttl(key) > 0 for key in store.client.scan_iter())
    monkeypatch.setattr(module, "AT_ONCE", 10)
    monkeypatch.setattr(store.client, "hlen", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(store.client, "unlink", lambda _: (_ for _ in ()).throw(OSError))  # killed: nothing is tidied
    with pytest.raises(KeyboardInterrupt):
        store.publish(all_of(b"3"), ttl_s=DAY)
    assert store.read(["k7"]) == [b"2"]
    assert all(store.client.ttl(key) > 0 for key in store.client.scan_iter())


def test_a_note_on_our_disk_outlives_what_a_server_loses(server: str, store: RedisValues, tmp_path: Path) -> None:
    opened = [RedisValues(server, shop="small", notes=notes) for notes in (tmp_path, tmp_path, None)]
    assert not any(one.published() for one in opened)
    opened[0].publish(all_of(b"1"), ttl_s=DAY)
    assert all(one.published() for one in opened)
    store.client.flushall()
    assert [one.published() for one in opened] == [True, True, False], "one without notes has not read it"
    assert opened[1].read(["k1"]) == [None]
    for one in opened:
        one.client.close()


def test_shops_share_a_server(server: str, store: RedisValues) -> None:
    other = RedisValues(server, shop="")
    store.publish(all_of(b"1"), ttl_s=DAY)
    other.publish(all_of(b"2"), ttl_s=DAY)
    assert (store.read(["k1"]), other.read(["k1"])) == ([b"1"], [b"2"])
    other.client.close()


def test_a_full_server_refuses_and_keeps_the_former_generation(store: RedisValues) -> None:
    store.publish(all_of(b"good"), ttl_s=DAY)
    used = store.client.info("memory")["used_memory"]
    store.client.config_set("maxmemory", str(used + 2_000_000))
    with pytest.raises(StorageError, match=r"is full and takes nothing more \(maxmemory\).*stays"):
        store.publish(((f"x{number}", b"x" * 1_000) for number in range(10_000)), ttl_s=DAY)
    assert store.read(["k0", "x1"]) == [b"good", None]
    assert len(list(store.client.scan_iter())) == 2, "what was half written is gone at once"
    assert store.update([], lambda _: {"k1": b"newer"})
    store.client.config_set("maxmemory", "1")
    with pytest.raises(StorageError, match="is full"):
        store.update([], lambda _: {"k1": b"newest"})
    assert store.read(["k1"]) == [b"newer"]


def test_a_server_that_throws_values_away_does_not_do_so_unnoticed(
    store: RedisValues, caplog: pytest.LogCaptureFixture
) -> None:
    store.client.config_set("maxmemory", "100mb")
    store.client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING):
        name = store.publish(all_of(b"good"), ttl_s=DAY)
    assert "throws values away when its 104,857,600 bytes are full (maxmemory-policy allkeys-lru)" in caplog.text
    store.client.delete(f"{store.prefix}:{name}")  # as an eviction does
    for call in (lambda: store.read(["k1"]), lambda: store.update(["k1"], lambda _: {"k1": b""})):
        with pytest.raises(StorageError, match=r"gone before their time; expected a server that keeps.*publish again"):
            call()
    store.publish(all_of(b"again"), ttl_s=DAY)
    assert store.read(["k1"]) == [b"again"]


def test_two_writers_do_not_lose_one_another_s_change(server: str, store: RedisValues) -> None:
    store.publish([("n", b"0")], ttl_s=DAY)
    other = RedisValues(server, shop="small")
    calls = []

    def add(values: list[bytes | None]) -> dict[str, bytes]:
        calls.append(values)
        if len(calls) == 1:  # another one comes in between
            other.update(["n"], lambda found: {"n": str(int(found[0] or 0) + 10).encode()})
        return {"n": str(int(values[0] or 0) + 1).encode()}

    assert store.update(["n"], add)
    assert (store.read(["n"]), len(calls)) == ([b"11"], 2)

    def always_late(values: list[bytes | None]) -> dict[str, bytes]:
        other.update([], lambda _: {"m": b""})
        return {"n": b"lost"}

    with pytest.raises(StorageError, match="others changed the values first"):
        store.update(["n"], always_late)
    assert store.read(["n"]) == [b"11"]
    other.client.close()


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port=port) as address:
        store = RedisValues(address, shop="small", timeout_s=0.5)
        store.publish(all_of(b"1"), ttl_s=DAY)
    for call in (lambda: store.read(["k1"]), store.generation, lambda: store.publish([], ttl_s=1)):
        with pytest.raises(StorageError, match=r"Redis at 127\.0\.0\.1 fails.*start it"):
            call()
    with redis_server(tmp_path, port=port):
        assert store.read(["k1"]) == [None]
        store.publish(all_of(b"2"), ttl_s=DAY)
        assert store.read(["k1"]) == [b"2"]
    store.client.close()
