"""Tables of features by day: the same however they were built, and built again only where the past has changed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_store.forgetting.opening import open_people
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.table import build_table
from recsys.cli.parity import refuse_low_parity
from recsys.settings import load_settings
from tests.command import recsys
from tests.shops import START, small_tables, write_shop

NAMES = (
    "user_views_7d",
    "product_purchases_28d",
    "product_buyers_90d",
    "product_purchase_rate_28d",
    "follow_views_all",
)


def rows_until(days: float) -> pl.DataFrame:
    """A row for each event's user and product, an hour after it."""
    events = small_tables()["events"].filter(pl.col("timestamp") < START + timedelta(days=days))
    asked = events.select("user_id", "product_id", pl.col("timestamp") + timedelta(hours=1))
    return asked.with_columns(label=pl.int_range(pl.len()) % 2, tags=pl.concat_list(pl.lit("a"), pl.lit("b")))


def build(shop: Path, rows: pl.DataFrame, out: Path, **options: object):  # noqa: ANN201
    file = shop.parent / "rows.parquet"
    rows.write_parquet(file)
    given = {"only": NAMES, "as_of": None} | options
    return build_table(shop, rows=file, out=out, settings=load_settings(), **given)  # type: ignore[arg-type]


def known_until(days: float, *, late: bool = True) -> dict[str, pl.DataFrame]:
    """What the small shop knew then; every fifth event came to be known ten days late."""
    tables = small_tables()
    events = (
        tables["events"]
        .with_row_index("n")
        .with_columns(
            known_at=pl.when(late & (pl.col("n") % 5 == 0))
            .then(pl.col("timestamp") + timedelta(days=10))
            .otherwise(pl.col("timestamp"))
        )
    )
    return tables | {"events": events.filter(pl.col("known_at") < START + timedelta(days=days)).drop("n")}


def test_a_table_that_grew_by_days_is_the_one_that_was_built_at_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for days in (30, 31, 45, 120):
        write_shop(shop, known_until(days))
        grown = build(shop, rows_until(days), tmp_path / "grown")
    whole = build(shop, rows_until(120).reverse(), tmp_path / "whole")
    assert grown.manifest.table_id == whole.manifest.table_id
    assert grown.manifest.days == whole.manifest.days
    assert 0 < grown.computed < whole.computed == whole.rows == small_tables()["events"].height
    table = pl.read_parquet(tmp_path / "grown" / "*.parquet")
    assert table.equals(pl.read_parquet(tmp_path / "whole" / "*.parquet"))
    assert set(table.columns) == {"user_id", "product_id", "timestamp", "label", "tags", *NAMES}
    again = build(shop, rows_until(120), tmp_path / "grown")
    assert (again.computed, again.manifest.table_id) == (0, whole.manifest.table_id)


def test_a_rewritten_past_is_built_again_from_the_day_on_which_it_changed(tmp_path: Path) -> None:
    shop, out = tmp_path / "shop", tmp_path / "table"
    write_shop(shop, known_until(120, late=False))
    first = build(shop, rows_until(120), out)
    silent = known_until(120, late=False)
    write_shop(shop, silent | {"events": pl.concat([silent["events"], backfill(known=None)])})
    changed = build(shop, rows_until(120), out)
    later = {date for date in first.manifest.days if date >= "2025-02-10"}
    assert changed.computed == sum(first.manifest.days[date].rows for date in later)
    assert changed.manifest.table_id == build(shop, rows_until(120), tmp_path / "whole").manifest.table_id
    assert changed.manifest.table_id != first.manifest.table_id


def backfill(*, known: datetime | None) -> pl.DataFrame:
    events = known_until(120, late=False)["events"]
    return (
        events.filter(pl.col("user_id") == "u03")
        .head(2)
        .with_columns(
            timestamp=pl.lit(START + timedelta(days=40)), known_at=pl.lit(known, dtype=pl.Datetime("us", "UTC"))
        )
    )


def test_an_old_instant_gives_the_old_table_whatever_has_come_since(tmp_path: Path) -> None:
    shop, cut = tmp_path / "shop", START + timedelta(days=50)
    write_shop(shop, known_until(50))
    rows = rows_until(49)
    then = build(shop, rows, tmp_path / "then")
    events = pl.concat([known_until(120)["events"], backfill(known=cut + timedelta(days=1))])
    write_shop(shop, small_tables() | {"events": events})
    now = build(shop, rows, tmp_path / "now", as_of=cut - timedelta(microseconds=1))
    assert now.manifest.table_id == then.manifest.table_id
    # late events with their known_at change no row from before they were known, with and without the cut
    assert build(shop, rows, tmp_path / "open").manifest.table_id == then.manifest.table_id


def test_a_view_that_follows_nothing_is_part_of_a_day_s_past(tmp_path: Path) -> None:
    """It makes no pair, and yet it is what its user viewed last."""
    shop, tables = tmp_path / "shop", small_tables()
    asked = {"user_id": ["new"], "product_id": ["p01"], "timestamp": [START + timedelta(days=100)]}
    moment = pl.lit(START + timedelta(days=99)).cast(tables["events"].schema["timestamp"])
    view = tables["events"].head(1).with_columns(user_id=pl.lit("new"), timestamp=moment)
    assert view["event_type"].item() == "view"

    def only(name: str) -> pl.DataFrame:
        built = build(shop, pl.DataFrame(asked), tmp_path / name, only=["follow_views_all"])
        return pl.read_parquet(built.folder / "*.parquet")

    write_shop(shop, tables)
    assert only("grown")["follow_views_all"].to_list() == [None]
    write_shop(shop, tables | {"events": pl.concat([tables["events"], view])})
    assert only("grown")["follow_views_all"].to_list() == [0.0]


def test_commands(small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "table"
    rows_until(60).drop("tags").write_csv(rows)
    done = recsys(capsys, "table", "build", small_shop, "--rows", rows, "-o", out)
    assert done.code == 0, done.err
    assert "without product_price, product_in_stock, product_price_change_7d" in done.out
    report = recsys(capsys, "table", "build", small_shop, "--rows", rows, "-o", out, "--json").report
    assert report["computed"] == 0
    assert report["rows"] == rows_until(60).height
    assert len(report["features"]) >= 30
    assert report["left_out"]["query_searches_7d"] == "events have no query"
    page = (out / "features.md").read_text()
    assert all(f"| `{name}` |" in page and f"`{version}` |" in page for name, version in report["features"].items())
    listed = recsys(capsys, "table", "list", "--page", tmp_path / "all.md", "--json").report["features"]
    assert [one["name"] for one in listed] == [one.name for one in DEFAULTS]
    assert "`query_product_click_rate_90d`" in (tmp_path / "all.md").read_text()
    assert "user_views_7d" in recsys(capsys, "table", "list").out


def test_a_snapshot_is_never_taken_for_an_older_table(
    small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recsys(capsys, "features", small_shop, "-o", tmp_path / "snapshot").code == 0
    rows = tmp_path / "rows.parquet"
    rows_until(60).write_parquet(rows)
    done = recsys(capsys, "table", "build", small_shop, "--rows", rows, "-o", tmp_path / "snapshot")
    assert (done.code, "holds other files" in done.err) == (2, True)
    assert (tmp_path / "snapshot" / "interactions.parquet").is_file()


def test_a_day_whose_file_is_gone_is_built_again(small_shop: Path, tmp_path: Path) -> None:
    rows = rows_until(60).with_columns(row=pl.int_range(pl.len()))
    build(small_shop, rows, tmp_path / "table")
    (tmp_path / "table" / "2025-01-10.parquet").unlink()
    again = build(small_shop, rows, tmp_path / "table")
    assert again.computed == again.manifest.days["2025-01-10"].rows
    assert "row" in pl.read_parquet(tmp_path / "table" / "2025-01-10.parquet").columns


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("feature colour; expected a name of", ["--only", "colour"]),
        ("feature product_price can't be had: products have no valid_from", ["--only", "product_price"]),
        ("later than --as-of", ["--as-of", "2025-01-05"]),
        ("has no column timestamp", ["--rows", "{products}"]),
        ("--rows nothing.parquet", ["--rows", "nothing.parquet"]),
    ],
)
def test_what_can_t_be_had_is_one_line(
    words: str, arguments: list[str], small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.parquet"
    rows_until(60).write_parquet(rows)
    given = [argument.format(products=small_shop / "products.parquet") for argument in arguments]
    done = recsys(capsys, "table", "build", small_shop, "--rows", rows, "-o", tmp_path / "table", *given)
    assert done.code == 2
    assert len(done.lines) == 1
    assert words in done.err
    assert not (tmp_path / "table").exists()


def test_a_shop_that_only_orders_has_its_users_own_totals_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml='timestamps = "order"\n')
    rows = tmp_path / "rows.parquet"
    rows_until(60).write_parquet(rows)
    arguments = ("table", "build", shop, "--rows", rows, "-o", tmp_path / "table")
    report = recsys(capsys, *arguments, "--json").report
    assert set(report["features"]) == {"user_purchases_all", "user_product_views_all", "user_product_purchases_all"}
    done = recsys(capsys, *arguments, "--only", "user_views_7d")
    assert done.code == 2
    assert "user_views_7d can't be had: it needs a calendar" in done.err


def test_parity(small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build(small_shop, rows_until(60), tmp_path / "table")
    log = tmp_path / "log.parquet"
    served = pl.read_parquet(built.folder / "*.parquet").drop("tags", "label")
    served.write_parquet(log)
    done = recsys(capsys, "table", "parity", small_shop, "--log", log, "--json")
    assert done.code == 0
    (tmp_path / "parity.json").write_text(done.out)
    refuse_low_parity(tmp_path / "parity.json")
    assert all(one["share"] == 1.0 for one in done.report["features"])
    wrong = pl.int_range(pl.len()) == 7
    served.with_columns(pl.col("user_views_7d") + wrong, follow_views_all=None).write_parquet(log)
    done = recsys(capsys, "table", "parity", small_shop, "--log", log, "--json")
    assert done.code == 1
    assert done.report["failed"] == ["user_views_7d", "follow_views_all"]
    (tmp_path / "parity.json").write_text(done.out)
    arguments = ("promote", "models:/recommender@challenger", "--parity")
    refused = recsys(capsys, *arguments, tmp_path / "parity.json")
    assert (refused.code, len(refused.lines)) == (1, 1)
    assert "served features were not those known then: user_views_7d 99.453%" in refused.err
    assert "follow_views_all" in refused.err
    lax = recsys(capsys, "table", "parity", small_shop, "--log", log, "--json", "--least", 0)
    assert (lax.code, lax.report["failed"]) == (0, [])
    (tmp_path / "lax.json").write_text(lax.out)
    assert recsys(capsys, *arguments, tmp_path / "lax.json").err == refused.err
    assert "--parity" in recsys(capsys, *arguments, log).err
    first = next(one for one in done.report["features"] if one["name"] == "user_views_7d")
    assert (first["rows"] - first["equal"], first["first_differing"]) == (1, 7)
    assert "do not promote" in recsys(capsys, "table", "parity", small_shop, "--log", log).out
    served.select("user_id", "timestamp").write_parquet(log)
    assert "no column of a feature's name" in recsys(capsys, "table", "parity", small_shop, "--log", log).err


def test_the_manifest_names_versions_that_change_with_the_definition(tmp_path: Path, small_shop: Path) -> None:
    built = build(small_shop, rows_until(20), tmp_path / "table")
    told = json.loads((built.folder / "manifest.json").read_text())
    assert told["features"] == {one.name: one.version for one in DEFAULTS if one.name in NAMES}
    assert len({one.version for one in DEFAULTS}) == len(DEFAULTS) == len({one.name for one in DEFAULTS})


def test_requests_of_before_a_user_was_forgotten_are_left_out_of_parity(
    small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was known then included the user; of what was known afterwards the replay is as exact as before."""
    people = open_people(load_settings(), shop="small")
    border = START + timedelta(days=45)
    until = (border - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    log = tmp_path / "log.parquet"
    build(small_shop, rows_until(60), tmp_path / "before")
    pl.read_parquet(tmp_path / "before" / "*.parquet").drop("tags", "label").write_parquet(log)
    people.forget({"u03": []}, by="", at=until, until=until)
    assert recsys(capsys, "table", "parity", small_shop, "--log", log).code == 1
    built = build(small_shop, rows_until(60), tmp_path / "after")
    served = pl.read_parquet(built.folder / "*.parquet").drop("tags", "label")
    served.write_parquet(log)
    done = recsys(capsys, "table", "parity", small_shop, "--log", log, "--json")
    older = served.filter(pl.col("timestamp") <= border)
    assert (done.code, done.report["left_out"]) == (0, older.height)
    assert all((one["share"], one["rows"]) == (1.0, served.height - older.height) for one in done.report["features"])
    assert "requests of before a user was forgotten" in recsys(capsys, "table", "parity", small_shop, "--log", log).out
    older.write_parquet(log)
    assert "what was known then is gone" in recsys(capsys, "table", "parity", small_shop, "--log", log).err
