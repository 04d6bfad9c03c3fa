"""kill -9 at any moment of appending and compacting: what was acknowledged is there, and nothing is there twice."""

import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, time_ns

import polars as pl
import pytest

from feature_store.event_log.compact import compact
from feature_store.event_log.parts import part_files, reached
from feature_store.event_log.sqlite import SqliteLog
from tests.feature_store.event_log import killed

pytestmark = pytest.mark.slow

KILLS, MOST = 200, 1000
MEASURED = 5
WORK = killed.STAGES[:-1]


@dataclass
class Nursery:
    """Runs rounds in children of one prepared process."""

    process: "subprocess.Popen[str]"
    folder: Path

    def round(self, number: int, *, before: int, kill_after: float | None) -> tuple[float, str, set[str]]:
        """Seconds from the child's first line to its end, the stage it ended in, and what it had acknowledged."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{number} {before}\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline().removeprefix("pid "))
        begun, taken = monotonic(), set()
        if kill_after is not None:
            with self.watch(child):
                select.select([], [], [], kill_after)
                os.kill(child, signal.SIGKILL)
        while not (line := self.process.stdout.readline()).startswith("ended "):
            taken |= {row["event_id"] for row in killed.batch_of(*map(int, line.split()[1:]))}
        status = int(line.split()[1])
        assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
        return monotonic() - begun, killed.STAGES[(self.folder / "stage").read_bytes()[0]], taken

    @contextmanager
    def watch(self, child: int) -> Iterator[None]:
        """A child that ended before it could be killed is no failure."""
        try:
            yield
        except ProcessLookupError:
            assert not Path(f"/proc/{child}").exists()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    (tmp_path / "stage").write_bytes(b"\0")
    with subprocess.Popen(
        [sys.executable, killed.__file__, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "POLARS_MAX_THREADS": "1"},
    ) as process:
        yield Nursery(process, tmp_path)
        assert process.stdin is not None
        process.stdin.close()


def stored(folder: Path) -> list[str]:
    """The ids in the files, and those that the log has behind the last file."""
    files = part_files(folder / "shop")
    written = [name for file in files for name in pl.read_parquet(file, columns=["event_id"])["event_id"]]
    log = SqliteLog(folder / "log.db")
    waiting = log.read(after=reached(files).within(log.identity), until=log.head())
    log.close()
    return [*written, *(json.loads(one.body)["event_id"] for one in waiting)]


def check(folder: Path, *, taken: set[str], sent: set[str]) -> None:
    found = stored(folder)
    assert len(found) == len(set(found)), [name for name, count in Counter(found).items() if count > 1][:5]
    assert taken <= set(found), sorted(taken - set(found))[:5]
    assert set(found) <= sent


def test_nothing_is_lost_or_doubled_however_often_it_is_killed(
    nursery: Nursery, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    lengths, taken, hits, late = [], set(), Counter[str](), 0
    starts = [0, time_ns() // 1000]
    for number in range(MEASURED):
        length, stage, acknowledged = nursery.round(number, before=starts[-2], kill_after=None)
        starts.append(time_ns() // 1000)
        assert stage == "finished"
        assert len(acknowledged) == killed.TURNS * killed.BATCHES * killed.EVENTS
        lengths.append(length)
        taken |= acknowledged
    draw, length = random.Random(0), median(lengths)
    last = MEASURED
    # A kill that comes when all is done hits nothing and does not count. Where other work shares the cores, a round may
    # take longer than was measured: kill on, later, until all stages are hit.
    while last < MEASURED + MOST and not (hits.total() >= KILLS and all(hits[stage] for stage in WORK)):
        number, last = last, last + 1
        within = length * (1 + hits.total() // KILLS)
        _, stage, acknowledged = nursery.round(number, before=starts[-2], kill_after=draw.uniform(0, within))
        starts.append(time_ns() // 1000)
        if stage in WORK:
            hits[stage] += 1
        else:
            late += 1
        taken |= acknowledged
        if number % 20 == 0:
            check(tmp_path, taken=taken, sent=sent_until(number))
    taken |= nursery.round(last, before=0, kill_after=None)[2]
    check(tmp_path, taken=taken, sent=sent_until(last))
    log = SqliteLog(tmp_path / "log.db")
    assert log._reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    done = compact(log, tmp_path / "shop", lock=tmp_path / "lock")
    assert (done.lost, done.watermark) == ([], log.parts()[-1].last)
    assert not list((tmp_path / "shop").rglob(".partial*"))
    told = ", ".join(f"{stage} {hits[stage]}" for stage in WORK)
    kills = f"{hits.total()} kills of running work over {length * 1000:.0f} ms, {late} came when it was done"
    record_property("told", f"{kills}: {told}; {len(taken):,} events acknowledged")
    assert hits.total() >= KILLS
    assert all(hits[stage] for stage in WORK), hits


def sent_until(number: int) -> set[str]:
    """All ids that the rounds up to this one send."""
    return {
        row["event_id"]
        for one in range(number + 1)
        for turn in range(killed.TURNS)
        for batch in range(killed.BATCHES)
        for row in killed.batch_of(one, turn, batch)
    }
