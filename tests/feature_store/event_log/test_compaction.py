"""The log as files in the shop folder: every command reads them beside the shop's own events, and no event twice."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store.event_log import compact as compaction
from feature_store.event_log.compact import compact
from feature_store.event_log.door import Door
from feature_store.event_log.log import DAY, watermark
from feature_store.event_log.opening import log_file
from feature_store.event_log.parts import FOLDER, Position, part_files, reached
from feature_store.event_log.sqlite import SqliteLog
from feature_store.live import read_live
from feature_store.snapshot import build_snapshot
from feature_store.validate import clean_shop
from recsys.errors import ShopError
from recsys.settings import load_settings
from tests.command import recsys
from tests.event_logs import events, ids
from tests.shops import FORMATS, small_tables, write_shop

TOML = 'name = "small"\ncurrency = "GBP"\n[judgments]\nmax_grade = 3\n'


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


def named_events() -> pl.DataFrame:
    """The small shop's events, each with an id."""
    return small_tables()["events"].with_columns(event_id=pl.format("e{}", pl.int_range(pl.len())))


def put(log: SqliteLog, frame: pl.DataFrame) -> None:
    checked = Door().check(frame.iter_rows(named=True))
    assert not checked.refused
    log.append(checked.events)


def own(folder: Path, events: pl.DataFrame | None, *, kind: str = "parquet", toml: str = TOML) -> Path:
    tables = small_tables()
    del tables["events"]
    return write_shop(folder, tables | ({} if events is None else {"events": events}), kind=kind, toml=toml)


def read_back(shop: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(file) for file in part_files(shop)], how="diagonal").sort("event_id")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rows", [50, 1000])
def test_a_snapshot_is_the_same_wherever_its_events_stand(kind: str, rows: int, log: SqliteLog, tmp_path: Path) -> None:
    """All in one table; half of them in the log; all of them there."""
    everything = named_events()
    whole = build_snapshot(own(tmp_path / "whole", everything))
    half = own(tmp_path / "half", everything[::2], kind=kind)
    put(log, everything[1::2])
    assert compact(log, half, lock=tmp_path / "lock", rows=rows).events == everything.height // 2
    assert build_snapshot(half).manifest.snapshot_id == whole.manifest.snapshot_id
    other = SqliteLog(tmp_path / "other.db")
    put(other, everything)
    logged = own(tmp_path / "logged", None, kind=kind)
    compact(other, logged, lock=tmp_path / "lock", rows=rows)
    assert build_snapshot(logged).manifest.snapshot_id == whole.manifest.snapshot_id


def test_the_shops_own_names_types_and_zone_do_not_matter(log: SqliteLog, tmp_path: Path) -> None:
    everything = named_events()
    whole = build_snapshot(own(tmp_path / "whole", everything))
    theirs = everything[::2].select(
        pl.col("timestamp")
        .dt.convert_time_zone("Europe/Berlin")
        .dt.replace_time_zone(None)
        .dt.cast_time_unit("ms")
        .alias("ts"),
        pl.col("user_id").alias("row"),
        pl.col("quantity").cast(pl.Float32),
        pl.exclude("timestamp", "user_id", "quantity"),
    )
    names = '[columns.events]\ntimestamp = "ts"\nuser_id = "row"\n'
    shop = own(tmp_path / "half", theirs, toml=f'timezone = "Europe/Berlin"\n{TOML}{names}')
    put(log, everything[1::2])
    compact(log, shop, lock=tmp_path / "lock")
    assert build_snapshot(shop).manifest.snapshot_id == whole.manifest.snapshot_id


def test_an_event_that_stands_twice_counts_once(log: SqliteLog, tmp_path: Path) -> None:
    everything = named_events()
    shop = own(tmp_path / "shop", everything)
    put(log, everything[:10])
    log.append(events(999, product_id="unknown"))
    compact(log, shop, lock=tmp_path / "lock")
    clean = clean_shop(shop, staging=tmp_path)
    table = clean.tables["events"]
    assert table.reasons() == {"event_id twice": 10, "product unknown": 1}
    (odd,) = table.quarantine.filter(pl.col("reason") == "product unknown").iter_rows(named=True)
    assert odd["row"] == everything.height + 11
    assert '"event_id":"e999"' in odd["values"]


def test_files_stand_by_the_day_of_acceptance_and_late_events_keep_it(
    log: SqliteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(moment: datetime) -> None:
        monkeypatch.setattr("feature_store.event_log.sqlite.time_ns", lambda: int(moment.timestamp()) * 10**9)

    evening, morning = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    clock(evening)
    log.append(events(1, 2))
    clock(morning)
    log.append(events(3, 2))
    clock(evening)  # a clock that goes back takes nothing into a day that is over
    log.append(events(4, timestamp="2024-01-01T00:00:00Z"))
    done = compact(log, tmp_path, lock=tmp_path / "lock")
    assert [file.relative_to(tmp_path / FOLDER).parts[0] for file in done.files] == ["day=2026-03-01", "day=2026-03-02"]
    assert done.until == date(2026, 3, 2)
    found = read_back(tmp_path)
    assert found["event_id"].to_list() == ["e1", "e2", "e3", "e4"]
    assert found["known_at"].to_list() == [evening, evening, morning, morning]
    shop = own(tmp_path, None)
    (tmp_path / "staging").mkdir()
    known = clean_shop(shop, staging=tmp_path / "staging", as_of=evening)
    assert known.counts["events_after_as_of"] == 2


@pytest.mark.parametrize("step", ["plan", "read", "write", "mark", "prune"])
def test_a_run_that_fails_anywhere_is_finished_by_the_next(
    step: str, log: SqliteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(events(*range(10)))
    with monkeypatch.context() as patch:

        def fail(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        place: Any = compaction if step == "write" else log
        patch.setattr(place, "part_frame" if step == "write" else step, fail)
        with pytest.raises(KeyboardInterrupt):
            compact(log, tmp_path, lock=tmp_path / "lock", rows=4)
    log.append(events(*range(8, 13)))
    compact(log, tmp_path, lock=tmp_path / "lock", rows=4)
    assert read_back(tmp_path)["event_id"].to_list() == sorted(f"e{number}" for number in range(13))
    assert watermark(log.parts()) == log.head()
    assert not list(tmp_path.rglob(".partial*"))


def test_what_was_written_is_forgotten_after_a_while_and_never_before(log: SqliteLog, tmp_path: Path) -> None:
    log.append(events(1, 2))
    accepted = log.read(after=0, until=9)[-1].accepted_at
    assert compact(log, tmp_path, lock=tmp_path / "lock", keep_days=1, now=lambda: accepted + DAY).pruned == 0
    log.append(events(3))
    later = compact(log, tmp_path, lock=tmp_path / "lock", keep_days=1, now=lambda: accepted + DAY + 1)
    assert later.pruned == 2
    assert ids(log) == ["e3"]
    assert read_back(tmp_path)["event_id"].to_list() == ["e1", "e2", "e3"]


def test_histories_tell_how_far_into_the_log_they_reach(log: SqliteLog, tmp_path: Path) -> None:
    shop = own(tmp_path / "shop", named_events())
    assert read_live(shop, as_of=None, settings=load_settings()).position == Position()
    log.append(events(*range(900, 910)))
    compact(log, shop, lock=tmp_path / "lock", rows=3)
    log.append(events(950))
    assert read_live(shop, as_of=None, settings=load_settings()).position == Position(log.identity, 10)
    (shop / FOLDER / "day=2020-01-01").mkdir()
    (shop / FOLDER / "day=2020-01-01" / "notes.parquet").write_text("no part")
    assert reached(part_files(shop)).number == 10


def test_a_file_of_the_log_that_is_damaged_is_named(log: SqliteLog, tmp_path: Path) -> None:
    shop = own(tmp_path / "shop", None)
    log.append(events(1))
    compact(log, shop, lock=tmp_path / "lock").files[0].write_bytes(b"PAR1")
    with pytest.raises(ShopError, match="event_log can't be read"):
        clean_shop(shop, staging=tmp_path)


def test_two_logs_of_one_shop_stand_side_by_side(tmp_path: Path) -> None:
    """As after the loss of the state folder, or a move to a server: numbers begin anew, files don't meet."""
    for name, number in (("one", 1), ("two", 2)):
        log = SqliteLog(tmp_path / f"{name}.db")
        log.append(events(number))
        compact(log, tmp_path, lock=tmp_path / "lock")
    assert read_back(tmp_path)["event_id"].to_list() == ["e1", "e2"]


def test_the_command_writes_out_the_log_of_the_shop(tmp_path: Path, capsys: Any) -> None:
    shop = own(tmp_path / "shop", None)
    named_events().write_parquet(tmp_path / "day.parquet")
    recsys(capsys, "events", "append", shop, tmp_path / "day.parquet")
    report = recsys(capsys, "events", "compact", shop, "--json").report
    assert report["events"] == named_events().height
    assert "events written to 0 files" in recsys(capsys, "events", "compact", shop).out
    assert log_file(load_settings(), shop="small").exists()
    assert clean_shop(shop, staging=tmp_path).tables["events"].rows == named_events().height
