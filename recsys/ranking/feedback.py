"""Pseudo-relevance feedback: what resembles the best of a ranking rises with it."""

import numpy as np

from recsys.types import Scores, Vectors


def feedback(scores: Scores, vectors: Vectors, *, temperature: float) -> Scores:
    """How much each product resembles the others that rank high: a weighted mean of cosines, itself left out.

    The others weigh by the softmax of their scores, so a list in which nothing stands out says where most of it lies.

    Args:
        scores: float32 [n], of one query's products.
        vectors: float32 [n, width], their unit vectors.
        temperature: of the softmax, on the scale of the scores, above 0; the smaller, the fewer products speak.

    Returns:
        float32 [n], -1..1; 0 for a product that stands alone.

    Source: Rocchio 1971, "Relevance feedback in information retrieval", with text vectors as in Li et al. 2021 (arXiv
    2108.11044) and the scores as weights in place of a number of products.
    """
    if len(scores) < 2:
        return np.zeros(len(scores), dtype=np.float32)
    wide, units = scores.astype(np.float64), vectors.astype(np.float64)
    weights = np.exp((wide - wide.max()) / temperature)
    own = weights * (units * units).sum(axis=1)
    others = weights.sum() - weights
    # one product can hold all the weight: the others then have none to speak to it with
    heard = others > np.finfo(np.float64).tiny
    towards = units @ (weights @ units) - own
    return np.where(heard, towards / np.where(heard, others, 1.0), 0.0).astype(np.float32)
