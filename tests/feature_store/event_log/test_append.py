"""`recsys events append`: files in every format reach the log, once; what is refused is set aside with its reason."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store.event_log.compact import part_frame
from feature_store.event_log.opening import log_file
from feature_store.event_log.sqlite import SqliteLog
from recsys.settings import load_settings
from tests.command import recsys
from tests.event_logs import row
from tests.shops import small_tables, write_shop

TOML = 'name = "small"\n'


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop", {"products": small_tables()["products"]}, toml=TOML)


def logged() -> pl.DataFrame:
    log = SqliteLog(log_file(load_settings(), shop="small"))
    return part_frame(log.read(after=0, until=log.head()))


def lines(file: Path, *rows: Any) -> Path:
    file.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
    return file


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_every_format_brings_the_same_events(shop: Path, tmp_path: Path, kind: str, capsys: Any) -> None:
    events = small_tables()["events"].with_columns(
        event_id=pl.format("e{}", pl.int_range(pl.len())), colour=pl.lit("red"), value=pl.lit(float("nan"))
    )
    if kind == "csv":
        events = events.with_columns(pl.col("timestamp").dt.to_string("iso:strict"))
    file = tmp_path / f"events.{kind}"
    {"parquet": events.write_parquet, "csv": events.write_csv, "jsonl": events.write_ndjson}[kind](file)
    if kind == "jsonl":
        file.write_text(file.read_text().replace('"value":NaN', '"value":null'))
    report = recsys(capsys, "events", "append", shop, file, "--json").report
    assert (report["rows"], report["accepted"], report["duplicates"]) == (events.height, events.height, 0)
    assert (report["refused"], report["unknown_columns"]) == ({}, ["colour"])
    wanted = small_tables()["events"]
    found = logged()
    for name in ("user_id", "product_id", "timestamp", "quantity", "session_id"):
        assert found[name].to_list() == wanted[name].to_list(), name
    assert "value" not in found.columns
    assert set(found["attributes"]) == {'{"colour": "red"}'}
    again = recsys(capsys, "events", "append", shop, file, "--json").report
    assert (again["accepted"], again["duplicates"]) == (0, events.height)


def test_bad_rows_are_set_aside_and_counted(shop: Path, tmp_path: Path, capsys: Any) -> None:
    bad = row(1, timestamp="2025-03-30T10:00:00")
    file = lines(tmp_path / "day.jsonl", row(0), bad, "{no json", "", row(2), bad, row(3, event_type="stare"))
    done = recsys(capsys, "events", "append", shop, file, "--json")
    assert done.code == 0
    assert done.report["refused"] == {
        "timestamp without time zone": 2, "no JSON object": 1, "event_type none of the known types": 1
    }  # fmt: skip
    assert (done.report["rows"], done.report["accepted"]) == (6, 2)
    (aside,) = done.report["quarantine"]
    told = [json.loads(line) for line in Path(aside).read_text().splitlines()]
    assert told[0] == {"row": 2, "reason": "timestamp without time zone", "values": bad}
    assert told[1] == {"row": 3, "reason": "no JSON object", "values": "{no json"}
    assert [one["row"] for one in told] == [2, 3, 5, 6]
    people = recsys(capsys, "events", "append", shop, file)
    assert "2 known before" in people.out
    assert "timestamp without time zone" in people.out


def test_the_same_file_again_adds_nothing_though_its_events_have_no_id(shop: Path, tmp_path: Path, capsys: Any) -> None:
    plain = row(event_id=None)
    file = lines(tmp_path / "day.jsonl", plain, plain, row(1, event_id=None))

    def accepted(*options: str) -> tuple[int, int]:
        report = recsys(capsys, "events", "append", shop, file, *options, "--json").report
        return report["accepted"], report["duplicates"]

    assert accepted() == (3, 0)
    assert accepted() == (0, 3)
    assert accepted("--key", "till-7") == (3, 0)
    lines(file, plain, plain, row(1, event_id=None), row(2, event_id=None))
    assert accepted("--key", "till-7") == (1, 3)


def test_the_shops_own_names_and_zone_are_read(shop: Path, tmp_path: Path, capsys: Any) -> None:
    (shop / "shop.toml").write_text(
        TOML + 'timezone = "Europe/Berlin"\n[columns.events]\ntimestamp = "ts"\nuser_id = "customer"\n'
        '[event_types]\nlooked = "view"\n'
    )
    file = tmp_path / "till.csv"
    file.write_text("ts,customer,product_id,event_type\n2025-03-30 12:00:00,007,p01,looked\n")
    assert recsys(capsys, "events", "append", shop, file, "--json").report["accepted"] == 1
    assert logged()["user_id"].to_list() == ["007"]
    assert logged()["timestamp"].dt.hour().to_list() == [10]


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [('{"size": "L"}', {"size": "L", "colour": "red"}), ("large", {"attributes": "large", "colour": "red"})],
)
def test_own_columns_stand_beside_attributes(
    shop: Path, tmp_path: Path, attributes: str, kept: dict[str, str], capsys: Any
) -> None:
    file = lines(tmp_path / "day.jsonl", row(0, attributes=attributes, colour="red"))
    recsys(capsys, "events", "append", shop, file)
    assert json.loads(logged()["attributes"].item()) == kept


def test_a_file_tells_when_its_events_became_known(shop: Path, tmp_path: Path, capsys: Any) -> None:
    file = lines(tmp_path / "old.jsonl", row(0, known_at="2025-03-31T00:00:00Z"), row(1))
    recsys(capsys, "events", "append", shop, file)
    told, taken = logged()["known_at"].dt.year()
    assert told == 2025
    assert taken > 2025


def test_foreign_shapes_come_in_files_too(shop: Path, tmp_path: Path, capsys: Any) -> None:
    click = {
        "action_name": "click",
        "timestamp": "2025-01-01T00:00:00Z",
        "event_attributes": {"object": {"object_id": "p"}},
    }
    file = lines(tmp_path / "ubi.jsonl", click, click | {"action_name": "scroll"})
    report = recsys(capsys, "events", "append", shop, file, "--shape", "ubi", "--json").report
    assert (report["accepted"], report["refused"].popitem()[1]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "content", "code", "found"),
    [
        ("no.jsonl", None, 2, "is no file of events"),
        ("day.txt", "x", 2, "is no file of events"),
        ("day.parquet", "PAR", 1, "can't be read"),
        ("day.jsonl", "nonsense\n", 1, "no row of"),
        ("day.jsonl", "", 1, "it has no rows"),
        ("day.csv", "a,a\n1,2\n", 1, "names several columns `a`"),
        ("day.csv", "user_id,product_id\n1,2,3\n", 1, "1 x no JSON object"),
    ],
)
def test_a_file_that_brings_nothing_is_one_line(
    shop: Path, tmp_path: Path, name: str, content: str | None, code: int, found: str, capsys: Any
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    done = recsys(capsys, "events", "append", shop, tmp_path / name)
    assert done.code == code
    (line,) = done.lines
    assert found in line


def test_masked_users_stand_nowhere(shop: Path, tmp_path: Path, capsys: Any) -> None:
    (shop / "shop.toml").write_text(TOML + "[privacy]\nmask_users = true\n")
    file = lines(tmp_path / "day.jsonl", row(0, user_id="SECRET-1"), row(1, user_id="SECRET-2", event_type="stare"))
    recsys(capsys, "events", "append", shop, file)
    home = load_settings().home
    for stored in (path for path in home.rglob("*") if path.is_file()):
        assert b"SECRET" not in stored.read_bytes(), stored
    (shown,) = recsys(capsys, "events", "mask", shop, "SECRET-1", "--json").report.values()
    assert logged()["user_id"].to_list() == [shown]
    assert (home / "keys" / "small.key").stat().st_mode & 0o777 == 0o600
