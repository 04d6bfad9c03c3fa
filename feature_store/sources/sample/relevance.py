"""What a query means, and how well a product answers it: the truth behind judgments and clicks."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from feature_store.sources.sample import truth, words
from feature_store.sources.sample.draws import Keys
from feature_store.sources.sample.world import ProductCodes

MAX_GRADE = 3
KIND_ROWS = {kind.noun: row for row, kind in enumerate(words.KINDS)}


@dataclass(frozen=True, slots=True)
class QueryCodes:
    """What queries ask for; every array is int64 [queries] and -1 asks for nothing.

    Attributes:
        kind: row of words.KINDS, always given.
        family: row of truth.COLOUR_FAMILIES.
        material: 0 to 3 in the kind's materials.
        brand: row of words.BRANDS.
        size: 0 to 3 in the kind's sizes.
        tier: 0 cheap, 2 dear.
    """

    kind: Keys
    family: Keys
    material: Keys
    brand: Keys
    size: Keys
    tier: Keys

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Keys) -> "QueryCodes":
        """The codes of the given rows, in any shape."""
        return QueryCodes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def pair_table(pairs: tuple[tuple[int, int], ...], *, count: int) -> NDArray[np.bool_]:
    """bool [count, count], True for each pair, both ways."""
    table = np.zeros((count, count), dtype=bool)
    for one, other in pairs:
        table[one, other] = table[other, one] = True
    return table


def lookalikes() -> NDArray[np.bool_]:
    """bool [kinds, kinds], True where two kinds are called by a common word ("sofa", "sofa cover")."""
    called = [set(" ".join((kind.noun, *truth.SYNONYMS[kind.noun])).split()) for kind in words.KINDS]
    return np.array([[bool(one & other) and one is not other for other in called] for one in called])


LOOKALIKES = lookalikes()
NEAR = pair_table(truth.NEAR_COLOURS, count=len(truth.COLOUR_FAMILIES))
SIBLINGS = pair_table(
    tuple((KIND_ROWS[one], KIND_ROWS[other]) for one, other in truth.SIBLINGS), count=len(words.KINDS)
)


def grades(queries: QueryCodes, products: ProductCodes) -> Keys:
    """How well products answer queries, 0 to 3.

    3: the kind and every wish. 2: the kind, with a near colour or one of two wishes. 1: the kind alone, or another
    kind that can stand in and meets every wish. 0: the rest, whatever words they share.

    Args:
        queries: codes of a shape that broadcasts with that of `products`.
        products: codes.
    """
    wishes, misses = counted(queries, products)
    own = np.where(misses == 0, 3, np.where(misses <= 0.5 * wishes, 2, 1))
    stand_in = SIBLINGS[queries.kind, products.kind] & (misses == 0)
    return np.asarray(np.where(queries.kind == products.kind, own, np.where(stand_in, 1, 0)), dtype=np.int64)


def counted(queries: QueryCodes, products: ProductCodes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many wishes each query has, and how many of them each product misses; a near colour misses half."""
    family = np.where(products.colour >= 0, products.colour // 4, -1)
    colour = np.where(family == queries.family, 0.0, np.where(NEAR[family, queries.family], 0.5, 1.0))
    parts = [
        (queries.family, colour),
        (queries.material, (products.material != queries.material).astype(np.float64)),
        (queries.brand, (products.brand != queries.brand).astype(np.float64)),
        (queries.size, (products.size != queries.size).astype(np.float64)),
        (queries.tier, (products.tier != queries.tier).astype(np.float64)),
    ]
    wishes = np.sum([(wish >= 0).astype(np.float64) for wish, _ in parts], axis=0)
    missed = np.sum([np.where(wish >= 0, miss, 0.0) for wish, miss in parts], axis=0)
    return wishes + 0.0 * missed, missed
