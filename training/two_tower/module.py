"""How the two-tower network learns: one Lightning module; torch, lightning and numpy only."""

from typing import Any

import torch
import torch.distributed
from lightning.pytorch import LightningModule
from torch import Tensor

from recsys.models.clock import NEVER
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, PADDING, UNKNOWN
from training.fit import adamw
from training.two_tower.config import TwoTowerSettings
from training.two_tower.data import Batch
from training.two_tower.loss import sampled_softmax
from training.two_tower.products import Tables
from training.two_tower.rows import RowAdam
from training.two_tower.trials import Trial
from training.two_tower.update import IDENTITY

CUTS = (10, 20)
CLOCKLESS = 0.2
"""Share of the moments that a step does not know."""


class TwoTowerModule(LightningModule):
    """Sampled softmax in training, full ranking in validation.

    Args:
        network: the towers.
        config: settings.
        steps: optimiser steps of the whole schedule.
        tables: what is known of the products.
    """

    def __init__(
        self, network: TwoTower, *, config: TwoTowerSettings, steps: int, tables: Tables | None = None
    ) -> None:
        super().__init__()
        self.network, self.config, self.steps = network, config, steps
        self.text: Tensor | None
        self.codes: Tensor | None
        self.calendar: Tensor | None
        for name, table in (tables or Tables())._asdict().items():
            self.register_buffer(name, table, persistent=False)
        self._vectors = torch.empty(0)
        self.rows: RowAdam | None = None
        if config.sparse:
            network.products.identity.sparse = True
            self.rows = RowAdam.new(len(network.products.identity.weight), weight_decay=config.weight_decay)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The weighted mean loss of the batch's targets."""
        products = self.encode(batch.rows, hide=self.config.id_dropout)
        vectors = products[batch.history]
        if self.config.event_dropout:
            read = torch.rand(batch.history.shape, device=vectors.device) >= self.config.event_dropout
            vectors = vectors * read[..., None]
        states = self.network.encode_states(
            vectors, batch.event_types, batch.times, self.told(batch.attributes), moments=self.asked(batch.moments)
        )
        states = states.flatten(0, 1)[batch.states]
        width = self.network.config.width
        losses = sampled_softmax(
            states=states[:, :width],
            products=products,
            target_states=batch.target_states,
            targets=batch.targets,
            negatives=batch.negatives,
            log_expected=batch.log_expected,
            owned=None if self.config.repeats else batch.history[batch.states // batch.history.shape[1]],
            **self.biases(states[:, width:], batch),
        )
        return (losses * batch.weights).sum() / mean_over_processes(batch.weights.sum())

    def told(self, attributes: Tensor) -> Tensor:
        """The users' codes, some of them not known in this step, so that the network also answers without."""
        if not self.network.config.attributes:
            return attributes
        hidden = torch.rand(attributes.shape, device=attributes.device) < self.config.attribute_dropout
        return attributes.masked_fill(hidden, 0)

    def asked(self, moments: Tensor) -> Tensor | None:
        """The moments, some of them not known in this step, so that the network also answers without; None unread."""
        if self.network.clock is None:
            return None
        hidden = torch.rand(moments.shape, device=moments.device) < CLOCKLESS
        return torch.where(hidden, NEVER, moments)

    def biases(self, heard: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What the calendar adds to the scores of negatives and targets, as it was when the state was.

        Args:
            heard: float [s, values], how much each state heeds each value.
            batch: of s states.
        """
        if self.calendar is None:
            return {}
        negatives = self.calendar[batch.periods[:, None], batch.rows[batch.negatives]]
        targets = self.calendar[batch.periods[batch.target_states], batch.rows[batch.targets]]
        heard = heard.float()
        return {
            "negative_bias": torch.einsum("sv,snv->sn", heard, negatives),
            "target_bias": (heard[batch.target_states] * targets).sum(dim=1),
        }

    def encode(self, rows: Tensor, *, hide: float = 0.0) -> Tensor:
        """float [n, width] vectors of int64 [n] embedding rows, zeros at padding.

        Args:
            rows: embedding rows.
            hide: share of them whose id is unknown in this call.
        """
        text, codes = (None if table is None else table[rows] for table in (self.text, self.codes))
        hidden = (torch.rand(len(rows), device=rows.device) < hide) & (rows != PADDING)
        vectors = self.network.encode_products(torch.where(hidden, UNKNOWN, rows), text, codes)
        return vectors * (rows != PADDING)[:, None]

    def on_validation_epoch_start(self) -> None:
        """Encode the catalogue once."""
        rows = torch.arange(self.network.config.rows, device=self.device)
        self._vectors = torch.cat([self.encode(part) for part in torch.split(rows, 65_536)]).float()
        if self.calendar is not None:
            self._vectors = torch.cat([self._vectors, self.calendar[-1]], dim=1)

    def validation_step(self, batch: Trial, batch_index: int) -> None:
        """Log recall and NDCG of the full ranking of all products that the user does not own."""
        read = self._vectors[batch.history]
        moments = None if self.network.clock is None else batch.moments
        users = self.network.encode_users(
            read, batch.event_types, batch.lengths, batch.times, batch.attributes, moments=moments
        )
        scores = users.float() @ self._vectors.T
        # The padding that fills the table up hides row 0, which is never recommended anyway.
        scores.scatter_(1, batch.owned, -torch.inf)
        scores[:, :FIRST] = -torch.inf
        best = scores.topk(min(max(CUTS), scores.shape[1]), dim=1).indices
        for name, values in ranking_metrics(best, batch.relevant).items():
            self.log(f"validation/{name}", values.mean(), on_epoch=True, batch_size=len(values), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and linear decay; the id table apart where its gradients are sparse."""
        apart = () if self.rows is None else (IDENTITY,)
        return adamw(self.network, config=self.config, steps=self.steps, apart=apart)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """One step of all that is dense, then of the id table's rows, at the same rate."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        table = self.network.products.identity.weight
        if self.rows is not None and table.grad is not None:
            self.rows.step(table, table.grad, rate=optimizer.param_groups[0]["lr"])
            table.grad = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the rows' steps go on from."""
        if self.rows is not None:
            checkpoint["rows"] = self.rows.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        if self.rows is not None:
            self.rows.restore(checkpoint["rows"])


def ranking_metrics(best: Tensor, relevant: Tensor) -> dict[str, Tensor]:
    """recall@k divided by the number of relevant products, and NDCG@k by that of min(k, relevant), for k in CUTS.

    Args:
        best: int64 [batch, at most 20], embedding rows, best first.
        relevant: int64 [batch, most], embedding rows filled up with PADDING, at least one in each line.

    Returns:
        By name float32 [batch].
    """
    hits = (best[:, :, None] == relevant[:, None, :]).any(dim=2).float()
    sizes = (relevant != PADDING).sum(dim=1)
    discounts = 1.0 / torch.log2(torch.arange(max(CUTS), device=best.device) + 2.0)
    found: dict[str, Tensor] = {}
    for cut in CUTS:
        gained = hits[:, :cut]
        ideal = discounts[:cut].cumsum(dim=0)[sizes.clamp(max=cut) - 1]
        found[f"recall@{cut}"] = gained.sum(dim=1) / sizes
        found[f"ndcg@{cut}"] = (gained * discounts[: gained.shape[1]]).sum(dim=1) / ideal
    return found


def mean_over_processes(value: Tensor) -> Tensor:
    """The value averaged over all processes, so that the mean of their losses is that of the global batch."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
