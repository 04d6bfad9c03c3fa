"""Two ways to make a network say the same of the same pair: adversarial word vectors (FGM) and R-Drop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.ranking_losses import Queries

Score = Callable[[], Tensor]
Divergence = Callable[[Tensor, Tensor], Tensor]


def regularised_loss(
    score: Score,
    *,
    loss: Callable[[Tensor], Tensor],
    divergence: Divergence,
    vectors: nn.Module,
    adversarial: float,
    rdrop: float,
) -> Tensor:
    """The loss of a batch with what regularises it; means of passes, so that it stays comparable with the plain loss.

    R-Drop: the mean loss of two passes with different dropout plus rdrop / 2 times their divergence, half of the
    paper's sum. FGM: the mean of that and the loss of a pass whose word vectors were moved up the first pass's loss.

    Args:
        score: one pass over the batch, float [batch], with new dropout each time.
        loss: of such scores.
        divergence: of the scores of two passes.
        vectors: the module whose output, float [batch, length, width], are the word vectors; frozen ones, too.
        adversarial: length of the step for each row, 0 for none.
        rdrop: weight of the divergence, 0 for one pass.

    Source: Miyato et al. 2017 (arXiv 1605.07725), equation 3; Liang et al. 2021 (arXiv 2106.14448), equation 4.
    """
    with watched(vectors) as seen:
        first = score()
    clean = total = loss(first)
    if rdrop:
        second = score()
        total = (clean + loss(second)) / 2 + rdrop / 2 * divergence(first, second)
    if adversarial:
        step = fast_gradient(clean, vectors=seen[0], length=adversarial)
        with moved(vectors, by=step):
            total = (total + loss(score())) / 2
    return total


def fast_gradient(loss: Tensor, *, vectors: Tensor, length: float) -> Tensor:
    """The step of the given length that raises a loss fastest, for each row of its own.

    Args:
        loss: float scalar that depends on the vectors; its graph is kept.
        vectors: float [batch, tokens, width].
        length: Euclidean, over all tokens of a row.

    Returns:
        float [batch, tokens, width] without gradient; 0 in rows that the loss doesn't depend on.

    Source: Miyato et al. 2017 (arXiv 1605.07725), equation 4.
    """
    (gradient,) = torch.autograd.grad(loss, vectors, retain_graph=True)
    gradient = gradient.float()
    # divided by the largest first, so that squares of small gradients don't vanish
    scaled = gradient / gradient.abs().amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    norms = scaled.norm(dim=(1, 2), keepdim=True)
    return (length * scaled / torch.where(norms > 0, norms, 1.0)).to(vectors.dtype)


@contextmanager
def watched(vectors: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, what the module puts out is kept, and can be derived by even where its weights are frozen."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: object, output: Tensor) -> Tensor:
        seen.append(output if output.requires_grad else output.detach().requires_grad_())
        return seen[-1]

    handle = vectors.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def moved(vectors: nn.Module, *, by: Tensor) -> Iterator[None]:
    """Inside, the step is added to what the module puts out."""
    handle = vectors.register_forward_hook(lambda module, given, output: output + by)
    try:
        yield
    finally:
        handle.remove()


def bernoulli_divergence(first: Tensor, second: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Mean of both Kullback-Leibler divergences between sigmoid(first) and sigmoid(second), averaged over the batch.

    KL(p, q) + KL(q, p) = (p - q) (logit p - logit q), which never takes the logarithm of a rounded 0.

    Args:
        first: float [batch] logits.
        second: float [batch] logits.
        weights: float [batch], of mean 1 over the data; None weighs all alike.
    """
    both = (first.sigmoid() - second.sigmoid()) * (first - second) / 2
    return both.mean() if weights is None else (both * weights).mean()


def softmax_divergence(
    first: Tensor, second: Tensor, *, grades: Tensor, groups: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean of both Kullback-Leibler divergences between the softmax of a query's scores, averaged as losses are.

    Args:
        first: float [n]; rows of queries below 0 are left out.
        second: float [n].
        grades: float [n], which tell the queries that count.
        groups: int64 [n], the query of each row.
        weights: float [n], a row of 2 counting as two; None weighs all alike.
    """
    kept = groups >= 0
    first, second, grades, groups = (values[kept] for values in (first, second, grades, groups))
    given = torch.ones_like(first) if weights is None else weights[kept].to(first.dtype)
    queries = Queries.read(grades, groups=groups, weights=given)
    apart = queries.log_top_one(first).exp() - queries.log_top_one(second).exp()
    return (queries.share * queries.weights * apart * (first - second)).sum() / 2
