"""What is viewed after what, as the shop came to know it; and the product that a row's user viewed last."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.point_in_time.defaults import FOLLOW
from feature_store.point_in_time.definitions import DAY, HOUR
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.streams import Records, follow_frame
from tests.feature_store.point_in_time.reference import Happened, known_at, within
from tests.feature_store.point_in_time.test_engine import T0, Row, asked, happened, stream, table


def follows(rows: Sequence[Row], events: Sequence[Happened]) -> list[list[float | None]]:
    streams = stream(events)
    both = {**streams, "follows": Records(follow_frame(streams["events"].frame))}
    with TemporaryDirectory() as staging:
        found = compute(table(rows), FOLLOW, both, staging=Path(staging))  # type: ignore[arg-type]
    return [found[feature.name].to_list() for feature in FOLLOW]


def pairs(events: Sequence[Happened]) -> list[tuple[str, Happened]]:
    """Views with the product that the user, or else the session, viewed before, in the order of becoming known."""
    found = []
    viewers = {(one.user, one.session if one.user is None else None) for one in events} - {(None, None)}
    for user, session in viewers:
        views = [one for one in events if one.kind == "view" and one.user == user]
        views = [one for one in views if user is not None or one.session == session]
        views.sort(key=lambda one: (max(one.time + 1, one.known or 0), one.time, one.product))
        for before, after in pairwise(views):
            if before.product != after.product and 0 <= after.time - before.time <= DAY:
                found.append((before.product, after))
    return found


@settings(max_examples=40)
@given(st.lists(happened, max_size=60), st.lists(asked, min_size=1, max_size=8))
def test_follows_are_what_a_plain_loop_finds(events: list[Happened], rows: list[Row]) -> None:
    expected: list[list[float | None]] = [[] for _ in FOLLOW]
    for user, product, _, at in rows:
        views = [one for one in events if one.kind == "view" and one.user == user and known_at(one, at)]
        last = max(views, key=lambda one: (one.time, one.product), default=None) if user else None
        for values, feature in zip(expected, FOLLOW, strict=True):
            if last is None or product is None:
                values.append(None)
                continue
            own = [one for before, one in pairs(events) if (before, one.product) == (last.product, product)]
            values.append(float(sum(known_at(one, at) and within(one, at, feature.window) for one in own)))
    assert follows(rows, events) == expected


def test_a_view_known_late_changes_no_pair_known_before() -> None:
    """u1 viewed p1, p2 an hour later; that p3 stood between them was known only on the next day."""
    views = [("p1", 0, None), ("p2", HOUR, None), ("p3", HOUR // 2, T0 + DAY)]
    events = [Happened("u1", product, None, "view", T0 + off, known) for product, off, known in views]
    events += [Happened("u2", "p1", None, "view", T0 + 3 * DAY, None)]
    at = T0 + 3 * DAY + 1
    rows: list[Row] = [("u2", "p2", None, at), ("u2", "p3", None, at)]
    assert follows(rows, events)[1] == [1.0, 0.0]


def test_a_session_of_nobody_known_counts_as_one_viewer() -> None:
    """A session's name is no user's, though both are written alike; without either nothing follows anything."""
    views = [(None, "u1", "p1"), (None, "u1", "p2"), ("u1", "u1", "p3"), (None, "s2", "p3"), (None, None, "p1")]
    events = [
        Happened(user, product, None, "view", T0 + number * HOUR, None, session=session)
        for number, (user, session, product) in enumerate([*views, (None, None, "p2")])
    ]
    found = follow_frame(stream(events)["events"].frame).select("previous_id", "product_id").collect()
    assert found.rows() == [("p1", "p2")]
