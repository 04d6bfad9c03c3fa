"""Histories as of this moment: what the log took a moment ago is known, in its place, once."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.event_log.door import Door
from feature_store.event_log.log import Stored, moment
from feature_store.event_log.parts import Position
from feature_store.event_log.sqlite import SqliteLog
from feature_store.fresh import FreshHistories, joined
from feature_store.masking import Mask
from feature_store.online.codec import decode_many
from feature_store.online.lmdb import Holds, LmdbStore
from recsys.errors import StorageError
from recsys.testing.history_source import Event, check_history_source
from tests.event_logs import row
from tests.feature_store.test_online import table

NIGHT: dict[str, list[Event]] = {"ann": [("p1", 10, "view"), ("p2", 20, "purchase")], "bob": []}
SEGMENTS = {"ann": "loyal"}


def send(log: SqliteLog, user: str, *events: Event, mask: Mask | None = None) -> None:
    rows = [
        row(
            user_id=user,
            product_id=product,
            event_type=kind,
            timestamp=moment(time),
            event_id=f"{user}{product}{time}{kind}",
        )
        for product, time, kind in events
    ]
    checked = Door(mask).check(rows)
    assert not checked.refused
    log.append(checked.events)


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


def filled(tmp_path: Path, log: SqliteLog) -> FreshHistories:
    """A store of last night, which had read the log up to now."""
    store = LmdbStore(tmp_path / "online", holds=Holds(Position(log.identity, log.head())))
    store.materialise(table(NIGHT, SEGMENTS))
    return FreshHistories(LmdbStore(tmp_path / "online"), log)


def test_it_is_a_history_source_like_any_other(tmp_path: Path, log: SqliteLog) -> None:
    send(log, "ann", ("p9", 5, "view"))  # the night had it, netted or not
    source = filled(tmp_path, log)
    check_history_source(source, log=NIGHT, segments=SEGMENTS)
    assert source.read(["ann"]).attributes == ("",)
    send(log, "ann", ("p3", 30, "click"), ("p4", 15, "add_to_cart"), ("p5", 31, "impression"))
    send(log, "new", ("p1", 40, "view"))
    send(log, "ann", ("p3", 30, "click"))  # sent again
    now = {
        "ann": [("p1", 10, "view"), ("p4", 15, "add_to_cart"), ("p2", 20, "purchase"), ("p3", 30, "click")],
        "bob": [],
        "new": [("p1", 40, "view")],
    }
    check_history_source(source, log=now, segments=SEGMENTS)


def test_a_cancel_takes_back_the_newest_purchase_before_it(tmp_path: Path, log: SqliteLog) -> None:
    source = filled(tmp_path, log)
    send(log, "ann", ("p2", 21, "purchase"), ("p2", 25, "cancel"), ("p2", 30, "purchase"), ("p9", 31, "cancel"))
    assert source.read(["ann"]).timestamps.tolist() == [10, 20, 30]
    send(log, "ann", ("p2", 28, "cancel"))
    assert source.read(["ann"]).timestamps.tolist() == [10, 30]


def test_a_newer_generation_and_its_place_in_the_log_come_together(tmp_path: Path, log: SqliteLog) -> None:
    source = filled(tmp_path, log)
    send(log, "ann", ("p3", 30, "click"))
    assert source.read(["ann"]).product_ids == ("p1", "p2", "p3")
    later = LmdbStore(tmp_path / "online", holds=Holds(Position(log.identity, log.head())))
    later.materialise(table(NIGHT | {"ann": [*NIGHT["ann"], ("p3", 30, "click")]}, SEGMENTS))
    assert source.read(["ann"]).product_ids == ("p1", "p2", "p3")
    other = LmdbStore(tmp_path / "online", holds=Holds(Position("another", 10**6)))
    other.materialise(table(NIGHT, {}))
    assert source.read(["ann"]).product_ids == ("p1", "p2", "p3")


def test_the_same_histories_written_again_tell_their_new_place(tmp_path: Path, log: SqliteLog) -> None:
    filled(tmp_path, log)
    again = LmdbStore(tmp_path / "online", holds=Holds(Position(log.identity, 77), "key"))
    name = again.materialise(table(NIGHT, SEGMENTS))
    assert LmdbStore(tmp_path / "online").pin(name).holds == Holds(Position(log.identity, 77), "key")


def test_nothing_stored_yet_and_no_log(tmp_path: Path, log: SqliteLog) -> None:
    send(log, "new", ("p1", 40, "view"))
    check_history_source(
        FreshHistories(LmdbStore(tmp_path / "online"), log), log={"new": [("p1", 40, "view")]}, segments={}
    )
    filled(tmp_path, log)
    check_history_source(FreshHistories(LmdbStore(tmp_path / "online")), log=NIGHT, segments=SEGMENTS)


def test_a_log_that_fails_leaves_the_night(tmp_path: Path, log: SqliteLog, caplog: pytest.LogCaptureFixture) -> None:
    source = filled(tmp_path, log)

    def fails(*_: Any, **__: Any) -> list[list[Stored]]:
        raise StorageError("no answer", expected="one", action="start it")

    log.tail = fails  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        check_history_source(source, log=NIGHT, segments=SEGMENTS)
    assert "histories without the newest events: no answer" in caplog.text


def test_masked_users_are_asked_for_by_their_plain_ids(tmp_path: Path, log: SqliteLog) -> None:
    mask = Mask(b"k" * 32)
    hidden = {mask(user): events for user, events in NIGHT.items()}
    LmdbStore(tmp_path / "online").materialise(table(hidden, {mask("ann"): "loyal"}))
    source = FreshHistories(LmdbStore(tmp_path / "online"), log, mask)
    check_history_source(source, log=NIGHT, segments=SEGMENTS)
    send(log, "bob", ("p1", 40, "view"), mask=mask)
    check_history_source(source, log=NIGHT | {"bob": [("p1", 40, "view")]}, segments=SEGMENTS)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2"]), st.integers(0, 5), st.sampled_from(["view", "purchase", "cancel", "search"])
    ),
    max_size=8,
)


@given(st.lists(st.tuples(EVENTS, EVENTS), max_size=3))
def test_joined_is_what_netting_all_events_by_time_gives(users: Sequence[tuple[list[Event], list[Event]]]) -> None:
    """Brute force: a stored part without cancels, then everything in order of time."""
    night = {f"u{number}": sorted(part, key=lambda one: one[1]) for number, (part, _) in enumerate(users)}
    night = {user: [one for one in part if one[2] in ("view", "purchase")] for user, part in night.items()}
    stored = decode_many([]) if not night else table(night, {}).read(sorted(night))
    tails = [
        [
            Stored(place, 0, json.dumps(dict(zip(("product_id", "timestamp", "event_type"), event, strict=True))))
            for place, event in enumerate(tail, start=1)
        ]
        for _, tail in users
    ]
    found = joined(stored, tails)
    for number, (user, (_, tail)) in enumerate(zip(sorted(night), users, strict=True)):
        expected: list[Event] = []
        for product, time, kind in sorted([*night[user], *tail], key=lambda one: one[1]):
            same = [one for one in expected if one[0] == product and one[2] == "purchase"]
            if kind == "cancel" and same:
                expected.reverse()
                expected.remove(same[-1])
                expected.reverse()
            elif kind in ("view", "purchase"):
                expected.append((product, time, kind))
        first, last = found.offsets[number], found.offsets[number + 1]
        got = list(zip(found.product_ids[first:last], found.timestamps[first:last].tolist(), strict=True))
        assert got == [(product, time) for product, time, _ in expected]
    assert found.offsets.dtype == np.int64
