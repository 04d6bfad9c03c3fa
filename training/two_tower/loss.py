"""Sampled softmax over shared negatives, as a pure function."""

import torch
from torch import Tensor


def sampled_softmax(
    *,
    states: Tensor,
    products: Tensor,
    target_states: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected: Tensor,
    owned: Tensor | None = None,
    negative_bias: Tensor | None = None,
    target_bias: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each target against the shared negatives of the step.

    The negatives stand in for the whole catalogue: each is divided by how often the sampler brings it, and those that
    are themselves targets of the state (accidental hits) are masked, so that for single targets the normaliser is an
    unbiased estimate of the full softmax's. With several targets a state's other targets are left out of it.
    Source: Jean et al., "On using very large target vocabulary" (ACL 2015), eq. 6 to 8.

    Args:
        states: float [s, width], user vectors.
        products: float [u, width], product vectors.
        target_states: int64 [t], places in `states`.
        targets: int64 [t], places in `products`.
        negatives: int64 [n], places in `products`.
        log_expected: float [n], log of the expected count of each negative in the draw.
        owned: int64 [s, m], places in `products` that are no negatives of the state either, such as what the user has
            where nothing is recommended twice; None masks the targets alone.
        negative_bias: float [s, n], what a negative's score has beside the inner product; None for nothing.
        target_bias: float [t], the same of the targets.

    Returns:
        float32 [t], the loss of each target, at least 0.
    """
    scores = torch.addmm(-log_expected, states, products[negatives].T).float()
    scores = scores if negative_bias is None else scores + negative_bias
    hits = accidental_hits(
        target_states, targets, negatives=negatives, owned=owned, states=len(states), products=len(products)
    )
    rest = scores.masked_fill(hits, -torch.inf).logsumexp(dim=1)
    positive = (states[target_states].float() * products[targets].float()).sum(dim=1)
    positive = positive if target_bias is None else positive + target_bias
    return torch.logaddexp(positive, rest[target_states]) - positive


def accidental_hits(
    target_states: Tensor, targets: Tensor, *, negatives: Tensor, owned: Tensor | None, states: int, products: int
) -> Tensor:
    """bool [s, n], True where a negative is a target of the state or among what it owns.

    It is kept by the negatives alone, of which there are far fewer than products in a step: each product stands for
    the column of one of its draws, or for one behind all of them where it was not drawn.

    Args:
        target_states: int64 [t], places of the targets' states.
        targets: int64 [t], places of products.
        negatives: int64 [n], places of products.
        owned: int64 [s, m], places of products; None leaves them out.
        states: how many there are.
        products: how many there are.
    """
    column = torch.full((products,), len(negatives), device=negatives.device)
    column[negatives] = torch.arange(len(negatives), device=negatives.device)
    hits = torch.zeros(states, len(negatives) + 1, dtype=torch.bool, device=negatives.device)
    hits[target_states, column[targets]] = True
    if owned is not None:
        hits.scatter_(1, column[owned], value=True)
    return hits[:, column[negatives]]
