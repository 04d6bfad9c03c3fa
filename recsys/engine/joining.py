"""The first sum of a search: what BM25 and the vectors say of each product, brought to one scale."""

import numpy as np

from recsys.engine.policy import Fusion, SearchPolicy
from recsys.engine.ranked import Ranked, ordered, sources_of
from recsys.retrieval.fusion import CONSTANT, mean_ranks
from recsys.types import Candidates, Positions, Scores


def join(
    lexical: Candidates,
    dense: Candidates,
    *,
    positions: Positions,
    policy: SearchPolicy,
    cosines: Scores | None,
    pictures: Scores | None,
) -> Ranked:
    """Add up the first stages' parts for the products of both lists.

    Args:
        lexical: what BM25 found.
        dense: what the vectors found.
        positions: int64 [n], the products of both lists, ascending.
        policy: weights, and what they weigh.
        cosines: float32 [n], of each product and the query; None where there are no vectors.
        pictures: float32 [n], what the pictures have in the cosines; None leaves it inside the dense part.
    """
    parts = {"bm25": np.zeros(len(positions), dtype=np.float32)}
    place = np.searchsorted(positions, lexical.positions)
    parts["bm25"][place] = np.float32(policy.bm25) * scaled(lexical.scores, fusion=policy.fusion)
    if cosines is not None:
        parts["dense"] = dense_part(cosines, policy=policy)
        if pictures is not None:
            parts["image"] = np.float32(policy.dense) * pictures
            parts["dense"] -= parts["image"]
    return ordered(positions, parts, sources=sources_of(positions, (lexical, dense)))


def rejoin(ranked: Ranked, cosines: Scores, *, policy: SearchPolicy) -> Ranked:
    """The ranking of a first sum with other cosines in it than its own.

    Args:
        ranked: what `join` gave, with vectors and without pictures.
        cosines: float32 [n], in the ranking's order.
        policy: as for `join`.
    """
    return ordered(
        ranked.positions, {**ranked.parts, "dense": dense_part(cosines, policy=policy)}, sources=ranked.sources
    )


def dense_part(cosines: Scores, *, policy: SearchPolicy) -> Scores:
    """float32 [n]: what the vectors add to the sum, by score or by rank."""
    part: Scores = np.float32(policy.dense) * (
        cosines if policy.fusion == "score" else scaled(cosines, fusion=policy.fusion)
    )
    return part


def scaled(scores: Scores, *, fusion: Fusion) -> Scores:
    """Scores on a scale that ends at 1: over the best one, or by rank."""
    if fusion == "score":
        return scores / max(float(scores.max(initial=0.0)), float(np.finfo(np.float32).tiny))
    order = np.argsort(-scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = mean_ranks(scores[order])
    return ((CONSTANT + 1) / (CONSTANT + ranks)).astype(np.float32)
