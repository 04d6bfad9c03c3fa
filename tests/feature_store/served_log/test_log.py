"""The served log keeps exactly what was served, whoever writes to it, and whatever happens to the disk."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.forgetting.marks import FOREVER, Forgotten, mark_of
from feature_store.online_features.reading import Read
from feature_store.point_in_time.definitions import DAY
from feature_store.served_log.log import ServedLog
from recsys.errors import StorageError
from tests.feature_store.served_log import reads
from tests.feature_store.served_log.reads import FEATURES, read

ROOT = Path(__file__).parents[3]


@pytest.fixture
def log(tmp_path: Path) -> ServedLog:
    return ServedLog(tmp_path / "served" / "small.db")


def everything(log: ServedLog) -> list[tuple[list[str], list[float]]]:
    """Key and values of every row."""
    rows = [row.number for row in log.rows(since=0)]
    return [(key, np.frombuffer(worths, dtype="<f4").tolist()) for key, worths in log.values(rows).values()]


def test_what_was_served_comes_back_with_its_instant(log: ServedLog) -> None:
    assert (log.exists, log.newest(), log.users(), log.erase({"u": FOREVER})) == (False, None, [], 0)
    pair = read(("u1", "p1"), entity="user_product", now=2_000)
    assert log.append([read("p1", "p2"), pair]) == 3
    rows = log.rows(since=0)
    assert [(row.at, row.newest, tuple(row.position)) for row in rows] == [
        (1_000, 900, ("0123abcd", 7)),
        (1_000, 900, ("0123abcd", 7)),
        (2_000, 900, ("0123abcd", 7)),
    ]
    assert [row.number for row in log.rows(since=1_001)] == [rows[2].number]
    kinds = log.kinds()
    assert [kinds[row.kind].entity for row in rows] == ["product", "product", "user_product"]
    assert kinds[rows[0].kind].features == FEATURES
    assert [key for key, _ in everything(log)] == [["p1"], ["p2"], ["u1", "p1"]]
    assert (log.newest(), log.users(), log.values([99])) == (2_000, ["u1"], {})
    assert oct(log.file.stat().st_mode)[-3:] == "600"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.lists(st.floats(width=32), min_size=2, max_size=2)), min_size=1, max_size=5
    )
)
def test_every_bit_of_every_value_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    log = ServedLog(tmp_path_factory.mktemp("served") / "x.db")
    keys, values = zip(*rows, strict=True)  # type: ignore[arg-type]
    served = read(*keys)._replace(values=np.array(values, dtype=np.float32))
    log.append([served])
    found = log.values([row.number for row in log.rows(since=0)])
    assert [key for key, _ in found.values()] == [[key] for key in keys]
    assert b"".join(worths for _, worths in found.values()) == served.values.tobytes()
    log.close()


def test_old_rows_go_and_the_file_has_a_limit(tmp_path: Path) -> None:
    log = ServedLog(tmp_path / "a.db", keep_days=2.0)
    log.append([read("old", now=DAY)])
    log.append([read("new", now=3 * DAY)])
    assert len(log.rows(since=0)) == 2
    log.append([read("newer", now=3 * DAY + 1)])
    assert [key for key, _ in everything(log)] == [["new"], ["newer"]]
    small = ServedLog(tmp_path / "b.db", room=64 * 1024)
    for number in range(40):
        small.append([read(*(f"p{number}-{key}" for key in range(50)), now=number)])
    kept = everything(small)
    assert 100 < len(kept) < 2_000
    assert kept[-1][0] == ["p39-49"]
    assert small.file.stat().st_size < 3 * 64 * 1024
    tiny = ServedLog(tmp_path / "c.db", room=1)
    assert tiny.append([read("p")]) == 1
    assert everything(tiny) == []


def test_a_forgotten_users_rows_are_not_written_and_leave_no_trace(log: ServedLog) -> None:
    log.append([read("annabel", "bob", entity="user", now=50)])
    log.append([read(("annabel", "p1"), entity="user_product", now=60), read("p1")])
    assert log.erase({"annabel": 55, "nobody": FOREVER}) == 1
    assert log.erase({"annabel": 60}) == 1
    assert (log.users(), len(log.rows(since=0))) == (["bob"], 2)
    for file in log.file.parent.iterdir():
        assert b"annabel" not in file.read_bytes(), file
    gone = Forgotten(b"k", {mark_of(b"k", "annabel"): 70})
    late = [read("annabel", "bob", entity="user", now=70), read("annabel", now=70)]
    assert log.append(late, forgotten=gone) == 2, "as a product it is no user"
    assert log.append([read("annabel", entity="user", now=71)], forgotten=gone) == 1, "she is back"


def test_a_full_disk_is_one_line_and_what_was_there_stays(
    log: ServedLog, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    log.append([read("p1")])
    many: list[Read] = [read(*(f"p{key}" for key in range(900)))] * 20
    with full_disk(64 * 1024), pytest.raises(StorageError, match=r"small.db fails: .*room on the disk"):
        log.append(many)
    assert [key for key, _ in everything(log)] == [["p1"]]
    assert log.append(many) == 18_000


def test_a_file_that_is_no_log_is_one_line(log: ServedLog) -> None:
    log.file.parent.mkdir()
    log.file.write_bytes(b"nonsense" * 1_000)
    with pytest.raises(StorageError, match="remove the file: it holds samples alone, and is made again"):
        log.append([read("p1")])


def test_a_log_that_was_cut_keeps_what_stands_before_the_cut(tmp_path: Path, log: ServedLog) -> None:
    for number in range(5):
        log.append([read(f"p{number}", now=number)])
    whole = log.file.with_name("small.db-wal").stat().st_size
    for cut in (0, 1, 3_000, whole // 2, whole - 1, whole):
        other = tmp_path / f"cut{cut}" / "small.db"
        shutil.copytree(log.file.parent, other.parent, ignore=shutil.ignore_patterns("*-shm"))
        os.truncate(other.with_name("small.db-wal"), cut)
        found = ServedLog(other)
        found.append([])
        kept = [key[0] for key, _ in everything(found)]
        assert kept == [f"p{number}" for number in range(len(kept))]
        assert (len(kept) == 5) is (cut == whole)
        found.close()


def process(log: ServedLog, name: str, count: int) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, reads.__file__, str(log.file), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_killed_writer_leaves_whole_answers(log: ServedLog) -> None:
    with process(log, "x", 0) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    kept = [key[0] for key, _ in everything(log)]
    assert len(kept) >= 2 * said[-1]
    assert kept == [f"x-{number}-{part}" for number in range(1, len(kept) // 2 + 1) for part in "ab"]
    log.append([read("p1")])
    assert everything(log)[-1][0] == ["p1"]


def test_two_processes_write_at_once(log: ServedLog) -> None:
    with process(log, "x", 60) as one, process(log, "y", 60) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    kept = [key[0] for key, _ in everything(log)]
    for name in "xy":
        mine = [key for key in kept if key.startswith(name)]
        assert mine == [f"{name}-{number}-{part}" for number in range(1, 61) for part in "ab"]
