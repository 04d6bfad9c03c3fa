"""One query's ranking inside the engine, and what is done to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.types import Candidates, Positions, Scores

NONE = Candidates(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), "none")


@dataclass(frozen=True, slots=True)
class Ranked:
    """A ranking with its explanation.

    Attributes:
        positions: int64 [n].
        scores: float32 [n], in the order of (score descending, position ascending).
        parts: by stage, float32 [n], what it adds to the score; the parts of a product add up to its score.
        sources: [n], the retrieval stages that found the product, e.g. "bm25+dense".
        probabilities: float32 [n], that the product is a good match, NaN where the network did not look at it; None
            where no calibrated network did.
    """

    positions: Positions
    scores: Scores
    parts: Mapping[str, Scores]
    sources: tuple[str, ...]
    probabilities: Scores | None = None


def ordered(
    positions: Positions,
    parts: Mapping[str, Scores],
    *,
    sources: Sequence[str],
    probabilities: Scores | None = None,
) -> Ranked:
    """The ranking by the sum of the parts.

    Args:
        positions: int64 [n], distinct, in any order.
        parts: by stage, float32 [n].
        sources: [n].
        probabilities: float32 [n], see Ranked.
    """
    total: Scores = np.stack(list(parts.values())).sum(axis=0, dtype=np.float32)
    order = np.lexsort((positions, -total))
    return Ranked(
        positions=positions[order],
        scores=total[order],
        parts={name: part[order] for name, part in parts.items()},
        sources=tuple(sources[row] for row in order),
        probabilities=None if probabilities is None else probabilities[order],
    )


def alone(found: Candidates) -> Ranked:
    """The ranking of one stage by itself; its part is the whole score."""
    return Ranked(found.positions, found.scores, {found.source: found.scores}, (found.source,) * len(found.positions))


def below(found: Candidates, rest: Candidates) -> Candidates:
    """One list under the other."""
    positions = np.concatenate([found.positions, rest.positions])
    return Candidates(positions, np.concatenate([found.scores, rest.scores]), found.source)


def cut(ranked: Ranked, *, k: int) -> Ranked:
    """The k best."""
    return at(ranked, np.arange(min(k, len(ranked.positions))))


def at(ranked: Ranked, rows: NDArray[np.int64]) -> Ranked:
    """Some rows of a ranking, in their order."""
    return Ranked(
        positions=ranked.positions[rows],
        scores=ranked.scores[rows],
        parts={name: part[rows] for name, part in ranked.parts.items()},
        sources=tuple(ranked.sources[row] for row in rows),
        probabilities=None if ranked.probabilities is None else ranked.probabilities[rows],
    )


def good(ranked: Ranked, *, cutoff: float) -> Ranked:
    """The rows of which a calibrated network says that they are a good match with this probability or a higher one."""
    if ranked.probabilities is None:
        return cut(ranked, k=0)
    return at(ranked, np.flatnonzero(ranked.probabilities >= np.float32(cutoff)))


def sources_of(positions: Positions, lists: Sequence[Candidates]) -> list[str]:
    """For each position the names of the lists that hold it, joined by "+"."""
    held = [(found.source, np.isin(positions, found.positions)) for found in lists]
    return ["+".join(name for name, inside in held if inside[row]) for row in range(len(positions))]
