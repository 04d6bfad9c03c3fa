"""`recsys forget`: everything at once, told in counts; what remains is named, and nobody's id stands anywhere."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store import indexing
from feature_store.event_log.parts import part_files
from feature_store.forgetting.forget import forget
from feature_store.forgetting.opening import open_people
from feature_store.indexing import index_shop
from feature_store.live import read_live
from feature_store.online.lmdb import LmdbStore
from feature_store.snapshot import build_snapshot
from recsys import ledger
from recsys.errors import RecsysError
from recsys.settings import Settings, load_settings
from tests.command import Done, recsys
from tests.event_logs import row
from tests.feature_store.forgetting.test_rows_kept_out import PSEUDONYMS, TOML
from tests.feature_store.test_indexing import NoModels, words_alone
from tests.shops import small_tables, write_shop

OWN = small_tables()["events"].filter(pl.col("user_id") == "u03").height
ROWS = [row(number, user_id=user) for number, user in enumerate(["u03", "u03", "u04", "u03", "fresh"])]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(indexing, "Registry", NoModels)
    return load_settings()


def live_shop(folder: Path, settings: Settings, capsys: Any, *, toml: str) -> Path:
    """A shop with a log of which a part is written out, histories, a snapshot and a night."""
    shop = write_shop(folder / "shop", small_tables(), toml=toml)
    (folder / "day.jsonl").write_text("\n".join(map(json.dumps, ROWS[:4])))
    (folder / "next.jsonl").write_text(json.dumps(ROWS[4]))
    recsys(capsys, "events", "append", shop, folder / "day.jsonl")
    recsys(capsys, "events", "compact", shop)
    recsys(capsys, "events", "append", shop, folder / "next.jsonl")
    build_snapshot(shop)
    index_shop(shop, as_of=None, options=words_alone(), settings=settings)
    users = read_live(shop, as_of=None, settings=settings).histories.users
    night = folder / "nights" / "2025-04-01"
    night.mkdir(parents=True)
    pl.DataFrame({"user_id": users, "product_id": ["p01"] * len(users)}).write_parquet(night / "part-00000.parquet")
    (settings.home / "nights" / "small").mkdir(parents=True)
    (settings.home / "nights" / "small" / "a.json").write_text(json.dumps({"batch": {"path": str(night)}}))
    (settings.home / "nights" / "small" / "b.json").write_text(json.dumps({"batch": None}))
    return shop


def told(done: Done) -> Any:
    assert done.err == ""
    assert done.code == 0
    return done.report


@pytest.mark.parametrize("toml", [TOML, TOML + "[privacy]\nmask_users = true\n", PSEUDONYMS])
def test_a_user_is_forgotten_wherever_the_shop_is_known(
    toml: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = live_shop(tmp_path, settings, capsys, toml=toml)
    keys = int(toml == PSEUDONYMS)
    before = build_snapshot(shop)
    everything = small_tables()["events"].filter(pl.col("user_id") == "u03").height + 3
    found = {"keys": keys, "events": 3, "histories": 1, "event_files": 3, "snapshots": everything + 1, "nights": 1}
    dry = told(recsys(capsys, "forget", "u03", "--dry-run", "--json"))
    assert (dry["found"], dry["forgotten"], dry["erased"], dry["tombstones"]) == (found, 1, None, 0)
    assert not settings.ledger.exists()

    done = told(recsys(capsys, "forget", "u03", "--by", "dpo", "--json"))
    assert done["found"] == found
    assert done["erased"] == {"keys": keys, "events": 3, "histories": 1, "features": 0, "served": 0}
    assert (done["users"], done["forgotten"], done["forgotten_before"], done["tombstones"]) == (1, 1, 0, 1)
    assert done["at_next_compaction"] == 3
    assert done["remains"] == {
        "snapshots": [{"path": str(before.path), "rows": everything + 1}],
        "nights": [{"path": str(tmp_path / "nights" / "2025-04-01"), "rows": 1}],
        "models": {},
    }
    (line,) = ledger.read(settings.ledger)
    assert (line.action, line.model, line.by) == ("forget", "small", "dpo")
    assert len(LmdbStore(settings.online("small")).user_ids()) == 29
    assert told(recsys(capsys, "events", "compact", shop, "--json"))["forgotten"] == 3
    assert [pl.read_parquet(file)["event_id"].to_list() for file in part_files(shop)] == [["e2"], ["e4"]]
    after = build_snapshot(shop)
    assert after.manifest.counts["events_forgotten"] == OWN
    assert after.users().height == before.users().height
    before.verify()

    again = told(recsys(capsys, "forget", "u03", "--json"))
    assert (again["forgotten"], again["forgotten_before"], again["tombstones"]) == (0, 1, 1)
    assert len(ledger.read(settings.ledger)) == 1
    for file in [settings.ledger, *(settings.home / "keys").iterdir()]:
        assert b"u03" not in file.read_bytes(), file


def test_people_read_what_went_and_what_remains(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = live_shop(tmp_path, settings, capsys, toml=PSEUDONYMS)
    dry = recsys(capsys, "forget", "u03", "u04", "--dry-run")
    assert "would forget 2 users" in dry.out
    done = recsys(capsys, "forget", "u03", "u04")
    assert (done.code, done.err) == (0, "")
    for said in (
        "forgot 2 users",
        "4 rows in files of the event log go at the next `recsys events compact`",
        "under a pseudonym that no key leads to",
        "remains: night",
        "remains: the shop's own tables",
    ):
        assert said in done.out
    assert "u03" not in done.out
    assert "1 user forgotten before, and left nothing since" in recsys(capsys, "forget", "u04").out
    assert "4 rows of forgotten users went" in recsys(capsys, "events", "compact", shop).out
    shown = told(recsys(capsys, "events", "mask", shop, "u03", "u05", "--json"))
    assert shown["u03"] == ""
    assert len(shown["u05"]) == 32


def test_whom_nobody_knows_is_one_line_and_nothing_is_written(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml=TOML)
    build_snapshot(shop)
    done = recsys(capsys, "forget", "u03", "nobody")
    assert done.code == 1
    assert len(done.lines) == 1
    assert "of a user `nobody` in shop `small`; nobody was forgotten; expected" in done.err
    assert not settings.people("small").exists()
    assert told(recsys(capsys, "forget", "nobody", "--dry-run", "--json"))["unknown"] == 1
    done = recsys(capsys, "forget", "nobody", "--anyway")
    assert (done.code, "1 user known nowhere: check the id" in done.out) == (0, True)
    assert told(recsys(capsys, "forget", "nobody", "--json"))["forgotten_before"] == 1


def test_the_shop_is_the_only_one_or_named(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = recsys(capsys, "forget", "u03")
    assert (none.code, "state of none in" in none.err) == (2, True)
    nameless = "[judgments]\nmax_grade = 3\n"
    build_snapshot(write_shop(tmp_path / "one", small_tables(), toml=nameless))
    assert told(recsys(capsys, "forget", "u03", "--json"))["shop"] == ""
    build_snapshot(write_shop(tmp_path / "two", small_tables(), toml=TOML))
    several = recsys(capsys, "forget", "u04")
    assert (several.code, "state of default, small in" in several.err) == (2, True)
    other = recsys(capsys, "forget", "u04", "--shop", "large")
    assert (other.code, "no state of shop `large`" in other.err) == (2, True)
    assert told(recsys(capsys, "forget", "u04", "--shop", "default", "--json"))["shop"] == ""
    assert told(recsys(capsys, "forget", "u04", "--shop", "small", "--json"))["tombstones"] == 1
    assert recsys(capsys, "forget", "", "--shop", "small").code == 2
    assert [entry.model for entry in ledger.read(settings.ledger)] == ["", "", "small"]


def test_whoever_comes_back_can_be_forgotten_again(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a new pseudonym, under which nothing of before can be found."""
    shop = live_shop(tmp_path, settings, capsys, toml=PSEUDONYMS)
    early = 1743328800_000_000  # 2025-03-30T10:00Z, when the rows happened
    forget(["u03"], shop="small", settings=settings, by="", now=lambda: early)
    (tmp_path / "back.jsonl").write_text(json.dumps(row(9, user_id="u03", timestamp="2025-04-05T10:00:00Z")))
    assert told(recsys(capsys, "events", "append", shop, tmp_path / "back.jsonl", "--json"))["accepted"] == 1
    refused = recsys(capsys, "events", "append", shop, tmp_path / "day.jsonl", "--json")
    assert told(refused)["refused"] == {"happened before its user was forgotten": 3}
    (aside,) = (settings.home / "quarantine").rglob("day-*.jsonl")
    assert "u03" not in aside.read_text()
    found = told(recsys(capsys, "forget", "u03", "--json"))
    assert (found["forgotten"], found["erased"]) == (
        1,
        {"keys": 1, "events": 1, "histories": 0, "features": 0, "served": 0},
    )
    assert found["remains"]["snapshots"] == []


def test_who_is_forgotten_while_an_index_is_made_is_not_in_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write_shop(tmp_path / "shop", small_tables(), toml=TOML)
    build_snapshot(shop)

    def read_then_forget(*given: Any, **named: Any) -> Any:
        found = read_live(*given, **named)
        forget(["u03"], shop="small", settings=settings, by="")
        return found

    monkeypatch.setattr(indexing, "read_live", read_then_forget)
    made = index_shop(shop, as_of=None, options=words_alone(), settings=settings)
    store = LmdbStore(settings.online("small"))
    assert store.generation() == made.generation
    assert store.has(made.generation)
    assert "u03" not in store.user_ids()


def test_a_server_that_fails_leaves_a_tombstone_that_the_next_call_finishes(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live_shop(tmp_path, settings, capsys, toml=TOML)

    def fail(*_: Any, **__: Any) -> None:
        raise RecsysError("the server is gone", expected="it", action="start it")

    with monkeypatch.context() as patch:
        patch.setattr("feature_store.forgetting.forget.mark_models", fail)
        assert "the server is gone" in recsys(capsys, "forget", "u03").err
    assert [stone.done for stone in open_people(settings, shop="small").tombstones()] == [False]
    done = told(recsys(capsys, "forget", "u04", "--json"))
    assert (done["finished"], done["forgotten"], done["tombstones"]) == (1, 1, 2)
    assert all(stone.done for stone in open_people(settings, shop="small").tombstones())
    assert len({entry.step for entry in ledger.read(settings.ledger)}) == 2
