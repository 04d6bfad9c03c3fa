"""Which loss the relevance scorer learns with."""

import math
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from training.losses import graded_cross_entropy
from training.ranking_losses import lambda_loss, listnet, listwise_softmax, margin_mse, ordinal, ranknet
from training.relevance.config import LossName

Objective = Callable[[Tensor, Mapping[str, Tensor]], Tensor]

GROUPED: Mapping[LossName, Callable[..., Tensor]] = {
    "ranknet": ranknet,
    "margin-mse": margin_mse,
    "listnet": listnet,
    "softmax": listwise_softmax,
    "lambdarank": partial(lambda_loss, scheme="lambdarank"),
    "lambdaloss": partial(lambda_loss, scheme="ndcg-loss2++"),
}


def objective(name: LossName, *, max_grade: float) -> Objective:
    """The loss of a batch, from its scores, float [n], and the tensors that `collate` gives.

    Rows of the grouped losses that stand for no pair are left out, so that those losses see whole queries alone.

    Args:
        name: see RelevanceConfig.
        max_grade: the best grade there is.
    """
    if name == "graded":
        return lambda scores, batch: graded_cross_entropy(scores, batch["targets"], batch["weights"])
    if name == "ordinal":
        levels = max(1, math.ceil(max_grade))
        return lambda scores, batch: ordinal(scores, grades=batch["grades"], weights=batch["weights"], levels=levels)
    loss = GROUPED[name]

    def of_queries(scores: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        kept = batch["groups"] >= 0
        grades, groups, weights = (batch[key][kept] for key in ("grades", "groups", "weights"))
        return loss(scores[kept], grades=grades, groups=groups, weights=weights)

    return of_queries
