"""Histories in Redis: the same conformance, and what happens when the server is full, slow or gone."""

import logging
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from redis import Redis

from feature_store.event_log.door import Door
from feature_store.event_log.parts import Position
from feature_store.event_log.sqlite import SqliteLog
from feature_store.forgetting.marks import NOBODY
from feature_store.fresh import FreshHistories
from feature_store.histories import HistoryTable, SnapshotHistories
from feature_store.online import redis as module
from feature_store.online.lmdb import LmdbStore
from feature_store.online.redis import RedisStore
from feature_store.online.store import Holds
from feature_store.online.watch import Watch
from feature_store.snapshot import Snapshot
from recsys.errors import StorageError
from recsys.testing.history_source import check_history_source
from tests.event_logs import row
from tests.feature_store.test_online import SEGMENTS, forgotten, small_log
from tests.feature_store.test_online import table as told
from tests.redis_server import free_port, redis_server

pytestmark = pytest.mark.services

TIME = pl.Datetime("us", "UTC")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def store(server: str) -> Iterator[RedisStore]:
    made = RedisStore(server, shop="small")
    made.client.flushall()
    yield made
    made.client.close()


def table(log: dict[str, int]) -> HistoryTable:
    """So many views for each user."""
    rows = [(user, f"p{number}", number, "view") for user, size in sorted(log.items()) for number in range(size)]
    schema = {"user_id": pl.String, "product_id": pl.String, "timestamp": TIME, "event_type": pl.String}
    users = pl.DataFrame(
        {"user_id": sorted(log), "segment": [None] * len(log)}, schema={"user_id": pl.String, "segment": pl.String}
    )
    return HistoryTable.of(pl.DataFrame(rows, schema=schema, orient="row"), users)


def as_log(log: dict[str, int]) -> dict[str, list[tuple[str, int, str]]]:
    return {user: [(f"p{number}", number, "view") for number in range(size)] for user, size in log.items()}


def test_conformance(store: RedisStore) -> None:
    check_history_source(store, log={}, segments={})
    assert store.generation() is None
    assert store.user_ids() == []
    sizes = {"ann": 3, "bob": 0, "çelik": 1}
    store.materialise(table(sizes))
    check_history_source(store, log=as_log(sizes), segments={})
    assert store.user_ids() == sorted(sizes)


def test_the_same_as_snapshot_and_lmdb(store: RedisStore, small_snapshot: Snapshot, tmp_path: Path) -> None:
    offline = SnapshotHistories(small_snapshot)
    lmdb = LmdbStore(tmp_path / "store")
    names = {lmdb.materialise(offline.table), store.materialise(offline.table)}
    assert len(names) == 1
    users = [*offline.user_ids(), "nobody"]
    expected = offline.read(users)
    for source in (lmdb, store):
        found = source.read(users)
        assert found.product_ids == expected.product_ids
        assert (found.segments, found.attributes) == (expected.segments, expected.attributes)
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert found.timestamps.tolist() == expected.timestamps.tolist()
        assert source.user_ids() == offline.user_ids()


def test_generations_swap_and_the_former_one_expires(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 7)
    sizes = {f"u{number:02d}": 1 for number in range(40)}
    first = store.materialise(table(sizes))
    assert module.GRACE_SECONDS < store.client.ttl(f"{store.prefix}:{first}") <= module.TTL_SECONDS
    store.client.expire(f"{store.prefix}:{first}", 60)
    assert store.materialise(table(sizes)) == first
    assert module.GRACE_SECONDS < store.client.ttl(f"{store.prefix}:{first}") <= module.TTL_SECONDS
    second = store.materialise(table(dict.fromkeys(sizes, 2)))
    assert 0 < store.client.ttl(f"{store.prefix}:{first}") <= module.GRACE_SECONDS
    assert module.GRACE_SECONDS < store.client.ttl(f"{store.prefix}:{second}") <= module.TTL_SECONDS
    check_history_source(store, log=as_log(dict.fromkeys(sizes, 2)), segments={})
    assert store.materialise(table(sizes)) == first
    assert module.GRACE_SECONDS < store.client.ttl(f"{store.prefix}:{first}") <= module.TTL_SECONDS
    check_history_source(store, log=as_log(sizes), segments={})


def test_a_killed_writer_leaves_an_expiry_date(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.materialise(table({"ann": 1}))
    monkeypatch.setattr(module, "BATCH", 1)
    real = Redis.pipeline
    left = iter(range(2))

    def dying(client: Redis, transaction: bool = True, **more: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(client, transaction=transaction)

    monkeypatch.setattr(Redis, "pipeline", dying)
    with pytest.raises(KeyboardInterrupt):
        store.materialise(table({"ann": 2, "bob": 2, "zoe": 2}))
    monkeypatch.undo()
    check_history_source(store, log=as_log({"ann": 1}), segments={})
    assert len([*store.client.scan_iter()]) == 3
    assert all(store.client.ttl(key) > 0 for key in store.client.scan_iter())


def test_it_forgets_in_every_generation(store: RedisStore) -> None:
    store.materialise(told({"ann": [("p1", 1, "view")]}, {}))
    store.materialise(told(small_log(), SEGMENTS))
    assert store.erase(NOBODY).records == store.erase(forgotten("nobody")).records == 0
    assert store.erase(forgotten("ann", until=9)).records == 1  # of the former generation
    assert store.erase(forgotten("ann", "bob")).records == 2
    left = {user: events for user, events in small_log().items() if user not in ("ann", "bob")}
    check_history_source(store, log=left, segments=SEGMENTS)
    assert store.user_ids() == sorted(left)


def test_an_abandoned_shop_leaves_nothing(server: str, store: RedisStore) -> None:
    short = RedisStore(server, shop="small", ttl_s=10.0)
    name = short.materialise(table({"ann": 1}))
    assert 0 < store.client.ttl(f"{store.prefix}:{name}") <= 10
    assert 10 < store.client.ttl(f"{store.prefix}:current") <= 10 + module.NAME_SECONDS
    assert short.stands(name)
    assert not short.stands("another")
    store.client.expire(f"{store.prefix}:{name}", 4)
    assert not short.stands(name), "the next night writes it again before it expires"
    short.client.close()


@pytest.mark.parametrize("key", ["generation", "name"])
def test_what_expired_or_was_thrown_away_is_no_unknown_user(
    key: str, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.client.config_set("maxmemory", "100mb")
    store.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with caplog.at_level(logging.WARNING):
            name = store.materialise(table({"ann": 1}))
    finally:
        store.client.config_set("maxmemory-policy", "noeviction")
        store.client.config_set("maxmemory", "0")
    assert "throws values away when its 104,857,600 bytes are full (maxmemory-policy allkeys-lru)" in caplog.text
    assert store.known(["ann", "bob"]).tolist() == [True, False]
    store.client.delete(f"{store.prefix}:{name if key == 'generation' else 'current'}")
    for call in (lambda: store.read(["ann"]), lambda: store.known(["bob"]), lambda: store.known([]), store.user_ids):
        with pytest.raises(StorageError, match=r"gone; expected an index within.*run recsys index SHOP again"):
            call()
    assert not store.stands(name)
    assert store.materialise(table({"ann": 1})) == name
    check_history_source(store, log=as_log({"ann": 1}), segments={})


def test_a_note_on_our_disk_outlives_what_a_server_loses(server: str, store: RedisStore, tmp_path: Path) -> None:
    made: list[RedisStore] = []

    def opened(notes: Path = tmp_path, url: str = server) -> RedisStore:
        made.append(RedisStore(url, shop="small", holds=Holds(Position("log", 7), "mask"), notes=notes))
        return made[-1]

    assert opened().now() is opened().held() is None
    check_history_source(opened(), log={}, segments={})
    opened().materialise(table({"ann": 1}))
    assert opened().held() == Holds(Position("log", 7), "mask")
    assert [path.read_text().count("127.0.0.1:") for path in tmp_path.iterdir()] == [1]
    store.client.flushall()
    for call in (lambda: opened().read(["ann"]), lambda: opened().known([]), lambda: opened().user_ids()):
        with pytest.raises(StorageError, match="the name of the histories is gone"):
            call()
    assert opened().held() == Holds(Position("log", 7), "mask"), "its users keep their names"
    for other in (opened(tmp_path / "elsewhere"), opened(url=server.replace("/0", "/1"))):
        assert other.held() is None, "nothing was put there"
        assert not other.known(["ann"]).any()
    opened().materialise(table({"ann": 1}))
    check_history_source(opened(), log=as_log({"ann": 1}), segments={})
    for one in made:
        one.client.close()


def test_shops_share_a_server(server: str, store: RedisStore) -> None:
    other = RedisStore(server, shop="")
    store.materialise(table({"ann": 1}))
    other.materialise(table({"ann": 2}))
    check_history_source(store, log=as_log({"ann": 1}), segments={})
    check_history_source(other, log=as_log({"ann": 2}), segments={})
    other.client.close()


def test_a_full_server_keeps_the_former_generation(store: RedisStore) -> None:
    store.materialise(table({"ann": 1}))
    store.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StorageError, match="maxmemory"):
            store.materialise(table({"ann": 2}))
        check_history_source(store, log=as_log({"ann": 1}), segments={})
    finally:
        store.client.config_set("maxmemory", "0")


def test_a_server_that_is_gone() -> None:
    gone = RedisStore(f"redis://127.0.0.1:{free_port()}/0", shop="small", timeout_s=0.5)
    with pytest.raises(StorageError, match=r"Redis at 127\.0\.0\.1"):
        gone.read(["ann"])
    with pytest.raises(StorageError, match="start it"):
        gone.materialise(table({"ann": 1}))


def test_what_a_generation_holds_swaps_with_it(server: str, store: RedisStore) -> None:
    assert store.now() is None
    store.materialise(table({"ann": 1}))
    assert (store.now() or store).holds == Holds()
    store.holds = Holds(Position("log", 7), "mask")
    name = store.materialise(table({"ann": 1}))
    now = store.now()
    assert now is not None
    assert (now.name, now.holds, store.has(name), store.has("other")) == (name, store.holds, True, False)
    store.materialise(table({"ann": 2, "bob": 1}))
    assert now.read(["ann"]).offsets.tolist() == [0, 1], "a generation that is held stays"
    assert store.known(["ann", "bob"]).all()


def test_histories_know_what_the_log_took_since_and_outlive_the_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SqliteLog(tmp_path / "log.db")
    time = [0.0]
    with redis_server(tmp_path) as address:
        store = RedisStore(address, shop="small", timeout_s=0.5)
        store.materialise(table({"ann": 2}))
        source = FreshHistories(store, log, watch=Watch(clock=lambda: time[0]))
        log.append(Door().check([row(1, user_id="ann", product_id="p7")]).events)
        assert source.read(["ann"]).product_ids == ("p0", "p1", "p7")
    assert source.read(["ann"]).product_ids == ("p7",), "what the log knows"
    assert source.known(["ann", "bob"]).tolist() == [True, False]
    assert source.watch.failure is not None
    assert source.watch.failures == 2
    assert caplog.text.count("answers without histories: Redis at 127.0.0.1 fails") == 1
    store.client.close()
