"""How fast the two-tower learns, alone and in turns with RecTools' SASRec: processor seconds of one thread each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.job import Measured, Result, Table
from benchmarks.peers.environment import answer
from recsys.models.two_tower_config import FIRST, PADDING
from training.batches import Loader, Rows
from training.fit import fit, seed_all
from training.two_tower.config import TwoTowerSettings
from training.two_tower.data import Batch, TrainingBatches
from training.two_tower.learn import new_network
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences

TURNS, WARM, OUR_STEPS, THEIR_STEPS = 3, 3, 30, 13


@dataclass(frozen=True, slots=True)
class Pace:
    """What some steps came to.

    Attributes:
        targets: events that were learned to be brought in the timed steps.
        events: that the timed steps read.
        seconds: processor seconds of the timed steps, batches made and weights moved.
        steps: timed.
        parameters: of the network.
    """

    targets: int
    events: int
    seconds: float
    steps: int
    parameters: int


def measure_pace(
    batches: TrainingBatches,
    *,
    products: Products,
    config: TwoTowerSettings,
    steps: int,
    warm: int,
    work: Path,
) -> Pace:
    """Learn for some steps of the first epoch.

    Args:
        batches: of the events.
        products: the vocabulary.
        config: settings.
        steps: of the optimiser, at least two more than `warm`.
        warm: first steps, which are not timed: memory is found in them.
        work: folder of the run.
    """
    torch.set_num_threads(1)
    stamps: list[float] = []
    targets: list[int] = []
    events: list[int] = []

    def collate(rows: Rows) -> Batch:
        stamps.append(process_time())
        batch = batches.collate(rows)
        targets.append(len(batch.targets))
        events.append(int((batch.history != PADDING).sum()))
        return batch

    seed_all(config.seed)
    network = new_network(products, config=config)
    module = TwoTowerModule(network, config=config, steps=steps, tables=products.tables())
    plan = batches.plan(0)[:steps]
    fit(module, train=Loader(lambda _: plan, collate), config=config, folder=work)
    return Pace(
        targets=sum(targets[warm:-1]),
        events=sum(events[warm:-1]),
        seconds=stamps[-1] - stamps[warm],
        steps=len(stamps) - 1 - warm,
        parameters=sum(weights.numel() for weights in network.parameters()),
    )


def write_events(sequences: Sequences, *, file: Path) -> None:
    """The events as the peer's script reads them: users and products by number, and each user's order."""
    order = np.arange(len(sequences.rows)) - np.repeat(sequences.offsets[:-1], np.diff(sequences.offsets))
    np.savez(file, users=sequences.users(), products=sequences.rows.astype(np.int64) - FIRST, moments=order)


def in_turns(
    batches: TrainingBatches, *, products: Products, config: TwoTowerSettings, peer: Mapping[str, Any], events: Path
) -> Measured:
    """Targets that each learns in a second, in turns.

    Args:
        batches: ours.
        products: the vocabulary.
        config: ours.
        peer: arguments of the peer's model.
        events: the file of `write_events`.
    """
    settings = {"events": str(events), "model": dict(peer), "seed": config.seed, "steps": THEIR_STEPS, "warm": WARM}
    turns = []
    for _ in range(TURNS):
        theirs = answer("sasrec", settings)
        with TemporaryDirectory() as work:
            ours = measure_pace(batches, products=products, config=config, steps=OUR_STEPS, warm=WARM, work=Path(work))
        turns.append((ours.targets / ours.seconds, theirs["targets"] / theirs["seconds"]))
    ratios = [own / other for own, other in turns]
    return Measured(
        metrics={
            "ours": median(own for own, _ in turns),
            "peer": median(other for _, other in turns),
            "lowest ratio": min(ratios),
            "highest ratio": max(ratios),
        },
        counts={"turns": TURNS, "our steps": OUR_STEPS - WARM, "peer's steps": THEIR_STEPS - WARM},
        config={"ours": config.model_dump(mode="json"), "peer": dict(peer)},
    )


def turns_table(result: Result, *, title: str, peer: str) -> Table:
    """The paces of both and their ratio, of a result of `in_turns`."""
    metrics = result["metrics"]
    low, high = (f"{metrics[f'{kind} ratio']:.1f}" for kind in ("lowest", "highest"))
    ratio = f"{metrics['ours'] / metrics['peer']:.1f} [{low}, {high}]"
    rows = [("two-tower, ids alone", f"{metrics['ours']:,.0f}", ratio), (peer, f"{metrics['peer']:,.0f}", "")]
    note = (
        f"Events learned in a processor second of one thread, the median of {TURNS} turns in one run; in brackets the "
        "lowest and the highest ratio of a turn."
    )
    return Table(title, ("model", "events/s", "ratio"), rows, note)
