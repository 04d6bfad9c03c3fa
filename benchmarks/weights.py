"""Weights of the stages that are tried on one shop for another: what each choice makes of lists scored only once."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import Ranked
from recsys.ranking.feedback import feedback
from recsys.types import Vectors
from training.evaluate.queries import Ranking

EVERYTHING = SearchPolicy(bm25=1.0, dense=1.0, cross_encoder=1.0, candidates=100, depth=200)
DENSE_WEIGHTS, CROSS_WEIGHTS = (0.0, 1.0, 2.0, 3.0), (0.0, 0.5, 1.0, 2.0, 4.0)


class Grid(NamedTuple):
    """Policies that are tried on crowdflower.

    Attributes:
        policies: those that are tried.
        depth: how many products the cross-encoder scores for all of them, by the sum of BM25 and cosine.
    """

    policies: tuple[SearchPolicy, ...]
    depth: int = EVERYTHING.depth


def weighted(*depths: int) -> tuple[SearchPolicy, ...]:
    """Every choice of weights at every depth."""
    rows = product(DENSE_WEIGHTS, CROSS_WEIGHTS, depths)
    return tuple(
        EVERYTHING.model_copy(update={"dense": dense, "cross_encoder": cross, "depth": depth})
        for dense, cross, depth in rows
    )


def title(policy: SearchPolicy) -> str:
    """A policy's name in the results."""
    first = "" if policy.bm25 == 1 else f"BM25 {policy.bm25:g}, "
    heard = f", feedback {policy.feedback:g}" if policy.feedback else ""
    return f"{first}dense {policy.dense:g}, cross-encoder {policy.cross_encoder:g}, depth {policy.depth}{heard}"


def reweighed(row: Ranked, vectors: Vectors, *, policy: SearchPolicy) -> Ranking:
    """What a policy would have said, from the parts of one that scored everything.

    Args:
        row: each part at weight 1.
        vectors: float32 [products, width], of the row's products.
        policy: says otherwise.
    """
    first = np.float32(policy.bm25) * row.parts["bm25"] + np.float32(policy.dense) * row.parts["dense"]
    top = np.lexsort((row.positions, -first))[: policy.depth]
    total = first.copy()
    total[top] += np.float32(policy.cross_encoder) * row.parts["cross_encoder"][top]
    if policy.feedback:
        heard = feedback(total[top], vectors[top], temperature=policy.feedback_temperature)
        total[top] += np.float32(policy.feedback) * heard.clip(min=0)
    order = np.lexsort((row.positions, -total))
    return Ranking(row.positions[order], total[order])


def pick(worth: Mapping[SearchPolicy, NDArray[np.float64]], *, light: bool) -> SearchPolicy:
    """The policy with the best mean, or the lightest within one standard error of it.

    Lighter is less weight beside BM25's, then fewer pairs to score.

    Args:
        worth: by policy, float64 [queries].
        light: take the lightest.

    Source: the one-standard-error rule of Breiman et al., "Classification and regression trees" (1984), 3.4.3; the
    error is that of the paired differences.
    """
    best = max(worth, key=lambda policy: float(worth[policy].mean()))
    if not light:
        return best
    gaps = {policy: worth[best] - values for policy, values in worth.items()}
    near = [policy for policy, gap in gaps.items() if gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap))]
    return min(near, key=lambda policy: (policy.dense + policy.cross_encoder, policy.depth))
