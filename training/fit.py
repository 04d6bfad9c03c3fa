"""One gradient-trained run with Lightning: any network, exact resume, early stopping, one or several processes.

Nothing here reads a snapshot or talks to a server, so it also runs on a bare GPU host.
"""

import logging
import random
import re
import sys
import warnings
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from recsys.errors import StorageError, UsageError
from recsys.models.encode import has_bf16
from training.average import moving_average
from training.batches import Loader
from training.config import FitConfig
from training.journal import Journal, Progress
from training.metric_log import MetricLog, Silent

Mode = Literal["max", "min"]
LAYER = re.compile(r"\blayers?\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run came to.

    Attributes:
        best_epoch: 1-based, the epoch with the best monitored metric (the last one where nothing is monitored).
        best_score: that metric; NaN where nothing is monitored.
        history: the metrics of each epoch, oldest first.
        losses: the training loss of every batch, averaged over the processes.
    """

    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    losses: tuple[float, ...]


def fit(
    module: LightningModule,
    *,
    train: Loader,
    validation: Loader | None = None,
    config: FitConfig,
    folder: Path,
    log: MetricLog | None = None,
    monitor: str = "",
    mode: Mode = "max",
    stop_after: int = 0,
) -> FitResult:
    """Train the module; it holds the best epoch's weights afterwards (the last epoch's where nothing is monitored).

    A run that was killed goes on from the newest checkpoint in `folder` and ends with the same weights and losses,
    bit for bit on the same machine: dropout is seeded by (seed, epoch, batch, process) and the order of the rows by
    (seed, epoch), so that no state of a random generator has to be carried over.

    Args:
        module: `training_step` returns the loss; metrics of `validation_step` are logged under their names.
        train: batches of the training rows.
        validation: batches of the validation rows, None for no validation.
        config: epochs, precision, devices, seed and so on.
        folder: of this run alone; holds `resume.ckpt` and `best.safetensors`.
        log: receives the metrics of each epoch.
        monitor: the metric that chooses the best epoch; "" keeps the last.
        mode: whether more or less of it is better.
        stop_after: end after so many epochs of the schedule of `config.epochs`; 0 runs all.

    Raises:
        StorageError: the checkpoint in the folder is damaged.
        UsageError: the batch can't be shared equally among the devices, or the training diverged.
    """
    if config.batch_size % config.devices:
        raise UsageError(
            f"batch_size = {config.batch_size} for {config.devices} devices",
            expected="a multiple of the devices",
            action="change --set batch_size or --set devices",
        )
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(
        folder,
        loader=train,
        sink=log or Silent(),
        seed=config.seed,
        steps=config.checkpoint_steps,
        accumulate=config.accumulate,
        clip=config.clip,
        monitor=monitor,
        mode=mode,
        patience=config.patience,
    )
    trainer = build_trainer(
        config, journal=journal, validate=validation is not None, epochs=stop_after or config.epochs
    )
    if config.ema:
        journal.averaging = moving_average(config.ema, device=trainer.strategy.root_device)
        trainer.callbacks.insert(0, journal.averaging)  # so that a checkpoint has the average of its last step
    resume = readable(folder / "resume.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no")
        trainer.fit(module, train, validation, ckpt_path=resume, weights_only=True)
    if journal.averaging is not None:
        journal.averaging.on_train_end(trainer, module)  # Lightning leaves it out where a resumed run was complete
    journal.restore_best(module)
    return FitResult(journal.best_epoch, journal.best_score, tuple(journal.history), tuple(journal.losses))


def build_trainer(config: FitConfig, *, journal: Journal, validate: bool, epochs: int) -> Trainer:
    """The Lightning trainer of one run: no logger, no checkpoints and no printing but our own."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    callbacks: list[Callback] = [journal, *([Progress()] if sys.stderr.isatty() else [])]
    return Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        # buffers are constants here, such as the text vectors of all products: nothing to send round in every step
        strategy=DDPStrategy(broadcast_buffers=False) if config.strategy == "ddp" else config.strategy,
        precision="bf16-mixed" if wants_bf16(config) else "32-true",
        max_epochs=epochs,
        accumulate_grad_batches=config.accumulate,
        limit_val_batches=None if validate else 0,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def wants_bf16(config: FitConfig) -> bool:
    """True where the run multiplies in bfloat16: asked for, or "auto" on a machine with hardware for it."""
    if config.precision != "auto":
        return config.precision == "bf16"
    on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    return has_bf16(torch.device("cuda" if on_gpu else "cpu"))


def readable(path: Path) -> Path | None:
    """The checkpoint if there is one.

    Raises:
        StorageError: it is damaged.
    """
    if path.exists() and not zipfile.is_zipfile(path):
        raise StorageError(f"{path} is damaged", expected="a resume checkpoint", action="delete it to start anew")
    return path if path.exists() else None


def seed_all(seed: int) -> None:
    """Seed every random generator that weights and layers draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - some layers of third parties draw from the old generator
    torch.manual_seed(seed)


def adamw(
    network: nn.Module,
    *,
    config: FitConfig,
    steps: int,
    rates: Mapping[str, float] | None = None,
    apart: Collection[str] = (),
) -> dict[str, Any]:
    """AdamW with linear warm-up and linear decay to 0, as `configure_optimizers` returns it.

    Biases and norms (vectors) are not decayed; frozen parameters are left out.

    Args:
        network: whose parameters are trained.
        config: learning_rate, warmup, weight_decay.
        steps: optimiser steps of the whole schedule (see `schedule_steps`).
        rates: share of the learning rate by parameter name; those not named learn at the whole rate.
        apart: names of parameters that something else trains.

    Source: Loshchilov and Hutter 2019 (arXiv 1711.05101); Devlin et al. 2019 (arXiv 1810.04805), appendix A.2.
    """
    by_rate: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and name not in apart:
            rate = config.learning_rate * (rates or {}).get(name, 1.0)
            by_rate.setdefault(rate, []).append(parameter)
    groups = [
        {"params": [p for p in trained if (p.ndim > 1) is matrices], "weight_decay": decay, "lr": rate}
        for rate, trained in by_rate.items()
        for matrices, decay in ((True, config.weight_decay), (False, 0.0))
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    rise = max(1, round(steps * config.warmup))

    def share(step: int) -> float:
        return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def layer_rates(network: nn.Module, *, decay: float) -> dict[str, float]:
    """The share of the learning rate of each parameter by name, for `adamw`: lower layers change less.

    Layer n of N (from 0) gets decay ** (N - n), embeddings decay ** (N + 1), everything else, as the head, 1.

    Args:
        network: any whose layers are numbered in their names, as in `encoder.layer.3.output.dense.weight`.
        decay: above 0 to 1; 1 gives every parameter the whole rate.

    Source: Howard and Ruder 2018 (arXiv 1801.06146), section 3.2, for transformers as Clark et al. 2020 (2003.10555).
    """
    names = [name for name, _ in network.named_parameters()]
    found = {name: LAYER.search(name) for name in names}
    numbers = {name: int(match[1]) for name, match in found.items() if match}
    layers = max(numbers.values(), default=-1) + 1
    depths = {name: numbers.get(name, -1 if "embeddings" in name else layers) for name in names}
    return {name: decay ** (layers - depth) for name, depth in depths.items()}


def schedule_steps(loader: Loader, config: FitConfig) -> int:
    """Optimiser steps in `config.epochs` epochs of the loader."""
    return -(-len(loader) // config.accumulate) * config.epochs
