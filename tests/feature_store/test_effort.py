"""Every job over a whole shop says what it took."""

from pathlib import Path

import polars as pl
import pytest

from feature_store.effort import Effort, Meter
from tests.command import recsys
from tests.shops import START, small_tables, write_shop


def test_it_is_read_as_often_as_one_likes() -> None:
    meter = Meter()
    first, second = meter.read(), meter.read()
    assert 0 <= first.seconds <= second.seconds
    assert 1 < first.peak_mib <= second.peak_mib
    assert str(Effort(2.04, 1234.5)) == "2.0 s, at most 1,234 MiB"


def test_the_commands_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop, rows = write_shop(tmp_path / "shop", small_tables()), tmp_path / "rows.parquet"
    pl.DataFrame({"user_id": ["u01"], "timestamp": [START.replace(month=3)]}).write_parquet(rows)
    for command in (
        ("features", shop, "-o", tmp_path / "snapshot"),
        ("table", "build", shop, "--rows", rows, "-o", tmp_path / "table"),
        ("table", "records", shop, "-o", tmp_path / "records"),
        ("table", "publish", shop),
    ):
        arguments = (*command, "--home", tmp_path / "home")
        report = recsys(capsys, *arguments, "--json").report
        assert report["seconds"] > 0
        assert report["peak_mib"] > 1
        assert " s, at most " in recsys(capsys, *arguments).out
