"""The callbacks of a run: history, best weights, early stopping, resume checkpoints, a progress bar."""

import math
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recsys.errors import UsageError
from training.batches import Loader
from training.clip import clip_gradients
from training.metric_log import MetricLog

SEED_LIMIT = 2**63 - 1


class Journal(Callback):
    """Keeps what a run needs to be resumed exactly, stopped early and reported.

    Where the weights are averaged, `averaging` is the callback that does it; the average is what is kept. The state
    travels in the resume checkpoint. Files are written by the first process, each under a second name and
    then renamed, so that a kill leaves the previous one whole.
    """

    def __init__(
        self,
        folder: Path,
        *,
        loader: Loader,
        sink: MetricLog,
        seed: int,
        steps: int,
        accumulate: int,
        clip: float,
        monitor: str,
        mode: str,
        patience: int,
    ) -> None:
        self.folder = folder
        self.loader = loader
        self.sink = sink
        self.seed = seed
        self.steps = steps
        self.accumulate = accumulate
        self.clip = clip
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.patience = patience
        self.averaging: Callback | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.pending: list[Tensor] = []
        self.best_epoch = 0
        self.best_score = math.nan

    def state_dict(self) -> dict[str, Any]:
        """The journal so far, as plain numbers; losses not yet averaged over the processes stay this process's."""
        return {
            "loader": self.loader.state_dict(),
            "history": self.history,
            "losses": self.losses,
            "pending": [float(loss) for loss in self.pending],
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the journal of the checkpoint, and the place among the batches.

        Lightning restores a loader only from checkpoints inside an epoch, not from those at its end.
        """
        self.loader.load_state_dict(state_dict["loader"])
        self.history = list(state_dict["history"])
        self.losses = list(state_dict["losses"])
        self.pending = [torch.tensor(loss) for loss in state_dict["pending"]]
        self.best_epoch = int(state_dict["best_epoch"])
        self.best_score = float(state_dict["best_score"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the resumed run had already stopped early."""
        trainer.should_stop = self.exhausted()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed dropout by the place in the run alone, so that a resumed run draws the same masks."""
        place = ((self.seed * 1009 + trainer.current_epoch) * 1_000_003 + batch_idx) * 1009 + trainer.global_rank
        torch.manual_seed(place % SEED_LIMIT)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Clip the gradients' common norm; Lightning's own clipping refuses the fused optimiser."""
        if self.clip:
            clip_gradients(pl_module.parameters(), largest=self.clip)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; save a checkpoint every so many batches, never between accumulated ones."""
        self.pending.append(outputs["loss"].detach().float().cpu())
        done = batch_idx + 1
        inside = done < trainer.num_training_batches and done % self.accumulate == 0
        if self.steps and inside and done // self.steps > (done - self.accumulate) // self.steps:
            refuse_divergence(pl_module, epoch=trainer.current_epoch + 1)
            self.average(trainer)
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure no weights that diverged."""
        refuse_divergence(pl_module, epoch=trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch: metrics, best weights, early stopping, checkpoint."""
        refuse_divergence(pl_module, epoch=trainer.current_epoch + 1)
        self.average(trainer)
        epoch = trainer.current_epoch + 1
        closing = self.losses[-int(trainer.num_training_batches) :]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"loss": sum(closing) / len(closing), **metrics})
        self.sink.metrics(self.history[-1], step=epoch)
        self.judge(trainer, pl_module, epoch)
        trainer.should_stop = trainer.should_stop or self.exhausted()
        self.save(trainer)

    def average(self, trainer: Trainer) -> None:
        """Move the pending losses to `losses`, averaged over the processes."""
        if self.pending:
            mean = trainer.strategy.reduce(torch.stack(self.pending).to(trainer.strategy.root_device), reduce_op="mean")
            self.losses += mean.tolist()
            self.pending = []

    def judge(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        """Keep this epoch's weights if it is the best so far."""
        if not self.monitor:
            self.best_epoch = epoch
            return
        score = self.history[-1][self.monitor]
        if math.isnan(self.best_score) or self.sign * score > self.sign * self.best_score:
            self.best_epoch, self.best_score = epoch, score
            if trainer.is_global_zero:
                save_file(self.validated(trainer, pl_module), self.folder / "best.new")
                os.replace(self.folder / "best.new", self.folder / "best.safetensors")

    def validated(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """A copy of the weights that the metric belongs to: the averaged ones where there are such."""
        if self.averaging is not None:
            self.averaging.on_validation_epoch_start(trainer, pl_module)
        weights = {name: value.detach().cpu().clone() for name, value in pl_module.state_dict().items()}
        if self.averaging is not None:
            self.averaging.on_validation_epoch_end(trainer, pl_module)
        return weights

    def exhausted(self) -> bool:
        """True where the monitored metric has not improved for `patience` epochs."""
        return bool(self.monitor and self.patience) and len(self.history) - self.best_epoch >= self.patience

    def save(self, trainer: Trainer) -> None:
        """Write the resume checkpoint."""
        trainer.save_checkpoint(self.folder / "resume.new", weights_only=False)
        if trainer.is_global_zero:
            os.replace(self.folder / "resume.new", self.folder / "resume.ckpt")
        trainer.strategy.barrier("journal")

    def restore_best(self, module: LightningModule) -> None:
        """Put the best epoch's weights into the module; nothing to do where nothing is monitored."""
        if self.monitor and self.best_epoch:
            module.load_state_dict(load_file(self.folder / "best.safetensors"))


def refuse_divergence(network: nn.Module, *, epoch: int) -> None:
    """Refuse weights that are no finite numbers: nothing more can be learned from there, and nothing be scored.

    Raises:
        UsageError: there are such; all processes of a run have the same weights, so all of them end.
    """
    if not all(bool(value.isfinite().all()) for value in network.parameters()):
        raise UsageError(
            f"the training diverged: weights that are no finite numbers in epoch {epoch}",
            expected="settings with which it settles",
            action="lower --set learning_rate, or clip the gradients with --set clip=1",
        )


class Progress(Callback):
    """A progress bar on standard error, one line for each epoch, with the running loss."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self.bar = Bar(console=Console(stderr=True), transient=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar in the first process."""
        if trainer.is_global_zero:
            self.bar.start()
            self.task = self.bar.add_task("training", total=None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if trainer.is_global_zero:
            text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} loss {float(outputs['loss']):.4f}"
            self.bar.update(
                self.task, description=text, completed=batch_idx + 1, total=int(trainer.num_training_batches)
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar away, also after an error."""
        self.bar.stop()
