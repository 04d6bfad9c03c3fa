"""The one order of every ranked list: score descending, position ascending."""

import numpy as np

from recsys.types import Candidates, Mask, Positions, Scores


def top_k(
    scores: Scores, *, k: int, allowed: Mask | None = None, exclude: Positions | None = None
) -> tuple[Positions, Scores]:
    """The k best positions of a whole catalogue; at the cut the lower position wins a tie.

    Args:
        scores: float32 [catalogue]; -inf and NaN never come back.
        k: at most so many.
        allowed: bool [catalogue]; where given, only True positions may come back.
        exclude: positions that must not come back.

    Returns:
        Positions int64 [n] and their scores float32 [n], n <= k, ordered by (score descending, position ascending).
    """
    passing = scores > -np.inf  # False for NaN as well
    if allowed is not None:
        passing &= allowed
    if exclude is not None and len(exclude):
        passing[exclude] = False
    return in_order(np.flatnonzero(passing), scores[passing], k=k)


def in_order(positions: Positions, scores: Scores, *, k: int) -> tuple[Positions, Scores]:
    """The k best of these candidates, ordered by (score descending, position ascending).

    Args:
        positions: int64 [n], distinct, in any order.
        scores: float32 [n], no NaN.
        k: at most so many.
    """
    if 0 < k < len(scores):
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= cut)  # every tie at the cut stays until the positions decide
        positions, scores = positions[kept], scores[kept]
    order = np.lexsort((positions, -scores))[: max(k, 0)]
    return positions[order].astype(np.int64, copy=False), scores[order].astype(np.float32, copy=False)


def nothing(source: str) -> Candidates:
    """An empty list of candidates."""
    return Candidates(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), source=source)
