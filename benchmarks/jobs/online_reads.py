"""Reading the features of 100 products in one call, from LMDB and from Redis, beside bare clients of both.

A made-up shop: 20,000 products, 1,000,000 events in 90 days, prices with a history; every feature of a product that the
shop can have. Ours reads packed records and computes each feature as of the instant asked for, so that windows roll on
and every event that was added counts. The bare contestants are given what that comes to, as finished numbers for one
instant: in LMDB an array for each product; in Redis a hash for each, read by HGETALL in one pipeline, as feature stores
commonly keep them. They know no window, no event and no other instant. Contestants take turns, and every answer is held
against ours of the same keys. Then events are added, 5,000 at a time, as the service does behind its event route.
"""

import json
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
import polars as pl
from redis import Redis

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from feature_store.event_log.log import Stored
from feature_store.event_log.parts import Position
from feature_store.online.lmdb_values import LmdbValues
from feature_store.online.redis_values import RedisValues
from feature_store.online.values import ValueStore
from feature_store.online_features.packing import Packing
from feature_store.online_features.state import ABOUT, STATE, About, State, versions
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.defaults import DEFAULTS
from feature_store.point_in_time.definitions import DAY
from feature_store.point_in_time.streams import Records, event_frame, timed, unfit

PROTOCOL = "made-up events; the features of 100 products drawn at random in one call, contestants in turn"
SHOPS: tuple[str, ...] = ()
PRODUCTS, EVENTS, DAYS = 20_000, 1_000_000, 90
AT_ONCE, READS, TURNS = 100, 500, 12
ADDED, STEPS = 5_000, 4
NOW = 1_767_225_600_000_000  # 2026-01-01
LMDB, REDIS = "ours in LMDB", "ours in Redis"
BARE_LMDB, BARE_REDIS = "bare lmdb, finished arrays", "bare redis, HGETALL in a pipeline"
UNITS = (Unit("reads", seed=0),)
Read = Callable[[Sequence[str]], np.ndarray[Any, np.dtype[np.float32]]]


def measure(unit: Unit, place: Place) -> Measured:
    """Milliseconds of a read by contestant, 50th and 99th percentile of all turns, and events added a second."""
    draw, load = random.Random(unit.seed), os.getloadavg()[0]
    with TemporaryDirectory(dir=place.work) as name, redis_server(Path(name)) as address:
        folder = Path(name)
        stores: dict[str, ValueStore] = {
            LMDB: LmdbValues(folder / "ours"),
            REDIS: RedisValues(address, shop="bench"),
        }
        values = published(unit.seed or 0)
        for store in stores.values():
            store.publish(values, ttl_s=86_400)
        ours = {one: OnlineFeatures(store, clock=lambda: NOW) for one, store in stores.items()}
        reads: dict[str, Read] = {one: our_read(features) for one, features in ours.items()}
        reads[BARE_LMDB] = bare_lmdb(folder / "bare", reads[LMDB])
        reads[BARE_REDIS] = bare_redis(address, ours[LMDB])
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
        config={"load": load, "nice": os.nice(0)},
    )


def product(number: int) -> str:
    """A product's id."""
    return f"P{number:06d}"


def features_of() -> list[Any]:
    """Every feature of a product that the shop can have."""
    streams = {"events": Records(pl.LazyFrame()), "prices": Records(pl.LazyFrame())}
    return [
        one
        for one in DEFAULTS
        if one.entity == "product" and unfit(one, streams, calendar=True) is None  # type: ignore[arg-type]
    ]


def published(seed: int) -> list[tuple[str, bytes]]:
    """The values of a made-up shop; some products are met a hundred times as often as others."""
    draw = np.random.default_rng(seed)
    kinds = ["impression", "view", "click", "add_to_cart", "purchase", "cancel"]
    start = NOW - DAYS * DAY
    events = pl.DataFrame(
        {
            "user_id": [f"U{number:06d}" for number in draw.integers(0, 100_000, EVENTS)],
            "product_id": [product(number) for number in (PRODUCTS * draw.random(EVENTS) ** 2).astype(int)],
            "query": pl.Series([None] * EVENTS, dtype=pl.String),
            "timestamp": draw.integers(start, NOW, EVENTS),
            "event_type": draw.choice(kinds, EVENTS, p=[0.5, 0.3, 0.1, 0.05, 0.045, 0.005]),
            "price": draw.integers(1, 10_000, EVENTS) / 100,
            "quantity": draw.integers(1, 4, EVENTS).astype(float),
            "position": draw.integers(0, 40, EVENTS),
            "propensity": pl.Series([None] * EVENTS, dtype=pl.Float64),
            "known_at": pl.Series([None] * EVENTS, dtype=pl.Datetime("us", "UTC")),
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    prices = pl.DataFrame(
        {
            "product_id": [product(number) for number in range(PRODUCTS)] * 3,
            "valid_from": draw.integers(start, NOW, 3 * PRODUCTS),
            "known_at": pl.Series([None] * 3 * PRODUCTS, dtype=pl.Datetime("us", "UTC")),
            "price": draw.integers(1, 10_000, 3 * PRODUCTS) / 100,
            "in_stock": draw.random(3 * PRODUCTS) < 0.9,
            "kind": pl.Series([0] * 3 * PRODUCTS, dtype=pl.UInt8),
        }
    ).with_columns(pl.col("valid_from").cast(pl.Datetime("us", "UTC")))
    since = timed(prices.lazy(), time="valid_from", known="known_at")
    packing = Packing(
        features_of(), {"events": Records(event_frame(events.lazy())), "prices": Records(since)}, at=NOW, oldest=0
    )
    state = State(Position("bench", 0), NOW, [], packing.sums())
    state.tidy()
    about = About(NOW, versions(features_of()), "")
    known = [product(number) for number in range(PRODUCTS)]
    return [(ABOUT, about.packed()), (STATE, state.packed()), *packing.values(known)]


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
            content = b"".join(transaction.get(one.encode()) for one in ids)
        return np.frombuffer(content, dtype=np.float32).reshape(len(ids), -1)

    return read


def bare_redis(address: str, ours: OnlineFeatures) -> Read:
    """A read of hashes that stand ready in Redis; a feature that has no value is absent there."""
    client = Redis.from_url(address)
    known = [product(number) for number in range(PRODUCTS)]
    found = ours.read("product", [(one,) for one in known], now=NOW)
    names = {name.encode(): number for number, name in enumerate(found.names)}
    for start in range(0, PRODUCTS, 1_000):
        lines = client.pipeline(transaction=False)
        for one, row in zip(known[start : start + 1_000], found.values[start : start + 1_000].tolist(), strict=True):
            values = {name: repr(value) for name, value in zip(found.names, row, strict=True) if value == value}  # noqa: PLR0124
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
            for ids, right in zip(asked, expected, strict=True):
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
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server on a free loopback port, in memory alone; gives its address."""
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
            yield f"redis://127.0.0.1:{port}/0"
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
            for name in (LMDB, BARE_LMDB, REDIS, BARE_REDIS)
        ]
        notes.append(
            f"{counts['reads']:,} reads of {AT_ONCE} products each by every contestant, {counts['features']} features of "
            f"a product, {metrics['bytes of a product']:,.0f} bytes of a record on average; all values equal. Added: "
            f"{metrics[f'events a second, {LMDB}']:,.0f} events a second in LMDB, "
            f"{metrics[f'events a second, {REDIS}']:,.0f} in Redis, one process. On {result['machine']['cores']} cores "
            f"with a load of {result['config']['load']:.1f} by other work before it began (nice {result['config']['nice']})."
        )
    return [Table("100 products' features in one call", ("contestant", "p50, ms", "p99, ms"), rows, " ".join(notes))]
