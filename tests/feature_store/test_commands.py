"""The commands that read a shop: what people see, what machines read, and what stays on disk."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.command import recsys
from tests.shops import START, small_tables, write_shop


def test_sample_then_doctor_then_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = tmp_path / "sample"
    made = recsys(capsys, "sample", shop, "--products", 60, "--users", 20, "--json")
    assert made.code == 0
    assert made.report["rows"]["products"] == 60
    assert set(made.report["rows"]) == {"products", "users", "events", "queries", "judgments"}
    checked = recsys(capsys, "validate", shop, "--strict", "--json")
    assert checked.code == 0, checked.err
    assert recsys(capsys, "doctor", shop, "--json").report["highest"] in ("popularity", "behavioural", "personalised")
    built = recsys(capsys, "features", shop, "-o", tmp_path / "snapshot", "--json").report
    assert Path(built["snapshot"]) == tmp_path / "snapshot"
    assert built["shop"] == "sample"
    assert (tmp_path / "snapshot" / "manifest.json").is_file()


@pytest.mark.parametrize("command", ["validate", "doctor", "features"])
def test_commands_on_tables_import_no_networks(command: str, small_shop: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from recsys.cli.app import main\n"
        f"try: main([{command!r}, {str(small_shop)!r}, '--home', {str(tmp_path)!r}])\n"
        "except SystemExit as left: assert not left.code\n"
        "assert not {'torch', 'transformers', 'mlflow', 'lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_validate_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    products = pl.concat([tables["products"].with_columns(shelf=pl.lit(1)), tables["products"].head(1)], how="diagonal")
    shop = write_shop(tmp_path / "shop", tables | {"products": products})
    done = recsys(capsys, "validate", shop)
    assert done.code == 0
    for words in (
        "products.parquet",
        "1 x product_id twice",
        "shelf",
        "events exact duplicates: 0",
        "rows set aside: ",
    ):
        assert words in " ".join(done.out.split()), words
    assert done.err == ""


def test_the_quarantine_follows_the_last_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = small_tables()
    broken = tables | {"users": pl.concat([tables["users"], tables["users"].head(2)])}
    shop = write_shop(tmp_path / "shop", broken)
    report = recsys(capsys, "validate", shop, "--json").report
    file = Path(report["quarantine"])
    assert file.is_relative_to(tmp_path / "recsys-home")
    aside = pl.read_parquet(file)
    assert aside["reason"].to_list() == ["user_id twice"] * 2
    assert {json.loads(values)["user_id"] for values in aside["values"]} == {"u00", "u01"}
    assert all(row in (1, 2, 31, 32) for row in aside["row"])
    write_shop(shop, tables)
    assert recsys(capsys, "validate", shop, "--json").report["quarantine"] is None
    assert not file.exists()


def test_nothing_is_left_in_the_home_by_validate_and_doctor(
    small_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recsys(capsys, "validate", small_shop)
    recsys(capsys, "doctor", small_shop)
    assert list((tmp_path / "recsys-home").iterdir()) == []


def tiers(capsys: pytest.CaptureFixture[str], shop: Path) -> dict[str, dict[str, object]]:
    report = recsys(capsys, "doctor", shop, "--json").report
    return {one["name"]: one for one in report["tiers"]} | {"highest": report["highest"], "advice": report["advice"]}


def test_doctor_counts_what_it_says(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tiers(capsys, small_shop)
    events = small_tables()["events"]
    assert found["lexical"]["found"] == 40
    assert found["popularity"]["found"] == events.height
    users = events.group_by("user_id").agg(pl.col("product_id").n_unique().alias("products"), pl.len())
    assert found["behavioural"]["found"] == users.filter(pl.col("products") >= 2).height
    assert found["personalised"]["found"] == users.filter(pl.col("len") >= 3).height
    graded = small_tables()["judgments"].group_by("query_id").agg(pl.col("grade").n_unique())
    assert found["relevance"]["found"] == graded.filter(pl.col("grade") >= 2).height
    assert found["highest"] == "popularity"


def test_doctor_climbs_the_ladder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    bare = write_shop(tmp_path / "bare", {"products": tables["products"].select("product_id", "title")})
    found = tiers(capsys, bare)
    assert found["highest"] == "lexical"
    assert "no events" in " ".join(found["advice"])  # type: ignore[call-overload]
    more = [pl.format(f"{{}}-{copy}", "user_id").alias("user_id") for copy in range(20)]
    many = pl.concat([tables["events"].with_columns(name) for name in more])
    rich = write_shop(tmp_path / "rich", tables | {"events": many})
    assert tiers(capsys, rich)["highest"] == "personalised"
    order = write_shop(tmp_path / "order", tables, toml='timestamps = "order"\n')
    assert "only order" in " ".join(tiers(capsys, order)["advice"])  # type: ignore[call-overload]


def test_doctor_for_people(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "doctor", small_shop)
    assert "Highest tier: popularity" in done.out
    assert "behavioural" in done.out


def test_features_for_people_and_by_option(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recsys(capsys, "features", small_shop)
    assert done.code == 0
    assert "interactions_test" in done.out
    plain = recsys(capsys, "features", small_shop, "--json").report
    assert Path(plain["snapshot"]).name == plain["snapshot_id"]
    chosen = recsys(
        capsys, "features", small_shop, "--set", "test_days=7", "--set", "validation_days=14", "--json"
    ).report
    assert (chosen["split"]["test_days"], chosen["split"]["validation_days"]) == (7.0, 14.0)
    assert chosen["counts"]["interactions_test"] < plain["counts"]["interactions_test"]
    early = recsys(capsys, "features", small_shop, "--as-of", "2025-02-15", "--json").report
    assert early["watermark"] <= "2025-02-15T00:00:00Z"
    assert early["counts"]["events_after_as_of"] > 0


def test_option_beats_shop_toml_beats_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml='[split]\nkind = "leave-one-out"\nfold = 2\n')
    assert recsys(capsys, "features", shop, "--json").report["split"]["kind"] == "leave-one-out"
    chosen = recsys(capsys, "features", shop, "--split", "query-folds", "--json").report["split"]
    assert (chosen["kind"], chosen["fold"]) == ("query-folds", 2)
    assert recsys(capsys, "features", shop, "--set", "fold=3", "--json").report["split"]["fold"] == 3


def test_columns_by_the_shops_own_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = small_tables()
    own = tables | {"events": tables["events"].rename({"timestamp": "ts", "user_id": "customer"})}
    toml = 'name = "small"\ncurrency = "GBP"\n[judgments]\nmax_grade = 3\n'
    maps = '[columns.events]\ntimestamp = "ts"\nuser_id = "customer"\n'
    made = [
        recsys(capsys, "features", write_shop(tmp_path / name, frames, toml=text), "--json").report["snapshot_id"]
        for name, frames, text in (("own", own, toml + maps), ("plain", tables, toml))
    ]
    assert made[0] == made[1]


def test_events_twice_by_id_count_once_and_copies_without_id_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = small_tables()
    events = tables["events"].with_columns(pl.format("e{}", pl.int_range(pl.len())).alias("event_id"))
    again = events.head(6)
    corrected = events.slice(6, 2).with_columns(pl.col("timestamp") + timedelta(days=1))
    without = events.slice(20, 4).with_columns(event_id=pl.lit(None, dtype=pl.String))
    shop = write_shop(
        tmp_path / "shop", tables | {"events": pl.concat([events, again, corrected, without, without, without])}
    )
    report = recsys(capsys, "features", shop, "--json").report
    assert report["quarantine"]["events"] == {"event_id twice": 8}
    assert report["counts"]["events_exact_duplicates"] == 8
    assert report["counts"]["interactions"] == events.height + 12
    snapshot = pl.read_parquet(Path(report["snapshot"]) / "interactions.parquet")
    moved = snapshot.filter(pl.col("event_id").is_in(["e6", "e7"])).sort("event_id")
    assert moved["timestamp"].to_list() == events.slice(6, 2)["timestamp"].to_list()


def test_today_is_the_day_of_the_newest_event(small_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = recsys(capsys, "validate", small_shop, "--json").report
    assert report["watermark"] == str(small_tables()["events"]["timestamp"].max())
    early = recsys(capsys, "validate", small_shop, "--as-of", "2025-01-15", "--json").report
    assert (
        early["counts"]["events_after_as_of"]
        == small_tables()["events"].filter(pl.col("timestamp") > START + timedelta(days=14)).height
    )


@pytest.mark.parametrize("days", ["1e9", "1e300", "inf", "nan", "-1"])
def test_a_part_longer_than_the_calendar_is_one_line(
    small_shop: Path, days: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = recsys(capsys, "features", small_shop, "--set", f"test_days={days}")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "test_days" in done.err
