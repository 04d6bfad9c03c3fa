"""How the text encoder learns: a weighted sum of losses at one or several widths, by-query NDCG in validation."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from recsys.models.text_encoder import TextEncoder
from recsys.models.truncation import prefix
from training.batches import place
from training.fit import adamw
from training.losses import in_batch_softmax
from training.relevance.module import mean_ndcg
from training.retriever.config import RetrieverConfig
from training.retriever.examples import Batch, Examples, Judged
from training.retriever.loss import listwise_kl, margin_mse
from training.scored import Scored

HIGHEST = math.log(100.0)  # Radford et al. 2021 (arXiv 2103.00020), section 2.5: a scale beyond makes learning unstable


class RetrieverModule(LightningModule):
    """A text encoder in training, at its whole width.

    Args:
        network: what is trained.
        config: of the run.
        steps: optimiser steps of the whole schedule.
        examples: the training pairs; what is known to be right among them is read.
        judged: the validation pairs, None where there are none.
    """

    def __init__(
        self, network: TextEncoder, *, config: RetrieverConfig, steps: int, examples: Examples, judged: Judged | None
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.config = config
        self.steps = steps
        self.known = examples.known
        self.judged = judged
        self.widths = config.widths(network.width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)), requires_grad=config.learn_scale)
        if config.freeze_embeddings:
            network.backbone.network.embeddings.word_embeddings.weight.requires_grad = False

    def forward(self, queries: dict[str, Tensor], products: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Unit vectors of queries and products, float32 [batch, width] each."""
        return self.network(**queries), self.network(**products)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's queries, with the products of all processes as each other's negatives."""
        queries, products = self(batch["queries"], batch["products"])
        everyone, twins = self.gather(products), self.gather(batch["twin"])
        masked = torch.from_numpy(self.known.holds(batch["query"].cpu().numpy()[:, None], twins.cpu().numpy()))
        masked = masked.to(queries.device) | (twins < 0)
        losses = [
            self.loss(prefix(queries, width), prefix(products, width), prefix(everyone, width), masked, batch)
            for width in self.widths
        ]
        return torch.stack(losses).sum()

    def loss(self, queries: Tensor, products: Tensor, everyone: Tensor, masked: Tensor, batch: Batch) -> Tensor:
        """The weighted sum of the losses at one width.

        Args:
            queries: float [batch, width] of this process.
            products: float [batch x (1 + n), width] of this process, in the order of `collate`.
            everyone: the products of all processes.
            masked: bool [batch, everyone], products that are no negatives of a query.
            batch: what `collate` gives.
        """
        scale = self.log_scale.clamp(max=HIGHEST).exp()
        weights, count, total = batch["weights"], len(queries), queries.new_zeros(())
        if self.config.in_batch:
            own = torch.arange(count, device=queries.device) + place()[0] * len(products)
            softmax = in_batch_softmax(queries * scale, everyone, own, masked, weights=weights, scale=1.0)
            total = total + self.config.in_batch * softmax
        if self.config.distils:
            lists = scale * (queries * products.view(-1, count, products.shape[1])).sum(dim=2).T.float()
            for share, distance in ((self.config.margin_mse, margin_mse), (self.config.kl, listwise_kl)):
                if share:
                    total = total + share * distance(lists, teacher=batch["teacher"], weights=weights)
        return total

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of the processes, with gradients; the same rows with one process."""
        if place()[1] == 1:
            return rows
        gathered: Tensor = self.all_gather(rows, sync_grads=rows.is_floating_point())
        return gathered.flatten(0, 1)

    def on_validation_epoch_start(self) -> None:
        """Empty the scores."""
        self.scored = Scored(len(self.judged or ()), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's cosines, at the width that the encoder will have."""
        whole = self.config.dimensions is None or self.config.truncation != "prefix"
        width = self.network.width if whole else int(self.config.dimensions or 0)
        queries, products = (prefix(vectors, width) for vectors in self(batch["queries"], batch["products"]))
        self.scored.add(batch["rows"], (queries * products).sum(dim=1))

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10 of the judged products, the mean over the validation queries."""
        scores = self.scored.means(self.trainer.strategy)
        if self.judged is not None:
            self.log("validation/ndcg@10", mean_ndcg(self.judged.query, self.judged.grades, scores))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and linear decay."""
        return adamw(self, config=self.config, steps=self.steps)
