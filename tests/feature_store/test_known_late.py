"""An event that was known only behind a cut teaches no model that is judged there, and is no target there either."""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.frames import JudgmentFrame
from feature_store.leaks import find_leaks
from feature_store.manifest import Split
from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.splits import binding_cuts, known_late
from tests.shops import START, small_tables, write_shop

OPTIONS = {"test_days": "10", "validation_days": "10"}
LAST = 40
"""The day of the newest event; validation begins behind day 20, test behind day 30."""
VALIDATION, TEST = 20, 30


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def build(folder: Path, rows: list[tuple[int, int | None]], *, kind: str = "view", more: object = None) -> Snapshot:
    """A shop of events (day, day on which it was known), numbered by their prices, and one on the last day."""
    everything = [*rows, (LAST, None)]
    events = pl.DataFrame(
        {
            "user_id": "u",
            "product_id": "p",
            "timestamp": [day(at) for at, _ in everything],
            "event_type": kind,
            "quantity": 1.0,
            "price": [float(number) for number in range(len(everything))],
            "known_at": [None if known is None else day(known) for _, known in everything],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    if isinstance(more, pl.DataFrame):
        events = pl.concat([events, more], how="diagonal")
    products = pl.DataFrame({"product_id": ["p"], "title": ["a sofa"]})
    return build_snapshot(
        write_shop(folder / "shop", {"products": products, "events": events}),
        out=folder / "snapshot",
        split="time",
        options=OPTIONS,
    )


def parts(snapshot: Snapshot) -> dict[int, str]:
    """By number of the event its part."""
    return {int(price): part for price, part in snapshot.interactions().select("price", "part").iter_rows()}


@pytest.mark.parametrize(
    ("happened", "known", "part"),
    [
        (5, None, "train"),
        (5, 5, "train"),
        (5, 20, "train"),
        (5, 21, None),  # unknown when validation began
        (5, 35, None),
        (25, 30, "validation"),
        (25, 31, None),  # unknown when test began
        (35, 40, "test"),
        (35, 400, "test"),  # a target, whenever it came to be known
    ],
)
def test_by_hand(happened: int, known: int | None, part: str | None, tmp_path: Path) -> None:
    snapshot = build(tmp_path, [(1, 1), (happened, known)])
    assert parts(snapshot).get(1) == part
    assert snapshot.manifest.counts["events_known_after_cut"] == (part is None)
    assert "known_at" not in snapshot.interactions().columns


def slow_parts(rows: list[tuple[int, int | None]]) -> dict[int, str]:
    """The rule, event by event."""
    moments = [(at, at if late is None else max(at, late)) for at, late in [*rows, (LAST, None)]]
    told = [max(at, late) for at, late in rows if late is not None]
    silent = [at for at, late in rows if late is None] + [LAST]
    first = min(known for _, known in moments) if told and max(silent) > min(told) else min(told, default=LAST)
    found = {}
    for number, (at, known) in enumerate(moments):
        late = any(at <= cut < known and first <= cut for cut in (VALIDATION, TEST))
        if not late:
            found[number] = "test" if at > TEST else "validation" if at > VALIDATION else "train"
    return found


ROWS = st.lists(st.tuples(st.integers(0, LAST), st.one_of(st.none(), st.integers(0, LAST + 5))), max_size=12)


@settings(max_examples=15, deadline=None)
@given(ROWS)
def test_against_a_loop_over_events(rows: list[tuple[int, int | None]]) -> None:
    with TemporaryDirectory() as folder:
        assert parts(build(Path(folder), rows)) == slow_parts(rows)


def test_a_cancel_that_was_known_late_takes_nothing_back(tmp_path: Path) -> None:
    def cancel(known: int) -> pl.DataFrame:
        bought = {"user_id": ["u"], "product_id": ["p"], "timestamp": [day(6)], "event_type": ["cancel"]}
        return pl.DataFrame(bought | {"known_at": [day(known)]})

    early = build(tmp_path / "early", [(5, 5)], kind="purchase", more=cancel(7))
    late = build(tmp_path / "late", [(5, 5)], kind="purchase", more=cancel(25))
    assert set(parts(early)) == {1}
    assert parts(late) == {0: "train", 1: "test"}
    assert late.manifest.counts["events_known_after_cut"] == 1


def test_a_past_that_was_appended_on_the_first_day_teaches_as_if_it_had_been_known_at_once(tmp_path: Path) -> None:
    tables = small_tables()
    plain = build_snapshot(write_shop(tmp_path / "plain", tables))
    newest: datetime = tables["events"]["timestamp"].max()  # type: ignore[assignment]
    first = newest + timedelta(hours=3)
    appended = pl.Series([first, first + timedelta(days=1)]).sample(
        tables["events"].height, with_replacement=True, seed=1
    )
    own = pl.int_range(pl.len()) % 3 == 0  # stand in a table of the shop, without a word
    for name, known in (("log", appended), ("both", pl.when(~own).then(appended))):
        imported = tables["events"].with_columns(known_at=known)
        first_day = build_snapshot(write_shop(tmp_path / name, tables | {"events": imported}))
        assert first_day.manifest.snapshot_id == plain.manifest.snapshot_id
        assert "events_known_after_cut" not in first_day.manifest.counts


def test_the_first_days_past_goes_on_teaching_and_what_is_appended_later_does_not_at_first(tmp_path: Path) -> None:
    """Ten days appended on day 15, before both cuts; then events as they happen, and an old one on day 25."""
    past, fresh = [(at, 15) for at in range(1, 11)], [(at, at) for at in range(15, LAST)]
    found = parts(build(tmp_path, [*past, *fresh, (2, 25)]))
    assert [found.get(number) for number in range(len(past))] == ["train"] * len(past)
    assert len(past) + len(fresh) not in found


def test_much_that_was_known_late_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        build(tmp_path / "few", [(5, 5)] * 20 + [(5, 35)])
        assert not caplog.records
        build(tmp_path / "many", [(5, 5)] * 7 + [(5, 35)])
    assert "1 of 9 were known only after a cut" in caplog.text


def test_a_leak_of_what_was_known_late_is_found() -> None:
    split = Split(kind="time", validation_after=day(20), test_after=day(30), known_from=day(0))
    rows = [(5, 21, "train"), (5, 31, "train"), (25, 31, "validation"), (35, 90, "test"), (5, None, "train")]
    frame = pl.DataFrame(
        {
            "timestamp": [day(at) for at, _, _ in rows],
            "known_at": [None if known is None else day(known) for _, known, _ in rows],
            "part": [part for _, _, part in rows],
        }
    )
    judgments = pl.DataFrame(schema=pl.Schema(JudgmentFrame))
    assert find_leaks(frame, judgments, split=split) == [
        "2 train events known only after the cut",
        "2 events before the test part known only in it",
    ]
    assert find_leaks(frame.filter(~known_late(split)), judgments, split=split) == []
    young = split.model_copy(update={"known_from": day(25)})
    assert binding_cuts(young) == [day(30)]
    assert find_leaks(frame, judgments, split=young) == ["2 events before the test part known only in it"]
