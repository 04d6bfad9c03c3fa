"""What is later than the cut-off is left out by every command, users too."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.snapshot import build_snapshot
from tests.command import recsys
from tests.shops import START, small_tables, write_shop

CUT = START + timedelta(days=30)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Users u00 to u09 came before the cut, the others after it; u98 and u99 did nothing, before and after it."""
    tables = small_tables()
    silent = pl.DataFrame({"user_id": ["u98", "u99"], "segment": ["new", "new"], "country": ["GB", "GB"]})
    users = pl.concat([tables["users"], silent]).with_columns(
        created_at=pl.when(pl.col("user_id").is_in([f"u{number:02d}" for number in range(10)] + ["u98"]))
        .then(pl.lit(CUT))
        .otherwise(pl.lit(CUT + timedelta(microseconds=1)))
    )
    return write_shop(tmp_path / "shop", tables | {"users": users}, toml='name = "small"\n')


def test_users_who_came_later_are_unknown(shop: Path) -> None:
    snapshot = build_snapshot(shop, as_of=CUT)
    users = snapshot.users()
    assert snapshot.manifest.counts["users_after_as_of"] == 21
    assert "u98" in users["user_id"]
    assert "u99" not in users["user_id"]
    # a user whose events are older than the account is known from them, by the id alone
    told = users.filter(pl.col("segment").is_not_null())["user_id"].to_list()
    assert told == [*(f"u{number:02d}" for number in range(10)), "u98"]
    seen = small_tables()["events"].filter(pl.col("timestamp") <= CUT)["user_id"].unique()
    assert set(users["user_id"]) == {*told, *seen}


def test_doctor_counts_what_was_known_then(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def popularity(*options: str) -> int:
        tiers = recsys(capsys, "doctor", shop, *options, "--json").report["tiers"]
        return next(int(tier["found"]) for tier in tiers if tier["name"] == "popularity")

    events = small_tables()["events"]
    assert popularity() == events.height
    assert popularity("--as-of", CUT.isoformat()) == events.filter(pl.col("timestamp") <= CUT).height
