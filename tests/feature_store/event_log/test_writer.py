"""The thread that writes: callers share commits, failures reach those who wait, nothing taken is left behind."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from feature_store.event_log.log import Event
from feature_store.event_log.sqlite import SqliteLog
from feature_store.event_log.writer import FullQueueError, Writer
from recsys.errors import StorageError
from tests.event_logs import SlowLog, events, ids


@pytest.fixture
def slow(tmp_path: Path) -> SlowLog:
    return SlowLog(SqliteLog(tmp_path / "log.db"))


def test_callers_that_wait_share_a_commit_and_get_their_own_answer(slow: SlowLog) -> None:
    writer = Writer(slow, most_together=8)  # type: ignore[arg-type]
    first = writer.submit(events(0))
    assert slow.begun.wait(30)
    waiting = [writer.submit(events(number, 0, number)) for number in range(1, 5)]
    assert writer.events == 13
    slow.may.set()
    assert first.result(30) == [True]
    assert [one.result(30) for one in waiting] == [[True, False, False]] * 4
    writer.close()
    assert slow.commits == [1, 6, 6]
    assert writer.events == 0


def test_more_than_may_wait_is_refused_and_one_large_call_is_not_cut(slow: SlowLog) -> None:
    writer = Writer(slow, most_waiting=6, most_together=2)  # type: ignore[arg-type]
    taken = writer.submit(events(*range(5)))
    with pytest.raises(FullQueueError, match="5 events wait to be written; expected at most 6 with these 2"):
        writer.submit(events(7, 8))
    last = writer.submit(events(9))
    slow.may.set()
    assert sum(taken.result(30)) == 5
    assert last.result(30) == [True]
    writer.close()
    assert slow.commits == [5, 1]


def test_closing_writes_what_was_taken(slow: SlowLog) -> None:
    writer = Writer(slow)  # type: ignore[arg-type]
    taken = [writer.submit(events(number)) for number in range(3)]
    closing = threading.Thread(target=writer.close)
    closing.start()
    slow.may.set()
    closing.join(30)
    assert not closing.is_alive()
    assert [one.result(0) for one in taken] == [[True]] * 3
    with pytest.raises(FullQueueError, match="the event log is closing"):
        writer.submit(events(4))


def test_a_caller_that_leaves_before_its_turn_takes_its_events_along(slow: SlowLog) -> None:
    writer = Writer(slow)  # type: ignore[arg-type]
    first = writer.submit(events(0))
    assert slow.begun.wait(30)
    left, stays = writer.submit(events(1)), writer.submit(events(2))
    assert left.cancel()
    assert not first.cancel()  # it is being written
    slow.may.set()
    assert stays.result(30) == [True]
    writer.close()
    assert ids(slow.log) == ["e0", "e2"]
    assert writer.events == 0


def test_a_failure_reaches_all_who_wait_and_the_next_call_is_tried(tmp_path: Path) -> None:
    class Failing:
        def __init__(self) -> None:
            self.log = SqliteLog(tmp_path / "log.db")
            self.fails = True

        def append(self, events: Sequence[Event]) -> list[bool]:
            if self.fails:
                raise StorageError("full", expected="room", action="free it")
            return self.log.append(events)

    log = Failing()
    writer = Writer(log)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        writer.submit(events(1)).result(30)
    log.fails = False
    assert writer.submit(events(1)).result(30) == [True]
    writer.close()
