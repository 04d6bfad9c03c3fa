"""How the image tower learns: in-batch softmax of texts against pictures alone, and of queries against both joined."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.models.image_tower import ImageTower
from recsys.types import Vectors
from training.batches import Loader, Rows, scoring_batches, shuffled_batches
from training.fit import adamw, schedule_steps
from training.images.config import ImagesConfig
from training.images.data import Inputs, Numbers, Pairs
from training.losses import in_batch_softmax
from training.relevance.module import mean_ndcg
from training.scored import Scored

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The products of a training.

    Attributes:
        inputs: what the tower reads of them.
        vectors: float32 [n, width], text vectors of those that occur.
        row: int64 [products], their rows there.
    """

    inputs: Inputs
    vectors: Vectors
    row: Numbers

    def collate(self, pairs: Pairs, rows: Rows) -> Batch:
        """Texts, and products with their pictures: each pair's own first, then those judged no match for its query.

        Where a product has no picture, zeros stand in its place.
        """
        worse = pairs.worse[rows]
        product = np.concatenate([pairs.product[rows], worse[worse >= 0]])
        picture = self.inputs.row[product]
        values = np.zeros((len(product), *self.inputs.values.shape[1:]), dtype=self.inputs.values.dtype)
        values[picture >= 0] = self.inputs.values[picture[picture >= 0]]
        return {
            "texts": torch.from_numpy(pairs.texts[pairs.text[rows]]),
            "products": torch.from_numpy(self.vectors[self.row[product]]),
            "inputs": torch.from_numpy(values),
            "seen": torch.from_numpy(picture >= 0),
            "judged": torch.from_numpy(rows < pairs.judged),
            "weights": torch.from_numpy(pairs.weights[rows]),
            "text": torch.from_numpy(pairs.text[rows]),
            "product": torch.from_numpy(product),
            "rows": torch.from_numpy(rows),
        }


class ImagesModule(LightningModule):
    """An image tower in training.

    Args:
        tower: what is trained.
        config: of the run.
        steps: optimiser steps of the whole schedule.
        pairs: the training pairs.
        judged: the validation pairs, None where there are none.
    """

    def __init__(
        self, tower: ImageTower, *, config: ImagesConfig, steps: int, pairs: Pairs, judged: Pairs | None
    ) -> None:
        super().__init__()
        self.network = tower.train()
        self.config = config
        self.steps = steps
        self.products = int(max(pairs.product.max(), pairs.worse.max(initial=0))) + 1
        self.known = np.unique(self.codes(pairs.text, pairs.product))
        self.judged = judged

    def codes(self, text: NDArray[np.int64], product: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for each pair of a text row and a position."""
        return text * self.products + product

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's pictures and its products' joined vectors, unit vectors float32 [batch, width] each."""
        learned = self.network.config.encoder == "small"
        images = self.network(batch["inputs"]) if learned else self.network.project(batch["inputs"])
        return images, self.network.join(batch["products"], images, batch["seen"]).vectors

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Texts against pictures, among the products that have one; queries against text and picture joined."""
        images, joined = self(batch)
        codes = self.codes(batch["text"].cpu().numpy()[:, None], batch["product"].cpu().numpy()[None, :])
        positive = torch.from_numpy(np.isin(codes, self.known)).to(images.device)
        texts, weights, scale = batch["texts"], batch["weights"], self.config.scale
        own = torch.arange(len(texts), device=texts.device)
        both = in_batch_softmax(texts, joined, own, positive, weights=weights * batch["judged"], scale=scale)
        seen, known = batch["seen"], batch["seen"][: len(texts)]
        if not known.any():
            return both
        alone = in_batch_softmax(
            texts[known],
            images[seen],
            torch.arange(int(known.sum()), device=texts.device),
            positive[known][:, seen],
            weights=weights[known],
            scale=scale,
        )
        return both + alone

    def on_validation_epoch_start(self) -> None:
        """Empty the scores."""
        self.scored = Scored(len(self.judged or ()), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's cosines."""
        self.scored.add(batch["rows"], (batch["texts"] * self(batch)[1]).sum(dim=1))

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10 of the judged products, the mean over the validation queries."""
        scores = self.scored.means(self.trainer.strategy)
        if self.judged is not None:
            self.log("validation/ndcg@10", mean_ndcg(self.judged.text, self.judged.grades, scores))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and linear decay."""
        return adamw(self.network, config=self.config, steps=self.steps)


def loaders(
    pairs: Pairs, judged: Pairs | None, *, shelf: Shelf, config: ImagesConfig
) -> tuple[Loader, Loader | None, int]:
    """Training and validation batches, and the optimiser steps of the whole schedule."""
    titles = np.arange(pairs.judged, len(pairs))

    def batches(epoch: int) -> list[Rows]:
        random = np.random.default_rng((config.seed, epoch, 1))
        count = min(config.titles, len(titles), pairs.judged or len(titles))
        drawn = random.choice(titles, size=count, replace=False)
        rows = np.concatenate([np.arange(pairs.judged), drawn])
        cut = shuffled_batches(len(rows), batch_size=config.batch_size, seed=config.seed, epoch=epoch)
        return [rows[batch] for batch in cut]

    first = Loader(batches, lambda rows: shelf.collate(pairs, rows))
    steps = schedule_steps(first, config)
    if judged is None:
        return first, None, steps
    fixed = scoring_batches(np.ones(len(judged), dtype=np.int64), batch_size=256, processes=config.devices)
    return first, Loader(lambda epoch: fixed, lambda rows: shelf.collate(judged, rows)), steps
