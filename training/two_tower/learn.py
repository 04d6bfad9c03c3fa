"""One run of the two-tower network; torch, lightning and numpy only, so that it also runs on a bare GPU host."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recsys.errors import NothingToLearnError, UsageError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST
from training.batches import Loader, scoring_batches
from training.fit import FitResult, fit, schedule_steps, seed_all
from training.metric_log import MetricLog
from training.two_tower.config import TwoTowerSettings
from training.two_tower.data import TrainingBatches
from training.two_tower.module import TwoTowerModule
from training.two_tower.negatives import NegativeSampler
from training.two_tower.products import Products
from training.two_tower.sequences import BLOCK, Recency, Sequences, target_weights
from training.two_tower.trials import Trials
from training.two_tower.update import Update, update_weights

MONITOR = "validation/ndcg@10"
VALIDATION_BATCH, CELLS = 512, 2**27
"""Users whose products are ranked at once, and their scores of all products at most."""


def learn(
    sequences: Sequences,
    trials: Trials | None,
    *,
    products: Products,
    config: TwoTowerSettings,
    work: Path,
    run: MetricLog | None = None,
    stop_after: int = 0,
    attributes: tuple[int, ...] = (),
    update: Update | None = None,
) -> tuple[TwoTower, FitResult]:
    """Train from random weights, or go on from a model's.

    Args:
        sequences: the events to learn from.
        trials: the users whose NDCG@10 chooses the epoch; None, or none of them, keeps the last one.
        products: the vocabulary, and what is known of its products.
        config: settings.
        work: folder of this run's checkpoints.
        run: receives the metrics of each epoch.
        stop_after: end after so many epochs of the schedule of `config.epochs`; 0 runs all.
        attributes: for each attribute of a user the number of its codes, 0 for unknown included; none reads none.
        update: the network to go on from, and since when; None begins with random weights.

    Returns:
        The network with the best epoch's weights, and how the run went.

    Raises:
        NothingToLearnError: no user came back with something to predict, or nothing of it is new.
        UsageError: sparse gradients with a setting that needs dense ones.
    """
    check_sparse(config)
    seed_all(config.seed)
    network = new_network(products, config=config, attributes=attributes) if update is None else update.network
    batches = training_batches(
        sequences, products=products, config=config, since=None if update is None else update.since
    )
    if len(batches.windows) < config.devices:
        raise NothingToLearnError(
            f"{len(batches.windows)} histories to learn from",
            expected=f"at least {config.devices} of users who came back with something to predict",
            action="wait for more events, or leave two-tower out",
        )
    train = Loader(batches.plan, batches.collate)
    validation = None
    if trials is not None and len(trials.sequences):
        lengths = np.minimum(np.diff(trials.sequences.offsets), trials.length)
        users = max(1, min(VALIDATION_BATCH, CELLS // products.count)) * config.devices
        plan = scoring_batches(lengths, batch_size=users, processes=config.devices)
        validation = Loader(lambda _: plan, trials.collate)
    module = TwoTowerModule(network, config=config, steps=schedule_steps(train, config), tables=products.tables())
    result = fit(
        module,
        train=train,
        validation=validation,
        config=config,
        folder=work,
        log=run,
        monitor="" if validation is None else MONITOR,
        stop_after=stop_after,
    )
    return network.eval(), result


def check_sparse(config: TwoTowerSettings) -> None:
    """Refuse what would touch every row of the id table, or can't share sparse gradients.

    Raises:
        UsageError: naming the setting.
    """
    if config.sparse and config.ema:
        raise UsageError(
            f"ema = {config.ema} with sparse = true",
            expected="no moving average: it would touch every row in every step",
            action="--set ema=0, or --set sparse=false",
        )
    on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    if config.sparse and config.devices > 1 and on_gpu:
        raise UsageError(
            f"sparse = true on {config.devices} GPUs",
            expected="one GPU, or processes on the CPU: NCCL doesn't sum sparse gradients",
            action="--set devices=1, --set accelerator=cpu, or --set sparse=false",
        )


def new_network(products: Products, *, config: TwoTowerSettings, attributes: tuple[int, ...] = ()) -> TwoTower:
    """A network of random weights, whose texts are told from their mean."""
    network = TwoTower(config.network(products, attributes=attributes))
    if products.text is not None:
        network.products.set_centre(torch.from_numpy(products.text))
    if products.buckets is not None:
        network.products.set_shared(torch.from_numpy(products.buckets))
    return network


def training_batches(
    sequences: Sequences, *, products: Products, config: TwoTowerSettings, since: int | None = None
) -> TrainingBatches:
    """The batches that the settings ask for; of an update's, `since` is the last event learned before, microseconds."""
    weights = target_weights(sequences, repeats=config.repeats, strongest=config.strongest)
    if since is not None:
        weights = update_weights(weights, sequences, since=since, replay=config.replay, seed=config.seed)
    counts: NDArray[np.float64] = np.zeros(products.count)
    for begin in range(0, len(weights), BLOCK):
        block = slice(begin, begin + BLOCK)
        np.add.at(counts, sequences.rows[block] - FIRST, weights[block])
    return TrainingBatches(
        sequences,
        target_weights=weights,
        sampler=NegativeSampler(counts, uniform=config.uniform, power=config.popularity_power),
        length=config.length,
        batch_size=config.batch_size,
        negatives=min(config.negatives, products.count),
        in_batch=config.in_batch,
        horizon=config.horizon,
        states=config.states,
        basket_power=config.basket_power,
        recency=Recency(config.half_life_days, config.last_half_life_days or config.half_life_days, config.epochs),
        calendar=products.calendar,
        seed=config.seed,
    )
