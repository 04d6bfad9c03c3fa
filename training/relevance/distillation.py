"""Learning from teachers: losses against their logits, and their mixture with the loss of the grades."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from training.relevance.config import RelevanceConfig
from training.relevance.objective import Objective

OF_PAIRS = ("targets", "grades", "groups", "weights", "shops")


def soft_cross_entropy(logits: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Binary cross-entropy to the teacher's probability, both softened.

    Args:
        logits: float [batch].
        teacher: float [batch], the teacher's logits.
        temperature: T > 0 that divides both.

    Returns:
        float scalar, T² times the mean, so that gradients keep their size when T changes.

    Source: Hinton et al. 2015 (arXiv 1503.02531), section 2.
    """
    wanted = (teacher.float() / temperature).sigmoid()
    loss = functional.binary_cross_entropy_with_logits(logits.float() / temperature, wanted)
    return temperature**2 * loss


def squared_difference(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the logits, float scalar.

    Args:
        logits: float [batch].
        teacher: float [batch].

    Source: Ba and Caruana 2014 (arXiv 1312.6184), section 2.2.
    """
    return functional.mse_loss(logits.float(), teacher.float())


def taught(own: Objective, *, config: RelevanceConfig) -> Objective:
    """(1 - w) x the loss of the grades + w x the loss of the teachers' logits, w = `teacher_weight`.

    Pairs of weight 0 have no grade and count in the teachers' loss alone; the loss of the grades counts by the share
    of graded pairs in the batch, so that each graded pair counts alike whatever its company. FILLING counts nowhere.

    Args:
        own: the loss of the grades.
        config: teacher_weight, teacher_loss and temperature are read.
    """
    share = config.teacher_weight

    def both(scores: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        there = batch["groups"] >= 0
        graded = there & (batch["weights"] > 0)
        soft = (
            soft_cross_entropy(scores[there], batch["teacher"][there], temperature=config.temperature)
            if config.teacher_loss == "cross-entropy"
            else squared_difference(scores[there], batch["teacher"][there])
        )
        if share == 1 or not graded.any():
            return share * soft
        hard = own(scores[graded], {key: batch[key][graded] for key in OF_PAIRS if key in batch})
        return (1 - share) * graded.sum() / there.sum() * hard + share * soft

    return both
