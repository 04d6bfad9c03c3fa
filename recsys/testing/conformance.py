"""What every stage must hold to, told as an error that says which promise was broken."""

from collections.abc import Sequence

import numpy as np

from recsys.types import Candidates, Mask, Positions


class ConformanceError(AssertionError):
    """A stage breaks a promise of its protocol."""


def require(kept: object, broken: str) -> None:
    """Raise where a promise is not kept.

    Raises:
        ConformanceError: always with `broken`, the promise in words.
    """
    if not kept:
        raise ConformanceError(broken)


def require_list(
    found: Candidates,
    *,
    k: int,
    catalogue: int,
    allowed: Mask | None = None,
    exclude: Positions | None = None,
    what: str,
) -> None:
    """One list of candidates: types, bounds, order, and nothing that must not come back.

    Args:
        found: the list.
        k: how many were asked for.
        catalogue: how many products there are.
        allowed: bool [catalogue], the mask that was asked for.
        exclude: the positions that must not come back.
        what: says which list it is.
    """
    positions, scores = found.positions, found.scores
    require(isinstance(found.source, str) and found.source, f"{what}: source is empty")
    require(positions.dtype == np.int64, f"{what}: positions are {positions.dtype}, not int64")
    require(scores.dtype == np.float32, f"{what}: scores are {scores.dtype}, not float32")
    require(positions.shape == scores.shape == (len(positions),), f"{what}: positions and scores differ in shape")
    require(len(positions) <= max(k, 0), f"{what}: {len(positions)} candidates where {k} were asked for")
    named = len(found.brought_by) in (0, len(positions)) and all(found.brought_by)
    require(named, f"{what}: not every product names who brought it")
    require(not np.isnan(scores).any(), f"{what}: a score is NaN")
    require(((positions >= 0) & (positions < catalogue)).all(), f"{what}: a position is outside the catalogue")
    require(len(np.unique(positions)) == len(positions), f"{what}: a position stands twice")
    ordered = np.lexsort((positions, -scores))
    require(
        (ordered == np.arange(len(ordered))).all(), f"{what}: not ordered by (score descending, position ascending)"
    )
    if allowed is not None:
        require(allowed[positions].all(), f"{what}: a position that is not allowed came back")
    if exclude is not None:
        require(not np.isin(positions, exclude).any(), f"{what}: an excluded position came back")


def require_same(left: Sequence[Candidates], right: Sequence[Candidates], *, tolerance: float, what: str) -> None:
    """Two answers to the same question: the same scores within the tolerance, the same positions where scores differ.

    Args:
        left: one answer.
        right: the other.
        tolerance: how far a score may lie from its twin; positions are compared where neighbours lie further apart.
        what: says what should have made no difference.
    """
    require(len(left) == len(right), f"{what}: {len(left)} lists and {len(right)} lists")
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        place = f"{what}, list {number}"
        require(len(one.positions) == len(other.positions), f"{place}: lengths differ")
        require(np.allclose(one.scores, other.scores, rtol=0, atol=tolerance), f"{place}: scores differ")
        for row in np.flatnonzero(one.positions != other.positions):
            twins = np.abs(other.scores - one.scores[row]) <= 2 * tolerance
            same = one.positions[row] in other.positions[twins] or twins[-1]
            require(same, f"{place}: rank {row + 1} holds another product")
