"""Whatever is read after a user was forgotten has nothing of that user's past, wherever it still stands."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store.event_log.compact import compact
from feature_store.event_log.door import FORGOTTEN, Door
from feature_store.event_log.parts import part_files
from feature_store.event_log.sqlite import SqliteLog
from feature_store.forgetting.marks import FOREVER
from feature_store.forgetting.opening import Pseudonyms, open_people
from feature_store.forgetting.people import ForgottenMeanwhileError, People
from feature_store.fresh import FreshHistories
from feature_store.live import read_live
from feature_store.masking import Mask
from feature_store.online.lmdb import Holds, LmdbStore
from feature_store.snapshot import Snapshot, build_snapshot
from feature_store.validate import clean_shop
from recsys.settings import Settings, load_settings
from tests.event_logs import events, ids, row
from tests.feature_store.test_online import table
from tests.shops import FORMATS, START, small_tables, write_shop

TOML = 'name = "small"\n[judgments]\nmax_grade = 3\n'
PSEUDONYMS = TOML + "[privacy]\npseudonyms = true\n"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATE = (START + timedelta(days=400) - EPOCH) // timedelta(microseconds=1)


@pytest.fixture
def settings() -> Settings:
    return load_settings()


@pytest.fixture
def people(settings: Settings) -> People:
    return open_people(settings, shop="small")


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def without(user: str) -> dict[str, pl.DataFrame]:
    """The small shop as if the user had never been there."""
    tables = small_tables()
    return tables | {name: tables[name].filter(pl.col("user_id") != user) for name in ("users", "events")}


def shop_at(folder: Path, tables: dict[str, pl.DataFrame], *, kind: str = "parquet", toml: str = TOML) -> Path:
    return write_shop(folder, tables, toml=toml, kind=kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_snapshot_is_that_of_a_shop_which_never_knew_the_user(kind: str, tmp_path: Path, people: People) -> None:
    shop = shop_at(tmp_path / "shop", small_tables(), kind=kind)
    before = build_snapshot(shop)
    people.forget({"u03": []}, by="", at=LATE, until=LATE)
    after = build_snapshot(shop)
    own = small_tables()["events"].filter(pl.col("user_id") == "u03").height
    assert {name: number for name, number in after.manifest.counts.items() if "forgotten" in name} == {
        "users_forgotten": 1,
        "events_forgotten": own,
    }
    never = build_snapshot(shop_at(tmp_path / "never", without("u03"), kind=kind))
    assert after.manifest.snapshot_id == never.manifest.snapshot_id != before.manifest.snapshot_id
    assert not any("forgotten" in name for name in before.manifest.counts)


def test_what_happens_afterwards_is_somebody_news(tmp_path: Path, people: People) -> None:
    """Up to the moment of forgetting all goes, under the shop's own names of columns too; then the id begins anew."""
    border = START + timedelta(days=45)
    tables = small_tables()
    later = tables["events"].filter((pl.col("user_id") != "u03") | (pl.col("timestamp") > border))
    assert 0 < (later["user_id"] == "u03").sum() < (tables["events"]["user_id"] == "u03").sum()
    renamed = {"user_id": "who", "timestamp": "at"}
    toml = TOML + '[columns.events]\nuser_id = "who"\ntimestamp = "at"\n'
    shop = shop_at(tmp_path / "shop", tables | {"events": tables["events"].rename(renamed)}, toml=toml)
    people.forget({"u03": []}, by="", at=0, until=micros(border))
    users = tables["users"].filter(pl.col("user_id") != "u03")
    wanted = build_snapshot(shop_at(tmp_path / "wanted", tables | {"events": later, "users": users}))
    assert build_snapshot(shop).manifest.snapshot_id == wanted.manifest.snapshot_id


def test_where_timestamps_only_order_an_id_stays_out_for_good(tmp_path: Path, people: People) -> None:

    order = 'timestamps = "order"\n' + TOML
    number = pl.int_range(pl.len()).over("user_id").alias("timestamp")
    tables = small_tables()
    shop = shop_at(tmp_path / "shop", tables | {"events": tables["events"].with_columns(number)}, toml=order)
    people.forget({"u03": []}, by="", at=0, until=0)
    assert "u03" not in build_snapshot(shop).users()["user_id"].to_list()


def test_a_shop_whose_only_user_is_gone_has_no_events(tmp_path: Path, people: People) -> None:
    tables = small_tables()
    own = {name: tables[name].filter(pl.col("user_id") == "u03") for name in ("users", "events")}
    shop = shop_at(tmp_path / "shop", tables | own)
    people.forget({"u03": []}, by="", at=LATE, until=LATE)
    clean = clean_shop(shop, staging=tmp_path)
    assert set(clean.tables) == {"products", "queries", "judgments"}
    assert clean.counts == {"users_forgotten": 1, "events_forgotten": own["events"].height}


def test_pseudonyms_are_the_same_everywhere_and_new_after_forgetting(
    tmp_path: Path, people: People, settings: Settings
) -> None:
    shop = shop_at(tmp_path / "shop", small_tables(), toml=PSEUDONYMS)
    plain = build_snapshot(shop_at(tmp_path / "plain", small_tables()))
    before = build_snapshot(shop)
    names = people.pseudonyms(plain.users()["user_id"].to_list(), make=False)
    assert len(set(names.values())) == 30
    assert histories_of(before) == {names[user]: told for user, told in histories_of(plain).items()}
    assert build_snapshot(shop).manifest.snapshot_id == before.manifest.snapshot_id
    assert read_live(shop, as_of=None, settings=settings).mask == people.fingerprint
    people.forget({"u03": []}, by="", at=LATE, until=LATE)
    after = build_snapshot(shop)
    assert histories_of(after) == {name: told for name, told in histories_of(before).items() if name != names["u03"]}
    assert people.pseudonyms(["u03"], make=False) == {}  # reading the old rows has made no key


def histories_of(snapshot: Snapshot) -> dict[str, list[tuple[Any, ...]]]:
    """By user what stands in a snapshot."""
    frame = snapshot.interactions().select("user_id", "timestamp", "product_id", "event_type").sort(pl.all())
    return {
        user: rows[["timestamp", "product_id", "event_type"]].rows()
        for (user,), rows in frame.group_by("user_id", maintain_order=True)
    }


def test_the_door_refuses_the_past_and_takes_what_is_new(people: People, tmp_path: Path) -> None:
    door = Door(Pseudonyms(people, make=True), forgotten=people.forgotten)
    early, late = "2025-03-30T10:00:00Z", "2025-03-30T10:00:01Z"
    (first,) = door.check([row(1, user_id="ann", timestamp=early)]).events
    people.forget({"ann": []}, by="", at=0, until=micros(datetime(2025, 3, 30, 10, tzinfo=UTC)))
    checked = door.check(
        [row(2, timestamp="?"), row(3, user_id="ann", timestamp=early), row(4, user_id="ann", timestamp=late), row(5)]
    )
    assert [tuple(one) for one in checked.refused] == [(0, "timestamp unreadable"), (1, FORGOTTEN)]
    assert [one.event_id for one in checked.events] == ["e4", "e5"]
    assert checked.events[0].user_id not in {first.user_id, "ann"}
    assert [
        one.user_id for one in Door(forgotten=people.forgotten).check([row(3, user_id="ann", timestamp=early)]).events
    ] == []


def test_the_door_looks_again_when_somebody_is_forgotten_meanwhile(people: People) -> None:
    people.pseudonyms(["ann"], make=True)
    looks = 0

    def forgotten() -> Any:
        nonlocal looks
        looks += 1
        found = people.forgotten()
        if looks == 1:  # behind the first look, before the keys are asked for
            people.forget({"ann": []}, by="", at=0, until=FOREVER - 1)
        return found

    checked = Door(Pseudonyms(people, make=True), forgotten=forgotten).check([row(1, user_id="ann")])
    assert ([tuple(one) for one in checked.refused], checked.events) == ([(0, FORGOTTEN)], [])
    assert people.pseudonyms(["ann"], make=False) == {}
    with pytest.raises(ForgottenMeanwhileError):  # whoever has no way to look again is told
        Door(Pseudonyms(people, make=True)).check([row(1, user_id="ann")])


def test_compaction_drops_rows_from_log_and_files_once(log: SqliteLog, tmp_path: Path, people: People) -> None:
    log.append(events(*range(10)))  # u00 to u06: e0 and e7 are of u00
    compact(log, tmp_path, lock=tmp_path / "lock", rows=4, people=people)
    log.append(events(14, 15, 16))
    people.forget({"u00": []}, by="", at=LATE, until=LATE)
    done = compact(log, tmp_path, lock=tmp_path / "lock", rows=4, people=people)
    assert done.as_json()["forgotten"] == 5  # e0, e7 and e14 of the log, e0 and e7 of the files
    assert (
        sorted(ids(log))
        == sorted(set(in_files(tmp_path)))
        == sorted(f"e{number}" for number in (1, 2, 3, 4, 5, 6, 8, 9, 15, 16))
    )
    assert [stone.compacted for stone in people.tombstones()] == [True]
    files = part_files(tmp_path)
    stamps = [file.stat().st_mtime_ns for file in files]
    assert compact(log, tmp_path, lock=tmp_path / "lock", people=people).forgotten == 0
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[0].unlink()
    again = compact(log, tmp_path, lock=tmp_path / "lock", people=people)
    assert (again.restored, again.lost, again.events) == (1, [], 3)


def test_an_append_that_comes_late_is_dropped_as_well(log: SqliteLog, tmp_path: Path, people: People) -> None:
    """It had passed the door before its user was forgotten; nobody reads it meanwhile."""
    late = events(0, 7)
    log.append(events(1))
    people.forget({"u00": []}, by="", at=LATE, until=LATE)
    compact(log, tmp_path, lock=tmp_path / "lock", people=people)
    log.append(late)
    store = LmdbStore(tmp_path / "online", holds=Holds())
    store.materialise(table({}, {}))
    assert FreshHistories(store, log, forgotten=people.forgotten).read(["u00", "u01"]).offsets.tolist() == [0, 0, 1]
    assert FreshHistories(store, log).read(["u00", "u01"]).offsets.tolist() == [0, 2, 3]
    assert compact(log, tmp_path, lock=tmp_path / "lock", people=people).forgotten == 2
    assert ids(log) == in_files(tmp_path) == ["e1"]


def test_a_range_of_which_nothing_is_left_is_an_empty_file(log: SqliteLog, tmp_path: Path, people: People) -> None:
    shop = shop_at(tmp_path / "shop", {name: frame for name, frame in small_tables().items() if name != "events"})
    log.append(events(0, 7))
    compact(log, shop, lock=tmp_path / "lock", people=people)
    people.forget({"u00": []}, by="", at=LATE, until=LATE)
    done = compact(log, shop, lock=tmp_path / "lock", people=people)
    assert (done.forgotten, done.lost, in_files(shop)) == (4, [], [])
    (file,) = part_files(shop)
    file.unlink()
    assert compact(log, shop, lock=tmp_path / "lock", people=people).files == [file]
    assert "events" not in clean_shop(shop, staging=tmp_path).tables


def test_files_that_no_compaction_has_seen_are_read_without_the_user(
    log: SqliteLog, tmp_path: Path, people: People
) -> None:
    """Beside the shop's own table, under the names that the log has."""
    masked = Mask(b"k" * 32)
    shop = shop_at(tmp_path / "shop", small_tables())
    log.append(Door(masked).check([row(number) for number in range(10)]).events)
    compact(log, shop, lock=tmp_path / "lock")
    before = clean_shop(shop, staging=tmp_path).tables["events"].frame.collect()
    people.forget({"u00": [masked("u00")]}, by="", at=LATE, until=LATE)
    clean = clean_shop(shop, staging=tmp_path)
    after = clean.tables["events"].frame.collect()
    gone = before.filter(pl.col("user_id").is_in(["u00", masked("u00")]))
    assert after.drop("rest").equals(
        before.drop("rest").join(gone.select("row"), on="row", how="anti", maintain_order="left")
    )
    assert clean.counts["events_forgotten"] == gone.height == 4 + 2


def in_files(shop: Path) -> list[str]:
    return [one for file in part_files(shop) for one in pl.read_parquet(file)["event_id"].to_list()]
