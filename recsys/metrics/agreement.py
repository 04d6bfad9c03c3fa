"""How well predicted grades agree with the raters': quadratic weighted kappa and the cut-points that make grades."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Grades = NDArray[np.int64]


def quadratic_kappa(a: ArrayLike, b: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Cohen's kappa with quadratic weights.

    Args:
        a: integers [n], grades of one rater.
        b: integers [n], grades of the other.
        weights: float [n], how much each pair counts; equally where None.

    Returns:
        1 for full agreement, 0 for that of chance, below 0 for worse; NaN where both give one same grade throughout.

    Raises:
        ValueError: the two differ in length, or there is nothing to compare.

    Source: Cohen, "Weighted kappa", Psychological Bulletin 1968.
    """
    left, right = np.asarray(a, dtype=np.int64).reshape(-1), np.asarray(b, dtype=np.int64).reshape(-1)
    if left.shape != right.shape or len(left) == 0:
        raise ValueError(f"grades of shapes {left.shape} and {right.shape}")
    mass = np.ones(len(left)) if weights is None else np.asarray(weights, dtype=np.float64).reshape(-1)
    share = mass / mass.sum()
    # The cost is a square, so means and variances say everything that the confusion matrix would.
    x, y = left.astype(np.float64), right.astype(np.float64)
    observed = share @ (x - y) ** 2
    chance = share @ x**2 + share @ y**2 - 2.0 * (share @ x) * (share @ y)
    return float(1.0 - observed / chance) if chance > 0.0 else float("nan")


def to_grades(scores: ArrayLike, *, cuts: ArrayLike) -> Grades:
    """int64 [n]: how many cut-points each score reaches.

    Args:
        scores: float [n].
        cuts: float [grades - 1], ascending.
    """
    flat = np.asarray(scores, dtype=np.float64).reshape(-1)
    return np.searchsorted(np.asarray(cuts, dtype=np.float64), flat, side="right").astype(np.int64)


def fit_cuts(scores: ArrayLike, grades: ArrayLike, *, rounds: int = 10, places: int = 64) -> NDArray[np.float64]:
    """Cut-points under which the scores' grades agree best with the raters', by coordinate ascent on the kappa.

    It starts where the predicted grades are as frequent as the raters' and moves one cut-point at a time among
    quantiles of the scores, until a round brings nothing.

    Args:
        scores: float [n].
        grades: integers [n], 0 to the highest grade.
        rounds: at most so many rounds over the cut-points.
        places: how many quantiles are tried between two neighbours.

    Returns:
        float64 [highest grade], ascending.
    """
    flat = np.asarray(scores, dtype=np.float64).reshape(-1)
    truth = np.asarray(grades, dtype=np.int64).reshape(-1)
    shares = np.cumsum(np.bincount(truth))[:-1] / len(truth)
    cuts = np.quantile(flat, shares)
    best = quadratic_kappa(to_grades(flat, cuts=cuts), truth) if len(cuts) else 0.0
    for _ in range(rounds):
        before = best
        for number in range(len(cuts)):
            for place in candidate_places(flat, cuts, number=number, places=places):
                tried = cuts.copy()
                tried[number] = place
                kappa = quadratic_kappa(to_grades(flat, cuts=tried), truth)
                if kappa > best:
                    best, cuts = kappa, tried
        if best <= before:
            break
    return np.asarray(cuts)


def candidate_places(
    scores: NDArray[np.float64], cuts: NDArray[np.float64], *, number: int, places: int
) -> NDArray[np.float64]:
    """float64 [at most places]: quantiles of the scores between a cut-point's neighbours."""
    low = cuts[number - 1] if number else -np.inf
    high = cuts[number + 1] if number + 1 < len(cuts) else np.inf
    between = scores[(scores >= low) & (scores <= high)]
    return np.unique(np.quantile(between, np.linspace(0.0, 1.0, places))) if len(between) else between
