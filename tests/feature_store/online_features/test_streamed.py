"""What was published and then followed event by event is what a training row at the same instant gets, to the bit."""

import json
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.event_log.log import Stored
from feature_store.event_log.parts import Position
from feature_store.online_features.layout import streamed
from feature_store.online_features.packing import Packing
from feature_store.online_features.state import ABOUT, STATE, About, State, versions
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.definitions import ENTITIES
from feature_store.point_in_time.own import carried
from tests.feature_store.point_in_time.reference import Happened
from tests.feature_store.point_in_time.test_engine import ASKED, Row, answer, asked, happened, stream
from tests.value_stores import MemoryValues

PRODUCTS = ("p1", "p2", "p3")
STREAMED = tuple(one for one in ASKED if streamed(one))
LOG = "0123abcd"


def stored(number: int, event: Happened) -> Stored:
    """The event as the log has it."""
    body = {
        "user_id": event.user,
        "product_id": event.product,
        "query": event.query,
        "timestamp": event.time,
        "event_type": event.kind,
        "known_at": event.known,
        "price": event.price,
        "quantity": event.quantity,
        "position": event.position,
        "propensity": event.propensity,
    }
    kept = {name: value for name, value in body.items() if value is not None}
    return Stored(number, event.time, json.dumps(kept))


def start_of(event: Happened) -> int:
    return max(event.time + 1, event.known if event.known is not None else event.time)


def published(events: Sequence[Happened], *, clock: list[int], features: Sequence[object] = STREAMED) -> OnlineFeatures:
    """A store filled with these events as they are known at the clock; the rest of them waits."""
    streams = stream(events)
    packing = Packing(STREAMED, streams, at=clock[0], oldest=-(1 << 62))
    store = MemoryValues()
    state = State(Position(LOG, len(events)), clock[0], packing.waiting(), packing.sums())
    state.tidy()
    about = About(clock[0], versions(STREAMED), "", own=carried(STREAMED))
    values = [(ABOUT, about.packed()), (STATE, state.packed()), *packing.values(PRODUCTS)]
    assert len({key for key, _ in values}) == len(values)
    store.publish(values, ttl_s=1)
    return OnlineFeatures(store, clock=lambda: clock[0])


def check(online: OnlineFeatures, rows: Sequence[Row], events: Sequence[Happened]) -> None:
    offline = answer(rows, events)
    for number, row in enumerate(rows):
        named = dict(zip(("user_id", "product_id", "query"), row[:3], strict=True))
        for entity in ("user", "product", "user_product", "query", "query_product"):
            key = [named[column] for column in ENTITIES[entity]]
            if None in key:
                continue
            found = online.read(entity, [key, key], now=row[3])
            assert found.values.dtype == np.float32
            assert np.array_equal(found.values[0], found.values[1], equal_nan=True)
            for name, value in zip(found.names, found.values[0].tolist(), strict=True):
                expected = offline[name][number]
                assert (None if np.isnan(value) else value) == expected, (name, row)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(happened, max_size=30),
    st.lists(asked, min_size=1, max_size=4),
    st.integers(0, 30),
    st.lists(st.integers(1, 4), max_size=6),
)
def test_published_and_followed(events: list[Happened], rows: list[Row], first: int, steps: list[int]) -> None:
    """The log has the events in the order in which they became known or happened to be taken: any order."""
    early, late = events[:first], events[first:]
    rows = sorted(rows, key=lambda row: row[3])
    clock = [min([row[3] for row in rows])]
    online = published(early, clock=clock)
    log = [stored(len(early) + number, event) for number, event in enumerate(late, start=1)]
    at, sizes = 0, iter(steps)
    for row in rows:
        clock[0] = row[3]
        while at < len(log):
            size = next(sizes, len(log))
            some = log[at : at + size]
            online.add(some, until=Position(LOG, some[-1].number))
            assert not online.add(some, until=Position(LOG, some[-1].number)), "sent again"
            at += size
        while online.due():
            online.add([], until=Position(LOG, len(events)))
        check(online, [row], events)
