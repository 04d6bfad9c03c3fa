"""A toy run with dropout, for tests that kill it: `python -m tests.training.toy FOLDER KILL_AT_STEP EMA`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from training.batches import Loader, scoring_batches, shuffled_batches
from training.config import FitConfig
from training.fit import FitResult, adamw, fit, schedule_steps, seed_all

ROWS = 60
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(ROWS, 4, generator=GENERATOR)
TARGETS = INPUTS.sum(dim=1)
CONFIG = FitConfig(
    epochs=3, batch_size=8, accumulate=2, seed=3, checkpoint_steps=2, precision="fp32", learning_rate=0.05
)


class Toy(LightningModule):
    """Least squares with dropout; dies at a step if asked to."""

    def __init__(self, config: FitConfig, *, steps: int, kill_at: int = 0, dropout: float = 0.5) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 1))
        self.config, self.steps, self.kill_at, self.seen = config, steps, kill_at, 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen += 1
        if self.seen == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ((self.network(batch[0])[:, 0] - batch[1]) ** 2).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        error = ((self.network(batch[0])[:, 0] - batch[1]) ** 2).mean()
        self.log("error", error, on_epoch=True, batch_size=len(batch[1]))

    def configure_optimizers(self) -> dict[str, Any]:
        return adamw(self.network, config=self.config, steps=self.steps)


def rows_of(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    return INPUTS[rows], TARGETS[rows]


def run_toy(
    folder: Path, *, config: FitConfig = CONFIG, kill_at: int = 0, dropout: float = 0.5, **options: Any
) -> tuple[Toy, FitResult]:
    """Train the toy; options go to `fit`."""
    torch.set_num_threads(1)
    seed_all(1)

    def batches(epoch: int) -> list[np.ndarray]:
        return shuffled_batches(ROWS, batch_size=config.batch_size, seed=config.seed, epoch=epoch)

    train = Loader(batches, rows_of)
    fixed = scoring_batches(np.ones(ROWS, dtype=np.int64), batch_size=16)
    module = Toy(config, steps=schedule_steps(train, config), kill_at=kill_at, dropout=dropout)
    given = {"validation": Loader(lambda epoch: fixed, rows_of), "monitor": "error", "mode": "min"} | options
    result = fit(module, train=train, config=config, folder=folder, **given)
    return module, result


def weights_of(module: nn.Module) -> list[float]:
    """All weights, in one list."""
    return [float(value) for weight in module.state_dict().values() for value in weight.flatten()]


if __name__ == "__main__":
    averaged = CONFIG.model_copy(update={"ema": float(sys.argv[3])})
    toy, found = run_toy(Path(sys.argv[1]), config=averaged, kill_at=int(sys.argv[2]))
    sys.stdout.write(json.dumps([found.best_epoch, found.history, found.losses, weights_of(toy)]))
