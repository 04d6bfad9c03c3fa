"""Losses as pure functions of tensors; batch first."""

import torch
from torch import Tensor
from torch.nn import functional


def graded_cross_entropy(logits: Tensor, grades: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy against a graded target, so that sigmoid(logit) estimates the expected grade.

    Args:
        logits: float [batch].
        grades: float [batch], grade / max_grade in 0..1.
        weights: float [batch], >= 0, of mean 1 over the data; None weighs all alike.

    Returns:
        float scalar, the mean of weight x loss. It is not divided by the batch's weights, so that the mean over
        processes is the loss of their common batch.

    Source: Nogueira and Cho 2019 (arXiv 1901.04085), with the soft target of Hinton et al. 2015 (arXiv 1503.02531).
    """
    losses = functional.binary_cross_entropy_with_logits(logits.float(), grades.float(), reduction="none")
    return losses.mean() if weights is None else (losses * weights).mean()


def in_batch_softmax(
    queries: Tensor,
    products: Tensor,
    own: Tensor,
    positive: Tensor,
    *,
    weights: Tensor | None = None,
    scale: float = 20.0,
) -> Tensor:
    """Softmax cross-entropy of each query's own product against the other products of the batch.

    Other products that are positive for the query are left out of the denominator instead of being pushed away.

    Args:
        queries: float [batch, width], L2-normalised.
        products: float [products, width], L2-normalised; with several processes, the products of all of them.
        own: int64 [batch], the row of `products` that belongs to each query.
        positive: bool [batch, products], True where the product is positive for the query (the own one may be).
        weights: float [batch], >= 0, of mean 1 over the data; None weighs all alike.
        scale: inverse temperature of the cosine.

    Returns:
        float scalar, the mean of weight x loss.

    Source: Henderson et al. 2017 (arXiv 1705.00652), section 4.4; masking of further positives as in supervised
    contrastive learning's single-positive form, Khosla et al. 2020 (arXiv 2004.11362).
    """
    logits = scale * (queries @ products.T).float()
    others = positive.clone()
    others[torch.arange(len(own), device=own.device), own] = False
    losses = functional.cross_entropy(logits.masked_fill(others, -torch.inf), own, reduction="none")
    return losses.mean() if weights is None else (losses * weights).mean()
