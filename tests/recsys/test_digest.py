"""The digest of a frame depends on names, types and values, and on nothing else."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys import digest
from recsys.digest import frame_digest

FRAME = pl.DataFrame(
    {
        "text": ["a", None, "", "äö", "b"],
        "number": [1, None, -3, 4, 5],
        "real": [0.5, None, float("inf"), 0.0, 2.0],
        "flag": [True, None, False, True, True],
        "time": [datetime(2025, 1, 1, tzinfo=UTC), None, *[datetime(1969, 1, 1, tzinfo=UTC)] * 3],
        "kind": pl.Series(["x", "y", None, "x", "x"], dtype=pl.Enum(["x", "y"])),
        "list": [[1.0], None, [], [2.0, None], [3.0]],
    }
)

CHANGES = [
    pl.col("text").fill_null(""),
    pl.col("text").replace("a", "A"),
    pl.col("text").shift(1),
    pl.col("number").fill_null(0),
    pl.col("number").cast(pl.Int32),
    pl.col("real").fill_null(0.0),
    pl.col("real") * 1.0000001,
    pl.col("flag").fill_null(value=False),
    pl.col("time").dt.offset_by("1us"),
    pl.col("kind").fill_null("x"),
    pl.col("list").list.reverse(),
    pl.col("list").fill_null([]),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_value_counts(change: pl.Expr) -> None:
    assert frame_digest(FRAME.with_columns(change)) != frame_digest(FRAME)


def test_names_and_order_count() -> None:
    assert frame_digest(FRAME.rename({"text": "words"})) != frame_digest(FRAME)
    assert frame_digest(FRAME.reverse()) != frame_digest(FRAME)
    assert frame_digest(FRAME.select(reversed(FRAME.columns))) != frame_digest(FRAME)


def test_how_it_is_stored_does_not_count(tmp_path: Path) -> None:
    expected = frame_digest(FRAME)
    FRAME.write_parquet(tmp_path / "a.parquet", row_group_size=2)
    assert frame_digest(pl.scan_parquet(tmp_path / "a.parquet")) == expected
    assert frame_digest(pl.concat([FRAME.head(2), FRAME.tail(3)], rechunk=False)) == expected
    assert frame_digest(FRAME.with_columns(pl.col("kind").cast(pl.String))) == expected
    assert frame_digest(FRAME.with_columns(pl.col("real").replace(0.0, -0.0))) == expected
    assert frame_digest(FRAME.with_columns(pl.col("real").fill_null(float("nan")))) == expected


def test_neighbours_do_not_run_together() -> None:
    assert frame_digest(pl.DataFrame({"a": ["ab", "c"]})) != frame_digest(pl.DataFrame({"a": ["a", "bc"]}))
    assert frame_digest(pl.DataFrame({"a": [[1.0, 2.0], [3.0]]})) != frame_digest(
        pl.DataFrame({"a": [[1.0], [2.0, 3.0]]})
    )


def test_slices_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": range(10)})
    monkeypatch.setattr(digest, "ROWS", 5)
    five = frame_digest(frame)
    assert five == frame_digest(frame.lazy())
    assert five != frame_digest(frame.head(9))
    assert frame_digest(frame.head(0)) != frame_digest(frame.head(5))
