"""A night is whole or absent, the same whoever was killed on the way, and every change to it is found."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.errors import IndexMismatchError, StorageError
from recsys.storage import locked
from recsys.types import EVENT_CODES, Answer, Histories, Mask, Rung
from serving.batch import Order, prepare, run_batch
from serving.night import LATEST, MANIFEST, read_night, verify_night

NIGHT = date(2024, 3, 1)


class Shoppers:
    """User uN has looked at product N and, from u2 on, bought two; u0 did nothing."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def read(self, user_ids: Sequence[str]) -> Histories:
        self.reads.append(len(user_ids))
        events = [self.events(int(user[1:])) for user in user_ids]
        flat = [event for user in events for event in user]
        return Histories(
            offsets=np.cumsum([0, *map(len, events)], dtype=np.int64),
            product_ids=tuple(product for product, _ in flat),
            timestamps=np.arange(len(flat), dtype=np.int64),
            event_types=np.array([EVENT_CODES[kind] for _, kind in flat], dtype=np.int8),
            segments=("",) * len(events),
        )

    def events(self, number: int) -> list[tuple[str, str]]:
        product = f"p{number % 32:03}"
        return [(product, "view"), *[(product, "purchase")] * (2 if number >= 2 else 0)] if number else []

    def known(self, user_ids: Sequence[str]) -> Mask:
        return np.ones(len(user_ids), dtype=np.bool_)


@pytest.fixture
def engine(shelf: Any) -> Any:
    return shelf.open(shelf.publish("first"))


def order(out: Path, **options: Any) -> Order:
    users = pl.Series([f"u{number:02}" for number in range(20)])
    return Order(**{"out": out, "night": NIGHT, "k": 4, "users": users, "state": "s1", "chunk": 6} | options)


def run(engine: Any, wanted: Order, tmp_path: Path, *, histories: Any = None) -> Any:
    return run_batch(engine, histories or Shoppers(), wanted, locks=tmp_path / "locks")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_row_is_what_the_engine_says(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = run(engine, order(out), tmp_path)
    assert sorted(path.name for path in out.iterdir()) == [NIGHT.isoformat(), LATEST]
    assert json.loads((out / LATEST).read_text()) == {"night": "2024-03-01", "path": "2024-03-01"}
    frame = pl.read_parquet(out / "2024-03-01" / "*.parquet")
    assert frame.columns == ["user_id", "rank", "product_id", "score", "source", "rung", "model_version", "night"]
    shoppers = Shoppers()
    users = [f"u{number:02}" for number in range(20)]
    answers = engine.recommend_histories(shoppers.read(users), k=4)
    expected = [
        (user, hit.rank, hit.product_id, hit.score)
        for user, answer in zip(users, answers, strict=True)
        for hit in answer.hits
    ]
    assert frame.select("user_id", "rank", "product_id", "score").rows() == expected
    assert set(frame["rung"]) == {"personal"}
    summary = manifest.summary()
    assert summary["rows"] == frame.height == len(expected)
    assert summary["rungs"] == {"personal": {"rows": frame.height, "share": 1.0}}
    assert (summary["users"], summary["loyal_users"], summary["loyal_personal_share"]) == (20, 18, 1.0)
    assert [part.users for part in manifest.parts] == [6, 6, 6, 2]


def test_memory_is_bounded_by_the_chunk(engine: Any, tmp_path: Path) -> None:
    histories = Shoppers()
    run(engine, order(tmp_path / "out"), tmp_path, histories=histories)
    assert histories.reads == [6, 6, 6, 2]
    assert max(engine.batches) == 6


def test_a_rerun_is_byte_equal_and_does_no_work(engine: Any, tmp_path: Path) -> None:
    run(engine, order(tmp_path / "one"), tmp_path)
    run(engine, order(tmp_path / "two"), tmp_path)
    one, two = content(tmp_path / "one" / "2024-03-01"), content(tmp_path / "two" / "2024-03-01")
    assert one == two
    engine.batches.clear()
    run(engine, order(tmp_path / "one"), tmp_path)
    assert engine.batches == []
    assert content(tmp_path / "one" / "2024-03-01") == one


def test_other_inputs_replace_the_night(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(engine, order(out), tmp_path)
    second = run(engine, order(out, k=2), tmp_path)
    assert first.inputs != second.inputs
    assert verify_night(out / "2024-03-01").k == 2
    third = run(engine, order(out, k=2, state="s2"), tmp_path)
    assert third.inputs != second.inputs


def test_nights_stand_side_by_side(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, order(out), tmp_path)
    run(engine, order(out, night=date(2024, 3, 2)), tmp_path)
    assert json.loads((out / LATEST).read_text())["night"] == "2024-03-02"
    assert read_night(out / "2024-03-01").night == NIGHT


def test_a_night_written_later_for_an_earlier_date_is_not_the_latest(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, order(out), tmp_path)
    run(engine, order(out, night=date(2024, 2, 1)), tmp_path)
    assert json.loads((out / LATEST).read_text())["night"] == "2024-03-01"
    shutil.rmtree(out / "2024-03-01")
    run(engine, order(out, night=date(2024, 2, 2)), tmp_path)
    assert json.loads((out / LATEST).read_text())["night"] == "2024-02-02"


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import conftest, test_batch
from pathlib import Path
shelf = conftest.Shelf(Path({home!r}) / "indexes")
engine = shelf.open(shelf.indexes / "first")
def die():
    if len(engine.batches) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
engine.before = die
test_batch.run(engine, test_batch.order(Path({home!r}) / "out"), Path({home!r}))
"""


def test_a_killed_run_is_resumed_and_ends_the_same(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = KILLED.format(folder=str(Path(__file__).parent), home=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], cwd=os.getcwd(), check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "2024-03-01").exists()
    assert not (out / LATEST).exists()
    histories = Shoppers()
    run(engine, order(out), tmp_path, histories=histories)
    assert engine.batches == [6, 2]  # two chunks were finished before the kill
    run(engine, order(tmp_path / "whole"), tmp_path)
    assert content(out / "2024-03-01") == content(tmp_path / "whole" / "2024-03-01")
    assert sorted(path.name for path in out.iterdir()) == [NIGHT.isoformat(), LATEST]


def test_parts_of_a_killed_run_with_other_inputs_are_not_used(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = KILLED.format(folder=str(Path(__file__).parent), home=str(tmp_path))
    subprocess.run([sys.executable, "-c", script], cwd=os.getcwd(), check=False, capture_output=True)
    run(engine, order(out, state="changed"), tmp_path)
    assert engine.batches == [6, 6, 6, 2]


def test_the_next_night_removes_what_a_killed_one_left(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = KILLED.format(folder=str(Path(__file__).parent), home=str(tmp_path))
    subprocess.run([sys.executable, "-c", script], cwd=os.getcwd(), check=False, capture_output=True)
    assert [path.name for path in out.iterdir()] == [".unfinished-2024-03-01"]
    run(engine, order(out, night=date(2024, 3, 2)), tmp_path)
    assert sorted(path.name for path in out.iterdir()) == ["2024-03-02", LATEST]


def test_nothing_but_the_plans_files_is_published(engine: Any, tmp_path: Path) -> None:
    out, wanted = tmp_path / "out", order(tmp_path / "out")
    work = prepare(wanted, wanted.inputs(engine))
    (work / ".partial-part-00000.parquet-torn").write_bytes(b"PAR1")
    (work / "part-00004.parquet").write_bytes(b"PAR1")
    run(engine, wanted, tmp_path)
    run(engine, order(tmp_path / "clean"), tmp_path)
    assert content(out / "2024-03-01") == content(tmp_path / "clean" / "2024-03-01")


def test_a_night_without_rows_is_refused_and_the_last_one_stays(engine: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(engine, order(out), tmp_path)
    before = (out / LATEST).read_bytes()
    engine.answers = lambda texts, rung, **_: [Answer(hits=(), rung=Rung.NONE, model_version="stock") for _ in texts]
    for night in (NIGHT, date(2024, 3, 2)):
        with pytest.raises(IndexMismatchError, match="0 recommendations for 20 users"):
            run(engine, order(out, night=night, state="s2"), tmp_path)
    assert (out / LATEST).read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == [NIGHT.isoformat(), LATEST]
    assert verify_night(out / "2024-03-01").rows > 0


def test_two_runs_into_one_folder_are_kept_apart(engine: Any, tmp_path: Path) -> None:
    run(engine, order(tmp_path / "out"), tmp_path)
    (lock,) = (tmp_path / "locks").iterdir()
    with locked(lock, seconds=0), pytest.raises(StorageError, match="held by another process"):
        run(engine, order(tmp_path / "out", k=3), tmp_path)
    assert verify_night(tmp_path / "out" / "2024-03-01").k == 4


FULL = """
import resource, signal, sys
sys.path.insert(0, {folder!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import conftest, test_batch
from datetime import date
from pathlib import Path
from recsys.cli.app import as_known
shelf = conftest.Shelf(Path({home!r}) / "indexes")
engine = shelf.open(shelf.indexes / "first")
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    test_batch.run(engine, test_batch.order(Path({home!r}) / "out", **{options}), Path({home!r}))
except OSError as error:
    sys.exit(str(as_known(error)))
"""


@pytest.mark.parametrize("options", ["{'k': 3}", "{'night': date(2024, 3, 2)}"])
def test_a_full_disk_is_one_line_and_the_last_good_night_stays(engine: Any, tmp_path: Path, options: str) -> None:
    out = tmp_path / "out"
    run(engine, order(out), tmp_path)
    before = content(out / "2024-03-01")
    script = FULL.format(folder=str(Path(__file__).parent), home=str(tmp_path), options=options)
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("is full; expected room to write; free space and run it again")
    assert len(done.stderr.strip().splitlines()) == 1
    assert content(out / "2024-03-01") == before
    assert json.loads((out / LATEST).read_text())["night"] == "2024-03-01"
    verify_night(out / "2024-03-01")


def damage_byte(folder: Path) -> None:
    path = folder / "part-00001.parquet"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


def damage_count(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["parts"][0]["rows"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest))


def damage_rungs(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["parts"][0]["rungs"] = {"popularity": manifest["parts"][0]["rows"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def damage_missing(folder: Path) -> None:
    (folder / "part-00002.parquet").unlink()


def damage_added(folder: Path) -> None:
    (folder / "part-00009.parquet").write_bytes(b"")


def damage_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def damage_junk(folder: Path) -> None:
    (folder / ".partial-part-00001.parquet-x").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (damage_byte, "part-00001.parquet was altered"),
        (damage_count, "wrong row count"),
        (damage_rungs, "wrong rungs"),
        (damage_missing, "part-00002.parquet is missing or not named"),
        (damage_added, "part-00009.parquet is missing or not named"),
        (damage_junk, ".partial-part-00001.parquet-x is missing or not named"),
        (damage_manifest, "is damaged"),
    ],
)
def test_verify_finds_every_damage_and_a_new_run_mends_it(engine: Any, tmp_path: Path, damage: Any, found: str) -> None:
    out = tmp_path / "out"
    run(engine, order(out), tmp_path)
    before = content(out / "2024-03-01")
    damage(out / "2024-03-01")
    with pytest.raises(StorageError, match=found):
        verify_night(out / "2024-03-01")
    run(engine, order(out), tmp_path)
    assert content(out / "2024-03-01") == before


def test_a_shop_without_users_has_an_empty_night(engine: Any, tmp_path: Path) -> None:
    manifest = run(engine, order(tmp_path / "out", users=pl.Series([], dtype=pl.String)), tmp_path)
    assert manifest.summary()["rows"] == 0
    assert verify_night(tmp_path / "out" / "2024-03-01").parts == []
