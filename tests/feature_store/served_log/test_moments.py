"""Moved events count for exactly those rows that held them, whatever the order in which rows and events came."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from feature_store.point_in_time.streams import Records
from feature_store.served_log.moments import NEVER, Counted, first_missed, overtaken

moments = st.integers(1, 30)
rows_of = st.lists(st.tuples(moments, moments).map(lambda two: (max(two), min(two))), max_size=12)


@given(rows_of, st.lists(moments, max_size=10))
def test_an_event_counts_for_a_row_exactly_where_it_was_in_it(rows: list[tuple[int, int]], starts: list[int]) -> None:
    at, newest = (
        (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        if rows
        else (np.zeros(0, np.int64),) * 2
    )
    gone = overtaken(at, newest)
    expected = [any(late >= time and less < known for late, less in rows) for time, known in rows]
    assert gone.tolist() == expected
    kept = [row for row, lost in zip(rows, gone, strict=True) if not lost]
    counted = Counted.of(at[~gone], newest[~gone])
    since = counted.since(np.array(starts, dtype=np.int64))
    for start, moved in zip(starts, since.tolist(), strict=True):
        assert moved >= start
        assert [moved <= time for time, _ in kept] == [start <= known for _, known in kept]


@given(rows_of, st.lists(moments, max_size=10))
def test_what_a_row_misses_first_is_the_earliest_that_is_not_in_it(
    rows: list[tuple[int, int]], starts: list[int]
) -> None:
    newest = np.array([known for _, known in rows], dtype=np.int64)
    events = Records(pl.LazyFrame({"start": pl.Series(starts, dtype=pl.Int64)}))
    found = first_missed(newest, events).tolist()
    assert found == [min([one for one in starts if one > known], default=NEVER) for _, known in rows]
    assert first_missed(newest, None).tolist() == [NEVER] * len(rows)
