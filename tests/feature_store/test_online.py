"""Histories answer alike from a snapshot, from memory, from LMDB and from Redis; generations swap as a whole."""

import json
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import NOBODY, Forgotten, mark_of
from feature_store.frames import InteractionFrame, UserFrame
from feature_store.histories import HistoryTable, SnapshotHistories
from feature_store.online.codec import decode_many, encode_all
from feature_store.online.lmdb import Holds, LmdbStore
from feature_store.online.store import Erased
from feature_store.snapshot import Snapshot
from recsys.errors import StorageError
from recsys.testing.history_source import Event, check_history_source

Log = dict[str, list[Event]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def table(log: Log, segments: dict[str, str], countries: dict[str, str] | None = None) -> HistoryTable:
    """The log as a table, by way of the snapshot's frames."""
    users = pl.DataFrame(
        {
            "user_id": sorted(log),
            "segment": [segments.get(user) for user in sorted(log)],
            "country": [(countries or {}).get(user) for user in sorted(log)],
        },
        schema={"user_id": pl.String, "segment": pl.String, "country": pl.String},
    )
    rows = [(user, product, time, kind) for user in sorted(log) for product, time, kind in log[user]]
    interactions = pl.DataFrame(
        rows,
        schema={
            "user_id": pl.String,
            "product_id": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "event_type": pl.String,
        },
        orient="row",
    )
    return HistoryTable.of(interactions, users)


def small_log() -> Log:
    return {
        "ann": [("p1", 5, "view"), ("p2", 6, "purchase"), ("p1", 2**60, "click")],
        "bob": [],
        "çelik": [("ürün", 0, "add_to_cart")],
        "u" * 120: [("p" * 120, 1, "view")],
    }


SEGMENTS = {"ann": "loyal", "çelik": "yeni müşteri"}
COUNTRIES = {"bob": "GB", "çelik": "Türkiye"}
ATTRIBUTES = {"bob": '{"country":"GB"}', "çelik": '{"country":"T\\u00fcrkiye"}'}


def test_memory() -> None:
    check_history_source(table(small_log(), SEGMENTS), log=small_log(), segments=SEGMENTS)
    told = table(small_log(), SEGMENTS, COUNTRIES)
    check_history_source(told, log=small_log(), segments=SEGMENTS, attributes=ATTRIBUTES)
    assert told.digest != table(small_log(), SEGMENTS).digest


def test_lmdb(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    check_history_source(store, log={}, segments={})
    assert store.generation() is None
    assert store.user_ids() == []
    store.materialise(table(small_log(), SEGMENTS, COUNTRIES))
    check_history_source(store, log=small_log(), segments=SEGMENTS, attributes=ATTRIBUTES)
    assert store.user_ids() == sorted(small_log())


def forgotten(*names: str, until: int = 2**63 - 1) -> Forgotten:
    return Forgotten(b"k", {mark_of(b"k", name): until for name in names})


def test_lmdb_forgets_in_every_generation(tmp_path: Path) -> None:
    holds = Holds(Position("log", 7), "mask")
    store = LmdbStore(tmp_path / "store", holds=holds)
    assert store.erase(forgotten("ann")) == Erased()
    aside = store.set_aside(table({"ann": [("p1", 1, "view")]}, {}))
    name = store.materialise(table(small_log(), SEGMENTS))
    assert store.erase(NOBODY) == store.erase(forgotten("nobody")) == Erased()
    first = store.erase(forgotten("ann", until=9))  # in the current one ann has done something since
    assert (first.records, [*first.generations]) == (1, [aside])
    assert store.generation() == name
    reader = store.pin(name)
    done = store.erase(forgotten("ann", "bob"))
    assert done.records == 2
    assert done.generations[name] == store.generation() != name
    left = {user: events for user, events in small_log().items() if user not in ("ann", "bob")}
    check_history_source(store, log=left, segments=SEGMENTS)
    assert not store.has(name)
    assert store.has(done.generations[name])
    pinned = store.pin()
    assert (pinned.holds, pinned.known(["ann"]).tolist()) == (holds, [False])
    assert reader.read(["ann"]).offsets.tolist() == [0, 3]  # whoever reads goes on with what was there
    assert store.erase(forgotten("ann", "bob")) == Erased()


def snapshot_log(snapshot: Snapshot, *parts: str) -> Log:
    log: Log = {user: [] for user in snapshot.users()["user_id"]}
    frame = snapshot.interactions(*parts).filter(pl.col("user_id").is_not_null())
    for user, product, time, kind in frame.select("user_id", "product_id", "timestamp", "event_type").iter_rows():
        log[user].append((product, int((time - EPOCH).total_seconds() * 1_000_000), kind))
    return log


@pytest.mark.parametrize("parts", [(), ("train",), ("train", "validation")])
def test_a_snapshot_and_the_store_filled_from_it(
    parts: tuple[str, ...], small_snapshot: Snapshot, tmp_path: Path
) -> None:
    offline = SnapshotHistories(small_snapshot, parts=parts)
    store = LmdbStore(tmp_path / "store")
    store.materialise(offline.table)
    log = snapshot_log(small_snapshot, *parts)
    segments = dict(small_snapshot.users().select("user_id", "segment").iter_rows())
    attributes = dict.fromkeys(log, '{"country":"GB"}')
    for source in (offline, store):
        check_history_source(source, log=log, segments=segments, attributes=attributes)
        assert source.user_ids() == sorted(log)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
LOGS = st.dictionaries(
    NAMES,
    st.lists(
        st.tuples(NAMES, st.integers(-(2**40), 2**40), st.sampled_from(["view", "click", "purchase"])), max_size=4
    ),
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(LOGS, st.dictionaries(NAMES, NAMES, max_size=3), st.dictionaries(NAMES, NAMES, max_size=3))
def test_values_say_what_the_table_says(log: Log, segments: dict[str, str], countries: dict[str, str]) -> None:
    source = table(log, segments, countries)
    values = dict(encode_all(source))
    assert [dict(encode_all(source, users=few)) for few in (1, 2, 3)] == [values] * 3
    users = [*log, "stranger of whom nobody knows", *log]
    decoded = decode_many([values.get(user) for user in users])
    expected = source.read(users)
    for name in ("offsets", "timestamps", "event_types"):
        assert np.array_equal(getattr(decoded, name), getattr(expected, name))
    assert decoded.product_ids == expected.product_ids
    assert decoded.segments == expected.segments
    assert decoded.attributes == expected.attributes


def test_users_of_whom_much_is_known_fit_into_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_store.online.environments.GROWTH", 1 << 20)
    log: Log = {f"u{number:04d}": [] for number in range(300)}
    countries = {user: user * 2000 for user in log}
    long = table(log, dict.fromkeys(log, "s" * 3000))
    long = replace(long, attributes=pl.Series([json.dumps({"country": countries[user]}) for user in sorted(log)]))
    store = LmdbStore(tmp_path / "store")
    store.materialise(long)
    assert store.read(["u0042"]).attributes == (json.dumps({"country": countries["u0042"]}),)


def test_a_store_of_another_release_is_one_clear_line() -> None:
    (value,) = dict(encode_all(table({"ann": []}, {}))).values()
    with pytest.raises(StorageError, match="format version 1") as caught:
        decode_many([None, b"\x01" + value[1:7]])
    assert "recsys index SHOP" in str(caught.value)


def test_events_of_strangers_are_left_out() -> None:
    interactions = pl.DataFrame(
        {
            "user_id": ["a", "b", None],
            "product_id": ["p", "p", "p"],
            "timestamp": [EPOCH] * 3,
            "event_type": ["view"] * 3,
        }
    )
    users = pl.DataFrame({"user_id": ["a"], "segment": [None]}, schema={"user_id": pl.String, "segment": pl.String})
    assert HistoryTable.of(interactions, users).read(["a", "b"]).offsets.tolist() == [0, 1, 1]


def test_a_shop_without_users() -> None:
    nobody = HistoryTable.of(
        pl.DataFrame(schema=pl.Schema(InteractionFrame)), pl.DataFrame(schema=pl.Schema(UserFrame))
    )
    check_history_source(nobody, log={}, segments={})
    assert nobody.user_ids() == []


def test_generations(tmp_path: Path) -> None:
    store, reader = LmdbStore(tmp_path / "store"), LmdbStore(tmp_path / "store")
    first, second = small_log(), {"zoe": [("p9", 1, "view")]} | small_log()
    name = store.materialise(table(first, SEGMENTS))
    check_history_source(reader, log=first, segments=SEGMENTS)
    assert store.materialise(table(first, SEGMENTS)) == name
    other = store.materialise(table(second, SEGMENTS))
    assert other != name
    check_history_source(reader, log=second, segments=SEGMENTS)
    third = store.materialise(table({}, {}))
    check_history_source(reader, log={}, segments={})
    left = {path.name for path in (tmp_path / "store").iterdir()}
    assert left == {"current", "lock", f"generation-{third}", f"generation-{other}"}
    assert store.materialise(table(second, SEGMENTS)) == other
    check_history_source(reader, log=second, segments=SEGMENTS)


def test_a_pinned_generation_stays_the_same(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    with pytest.raises(StorageError, match="no whole histories in"):
        store.pin()
    store.materialise(table(small_log(), SEGMENTS))
    pinned = store.pin()
    for log in ({"zoe": [("p9", 1, "view")]}, {"yve": []}, {}):  # the last of them removes the pinned one's folder
        store.materialise(table(log, {}))
    check_history_source(store, log={}, segments={})
    check_history_source(pinned, log=small_log(), segments=SEGMENTS)
    assert pinned.user_ids() == sorted(small_log())
    with pytest.raises(StorageError, match=f"no whole histories {pinned.name} in"):
        store.pin(pinned.name)


def test_a_generation_set_aside_is_read_by_its_name_alone(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    now = store.materialise(table({}, {}))
    name = store.set_aside(table(small_log(), SEGMENTS))
    assert store.generation() == now
    check_history_source(store, log={}, segments={})
    check_history_source(store.pin(name), log=small_log(), segments=SEGMENTS)


def test_readers_see_one_generation_or_the_other(tmp_path: Path) -> None:
    """Every history of a generation has as many events as that generation's number: a mixture would show."""
    users = [f"u{number:03d}" for number in range(200)]
    tables = [table({user: [("p", 1, "view")] * size for user in users}, {}) for size in (1, 2, 3)]
    store = LmdbStore(tmp_path / "store")
    store.materialise(tables[0])
    seen: list[set[int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(set(np.diff(store.read(users).offsets).tolist()))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for one in (*tables, *tables):
            store.materialise(one)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert seen
    assert all(len(sizes) == 1 for sizes in seen)


def test_a_killed_writer_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LmdbStore(tmp_path / "store")
    store.materialise(table(small_log(), SEGMENTS))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("feature_store.online.environments.encode_all", killed)
    with pytest.raises(KeyboardInterrupt):
        store.materialise(table({"zoe": []}, {}))
    monkeypatch.undo()
    check_history_source(store, log=small_log(), segments=SEGMENTS)
    assert not list((tmp_path / "store").glob(".partial-*"))


def test_a_changed_byte_is_found_by_a_batch_and_mended_by_the_next_index(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    name = store.materialise(table(small_log(), SEGMENTS))
    data = tmp_path / "store" / f"generation-{name}" / "data.mdb"
    whole = data.read_bytes()
    place = whole.index(b"ann")
    data.write_bytes(whole[:place] + b"Ann" + whole[place + 3 :])
    with pytest.raises(StorageError, match=f"no whole histories {name}.*run `recsys index SHOP`"):
        store.pin(name)
    assert LmdbStore(tmp_path / "store").materialise(table(small_log(), SEGMENTS)) == name
    assert store.pin(name).known(["ann"]).all()
    (data.parent / "size").write_text(str(data.stat().st_size))
    assert store.has(name), "one of an earlier release"


def test_a_store_that_is_damaged(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store")
    name = store.materialise(table(small_log(), SEGMENTS))
    (tmp_path / "store" / f"generation-{name}" / "data.mdb").write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match="recsys index SHOP"):
        LmdbStore(tmp_path / "store").read(["ann"])
    assert LmdbStore(tmp_path / "store").materialise(table(small_log(), SEGMENTS)) == name
    check_history_source(LmdbStore(tmp_path / "store"), log=small_log(), segments=SEGMENTS)
    whole = (tmp_path / "store" / f"generation-{name}" / "data.mdb").stat().st_size
    os.truncate(tmp_path / "store" / f"generation-{name}" / "data.mdb", whole // 2)
    with pytest.raises(StorageError, match="no whole histories"):
        LmdbStore(tmp_path / "store").read(["ann"])
    with pytest.raises(StorageError, match="format version 9"):
        decode_many([b"\x09" + bytes(6)])
