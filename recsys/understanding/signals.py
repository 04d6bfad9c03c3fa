"""Signals for ranking: how products agree with what a query was understood to ask for.

Each is float32 [positions]. NaN says that the query asks nothing of the kind, or, for categories, that the product has
none; rankers by trees take it as it is, a weighted sum counts it as 0.
"""

from collections.abc import Sequence

import numpy as np

from recsys.meaning import Quantity, Span, SpanKind, Understanding
from recsys.types import Positions, Scores
from recsys.understanding.categories import Ints, Tree
from recsys.understanding.traits import Traits, owned
from recsys.understanding.units import CODES, TOLERANCE

NAMES = ("category_match", "brand_match", "colour_match", "attribute_match", "quantity_match")


def category_match(understanding: Understanding, positions: Positions, *, traits: Traits, tree: Tree | None) -> Scores:
    """0 to 1: the chance of the product's category, averaged over its levels, so that a neighbour's counts in part."""
    found = np.full(len(positions), np.nan, dtype=np.float32)
    if tree is None or not understanding.categories:
        return found
    chances = np.zeros(len(tree.paths))
    for one in understanding.categories:
        chances[one.node] = one.probability
    classes = traits.classes[positions]
    placed = classes >= 0
    rows, places = owned(tree.offsets, classes[placed].astype(np.int64))
    sums = np.bincount(rows, weights=chances[tree.above[places]], minlength=int(placed.sum()))
    found[placed] = sums / np.bincount(rows, minlength=int(placed.sum()))
    return found


def span_match(understanding: Understanding, positions: Positions, *, kind: SpanKind, traits: Traits) -> Scores:
    """-1 to 1, averaged over the spans of a kind: the span's confidence where the product is what it names.

    Minus the confidence where the product is something else of the same kind and name, 0 where it does not tell.
    """
    spans = understanding.of(kind)
    if not spans:
        return np.full(len(positions), np.nan, dtype=np.float32)
    rows, places = owned(traits.fact_offsets, positions)
    facts = traits.facts[places]
    groups = traits.groups[facts]
    return mean([agreement(span, rows, facts, groups, traits=traits, count=len(positions)) for span in spans])


def agreement(
    span: Span,
    rows: Positions,
    facts: Ints,
    groups: Ints,
    *,
    traits: Traits,
    count: int,
) -> Scores:
    """float32 [count]: one span's confidence, with the sign of what the products say."""
    told = np.zeros(count, dtype=np.bool_)
    said = np.zeros(count, dtype=np.bool_)
    told[rows[groups == traits.groups[span.facts[0]]]] = True
    said[rows[np.isin(facts, span.facts)]] = True
    return np.float32(span.confidence) * (said.astype(np.float32) - (told & ~said))


def quantity_match(understanding: Understanding, positions: Positions, *, traits: Traits) -> Scores:
    """-1 to 1, averaged over the quantities asked for: 1 where the product has it, to 2 %.

    -1 where it has others of the same dimension only, 0 where it has none of it.
    """
    if not understanding.quantities:
        return np.full(len(positions), np.nan, dtype=np.float32)
    rows, places = owned(traits.quantity_offsets, positions)
    units, values = traits.units[places], traits.values[places]

    def compared(asked: Quantity) -> Scores:
        told = np.zeros(len(positions), dtype=np.bool_)
        said = np.zeros(len(positions), dtype=np.bool_)
        same = units == CODES[asked.unit]
        told[rows[same]] = True
        said[rows[same & (np.abs(values - asked.value) <= TOLERANCE * asked.value)]] = True
        return said.astype(np.float32) - (told & ~said)

    return mean([compared(asked) for asked in understanding.quantities])


def mean(parts: Sequence[Scores]) -> Scores:
    """float32 [positions]: the average of several signals."""
    return np.asarray(np.mean(parts, axis=0, dtype=np.float32))


def signals(
    understanding: Understanding, positions: Positions, *, traits: Traits, tree: Tree | None
) -> dict[str, Scores]:
    """Every signal by its name, in the order of NAMES.

    Args:
        understanding: of the query.
        positions: int64 [n], catalogue positions.
        traits: of the catalogue's products.
        tree: the catalogue's category tree; None where it has none.
    """
    kinds = (SpanKind.BRAND, SpanKind.COLOUR, SpanKind.ATTRIBUTE)
    found = [
        category_match(understanding, positions, traits=traits, tree=tree),
        *(span_match(understanding, positions, kind=kind, traits=traits) for kind in kinds),
        quantity_match(understanding, positions, traits=traits),
    ]
    return dict(zip(NAMES, found, strict=True))
