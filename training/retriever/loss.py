"""What mined negatives and a teacher say, as pure functions of tensors; batch first.

Lists: `scores` and `teacher` float [batch, 1 + n], the pair itself in column 0 and its mined negatives behind it;
`teacher` is NaN where there is no negative. Scores are scale x cosine, the teacher's are logits: both on the scale of
a softmax.
"""

import torch
from torch import Tensor


def margin_mse(scores: Tensor, *, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared difference between the margins of pair and negative, by the scores and by the teacher.

    Args:
        scores: float [batch, 1 + n].
        teacher: float [batch, 1 + n].
        weights: float [batch], >= 0, of mean 1 over the data; None weighs all alike.

    Returns:
        float scalar, the mean over the batch's negatives; 0 with gradients of 0 without any.

    Source: Hofstätter et al. 2020 (arXiv 2010.02666), equation 8.
    """
    there = ~teacher[:, 1:].isnan()
    wanted = torch.where(there, teacher[:, :1] - teacher[:, 1:], 0.0)
    losses = torch.where(there, (scores[:, :1] - scores[:, 1:] - wanted).square(), 0.0)
    losses = losses if weights is None else losses * weights[:, None]
    return losses.sum() / there.sum().clamp(min=1)


def listwise_kl(scores: Tensor, *, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """Kullback-Leibler divergence of the scores' softmax over each list from the teacher's.

    Args:
        scores: float [batch, 1 + n].
        teacher: float [batch, 1 + n].
        weights: float [batch], >= 0, of mean 1 over the data; None weighs all alike.

    Returns:
        float scalar, the mean over the lists that have a negative; 0 with gradients of 0 without any.

    Source: Hinton et al. 2015 (arXiv 1503.02531) over a list of candidates, as in Ren et al. 2021, "RocketQAv2"
    (arXiv 2110.07367), equation 4.
    """
    there = ~teacher.isnan()
    lists = there[:, 1:].any(dim=1) & there[:, 0]
    wanted = teacher.masked_fill(~there, -torch.inf)[lists].log_softmax(dim=1)
    found = scores.masked_fill(~there, -torch.inf)[lists].log_softmax(dim=1)
    inside = there[lists]
    losses = torch.where(inside, wanted.exp() * (wanted - found), 0.0).sum(dim=1)
    losses = losses if weights is None else losses * weights[lists]
    return losses.sum() / lists.sum().clamp(min=1)
