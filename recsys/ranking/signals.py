"""The signals that a blender may read, and the matrix of them for one query.

A signal is a number for a query and a product: of its words (BM25 by field, words in common), of what the query means
(its category, brand, quantities ...), of the networks (cosine, cross-encoder), or of the product alone (price, what
sells). What a shop's data does not hold is NaN.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from recsys.errors import BundleError
from recsys.meaning import Understanding
from recsys.types import Positions, Scores, Signals, Vectors

Direction = Literal[-1, 0, 1]
UNDERSTANDING = "understanding"
COSINE, IMAGE, RELEVANCE, LOGIT = "dense.cosine", "image.cosine", "cross_encoder.score", "cross_encoder.logit"
SURE = 1e-6  # scores are told apart no further on the scale of logits


class Signal(NamedTuple):
    """What is known of a signal by its name.

    Attributes:
        direction: 1 where more of it never speaks against a product, -1 where it never speaks for one, 0 where both
            may be.
        version: goes up when the formula changes, so that no blender reads numbers it was not fitted on.
    """

    direction: Direction = 0
    version: int = 1


SIGNALS: Mapping[str, Signal] = {
    **{f"bm25.{field}": Signal(1) for field in ("title", "brand", "category", "attributes", "description", "all")},
    "words.title": Signal(1),
    "words.anywhere": Signal(1),
    "words.phrase": Signal(1),
    "words.asked": Signal(),
    "words.title_length": Signal(),
    "numbers.matched": Signal(1),
    "numbers.conflicting": Signal(-1),
    COSINE: Signal(1),
    IMAGE: Signal(1),
    RELEVANCE: Signal(1),
    LOGIT: Signal(1),
    **{f"{UNDERSTANDING}.{name}_match": Signal(1) for name in ("category", "brand", "colour", "attribute", "quantity")},
    "price.log": Signal(),
    "price.to_category": Signal(),
    "stock.in_stock": Signal(1),
    "popularity.share": Signal(1),
    "freshness.share": Signal(),
    "rating.mean": Signal(),
    "rating.count": Signal(),
}
"""Every signal by name; the part before the dot is its group in explanations."""


def group_of(name: str) -> str:
    """The group that a signal's contribution is counted to."""
    return name.partition(".")[0]


def definitions_digest(names: Sequence[str]) -> str:
    """The sha256 over names and versions, in this order: equal where a matrix means the same.

    Raises:
        BundleError: a name is no signal of this release.
    """
    if unknown := [name for name in names if name not in SIGNALS]:
        raise BundleError(
            f"signals {', '.join(unknown)}, which this release does not compute",
            expected=f"some of {', '.join(SIGNALS)}",
            action="train the blender again with `recsys train blender`",
        )
    return hashlib.sha256("\n".join(f"{name} {SIGNALS[name].version}" for name in names).encode()).hexdigest()


def stage_signals(
    *, cosines: Scores | None, relevance: Scores | None, images: Scores | None = None
) -> dict[str, Scores]:
    """The signals that the stages before the blender have computed anyway, by name.

    Args:
        cosines: float32 [n], of the product vectors; None without dense retrieval.
        relevance: float32 [n], the cross-encoder's scores, 0..1; None without one.
        images: float32 [n], of the pictures alone, NaN without one; None where the index has none.
    """
    found = {} if cosines is None else {COSINE: cosines}
    found |= {} if images is None else {IMAGE: images}
    if relevance is not None:
        sure = np.clip(relevance.astype(np.float64), SURE, 1 - SURE)
        found |= {RELEVANCE: relevance, LOGIT: np.log(sure / (1 - sure)).astype(np.float32)}
    return found


def signal_matrix(
    names: Sequence[str],
    sources: Iterable[Signals],
    *,
    query: Understanding,
    positions: Positions,
    known: Mapping[str, Scores],
) -> Vectors:
    """float32 [positions, names]: every signal for one query, NaN where nobody brings it.

    Args:
        names: the columns; sources that bring none of them are not asked.
        sources: who computes signals; where two bring the same, the later one counts.
        query: as the search reads it.
        positions: int64 [n], distinct.
        known: columns computed before, float32 [n], by name; they win over the sources'.
    """
    columns: dict[str, Scores] = {}
    for source in sources:
        if not set(source.names).isdisjoint(names):
            columns |= dict(zip(source.names, source.compute(query, positions).T, strict=True))
    columns |= known
    matrix = np.full((len(positions), len(names)), np.nan, dtype=np.float32)
    for place, name in enumerate(names):
        if name in columns:
            matrix[:, place] = columns[name]
    return matrix


def absent_signals(sources: Iterable[Signals], *, known: Iterable[str]) -> frozenset[str]:
    """The names of SIGNALS that nobody brings or of which the shop's data says nothing.

    Args:
        sources: who computes signals.
        known: names that the stages bring.
    """
    brought = {name for source in sources for name in source.names if name not in source.absent}
    return frozenset(SIGNALS) - brought - set(known)
