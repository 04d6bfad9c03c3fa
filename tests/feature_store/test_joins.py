"""A join that gives or loses rows ends the build: a table whose keys stand twice is put behind the checks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from feature_store.checking import CheckedTable
from feature_store.interactions import event_frames
from feature_store.joins import same_rows
from feature_store.judgments import judgment_frame
from feature_store.manifest import Split
from feature_store.point_in_time.definitions import Feature, Measure, Total
from feature_store.point_in_time.past import pasts
from feature_store.point_in_time.streams import shop_streams
from feature_store.products import catalogue_frame
from feature_store.validate import clean_shop
from recsys.errors import SnapshotError
from tests.shops import START, small_tables, write_shop

Tables = dict[str, CheckedTable]
WEIGHTS = {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """The small shop with dated judgments."""
    made = small_tables()
    dated = made["judgments"].with_columns(judged_at=pl.lit(START))
    return clean_shop(write_shop(tmp_path / "shop", made | {"judgments": dated}), staging=tmp_path).tables


def twice(table: CheckedTable) -> CheckedTable:
    return replace(table, frame=pl.concat([table.frame, table.frame.head(1)]))


def catalogue_of(tables: Tables) -> pl.DataFrame:
    return catalogue_frame(tables["products"], currency=None, now=None)


def interactions(tables: Tables, *, broken: bool) -> int:
    catalogue = catalogue_of(tables)
    given = pl.concat([catalogue, catalogue.head(1)]) if broken else catalogue
    split = Split(kind="leave-one-out")
    return event_frames(tables["events"], catalogue=given, weights=WEIGHTS, split=split).interactions.height


def pairs(tables: Tables, *, broken: bool) -> int:
    queries = twice(tables["queries"]) if broken else tables["queries"]
    catalogue = catalogue_of(tables)
    return judgment_frame(tables["judgments"], queries=queries, catalogue=catalogue, fold=0).height


def records(tables: Tables, *, broken: bool) -> int:
    """The stream of grades, as a table's build goes over it."""
    queries = twice(tables["queries"]) if broken else tables["queries"]
    streams = shop_streams(tables | {"queries": queries})
    grade = Feature("grade", "query", "", Total(Measure("judgments")))
    pasts(streams, [grade], days=[0])
    return streams["judgments"].rows or 0


@pytest.mark.parametrize(
    ("build", "name", "of"),
    [(interactions, "events", "interactions"), (pairs, "judgments", "judged pairs"), (records, "judgments", "records")],
)
def test_a_join_that_gives_rows(build: Callable[..., int], name: str, of: str, tables: Tables) -> None:
    assert build(tables, broken=False) == tables[name].rows
    with pytest.raises(SnapshotError, match=rf"\A[\d,]+ {of}.* after a join of {tables[name].rows}; expected as many"):
        build(tables, broken=True)


def test_what_a_failed_check_says() -> None:
    same_rows(3, 3, of="rows")
    with pytest.raises(SnapshotError, match=r"1,000 rows after a join of 999; expected as many rows .* report this"):
        same_rows(1000, 999, of="rows")
