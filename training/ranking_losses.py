"""Losses that compare the products of one query, and the ordinal loss of one graded pair, as pure functions.

All but `ordinal` read a batch of whole queries in any order: `scores` float [n], `grades` float [n] >= 0 on the shop's
scale, `groups` int64 [n] the query of each row, `weights` float [n] >= 0. They give a float scalar in the dtype of the
scores: the mean over the queries whose weighted rows differ in grade, each times the mean weight of its rows; 0 with
gradients of 0 where there is no such query. Inside a query a row of weight 2 pulls like two rows of weight 1 (in
`lambda_loss`, its pairs like two pairs). A constant added to all scores of a query changes nothing. Memory grows with
n x n.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Scheme = Literal["lambdarank", "ndcg-loss2", "ndcg-loss2++"]


@dataclass(frozen=True, slots=True)
class Queries:
    """Which rows of a batch are compared, and what they count.

    Attributes:
        same: bool [n, n], True where two rows belong to one query.
        before: bool [n, n], True where the first row has the higher grade of the two, within a query.
        weights: float [n], divided by the query's mean.
        share: float [n], of the row's query in the batch's loss; 0 for queries that order nothing.
    """

    same: Tensor
    before: Tensor
    weights: Tensor
    share: Tensor

    @classmethod
    def read(cls, grades: Tensor, *, groups: Tensor, weights: Tensor) -> "Queries":
        """The queries of a batch; shapes as in the module's docstring."""
        same = groups[:, None] == groups[None, :]
        counted = same & (weights[:, None] > 0) & (weights[None, :] > 0)
        before = counted & (grades[:, None] > grades[None, :])
        ordered = (before.any(dim=1) & same).any(dim=1)
        leaders = ~same.tril(-1).any(dim=1)
        mean = query_sums(weights, same=same) / same.sum(dim=1)
        share = torch.where(ordered, mean / (ordered & leaders).sum().clamp(min=1), 0.0)
        return cls(same, before, weights / torch.where(ordered, mean, 1.0), share)

    def mean_pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The better and the worse row of each pair, int64 [pairs], and its share in the batch's loss, float [pairs].

        The shares of a query's pairs stand to each other as the products of their weights, and add up to the query's.
        """
        mass = torch.where(self.before, self.weights[:, None] * self.weights[None, :], 0.0)
        total = query_sums(mass.sum(dim=1), same=self.same)
        better, worse = self.before.nonzero(as_tuple=True)
        return better, worse, self.share[better] * mass[better, worse] / total[better]

    def log_top_one(self, scores: Tensor) -> Tensor:
        """float [n], score - log of the sum of weight x exp(score) over the row's query."""
        counted = scores + self.weights.clamp(min=torch.finfo(scores.dtype).tiny).log()
        return scores - torch.where(self.same, counted, -torch.inf).logsumexp(dim=1)


def ordinal(scores: Tensor, *, grades: Tensor, cuts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cumulative logits: for each grade the probability sigmoid(score - cut) that a product reaches it.

    With one level and a cut of 0 this is `graded_cross_entropy`. A grade between two whole ones, as the mean of several
    raters, has reached the upper one in part: as far as there were raters who gave it.

    Args:
        scores: float [batch].
        grades: float [batch], 0..levels.
        cuts: float [levels] or [batch, levels], ascending; inf where a pair's scale has fewer levels, one at least.
        weights: float [batch], >= 0, of mean 1 over the data; None weighs all alike.

    Returns:
        float scalar, the mean over the batch of weight x the mean binary cross-entropy of the pair's levels.

    Source: McCullagh 1980, "Regression models for ordinal data" (proportional odds), as a sum of binary tasks: Rennie
    and Srebro 2005, "Loss functions for preference levels" (all-threshold); Cao et al. 2020 (arXiv 1901.07884).
    """
    there = cuts.isfinite()
    steps = torch.arange(cuts.shape[-1], dtype=scores.dtype, device=scores.device)
    reached = (grades.to(scores.dtype)[:, None] - steps).clamp(0, 1)
    # a masked cut must not be inf, or the gradient would be NaN in spite of the mask
    logits = scores[:, None] - torch.where(there, cuts, 0.0)
    tasks = functional.binary_cross_entropy_with_logits(logits, reached, reduction="none")
    losses = torch.where(there, tasks, 0.0).sum(dim=1) / there.sum(dim=-1)
    return losses.mean() if weights is None else (losses * weights).mean()


def ranknet(scores: Tensor, *, grades: Tensor, groups: Tensor, weights: Tensor | None = None) -> Tensor:
    """Logistic loss of every pair of products of different grade: the mean over a query's pairs.

    Args:
        scores: float [n].
        grades: float [n].
        groups: int64 [n].
        weights: float [n]; None weighs all alike.

    Source: Burges et al. 2005, "Learning to rank using gradient descent".
    """
    better, worse, share = Queries.read(grades, groups=groups, weights=given(weights, like=scores)).mean_pairs()
    return (share * functional.softplus(scores[worse] - scores[better])).sum()


def margin_mse(
    scores: Tensor, *, grades: Tensor, groups: Tensor, weights: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Squared difference between the margin of two scores and that of their grades: the mean over a query's pairs.

    Args:
        scores: float [n].
        grades: float [n], or a teacher's scores, of any sign.
        groups: int64 [n].
        weights: float [n]; None weighs all alike.
        scale: the margin of scores that one grade is worth.

    Source: Hofstätter et al. 2020 (arXiv 2010.02666), over all pairs of different grade.
    """
    better, worse, share = Queries.read(grades, groups=groups, weights=given(weights, like=scores)).mean_pairs()
    wanted = scale * (grades[better] - grades[worse])
    return (share * (scores[better] - scores[worse] - wanted).square()).sum()


def listnet(scores: Tensor, *, grades: Tensor, groups: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy between the top-one probabilities by the grades and by the scores.

    Args:
        scores: float [n].
        grades: float [n].
        groups: int64 [n].
        weights: float [n]; None weighs all alike.

    Source: Cao et al. 2007, "Learning to rank: from pairwise approach to listwise approach", with exp as phi.
    """
    queries = Queries.read(grades, groups=groups, weights=given(weights, like=scores))
    wanted = queries.weights * queries.log_top_one(grades.to(scores.dtype)).exp()
    return -(queries.share * wanted * queries.log_top_one(scores)).sum()


def listwise_softmax(scores: Tensor, *, grades: Tensor, groups: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy between the grades as shares of their sum and the softmax of a query's scores.

    Args:
        scores: float [n].
        grades: float [n].
        groups: int64 [n].
        weights: float [n]; None weighs all alike.

    Source: Bruch et al. 2019, "An analysis of the softmax cross entropy loss for learning-to-rank with binary
    relevance", with graded labels.
    """
    queries = Queries.read(grades, groups=groups, weights=given(weights, like=scores))
    mass = queries.weights * grades
    wanted = mass / torch.where(queries.share > 0, query_sums(mass, same=queries.same), 1.0)
    return -(queries.share * wanted * queries.log_top_one(scores)).sum()


def lambda_loss(
    scores: Tensor,
    *,
    grades: Tensor,
    groups: Tensor,
    weights: Tensor | None = None,
    k: int | None = 10,
    scheme: Scheme = "ndcg-loss2++",
    mu: float = 10.0,
) -> Tensor:
    """Logistic loss (base 2) of every pair of different grade, weighted by what their order means for NDCG@k; summed.

    Args:
        scores: float [n]; the ranks that they give are constants for the gradient.
        grades: float [n].
        groups: int64 [n].
        weights: float [n]; None weighs all alike.
        k: pairs of which no product stands in the first k ranks count nothing; None counts all.
        scheme: "lambdarank": how much NDCG@k changes if the two products change places; "ndcg-loss2": the difference
            of gains times that of the discounts of neighbouring ranks, so far apart as the two stand; "ndcg-loss2++":
            the former plus `mu` times the latter.
        mu: see scheme.

    Source: Wang et al. 2018, "The LambdaLoss framework for ranking metric optimization" (CIKM).
    """
    queries = Queries.read(grades, groups=groups, weights=given(weights, like=scores))
    gains = shares_of_ideal(grades.to(scores.dtype), same=queries.same, k=k)
    ranks = query_ranks(scores.detach(), same=queries.same)
    better, worse = queries.before.nonzero(as_tuple=True)
    change = (gains[better] - gains[worse]) * rank_weights(ranks[better], ranks[worse], k=k, scheme=scheme, mu=mu)
    counted = queries.share[better] * queries.weights[better] * queries.weights[worse]
    return (counted * change * functional.softplus(scores[worse] - scores[better])).sum() / math.log(2)


def rank_weights(first: Tensor, second: Tensor, *, k: int | None, scheme: Scheme, mu: float) -> Tensor:
    """float32 [pairs], the factor of the ranks in a pair's weight; arguments int64 [pairs] and as in `lambda_loss`."""
    swapped = (discounts(first, k=k) - discounts(second, k=k)).abs()
    apart = (first - second).abs()
    neighbours = discounts(apart, k=None) - discounts(apart + 1, k=None)
    if k is not None:
        neighbours = torch.where(torch.minimum(first, second) <= k, neighbours, 0.0)
    return {"lambdarank": swapped, "ndcg-loss2": neighbours, "ndcg-loss2++": swapped + mu * neighbours}[scheme]


def shares_of_ideal(grades: Tensor, *, same: Tensor, k: int | None) -> Tensor:
    """float [n]: each product's gain over the query's best DCG@k; 0 where nothing is relevant."""
    highest = torch.where(same, grades, 0.0).amax(dim=1)
    # both are divided by 2^highest, so that no scale of grades overflows
    gains = torch.exp2(grades - highest) - torch.exp2(-highest)
    ideal = query_sums(gains * discounts(query_ranks(grades, same=same), k=k), same=same)
    return gains / torch.where(ideal > 0, ideal, 1.0)


def discounts(ranks: Tensor, *, k: int | None) -> Tensor:
    """float32, 1 / log2(rank + 1) for ranks from 1; 0 beyond k."""
    values = 1 / torch.log2(1 + ranks.float())
    return values if k is None else torch.where(ranks <= k, values, 0.0)


def query_ranks(scores: Tensor, *, same: Tensor) -> Tensor:
    """int64 [n], the rank from 1 of each row in its query, highest score first; equal scores keep the batch's order."""
    ahead = (scores[None, :] > scores[:, None]) | (scores[None, :] == scores[:, None]).tril(-1)
    return 1 + (ahead & same).sum(dim=1)


def query_sums(values: Tensor, *, same: Tensor) -> Tensor:
    """float [n], for each row the sum of its query's values, float [n]."""
    return torch.where(same, values, 0.0).sum(dim=1)


def given(weights: Tensor | None, *, like: Tensor) -> Tensor:
    """The weights, or ones."""
    return torch.ones_like(like) if weights is None else weights.to(like.dtype)
