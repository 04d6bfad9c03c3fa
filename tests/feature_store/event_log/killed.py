"""What is killed: a process that takes events as the service does and compacts, round after round, and says what it
was doing.

Run as a program it imports everything once, and for each line it reads forks a child that does one round: a child
starts in a few milliseconds, and its whole run is the work under test.
"""

import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import feature_store.event_log.compact as compaction
from feature_store.event_log.compact import compact
from feature_store.event_log.door import Door
from feature_store.event_log.sqlite import SqliteLog
from feature_store.event_log.writer import Writer
from recsys import storage

STAGES = (
    "opening",
    "checking",
    "inserting",
    "committing",
    "planning",
    "writing",
    "placing",
    "marking",
    "pruning",
    "finished",
)
STATEMENTS = {
    "INSERT INTO events": "inserting",
    "SELECT coalesce(max(last)": "planning",
    "UPDATE parts": "marking",
    "DELETE FROM events": "pruning",
}
TURNS, BATCHES, EVENTS = 2, 3, 200


def batch_of(number: int, turn: int, batch: int) -> list[dict[str, str]]:
    """The new rows of one request of a round."""
    return [
        {
            "event_id": f"{number}-{turn}-{batch}-{event}",
            "user_id": f"u{event % 7}",
            "product_id": f"p{event}",
            "timestamp": "2025-03-30T10:00:00Z",
            "event_type": "view",
        }
        for event in range(EVENTS)
    ]


def sent(number: int, turn: int, batch: int) -> list[dict[str, str]]:
    """A request of a round: what the former round sent in its place once more, then new events."""
    before = batch_of(number - 1, turn, batch) if number else []
    return before + batch_of(number, turn, batch)


class Progress:
    """Notes the stage in a file that outlives a kill."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as handle:
            self.byte = mmap.mmap(handle.fileno(), 1)

    def at(self, stage: str) -> None:
        self.byte[0] = STAGES.index(stage)

    def statement(self, sql: str) -> None:
        """A commit of events is a stage of its own; any other belongs to what it commits."""
        if sql == "COMMIT" and STAGES[self.byte[0]] == "inserting":
            self.at("committing")
        for begin, stage in STATEMENTS.items():
            if sql.startswith(begin):
                self.at(stage)

    def around(self, place: Any, name: str, stage: str) -> None:
        """Note the stage before each call of a function."""
        plain: Callable[..., Any] = getattr(place, name)

        def noted(*given: Any, **named: Any) -> Any:
            self.at(stage)
            return plain(*given, **named)

        setattr(place, name, noted)


def run(folder: Path, number: int, before: int) -> None:
    """One round: the former round's events once more, then new ones, compacted in between.

    Args:
        folder: holds log and shop.
        number: of the round.
        before: events accepted before this moment may be forgotten.
    """
    progress = Progress(folder / "stage")
    progress.at("opening")
    log = SqliteLog(folder / "log.db")
    log._writer.set_trace_callback(progress.statement)
    for place, name, stage in [
        (log, "read", "writing"),
        (compaction, "write_part", "writing"),
        (storage, "sync_file", "placing"),
    ]:
        progress.around(place, name, stage)
    door, writer = Door(), Writer(log)
    for turn in range(TURNS):
        progress.at("checking")
        checked = [door.check(sent(number, turn, batch)) for batch in range(BATCHES)]
        waiting = [writer.submit(one.events) for one in checked]  # callers that come together share commits
        for batch, done in enumerate(waiting):
            done.result()
            os.write(1, f"taken {number} {turn} {batch}\n".encode())
        compact(log, folder / "shop", lock=folder / "lock", rows=400, keep_days=0, now=lambda: before)
    writer.close()
    log.close()
    progress.at("finished")


def main() -> None:
    """Fork a child for each round asked for, and say how it ended."""
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        number, before = map(int, line.split())
        child = os.fork()
        if not child:
            os.write(1, f"pid {os.getpid()}\n".encode())
            run(folder, number, before)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        os.write(1, f"ended {status}\n".encode())


if __name__ == "__main__":
    main()
