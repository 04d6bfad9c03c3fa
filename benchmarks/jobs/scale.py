"""How large a shop the two-tower trains on: a made-up one of a million users, a million products and 50 million events.

The events are written by formula as Parquet, in chunks, and read as a snapshot's are. Then the network learns for some
steps, whose pace says how long an epoch takes. Every unit runs in a process of its own, whose largest memory is told.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit
from recsys.models.two_tower_config import FIRST
from recsys.retrieval.vocabulary import id_buckets
from recsys.types import EVENT_CODES
from training.batches import Loader
from training.fit import fit, seed_all
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import new_network, training_batches
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.read import read_sequences

PROTOCOL = "made-up events, ids alone, steps of 256 histories; dense AdamW"
SHOPS: tuple[str, ...] = ()
KIB_OF_A_GIB = 2**20
CHUNK = 100_000
"""Users written at once."""
FIRST_STEPS = 5
"""Steps that are not counted: memory is found in them."""
DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """One unit's shop and network.

    Attributes:
        users: how many.
        products: how many.
        events: about how many in all, at least two to a user.
        hashed: rows of the id table that the products share; 0 gives each its own.
        steps: of the optimiser, FIRST_STEPS and more.
        width: of the vectors.
    """

    users: int = 1_000_000
    products: int = 1_000_000
    events: int = 50_000_000
    hashed: int = 0
    steps: int = 100
    width: int = 64


SIZES = {
    "1 %, own rows": Size(10_000, 10_000, 500_000, steps=20),
    "1 %, shared rows": Size(10_000, 10_000, 500_000, hashed=2_000, steps=20),
    "whole, own rows": Size(),
    "whole, shared rows": Size(hashed=200_000),
}
UNITS = tuple(Unit(name) for name in SIZES)


def measure(unit: Unit, place: Place) -> Measured:
    """One unit in a process of its own."""
    size = SIZES[unit.variant]
    folder = place.work / f"{size.users}-{size.products}-{size.events}"
    write_events(size, folder=folder)
    command = [sys.executable, "-m", "benchmarks.jobs.scale", unit.variant, str(folder), str(place.work / unit.stem)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Measured(metrics=found["metrics"], counts=found["counts"], config=asdict(size) | found["config"])


def write_events(size: Size, *, folder: Path) -> None:
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


def run(size: Size, *, events: Path, work: Path) -> Measured:
    """Read, plan and learn; seconds of each, events per second and the largest memory."""
    begun = perf_counter()
    rows = np.arange(size.products) + FIRST
    sequences = read_sequences(pl.read_parquet(events / "*.parquet"), rows=rows)
    read = perf_counter()
    config = TwoTowerSettings(text=False, width=size.width, hashed=size.hashed, epochs=1, checkpoint_steps=0)
    products = Products(size.products)
    if size.hashed:
        ids = (f"{number:09d}" for number in range(size.products))
        products = Products(size.products, buckets=id_buckets(ids, buckets=size.hashed, hashes=config.hashes))
    batches = training_batches(sequences, products=products, config=config)
    plan = batches.plan(0)
    batches.collate(plan[0])
    planned = perf_counter()
    stamps: list[float] = []

    def collate(chosen: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> object:
        stamps.append(perf_counter())
        return batches.collate(chosen)

    seed_all(0)
    network = new_network(products, config=config, segments=0)
    module = TwoTowerModule(network, config=config, steps=size.steps)
    chosen = plan[: size.steps]
    fit(module, train=Loader(lambda _: chosen, collate), config=config, folder=work)
    counted = np.concatenate(chosen[FIRST_STEPS:-1])[:, 0]
    spans = batches.windows[counted]
    seconds = stamps[-1] - stamps[FIRST_STEPS]
    pace = int((spans[:, 1] - spans[:, 0]).sum()) / seconds
    whole = int((batches.windows[:, 1] - batches.windows[:, 0]).sum())
    return Measured(
        metrics={
            "events a second": pace,
            "seconds to read": read - begun,
            "seconds to plan": planned - read,
            "hours of an epoch": whole / pace / 3600,
            "largest process, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_OF_A_GIB,
        },
        counts={
            "events": len(sequences.rows),
            "users": len(sequences),
            "parameters": sum(weights.numel() for weights in network.parameters()),
            "steps counted": len(stamps) - 1 - FIRST_STEPS,
        },
        config=config.model_dump(mode="json"),
    )


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each size."""
    rows = []
    for name in SIZES:
        for one in (result for result in results if result["variant"] == name):
            counts, metrics, config = one["counts"], one["metrics"], one["config"]
            sizes = (f"{counts['users']:,}", f"{config['products']:,}", f"{counts['events']:,}")
            paces = (f"{metrics['events a second']:,.0f}", f"{metrics['hours of an epoch']:.2f}")
            waits = (f"{metrics['seconds to read']:.0f}", f"{metrics['seconds to plan']:.0f}")
            rows.append((name, *sizes, *paces, *waits, f"{metrics['largest process, GiB']:.1f}"))
    columns = ("size", "users", "products", "events", "events/s", "h an epoch", "s to read", "s to plan", "GiB")
    note = (
        "Two blocks, 64 wide, 50 events to a history, 1,024 negatives, without text. An epoch's hours are projected "
        "from the counted steps; GiB is the largest that the training process held."
    )
    return [Table("The two-tower on a made-up shop", columns, rows, note)]


def main(variant: str, events: str, work: str) -> None:
    """The child: one JSON on the last line."""
    found = run(SIZES[variant], events=Path(events), work=Path(work))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
