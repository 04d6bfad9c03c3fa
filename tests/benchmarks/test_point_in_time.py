"""The job's three contestants give the same values, and a difference is counted."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.jobs import point_in_time as job
from benchmarks.point_in_time import FEATURES, Size, ours, write_stream
from benchmarks.point_in_time_duckdb import duckdb_features
from benchmarks.point_in_time_pandas import pandas_features


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    write_stream(Size(events=20_000, users=300, products=60, rows=500), folder)
    return folder


def test_the_peers_agree(stream: Path) -> None:
    found = ours(stream)
    assert len(found.columns) == len(FEATURES) == 30
    assert found.height == 500
    assert job.count_differing(found, duckdb_features(stream)) == 0
    assert job.count_differing(found, pandas_features(stream)) == 0


def test_a_stream_that_stands_is_kept_and_late_events_are_in_it(stream: Path) -> None:
    events = pl.read_parquet(stream / "events" / "*.parquet")
    late = events.filter(pl.col("known_at") > pl.col("timestamp")).height
    assert 100 < late < 300
    before = (stream / "rows.parquet").stat().st_mtime_ns
    write_stream(Size(events=20_000, users=300, products=60, rows=500), stream)
    assert (stream / "rows.parquet").stat().st_mtime_ns == before


def test_differences_are_counted() -> None:
    one = pl.DataFrame({"a": [1.0, None, 3.0], "b": [0.0, 1.0, 2.0]})
    other = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.0, 1.1, 2.0]})
    assert job.count_differing(one, one) == 0
    assert job.count_differing(one, other) == 2
    assert job.count_differing(one, other.head(2)) == 3
