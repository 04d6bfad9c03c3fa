"""Exact dot products: the score that every dense answer carries, and the scan of all or of the allowed rows.

Matrix kernels sum in an order that depends on the shape of the matrices, so one pair of vectors can score differently
in the last bits from batch to batch. They are used only to find candidates; `exact_scores` then sums each row the same
way whatever its company, so that equal vectors have equal scores and ties can be settled by position.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.types import Mask, Scores, Vectors

Rows = NDArray[np.int64]
CHUNK = 32768  # rows multiplied at a time
BATCH = 256  # queries multiplied at a time
DENSE = 0.5  # share of allowed rows in a chunk above which the whole chunk is multiplied rather than copied


def exact_scores(vectors: Vectors, rows: Rows, query: Vectors) -> Scores:
    """Dot products in float64, rounded once; the same for a row in every batch.

    Args:
        vectors: float32 [all, width].
        rows: int64 [n].
        query: float32 [width].

    Returns:
        float32 [n].
    """
    products = vectors[rows].astype(np.float64) * query.astype(np.float64)
    scores: Scores = products.sum(axis=1).astype(np.float32)
    return scores


def tolerance(query: Vectors, *, longest: float) -> float:
    """How far a float32 dot product can be from the exact one.

    Args:
        query: float32 [width].
        longest: the greatest Euclidean length of a stored vector.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: |error| <= n u |x||y|, u = 2^-24;
    twice that here, for the rounding of both sides.
    """
    return 2.0 * len(query) * 2.0**-24 * longest * float(np.linalg.norm(query.astype(np.float64)))


def scan(
    vectors: Vectors, queries: Vectors, *, counts: Sequence[int], longest: float, rows: Mask | None = None
) -> list[Rows]:
    """For each query, rows among which its best ones surely are.

    Args:
        vectors: float32 [all, width].
        queries: float32 [batch, width].
        counts: for each query, how many of the best rows must be among those returned, with all ties at the cut.
        longest: the greatest Euclidean length of a stored vector.
        rows: bool [all]; where given, only True rows are looked at.

    Returns:
        Rows int64 for each query, in rising order, at least `counts` of them where there are as many.
    """
    found: list[Rows] = []
    for start in range(0, len(queries), BATCH):
        part = slice(start, start + BATCH)
        found += scan_batch(vectors, queries[part], counts=counts[part], longest=longest, rows=rows)
    return found


def scan_batch(
    vectors: Vectors, queries: Vectors, *, counts: Sequence[int], longest: float, rows: Mask | None
) -> list[Rows]:
    """`scan` for as many queries as fit in one product of matrices."""
    margins = [tolerance(query, longest=longest) for query in queries]
    kept = [np.empty(0, dtype=np.int64) for _ in queries]
    held = [np.empty(0, dtype=np.float32) for _ in queries]
    for start in range(0, len(vectors), CHUNK):
        chosen, scores = chunk_scores(vectors, queries, start=start, rows=rows)
        for number, (count, margin) in enumerate(zip(counts, margins, strict=True)):
            both = np.concatenate([held[number], scores[number]])
            where = np.concatenate([kept[number], chosen])
            if count < len(both):
                cut = np.partition(both, len(both) - count)[len(both) - count] - margin if count else np.inf
                staying = both >= cut
                both, where = both[staying], where[staying]
            held[number], kept[number] = both, where
    return kept


def chunk_scores(vectors: Vectors, queries: Vectors, *, start: int, rows: Mask | None) -> tuple[Rows, Scores]:
    """The looked-at rows of one chunk, int64 [n], and their scores, float32 [batch, n]."""
    block = vectors[start : start + CHUNK]
    if rows is None:
        return np.arange(start, start + len(block)), queries @ block.T
    inside = np.flatnonzero(rows[start : start + CHUNK])
    if len(inside) > DENSE * len(block):
        return start + inside, (queries @ block.T)[:, inside]
    return start + inside, queries @ block[inside].T
