"""Reading the features of 100 products in one call, from LMDB and from Redis, beside bare clients of both.

A made-up shop: 20,000 products, 1,000,000 events in 90 days, prices with a history; every feature of a product that the
shop can have. Ours reads packed records and computes each feature as of the instant asked for, so that windows roll on
and every event that was added counts. The bare contestants are given what that comes to, as finished numbers for one
instant: in LMDB and Redis an array for each product; in Redis also a hash for each, read by HGETALL in one pipeline, as
feature stores commonly keep them (a tenth of the reads). They know no window, no event and no other instant.
Contestants take turns, and every answer is held against ours of the same keys. Then events are added, 5,000 at a time,
as the service does behind its event route. Where the machine lets it, the measured part runs ahead of all other work
(SCHED_FIFO).
"""

import json
import math
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lmdb
import numpy as np
from redis import Redis

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.online_features import NOW, features_of, product, published
from feature_store.event_log.log import Stored
from feature_store.event_log.parts import Position
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online.redis_values import RedisValues
from feature_store.online.values import ValueStore
from feature_store.online_features.store import OnlineFeatures

PROTOCOL = "made-up events; the features of 100 products drawn at random in one call, contestants in turn"
SHOPS: tuple[str, ...] = ()
PRODUCTS, EVENTS = 20_000, 1_000_000
AT_ONCE, READS, TURNS = 100, 500, 12
ADDED, STEPS = 5_000, 4
LMDB, REDIS = "ours in LMDB", "ours in Redis"
BARE_LMDB, BARE_REDIS = "bare lmdb, finished arrays", "bare redis, MGET of finished arrays"
HASHES = "bare redis, HGETALL in a pipeline"
UNITS = (Unit("reads", seed=0),)
Read = Callable[[Sequence[str]], np.ndarray[Any, np.dtype[np.float32]]]


def measure(unit: Unit, place: Place) -> Measured:
    """Milliseconds of a read by contestant, 50th and 99th percentile of all turns, and events added a second."""
    draw, load = random.Random(unit.seed), os.getloadavg()[0]
    with TemporaryDirectory(dir=place.work) as name, redis_server(Path(name)) as (address, server):
        folder = Path(name)
        stores: dict[str, ValueStore] = {
            LMDB: LmdbValues(folder / "ours"),
            REDIS: RedisValues(address, shop="bench"),
        }
        values = published(unit.seed or 0, products=PRODUCTS, events=EVENTS)
        for store in stores.values():
            store.publish(values, ttl_s=86_400)
        ours = {one: OnlineFeatures(store, clock=lambda: NOW) for one, store in stores.items()}
        reads: dict[str, Read] = {one: our_read(features) for one, features in ours.items()}
        reads[BARE_LMDB] = bare_lmdb(folder / "bare", reads[LMDB])
        reads[BARE_REDIS] = bare_redis(address, reads[LMDB])
        reads[HASHES] = hashes(address, ours[LMDB])
        with ahead(os.getpid(), server) as is_ahead:
            took = timed_reads(reads, draw)
            adding = {f"events a second, {one}": added(features, draw) for one, features in ours.items()}
    figures = {
        f"p{share} ms, {one}": float(np.percentile(times, share)) * 1e3
        for one, times in took.items()
        for share in (50, 99)
    }
    size = sum(len(record) for key, record in values if key.startswith("p")) / PRODUCTS
    return Measured(
        metrics=figures | adding | {"bytes of a product": size},
        counts={"reads": READS * TURNS, "products": PRODUCTS, "events": EVENTS, "features": len(features_of())},
        config={"load": load, "ahead": is_ahead},
    )


def our_read(features: OnlineFeatures) -> Read:
    """Our read of some products."""
    return lambda ids: features.read("product", [(one,) for one in ids], now=NOW).values


def bare_lmdb(folder: Path, ours: Read) -> Read:
    """A read of arrays that stand ready in LMDB."""
    environment = lmdb.open(str(folder), map_size=1 << 30, lock=False)
    known = [product(number) for number in range(PRODUCTS)]
    with environment.begin(write=True) as transaction:
        for one, row in zip(known, ours(known), strict=True):
            transaction.put(one.encode(), row.tobytes())

    def read(ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        with environment.begin() as transaction:
            content = b"".join(transaction.get(one.encode(), b"") for one in ids)
        return np.frombuffer(content, dtype=np.float32).reshape(len(ids), -1)

    return read


def bare_redis(address: str, ours: Read) -> Read:
    """A read of arrays that stand ready in Redis."""
    client = Redis.from_url(address)
    known = [product(number) for number in range(PRODUCTS)]
    for start in range(0, PRODUCTS, 1_000):
        some = known[start : start + 1_000]
        client.mset({f"array:{one}": row.tobytes() for one, row in zip(some, ours(some), strict=True)})

    def read(ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        found: list[bytes] = client.mget([f"array:{one}" for one in ids])  # type: ignore[assignment]
        return np.frombuffer(b"".join(found), dtype=np.float32).reshape(len(ids), -1)

    return read


def hashes(address: str, ours: OnlineFeatures) -> Read:
    """A read of hashes that stand ready in Redis; a feature that has no value is absent there."""
    client = Redis.from_url(address)
    known = [product(number) for number in range(PRODUCTS)]
    found = ours.read("product", [(one,) for one in known], now=NOW)
    names = {name.encode(): number for number, name in enumerate(found.names)}
    for start in range(0, PRODUCTS, 1_000):
        lines = client.pipeline(transaction=False)
        for one, row in zip(known[start : start + 1_000], found.values[start : start + 1_000].tolist(), strict=True):
            values = {name: repr(one) for name, one in zip(found.names, row, strict=True) if not math.isnan(one)}
            lines.hset(f"bare:{one}", mapping=values)  # type: ignore[arg-type]
        lines.execute()

    def read(ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        lines = client.pipeline(transaction=False)
        for one in ids:
            lines.hgetall(f"bare:{one}")
        values = np.full((len(ids), len(names)), np.nan, dtype=np.float32)
        for row, fields in enumerate(lines.execute()):
            for name, value in fields.items():
                values[row, names[name]] = float(value)
        return values

    return read


def timed_reads(reads: dict[str, Read], draw: random.Random) -> dict[str, list[float]]:
    """Seconds of every read by contestant; the answers of all are the same."""
    took: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(TURNS):
        asked = [[product(int(PRODUCTS * draw.random() ** 2)) for _ in range(AT_ONCE)] for _ in range(READS)]
        expected = [reads[LMDB](ids) for ids in asked]
        for name, read in reads.items():
            for ids, right in list(zip(asked, expected, strict=True))[: READS // 10 if name == HASHES else READS]:
                begun = perf_counter()
                found = read(ids)
                took[name].append(perf_counter() - begun)
                if not np.array_equal(found, right, equal_nan=True):
                    raise RuntimeError(f"{name} reads other values")
    return took


def added(features: OnlineFeatures, draw: random.Random) -> float:
    """Events a second that are added to the records of their products."""
    body = {"event_type": "view", "timestamp": NOW - 1_000, "quantity": 1.0, "price": 9.99}
    steps = [
        [
            Stored(
                step * ADDED + number + 1,
                NOW - 500,
                json.dumps(body | {"product_id": product(draw.randrange(PRODUCTS)), "user_id": f"U{number}"}),
            )
            for number in range(ADDED)
        ]
        for step in range(STEPS)
    ]
    begun = perf_counter()
    for step, events in enumerate(steps, start=1):
        if not features.add(events, until=Position("bench", step * ADDED)):
            raise RuntimeError("nothing was added")
    return STEPS * ADDED / (perf_counter() - begun)


@contextmanager
def ahead(*processes: int) -> Iterator[bool]:
    """Let processes run ahead of all other work; False where the machine does not allow it."""
    try:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(20))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def redis_server(folder: Path) -> Iterator[tuple[str, int]]:
    """A Redis server on a free loopback port, in memory alone; gives its address and its process."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--dir", str(folder), "--bind", "127.0.0.1"]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as server:
        for line in server.stdout or ():
            if "Ready to accept connections" in line:
                break
        try:
            yield f"redis://127.0.0.1:{port}/0", server.pid
        finally:
            server.terminate()
            server.communicate()


def tables(results: Sequence[Result]) -> list[Table]:
    """Percentiles, and what was added."""
    rows: list[Sequence[str]] = []
    notes: list[str] = []
    for result in of(results, "reads"):
        metrics, counts = result["metrics"], result["counts"]
        rows += [
            [name, *(f"{metrics[f'p{share} ms, {name}']:.2f}" for share in (50, 99))]
            for name in (LMDB, BARE_LMDB, REDIS, BARE_REDIS, HASHES)
        ]
        how = "ahead of it" if result["config"]["ahead"] else "beside it"
        notes.append(
            f"{counts['reads']:,} reads of {AT_ONCE} products each by every contestant, {counts['features']} features "
            f"of a product, {metrics['bytes of a product']:,.0f} bytes of a record on average, all values equal. Added "
            f"{metrics[f'events a second, {LMDB}']:,.0f} events a second in LMDB, "
            f"{metrics[f'events a second, {REDIS}']:,.0f} in Redis, by one process. {result['machine']['cores']} cores "
            f"with a load of {result['config']['load']:.1f} by other work, measured {how}."
        )
    return [Table("100 products' features in one call", ("contestant", "p50, ms", "p99, ms"), rows, " ".join(notes))]
