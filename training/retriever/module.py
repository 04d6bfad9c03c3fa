"""How the text encoder learns: in-batch softmax over the products of all processes, by-query NDCG in validation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer, Tokens
from training.batches import Loader, Rows, place, scoring_batches, shuffled_batches
from training.fit import adamw, schedule_steps
from training.losses import in_batch_softmax
from training.relevance.module import mean_ndcg
from training.retriever.config import RetrieverConfig

Batch = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged pairs as two towers read them.

    Attributes:
        queries: tokens of the query texts.
        products: tokens of the product texts.
        query: int64 [pairs], rows of `queries`.
        product: int64 [pairs], rows of `products`.
        grades: float32 [pairs], on the shop's scale.
        weights: float32 [pairs], mean 1 over the pairs that are trained on.
    """

    queries: Tokens
    products: Tokens
    query: NDArray[np.int64]
    product: NDArray[np.int64]
    grades: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.query)

    def codes(self, query: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for each pair of a query row and a product row."""
        return query * len(self.products) + product


class RetrieverModule(LightningModule):
    """A text encoder in training.

    Args:
        network: what is trained.
        config: of the run.
        steps: optimiser steps of the whole schedule.
        positives: the training pairs.
        judged: the validation pairs, None where there are none.
    """

    def __init__(
        self, network: TextEncoder, *, config: RetrieverConfig, steps: int, positives: Judged, judged: Judged | None
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.config = config
        self.steps = steps
        self.positives = positives
        self.known = np.unique(positives.codes(positives.query, positives.product))
        self.judged = judged
        if config.freeze_embeddings:
            network.backbone.network.embeddings.word_embeddings.weight.requires_grad = False

    def forward(self, queries: dict[str, Tensor], products: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Unit vectors of queries and products, float32 [batch, width] each."""
        return self.network(**queries), self.network(**products)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's queries against the products of all processes."""
        queries, products = self(batch["queries"], batch["products"])
        everyone, numbers = self.gather(products), self.gather(batch["product"])
        query = batch["query"].cpu().numpy()
        codes = self.positives.codes(query[:, None], numbers.cpu().numpy()[None, :])
        positive = torch.from_numpy(np.isin(codes, self.known)).to(queries.device)
        own = torch.arange(len(queries), device=queries.device) + place()[0] * len(queries)
        return in_batch_softmax(queries, everyone, own, positive, weights=batch["weights"], scale=self.config.scale)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of the processes, with gradients; the same rows with one process."""
        if place()[1] == 1:
            return rows
        gathered: Tensor = self.all_gather(rows, sync_grads=rows.is_floating_point())
        return gathered.flatten(0, 1)

    def on_validation_epoch_start(self) -> None:
        """Empty the scores: sum and count, so that a pair scored by two processes has its mean."""
        self.scored = torch.zeros((2, len(self.judged or ())), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's cosines."""
        queries, products = self(batch["queries"], batch["products"])
        self.scored[0, batch["rows"]] += (queries * products).sum(dim=1).double()
        self.scored[1, batch["rows"]] += 1

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10 of the judged products, the mean over the validation queries."""
        scored = self.trainer.strategy.reduce(self.scored, reduce_op="sum")
        if self.judged is not None:
            scores = (scored[0] / scored[1]).cpu().numpy()
            self.log("validation/ndcg@10", mean_ndcg(self.judged.query, self.judged.grades, scores))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and linear decay."""
        return adamw(self.network, config=self.config, steps=self.steps)


def loaders(
    train: Judged, judged: Judged | None, *, tokenizer: TextTokenizer, config: RetrieverConfig
) -> tuple[Loader, Loader | None, int]:
    """Training and validation batches, and the optimiser steps of the whole schedule."""

    def batches(epoch: int) -> list[Rows]:
        return shuffled_batches(len(train), batch_size=config.batch_size, seed=config.seed, epoch=epoch)

    first = Loader(batches, lambda rows: collate(train, rows, tokenizer=tokenizer))
    steps = schedule_steps(first, config)
    if judged is None:
        return first, None, steps
    lengths = judged.products.lengths[judged.product]
    fixed = scoring_batches(lengths, batch_size=256, processes=config.devices)
    return first, Loader(lambda epoch: fixed, lambda rows: collate(judged, rows, tokenizer=tokenizer)), steps


def collate(pairs: Judged, rows: Rows, *, tokenizer: TextTokenizer) -> Batch:
    """Queries and products of some pairs, padded to the longest of each."""
    return {
        "queries": tokenizer.pad(pairs.queries.take(pairs.query[rows])),
        "products": tokenizer.pad(pairs.products.take(pairs.product[rows])),
        "query": torch.from_numpy(pairs.query[rows]),
        "product": torch.from_numpy(pairs.product[rows]),
        "weights": torch.from_numpy(pairs.weights[rows]),
        "rows": torch.from_numpy(rows),
    }
