"""How alike the products of a list are, told a row at a time: a table of all pairs would grow with their square."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recsys.types import Positions, Scores, Vectors

HELD = 8192
"""Products whose vectors are held while a list is shaped; of more they are read again for each row."""
Row = Callable[[int], Scores]
"""Gives for one place of a list float32 [n], how alike its product is to each of the list's, 1 for the same."""
Likeness = Callable[[Positions], Row]
"""Gives the rows of n products; memory grows with n alone."""


def by_vectors(vectors: Callable[[Positions], Vectors]) -> Likeness:
    """Likeness by the cosine of vectors, 0 beside a vector of zeros.

    Args:
        vectors: gives products' vectors, float32 [n, width].
    """

    def unit(positions: Positions) -> NDArray[np.float64]:
        own = vectors(positions).astype(np.float64)
        return np.asarray(own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), np.finfo(np.float32).tiny))

    def alike(positions: Positions) -> Row:
        if len(positions) <= HELD:
            held = unit(positions)
            return lambda place: np.asarray(held @ held[place], dtype=np.float32)
        parts = [positions[start : start + HELD] for start in range(0, len(positions), HELD)]

        def row(place: int) -> Scores:
            own = unit(positions[place : place + 1])[0]
            return np.concatenate([unit(part) @ own for part in parts]).astype(np.float32)

        return row

    return alike


def by_category(categories: NDArray[np.int64]) -> Likeness:
    """Likeness 1 for products of one category, 0 for others and for products without.

    Args:
        categories: int64 [catalogue], -1 where unknown.
    """

    def alike(positions: Positions) -> Row:
        own = categories[positions]
        return lambda place: np.asarray((own == own[place]) & (own >= 0), dtype=np.float32)

    return alike
