"""Durable events per second, over HTTP and into the log alone, against a bare SQLite file and a bare text file.

Events are made up, 1,000 in a batch, each with an id of its own. Over HTTP four clients in this process send bodies
that were written before the clock began, to a service in a process of its own; a batch counts when it is acknowledged.
The bare contestants get the same rows, check nothing and know no duplicate: a table with one unique index, a commit
for each batch; a file of JSON lines, an fsync for each batch. Contestants take turns, each turn in a fresh file, and
what stands in it afterwards is counted.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from feature_store.event_log.door import Door
from feature_store.event_log.sqlite import SqliteLog

PROTOCOL = "made-up events in batches of 1,000, each batch on the disk before it counts; contestants in turn, medians"
SHOPS: tuple[str, ...] = ()
BATCHES, BATCH, TURNS, CLIENTS = 60, 1_000, 3, 4
HTTP = "ours, POST /v1/events"
LOG = "ours, the log alone"
SQLITE = "sqlite3, a commit for each batch"
PROCESSOR = "microseconds of a processor for each event, the whole service"
FILE = "a text file, an fsync for each batch"
UNITS = (Unit("durable", seed=0),)
Row = dict[str, Any]


def measure(unit: Unit, place: Place) -> Measured:
    """Events per second of each contestant, the median of its turns, and what the service needs of a processor."""
    spent: list[float] = []
    contestants: dict[str, Callable[[list[list[Row]], Path], float]] = {
        HTTP: partial(over_http, spent=spent),
        LOG: into_log,
        SQLITE: into_sqlite,
        FILE: into_file,
    }
    draw, load, turns = random.Random(unit.seed), os.getloadavg()[0], []
    for _ in range(TURNS):
        batches = [[made_up(draw) for _ in range(BATCH)] for _ in range(BATCHES)]
        turn = {}
        for name, run in contestants.items():
            with TemporaryDirectory(dir=place.work) as folder:
                turn[name] = BATCHES * BATCH / run(batches, Path(folder))
        turns.append(turn)
    return Measured(
        metrics={name: median(turn[name] for turn in turns) for name in contestants}
        | {f"{choice.__name__} {HTTP}": choice(turn[HTTP] for turn in turns) for choice in (min, max)}
        | {PROCESSOR: median(spent) / (BATCHES * BATCH) * 1e6},
        counts={"events": BATCHES * BATCH, "batch": BATCH, "turns": TURNS, "clients": CLIENTS},
        config={"load": load},
    )


def made_up(draw: random.Random) -> Row:
    """One event as a storefront sends it."""
    return {
        "event_id": uuid.UUID(int=draw.getrandbits(128)).hex,
        "user_id": f"U{draw.randrange(1_000_000):07d}",
        "product_id": f"P{draw.randrange(100_000):06d}",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "event_type": draw.choice(("impression", "view", "click", "add_to_cart")),
        "session_id": f"S{draw.randrange(1_000_000):07d}",
        "list_id": f"L{draw.randrange(1_000_000):07d}",
        "position": draw.randrange(40),
        "price": draw.randrange(1, 10_000) / 100,
    }


def over_http(batches: list[list[Row]], folder: Path, *, spent: list[float] | None = None) -> float:
    """Seconds until the last batch is acknowledged.

    Args:
        batches: the rows.
        folder: of the log.
        spent: takes the seconds of a processor that the service used meanwhile.
    """
    bodies = [json.dumps({"events": batch}).encode() for batch in batches]
    command = [sys.executable, "-m", "benchmarks.jobs.ingestion", str(folder / "log.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        port = int(service.stdout.readline()) if service.stdout else 0

        def send(client: int) -> int:
            accepted = 0
            with closing(HTTPConnection("127.0.0.1", port)) as connection:
                for body in bodies[client::CLIENTS]:
                    connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
                    accepted += json.loads(connection.getresponse().read())["accepted"]
            return accepted

        with ThreadPoolExecutor(CLIENTS) as pool:
            used, begun = used_seconds(service.pid), perf_counter()
            accepted = sum(pool.map(send, range(CLIENTS)))
            seconds = perf_counter() - begun
            if spent is not None:
                spent.append(used_seconds(service.pid) - used)
        service.terminate()
    return counted(seconds, accepted, SqliteLog(folder / "log.db").head())


def into_log(batches: list[list[Row]], folder: Path) -> float:
    """Seconds to check the rows and append them, batch by batch."""
    log, door = SqliteLog(folder / "log.db"), Door()
    log.head()
    begun = perf_counter()
    accepted = sum(sum(log.append(door.check(batch).events)) for batch in batches)
    seconds = perf_counter() - begun
    head = log.head()
    log.close()
    return counted(seconds, accepted, head)


def into_sqlite(batches: list[list[Row]], folder: Path) -> float:
    """Seconds to insert the rows as JSON beside their ids."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as database:
        database.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
            "CREATE TABLE events (event_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);"
        )
        begun = perf_counter()
        for batch in batches:
            database.execute("BEGIN IMMEDIATE")
            rows = ((row["event_id"], json.dumps(row)) for row in batch)
            database.executemany("INSERT INTO events VALUES (?, ?)", rows)
            database.execute("COMMIT")
        seconds = perf_counter() - begun
        (count,) = database.execute("SELECT count(*) FROM events").fetchone()
    return counted(seconds, count, count)


def into_file(batches: list[list[Row]], folder: Path) -> float:
    """Seconds to write the rows as JSON lines."""
    with (folder / "bare.jsonl").open("w") as file:
        begun = perf_counter()
        for batch in batches:
            file.writelines(json.dumps(row) + "\n" for row in batch)
            file.flush()
            os.fsync(file.fileno())
        seconds = perf_counter() - begun
    return counted(seconds, *[sum(1 for _ in (folder / "bare.jsonl").open())] * 2)


def counted(seconds: float, accepted: int, stored: int) -> float:
    """The seconds, once it is sure that every event was acknowledged and stands there."""
    if accepted != BATCHES * BATCH or stored != accepted:
        raise RuntimeError(f"{accepted} acknowledged, {stored} stored of {BATCHES * BATCH}")
    return seconds


def used_seconds(process: int) -> float:
    """Seconds of a processor that a process has used so far. Source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tables(results: Sequence[Result]) -> list[Table]:
    """Events per second, and how they compare."""
    rows: list[Sequence[str]] = []
    notes: list[str] = []
    for result in of(results, "durable"):
        metrics, counts = result["metrics"], result["counts"]
        rows += [
            [name, f"{metrics[name]:,.0f}", f"{metrics[name] / metrics[SQLITE]:.2f}"]
            for name in (HTTP, LOG, SQLITE, FILE)
        ]
        notes.append(
            f"{counts['events']:,} events a turn, {counts['turns']} turns; over HTTP from {counts['clients']} clients, "
            f"the turns lay between {metrics[f'min {HTTP}']:,.0f} and {metrics[f'max {HTTP}']:,.0f}, on "
            f"{result['machine']['cores']} cores (load {result['config']['load']:.1f} before). The service spends "
            f"{metrics[PROCESSOR]:.0f} µs of a processor on each event: a core that it had to itself would be full at "
            f"{1e6 / metrics[PROCESSOR]:,.0f} a second."
        )
    return [Table("Durable events", ("contestant", "events per second", "to bare sqlite3"), rows, " ".join(notes))]


def serve(file: Path) -> Iterator[int]:
    """A service that takes events and has no index; gives its port, then answers until it is told to end."""
    import uvicorn

    from feature_store.event_log.writer import Writer
    from serving.app import create_app
    from serving.events import EventDesk
    from serving.live import LiveIndex
    from serving.server import listen
    from serving.telemetry import Telemetry

    def nothing(folder: Path) -> Any:
        raise FileNotFoundError(folder)

    telemetry = Telemetry()
    desk = EventDesk(Door(), Writer(SqliteLog(file), observe=telemetry.commit), telemetry)
    desk.writer.log.head()
    app = create_app(LiveIndex(file.parent, open_engine=nothing), telemetry, events=desk)
    with listen("127.0.0.1", 0) as listener:
        yield listener.getsockname()[1]
        uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    for port in serve(Path(sys.argv[1])):
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
