"""The event log in a file: what every log does, and what a file alone can get wrong."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_store.event_log.sqlite import SqliteLog
from recsys.errors import StorageError, UsageError
from tests.event_logs import check_event_log, events, ids


@pytest.fixture
def log(tmp_path: Path) -> SqliteLog:
    return SqliteLog(tmp_path / "log.db")


def test_what_every_log_does(tmp_path: Path) -> None:
    check_event_log(lambda: SqliteLog(tmp_path / "events" / "log.db"), tmp_path / "shop")


def test_a_commit_waits_for_the_disk(log: SqliteLog) -> None:
    """FULL (2) forces the write-ahead log to the disk with each commit; NORMAL would leave that to a checkpoint."""
    log.append(events(1))
    assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_writers_of_several_connections_lose_and_double_nothing(tmp_path: Path) -> None:
    """Eight writers, each id sent by two of them."""
    logs = [SqliteLog(tmp_path / "log.db") for _ in range(8)]

    def send(writer: int) -> int:
        sent = (range(start, start + 10) for start in range(writer // 2 * 100, writer // 2 * 100 + 100, 10))
        return sum(sum(logs[writer].append(events(*some))) for some in sent)

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(send, range(8)))
    assert sum(accepted) == 400
    assert sorted(ids(logs[0])) == sorted(f"e{number}" for number in range(400))


def test_a_full_disk_is_one_line_and_the_log_goes_on(log: SqliteLog) -> None:
    log.append(events(1))
    pages = log._writer.execute("PRAGMA page_count").fetchone()[0]
    log._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"log.db fails: the disk is full.*send the events again"):
        log.append(events(*range(2, 1000)))
    log._writer.execute("PRAGMA max_page_count = 1000000")
    assert ids(log) == ["e1"]
    assert log.append(events(*range(1, 1000))) == [False] + [True] * 998


def test_a_file_that_is_no_log_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StorageError, match="expected room on the disk and a whole file"):
        SqliteLog(tmp_path / "log.db").append(events(1))


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError):
        SqliteLog(tmp_path / "taken" / "log.db").head()


def test_what_a_killed_writer_left_uncommitted_is_not_there(tmp_path: Path, log: SqliteLog) -> None:
    log.append(events(1))
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO events (event_id, accepted_at, body) VALUES ('half', 1, '{}')")
    other.close()
    assert ids(log) == ["e1"]


def test_numbers_are_never_given_twice(log: SqliteLog) -> None:
    log.append(events(1, 2, 3))
    top = log.head()
    log._writer.execute("DELETE FROM events")
    log.append(events(4))
    assert log.head() == top + 1


@pytest.mark.parametrize(
    ("began", "opened", "found"),
    [("a", "b", "masked with another key"), ("", "b", "not masked"), ("a", "", "masked")],
)
def test_a_log_is_masked_in_one_way(tmp_path: Path, began: str, opened: str, found: str) -> None:
    SqliteLog(tmp_path / "log.db", mask=began).append(events(1))
    with pytest.raises(UsageError, match=f"log.db are {found}"):
        SqliteLog(tmp_path / "log.db", mask=opened).append(events(2))
    assert SqliteLog(tmp_path / "log.db").head() == 1
