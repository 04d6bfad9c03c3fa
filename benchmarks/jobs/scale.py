"""How large a shop the two-tower trains on: a made-up one of a million users, a million products and 50 million events.

The events are written by formula as Parquet, in chunks, and streamed as a snapshot's are. Then the network learns for
some steps of the first epoch, whose pace says how long a whole one takes. Every unit runs in a process of its own, on
one thread, whose largest memory is told.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.pace import in_turns, measure_pace, turns_table, write_events
from recsys.models.two_tower_config import FIRST
from recsys.retrieval.vocabulary import id_buckets
from recsys.types import EVENT_CODES
from training.two_tower.config import TwoTowerSettings
from training.two_tower.flat import read_sequences
from training.two_tower.learn import training_batches
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences

PROTOCOL = "made-up events, ids alone, steps of 256 histories, one thread"
SHOPS: tuple[str, ...] = ()
KIB_OF_A_GIB = 2**20
CHUNK = 100_000
"""Users written at once."""
FIRST_STEPS = 3
"""Steps that are not counted: memory is found in them."""
ROWS = 1_000_000
"""Events read at once."""
DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """One unit's shop and network.

    Attributes:
        users: how many.
        products: how many.
        events: about how many in all, at least two to a user.
        hashed: rows of the id table that the products share; 0 gives each its own.
        sparse: whether a step touches the rows of the id table that it meets alone.
        steps: of the optimiser, more than FIRST_STEPS + 1.
        width: of the vectors.
    """

    users: int = 1_000_000
    products: int = 1_000_000
    events: int = 50_000_000
    hashed: int = 0
    sparse: bool = False
    steps: int = 40
    width: int = 64


TEN_MILLION = 10_000_000
SIZES = {
    "1 %, dense": Size(10_000, 10_000, 500_000),
    "1 %, sparse": Size(10_000, 10_000, 500_000, sparse=True),
    "whole, sparse": Size(sparse=True),
    "whole, shared rows": Size(hashed=200_000),
    "whole, dense": Size(steps=16),
    "ten million products, sparse": Size(products=TEN_MILLION, sparse=True),
}
BESIDE, NAME = "1 %, beside the peer", "RecTools' SASRec, sampled softmax of 256"
UNITS = (*(Unit(name) for name in SIZES), Unit(BESIDE))
PEER: Mapping[str, Any] = {
    "n_blocks": 2,
    "n_heads": 2,
    "n_factors": 64,
    "session_max_len": 50,
    "loss": "sampled_softmax",
    "n_negatives": 256,
}
"""RecTools' SASRec, of our shape and its own settings otherwise; it draws its negatives for each place."""


def measure(unit: Unit, place: Place) -> Measured:
    """One unit in a process of its own."""
    size = SIZES.get(unit.variant, SIZES["1 %, dense"])
    folder = place.work / f"{size.users}-{size.products}-{size.events}"
    made_files(size, folder=folder)
    if unit.variant == BESIDE:
        return beside(size, folder=folder, work=place.work)
    command = [sys.executable, "-m", "benchmarks.jobs.scale", unit.variant, str(folder), str(place.work / unit.stem)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Measured(metrics=found["metrics"], counts=found["counts"], config=asdict(size) | found["config"])


def made_files(size: Size, *, folder: Path) -> None:
    """Parquet files of the columns that training reads of a snapshot's interactions; those that stand are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, size.users, CHUNK):
        file = folder / f"{first:09d}.parquet"
        if not file.exists():
            frame = made_events(size, first=first, users=min(CHUNK, size.users - first))
            frame.write_parquet(file.with_suffix(".new"))
            file.with_suffix(".new").replace(file)


def made_events(size: Size, *, first: int, users: int) -> pl.DataFrame:
    """Some users' events by time: half of them follow popularity, half lie near the user's own place."""
    random = np.random.default_rng([0, first])
    counts = random.poisson(max(size.events / size.users - 2, 0), users) + 2
    owner = np.repeat(np.arange(first, first + users), counts)
    popular = (size.products * random.random(len(owner)) ** 3).astype(np.int64)
    near = (owner * 7919 + random.integers(0, 200, len(owner))) % size.products
    begins = np.repeat(random.integers(0, 300, users), counts) * DAY
    steps = random.integers(1, DAY, len(owner))
    passed = np.cumsum(steps)
    before = np.repeat(passed[np.cumsum(counts) - counts] - steps[np.cumsum(counts) - counts], counts)
    kinds = pl.Enum(list(EVENT_CODES))
    return pl.DataFrame(
        {
            "user_id": pl.Series(owner, dtype=pl.Int64).cast(pl.String).str.zfill(9),
            "position": np.where(random.random(len(owner)) < 0.5, popular, near),
            "timestamp": pl.Series(begins + passed - before).cast(pl.Datetime("us", "UTC")),
            "event_type": pl.Series(["purchase"], dtype=kinds).new_from_index(0, len(owner)),
            "weight": np.ones(len(owner), dtype=np.float32),
        }
    )


def beside(size: Size, *, folder: Path, work: Path) -> Measured:
    """The paces of ours and the peer's, in turns on the same events."""
    sequences, products = read_folder(size, folder=folder, work=work), Products(size.products)
    write_events(sequences, file=work / "events.npz")
    config = settings_of(size)
    batches = training_batches(sequences, products=products, config=config)
    return in_turns(batches, products=products, config=config, peer=PEER, events=work / "events.npz")


def read_folder(size: Size, *, folder: Path, work: Path) -> Sequences:
    """The events of a folder, streamed into mapped files in another."""
    frames = pl.scan_parquet(folder / "*.parquet").collect_batches(chunk_size=ROWS, maintain_order=True)
    return read_sequences(frames, rows=np.arange(size.products) + FIRST, folder=work)


def settings_of(size: Size) -> TwoTowerSettings:
    """Ids alone, one epoch."""
    return TwoTowerSettings(
        text=False, width=size.width, hashed=size.hashed, sparse=size.sparse, epochs=1, checkpoint_steps=0
    )


def run(size: Size, *, events: Path, work: Path) -> Measured:
    """Read, plan and learn; seconds of each, events per second and the largest memory."""
    begun = perf_counter()
    sequences = read_folder(size, folder=events, work=work)
    read = perf_counter()
    config = settings_of(size)
    products = Products(size.products)
    if size.hashed:
        ids = (f"{number:09d}" for number in range(size.products))
        products = Products(size.products, buckets=id_buckets(ids, buckets=size.hashed, hashes=config.hashes))
    batches = training_batches(sequences, products=products, config=config)
    batches.collate(batches.plan(0)[0])
    planned, before = perf_counter(), largest()
    pace = measure_pace(
        batches, products=products, config=config, steps=size.steps, warm=FIRST_STEPS, work=work / "learn"
    )
    whole = int((batches.windows[:, 1] - batches.windows[:, 0]).sum())
    return Measured(
        metrics={
            "events a second": pace.events / pace.seconds,
            "seconds to read": read - begun,
            "seconds to plan": planned - read,
            "hours of an epoch": whole / pace.events * pace.seconds / 3600,
            "largest before learning, GiB": before,
            "largest process, GiB": largest(),
        },
        counts={
            "events": len(sequences.rows),
            "users": len(sequences),
            "parameters": pace.parameters,
            "steps counted": pace.steps,
        },
        config=config.model_dump(mode="json"),
    )


def largest() -> float:
    """The most memory that this process held so far, GiB, pages of mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_OF_A_GIB


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each size."""
    rows = []
    for name in SIZES:
        for one in (result for result in results if result["variant"] == name):
            counts, metrics, config = one["counts"], one["metrics"], one["config"]
            sizes = (f"{counts['users']:,}", f"{config['products']:,}", f"{counts['events']:,}")
            paces = (f"{metrics['events a second']:,.0f}", f"{metrics['hours of an epoch']:.2f}")
            waits = (f"{metrics['seconds to read']:.0f}", f"{metrics['seconds to plan']:.0f}")
            held = (f"{metrics[f'largest {what}, GiB']:.1f}" for what in ("before learning", "process"))
            rows.append((name, *sizes, str(counts["steps counted"]), *paces, *waits, *held))
    columns = (
        *("size", "users", "products", "events", "steps", "events/s", "h an epoch", "s to read", "s to plan"),
        *("GiB, read and planned", "GiB in all"),
    )
    note = (
        "Two blocks, 64 wide, 50 events to a history, 1,024 negatives, without text. Events that the counted steps "
        "read by processor seconds of one thread; an epoch's hours are projected from them. GiB is the most that the "
        "process held, pages of mapped files included, which the system may take back."
    )
    turns = [turns_table(one, title="1 % of it, beside RecTools' SASRec", peer=NAME) for one in of(results, BESIDE)]
    return [Table("The two-tower on a made-up shop", columns, rows, note), *turns]


def main(variant: str, events: str, work: str) -> None:
    """The child: one JSON on the last line."""
    found = run(SIZES[variant], events=Path(events), work=Path(work))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
