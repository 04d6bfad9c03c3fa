"""A shop with queries enough for a blender."""

import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from tests.shops import small_tables, write_shop


@pytest.fixture(scope="session")
def judged_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop with four times as many queries, so that the validation part has enough."""
    place = tmp_path_factory.mktemp("judged")
    tables = small_tables()
    spellings = ("", "new ", "best ", "cheap ")
    tables["queries"] = pl.concat(
        tables["queries"].with_columns(
            query_id=pl.lit(f"{number}") + pl.col("query_id"), query=pl.lit(word) + pl.col("query")
        )
        for number, word in enumerate(spellings)
    )
    tables["judgments"] = pl.concat(
        tables["judgments"].with_columns(query_id=pl.lit(f"{number}") + pl.col("query_id"))
        for number in range(len(spellings))
    )
    toml = 'name = "small"\n[judgments]\nmax_grade = 3\n'
    return build_snapshot(write_shop(place / "shop", tables, toml=toml), out=place / "snapshot")
