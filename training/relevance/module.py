"""How the cross-encoder learns: a loss of graded pairs or of whole queries, by-query NDCG on the validation part."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.metrics.ranking import ndcg
from recsys.models.cross_encoder import CrossEncoder
from recsys.text.tokenizer import TextTokenizer, Tokens
from training.batches import FILLING, Loader, Rows, length_batches, place, query_batches, scoring_batches
from training.fit import adamw, layer_rates, schedule_steps
from training.relevance.config import RelevanceConfig
from training.relevance.cut_points import RATE, CutPoints, Scales
from training.relevance.distillation import taught
from training.relevance.objective import GROUPED, objective
from training.relevance.redraw import PairTexts, Redraw
from training.relevance.regularise import bernoulli_divergence, regularised_loss, softmax_divergence
from training.scored import Scored

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Judged pairs as the network reads them.

    Attributes:
        tokens: of query and product text, one row for each pair.
        grades: float32 [pairs], on the shop's scale.
        weights: float32 [pairs], mean 1.
        queries: int64 [pairs], the number of the pair's query.
        max_grade: the best grade there is.
        teacher: float32 [pairs], the teachers' mean logits; None without teachers. A pair of weight 0 has no grade.
        texts: what the tokens were made of; None where no epoch writes them anew.
        shops: int64 [pairs], the number of the pair's shop; None where all are of shop 0.
        scales: by the shop's number, the best grade on its own scale; empty where there is but one shop.
    """

    tokens: Tokens
    grades: NDArray[np.float32]
    weights: NDArray[np.float32]
    queries: NDArray[np.int64]
    max_grade: float
    teacher: NDArray[np.float32] | None = None
    texts: PairTexts | None = None
    shops: NDArray[np.int64] | None = None
    scales: Scales = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def of_shops(self) -> NDArray[np.int64]:
        """int64 [pairs], the number of each pair's shop."""
        return np.zeros(len(self), dtype=np.int64) if self.shops is None else self.shops

    @property
    def best_grades(self) -> Scales:
        """By the shop's number, the best grade on its own scale."""
        return self.scales or {0: self.max_grade}


class RelevanceModule(LightningModule):
    """A cross-encoder in training.

    Args:
        network: what is trained.
        config: of the run.
        steps: optimiser steps of the whole schedule.
        judged: the validation pairs, None where there are none.
        scales: of the training pairs, the best grade by the shop's number.
    """

    def __init__(
        self, network: CrossEncoder, *, config: RelevanceConfig, steps: int, judged: Pairs | None, scales: Scales
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.config = config
        self.steps = steps
        self.judged = judged
        self.cuts = CutPoints(scales) if config.loss == "ordinal" else None
        self.objective = objective(config.loss, cuts=self.cuts)
        self.compared = ["grades", "groups", "weights"]
        if config.teachers:
            self.objective = taught(self.objective, config=config)
            self.compared.append("teacher")
        if config.freeze_embeddings:
            network.backbone.network.embeddings.word_embeddings.weight.requires_grad = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's share of the batch; that of the whole batch where queries are compared."""
        if not (self.config.adversarial or self.config.rdrop):
            return self.loss(self(batch), batch=batch)
        return regularised_loss(
            lambda: self(batch),
            loss=partial(self.loss, batch=batch),
            divergence=partial(self.divergence, batch=batch),
            vectors=self.network.backbone.network.get_input_embeddings(),
            adversarial=self.config.adversarial,
            rdrop=self.config.rdrop,
        )

    def loss(self, scores: Tensor, *, batch: Batch) -> Tensor:
        """The objective of scores, float [batch]."""
        (scores,), batch = self.whole(scores, batch=batch)
        loss = self.objective(scores, batch)
        # where a process has no graded pair, its cut-points have a gradient of 0 for the others to be averaged with
        return loss if self.cuts is None else loss + sum(0.0 * row.sum() for row in self.cuts.learned)

    def divergence(self, first: Tensor, second: Tensor, *, batch: Batch) -> Tensor:
        """How far two passes' scores, float [batch] each, are from one another."""
        (first, second), batch = self.whole(first, second, batch=batch)
        if self.config.loss not in GROUPED:
            return bernoulli_divergence(first, second, weights=batch["weights"])
        given = {key: batch[key] for key in ("grades", "groups", "weights")}
        return softmax_divergence(first, second, **given)

    def whole(self, *scores: Tensor, batch: Batch) -> tuple[list[Tensor], Batch]:
        """Scores and rows of the global batch for a loss of whole queries, else those of this process."""
        if self.config.loss not in GROUPED:
            return list(scores), batch
        return [self.gather(values) for values in scores], {key: self.gather(batch[key]) for key in self.compared}

    def gather(self, values: Tensor) -> Tensor:
        """The values of the global batch, in its order; those of this process where it is alone.

        Each of R processes computes the loss of the whole batch. What comes back through the gathering is the sum over
        the processes, R times the gradient, and the mean over the processes that follows takes the R away.
        """
        if place()[1] == 1:
            return values
        gathered: Tensor = self.all_gather(values, sync_grads=values.requires_grad)
        return gathered.T.flatten()

    def forward(self, batch: Batch) -> Tensor:
        """float32 [batch] logits."""
        logits: Tensor = self.network(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        return logits

    def on_validation_epoch_start(self) -> None:
        """Empty the scores."""
        self.scored = Scored(len(self.judged or ()), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the batch's scores."""
        self.scored.add(batch["rows"], self(batch))

    def on_validation_epoch_end(self) -> None:
        """Log NDCG@10, the mean over the validation queries."""
        scores = self.scored.means(self.trainer.strategy)
        if self.judged is not None:
            self.log("validation/ndcg@10", mean_ndcg(self.judged.queries, self.judged.grades, scores))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and linear decay, lower layers slower where the settings say so, cut-points faster."""
        rates = layer_rates(self, decay=self.config.layer_decay)
        rates |= {name: RATE / self.config.learning_rate for name in rates if name.startswith("cuts.")}
        return adamw(self, config=self.config, steps=self.steps, rates=rates)


def query_ndcg(
    queries: NDArray[np.int64], grades: NDArray[np.float32], scores: NDArray[np.floating[Any]], *, k: int = 10
) -> NDArray[np.float64]:
    """NDCG of each query over its judged products, ties averaged.

    Args:
        queries: int64 [pairs], numbers of the queries.
        grades: float [pairs].
        scores: float [pairs].
        k: only the first k ranks count.

    Returns:
        float64 [queries] in the order of their numbers; NaN for a query with no positive product or a single grade.
    """
    order = np.argsort(queries, kind="stable")
    cuts = np.flatnonzero(np.diff(queries[order])) + 1
    values = [
        ndcg(grades[rows], scores[rows], k=k) if np.ptp(grades[rows]) > 0 else np.nan
        for rows in np.split(order, cuts)
        if len(rows)
    ]
    return np.asarray(values, dtype=np.float64)


def mean_ndcg(queries: NDArray[np.int64], grades: NDArray[np.float32], scores: NDArray[np.floating[Any]]) -> float:
    """Mean NDCG@10 over the queries that have one; 0 where none has."""
    values = query_ndcg(queries, grades, scores)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def loaders(
    train: Pairs,
    judged: Pairs | None,
    *,
    tokenizer: TextTokenizer,
    config: RelevanceConfig,
    redraw: Redraw | None = None,
) -> tuple[Loader, Loader | None, int]:
    """Training and validation batches, and the optimiser steps; `redraw` writes the training pairs anew, if at all."""

    def batches(epoch: int) -> list[Rows]:
        size, seed = config.batch_size, config.seed
        if config.loss in GROUPED:
            found = query_batches(train.queries, batch_size=size, seed=seed, epoch=epoch, processes=config.devices)
        else:
            found = length_batches(train.tokens.lengths, batch_size=size, seed=seed, epoch=epoch)
        return found if redraw is None else redraw.number(found, epoch=epoch)

    def shown(rows: Rows) -> Batch:
        if redraw is None:
            return collate(train, rows, tokenizer=tokenizer)
        rows, tokens = redraw.read(rows)
        return collate(train, rows, tokenizer=tokenizer, tokens=tokens)

    first = Loader(batches, shown)
    steps = schedule_steps(first, config)
    if judged is None:
        return first, None, steps
    fixed = scoring_batches(judged.tokens.lengths, batch_size=256, processes=config.devices)
    return first, Loader(lambda epoch: fixed, lambda rows: collate(judged, rows, tokenizer=tokenizer)), steps


def collate(pairs: Pairs, rows: Rows, *, tokenizer: TextTokenizer, tokens: Tokens | None = None) -> Batch:
    """The pairs of some rows, padded to the longest; FILLING shows the first pair, in the group FILLING.

    The rows show `tokens`, or their own where none are given.
    """
    filling = rows == FILLING
    shown = np.where(filling, 0, rows)
    taught_by = {} if pairs.teacher is None else {"teacher": torch.from_numpy(pairs.teacher[shown])}
    return {
        **tokenizer.pad(pairs.tokens.take(shown) if tokens is None else tokens),
        "targets": torch.from_numpy(pairs.grades[shown] / np.float32(pairs.max_grade)),
        "grades": torch.from_numpy(pairs.grades[shown]),
        "shops": torch.from_numpy(pairs.of_shops[shown]),
        "groups": torch.from_numpy(np.where(filling, FILLING, pairs.queries[shown])),
        "weights": torch.from_numpy(pairs.weights[shown]),
        "rows": torch.from_numpy(rows),
        **taught_by,
    }
