"""How fast the two-tower learns: some steps, timed by the processor seconds of this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from training.batches import Loader, Rows
from training.fit import fit, seed_all
from training.two_tower.config import TwoTowerSettings
from training.two_tower.data import Batch, TrainingBatches
from training.two_tower.learn import new_network
from training.two_tower.module import TwoTowerModule
from training.two_tower.products import Products


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
    clock: Callable[[], float] = process_time,
) -> Pace:
    """Learn for some steps of the first epoch.

    Args:
        batches: of the events.
        products: the vocabulary.
        config: settings.
        steps: of the optimiser, at least two more than `warm`.
        warm: first steps, which are not timed: memory is found in them.
        work: folder of the run.
        clock: seconds, from any moment.
    """
    stamps: list[float] = []
    targets: list[int] = []
    events: list[int] = []

    def collate(rows: Rows) -> Batch:
        stamps.append(clock())
        batch = batches.collate(rows)
        targets.append(len(batch.targets))
        events.append(int((batch.history != 0).sum()))
        return batch

    seed_all(config.seed)
    network = new_network(products, config=config, segments=0)
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
