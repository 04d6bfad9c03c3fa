"""Which loss the relevance scorer learns with."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from training.losses import graded_cross_entropy
from training.ranking_losses import lambda_loss, listnet, listwise_softmax, margin_mse, ordinal, ranknet
from training.relevance.config import LossName
from training.relevance.cut_points import CutPoints

Objective = Callable[[Tensor, Mapping[str, Tensor]], Tensor]

GROUPED: Mapping[LossName, Callable[..., Tensor]] = {
    "ranknet": ranknet,
    "margin-mse": margin_mse,
    "listnet": listnet,
    "softmax": listwise_softmax,
    "lambdarank": partial(lambda_loss, scheme="lambdarank"),
    "lambdaloss": partial(lambda_loss, scheme="ndcg-loss2++"),
}


def objective(name: LossName, *, cuts: CutPoints | None = None) -> Objective:
    """The loss of a batch, from its scores, float [n], and the tensors that `collate` gives.

    Rows of the grouped losses that stand for no pair are left out, so that those losses see whole queries alone.

    Args:
        name: see RelevanceConfig.
        cuts: of the ordinal loss, which needs them; others read none.
    """
    if name == "graded":
        return lambda scores, batch: graded_cross_entropy(scores, batch["targets"], batch["weights"])
    if cuts is not None:
        return partial(cumulative, cuts=cuts)
    loss = GROUPED[name]

    def of_queries(scores: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        kept = batch["groups"] >= 0
        grades, groups, weights = (batch[key][kept] for key in ("grades", "groups", "weights"))
        return loss(scores[kept], grades=grades, groups=groups, weights=weights)

    return of_queries


def cumulative(scores: Tensor, batch: Mapping[str, Tensor], *, cuts: CutPoints) -> Tensor:
    """The ordinal loss, each pair by the grades and the cut-points of its shop."""
    shops = batch["shops"]
    grades = cuts.grades(batch["targets"], shops)
    return ordinal(scores, grades=grades, cuts=cuts(shops), weights=batch["weights"])
