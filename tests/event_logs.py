"""What every event log must do, and events to do it with."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from feature_store.event_log.compact import compact, part_frame
from feature_store.event_log.door import Door
from feature_store.event_log.log import DAY, Event, EventLog, watermark
from feature_store.event_log.parts import part_files


@dataclass
class SlowLog:
    """A log that writes when it is told to, and remembers how many events shared each commit."""

    log: EventLog
    may: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    commits: list[int] = field(default_factory=list)

    def append(self, events: Sequence[Event]) -> list[bool]:
        self.begun.set()
        assert self.may.wait(30)
        self.commits.append(len(events))
        return self.log.append(events)

    def close(self) -> None:
        self.log.close()


def row(number: int = 0, **changes: object) -> dict[str, object]:
    """A row of the events table."""
    plain: dict[str, object] = {
        "event_id": f"e{number}",
        "user_id": f"u{number % 7:02d}",
        "product_id": f"p{number % 40:02d}",
        "timestamp": f"2025-03-30T10:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "event_type": "view",
    }
    return {name: value for name, value in (plain | changes).items() if value is not None}


def events(*numbers: int, **changes: object) -> list[Event]:
    """Events that passed the door."""
    checked = Door(told_known_at=True).check([row(number, **changes) for number in numbers])
    assert not checked.refused
    return checked.events


def ids(log: EventLog) -> list[str]:
    """The ids of all events in the log, in order."""
    return part_frame(log.read(after=0, until=log.head()))["event_id"].to_list() if log.head() else []


def check_event_log(make: Callable[[], EventLog], folder: Path) -> None:
    """Append, duplicates, reading, tails, ranges, pruning; and that another one opened later knows it all.

    Args:
        make: opens one and the same log, empty at first.
        folder: stands for the shop folder.
    """
    log = make()
    assert (log.head(), log.parts(), log.plan(rows=10), log.tail(["u00"], after=0, limit=5)) == (0, [], None, [[]])
    assert log.append([]) == []
    assert log.append(events(*range(5))) == [True] * 5
    assert log.append(events(3, 5, 5, 4, 6)) == [False, True, False, False, True]
    assert ids(log) == [f"e{number}" for number in range(7)]
    stored = log.read(after=0, until=log.head())
    assert [one.number for one in stored] == sorted({one.number for one in stored})
    assert [one.accepted_at for one in stored] == sorted(one.accepted_at for one in stored)
    assert log.read(after=stored[2].number, until=stored[4].number) == stored[3:5]

    log.append(events(14, user_id="u00"))
    log.append(events(15, user_id=None, event_type="search", product_id=None))
    everything = log.read(after=0, until=log.head())
    first, last = everything[0], everything[7]
    assert log.tail(["u00", "nobody", "u01", "x\x00"], after=0, limit=5) == [[first, last], [], [everything[1]], []]
    assert log.tail(["u00", "u00"], after=0, limit=1) == [[last], [last]]
    assert log.tail(["u00"], after=first.number, limit=5) == [[last]]

    again = make()
    assert again.identity == log.identity
    assert again.append(events(15)) == [False]
    assert again.append(events(16)) == [True]
    check_ranges(again, log, folder)
    log.close()
    again.close()


def check_erasing(log: EventLog) -> None:
    """Events of some users go up to a moment of theirs, and off the rows of the ranges that hold them."""
    at = {number: 1743328800_000_000 + number * 1_000_000 for number in range(200)}
    log.append(events(101, 108, 115, user_id="ann"))
    log.append(events(102, user_id="bob"))
    part = log.plan(rows=100)
    assert part is not None
    assert sorted(log.users()) == ["ann", "bob", "u02"]
    assert log.erase({}) == log.erase({"nobody": 2**63 - 1, "bob": at[102] - 1}) == 0
    assert log.erase({"ann": at[108], "bob": at[102], "x": 0}) == 3
    assert ids(log) == ["e100", "e115"]
    assert [(one.rows, one.first) for one in log.parts()][-1] == (part.rows - 3, part.first)
    assert log.erase({"ann": at[108], "bob": at[102]}) == 0
    assert log.append(events(101)) == [True]  # its id is free again, as after pruning
    assert log.erase({"u03": 2**63 - 1, "ann": 2**63 - 1}) == 2
    assert log.users() == ["u02"]


def check_ranges(writer: EventLog, log: EventLog, folder: Path) -> None:
    """Ranges lie one behind the other; what is written may be forgotten, what is not stays."""
    part = writer.plan(rows=4)
    assert part is not None
    assert (part.rows, part.written) == (4, False)
    assert watermark(log.parts()) == 0
    assert writer.prune(before=10**18) == 0
    done = compact(log, folder, lock=folder / "lock", rows=4)
    assert (done.events, len(done.files), done.restored, done.lost, done.pruned) == (10, 3, 0, [], 0)
    assert [one.rows for one in log.parts()] == [4, 4, 2]
    assert all(one.written for one in writer.parts())
    assert done.watermark == watermark(log.parts()) == log.head()
    nothing = compact(log, folder, lock=folder / "lock", rows=4)
    assert (nothing.events, nothing.files, nothing.watermark) == (0, [], done.watermark)

    done.files[1].unlink()
    restored = compact(log, folder, lock=folder / "lock", rows=4)
    assert (restored.events, restored.files, restored.restored) == (4, [done.files[1]], 1)
    later = compact(log, folder, lock=folder / "lock", keep_days=30, now=lambda: 10**17 + 31 * DAY)
    assert later.pruned == 10
    assert (log.head(), len(part_files(folder))) == (0, 3)
    log.append(events(100))
    assert log.head() > done.watermark
    check_erasing(log)
    done.files[0].unlink()
    assert compact(log, folder, lock=folder / "lock").lost == [done.files[0]]
