"""Which part of the category tree a query asks for: multinomial naive Bayes over the words of the products.

P(path | words) ~ (P(path) · Π P(word | path)) ** (1 / temperature), with the words and pairs of words of titles, brands
and of the categories' own names. A path's chance goes to every node above it, so the tree's levels always agree. The
temperature undoes the independence that Bayes assumes, the more so the more words there are: for each length it is
fitted on queries made of products' own words, each product left out of what it is asked of.

Source: McCallum and Nigam, "A comparison of event models for naive Bayes text classification", AAAI 1998 workshop.
Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2 (temperature).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.meaning import CategoryShare
from recsys.understanding.attributes import prefixes

SMOOTHING = 0.05
LEAST, MOST = 0.01, 40  # a node less likely is not listed, nor are more nodes
MODEL, TREE = "categories.npz", "tree.parquet"
ARRAYS = ("keys", "offsets", "classes", "counts", "totals", "products", "temperatures")
Keys = NDArray[np.uint64]
Ints = NDArray[np.int32]
Reals = NDArray[np.float32]


def features(row: Sequence[str]) -> list[str]:
    """Words and pairs of neighbours, each once."""
    return list(dict.fromkeys([*row, *(f"{one} {other}" for one, other in pairwise(row))]))


def keys_of(found: Sequence[str]) -> Keys:
    """uint64 [features]: 64 bits of each one's hash."""
    digests = b"".join(blake2b(one.encode("utf-8", "replace"), digest_size=8).digest() for one in found)
    return np.frombuffer(digests, dtype="<u8")


@dataclass(frozen=True, slots=True)
class Tree:
    """The category tree.

    Attributes:
        paths: every node, sorted, so that a node stands before those below it.
        leaves: int32 [classes], the nodes at which products stand.
        above: int32 [pairs], for each class its node and those above it, the root first.
        offsets: int64 [classes + 1], where each class's pairs begin.
    """

    paths: tuple[str, ...]
    leaves: Ints
    above: Ints
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, categories: Sequence[str]) -> Self:
        """The tree of the paths at which products stand."""
        own = sorted({prefixes(path)[-1] for path in categories if prefixes(path)})
        paths = tuple(sorted({node for path in own for node in prefixes(path)}))
        number = {path: place for place, path in enumerate(paths)}
        rows = [[number[node] for node in prefixes(path)] for path in own]
        return cls(
            paths,
            np.array([row[-1] for row in rows], dtype=np.int32),
            np.array([node for row in rows for node in row], dtype=np.int32),
            np.cumsum([0, *map(len, rows)], dtype=np.int64),
        )

    def line(self, leaf: int) -> Ints:
        """int32 [depth]: a class's node and those above it, the root first."""
        return self.above[self.offsets[leaf] : self.offsets[leaf + 1]]

    def spread(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [nodes] from float64 [classes]: each class's chance given to its node and all above it."""
        weights = np.repeat(chances, np.diff(self.offsets))
        return np.bincount(self.above, weights=weights, minlength=len(self.paths)).astype(np.float64)


@dataclass(frozen=True)
class CategoryClassifier:
    """Chances of the nodes of a tree.

    Attributes:
        tree: the tree.
        keys: uint64 [features], sorted.
        offsets: int64 [features + 1]; feature i owns offsets[i] to offsets[i + 1] of the next two.
        classes: int32 [counts].
        counts: float32 [counts], how often the feature stands with the class.
        totals: float64 [classes], the features of each class.
        products: float64 [classes], products of each class, above 0.
        temperatures: float64 [lengths], above 0, for queries of 1, 2, ... words; the last is for all longer ones.
    """

    tree: Tree
    keys: Keys
    offsets: NDArray[np.int64]
    classes: Ints
    counts: Reals
    totals: NDArray[np.float64]
    products: NDArray[np.float64]
    temperatures: NDArray[np.float64]

    def chances(self, row: Sequence[str]) -> NDArray[np.float64] | None:
        """float64 [nodes]: the chance of each node; None where no word is known."""
        places = self.find(features(row))
        if not len(places):
            return None
        temperature = self.temperatures[min(len(row), len(self.temperatures)) - 1]
        return self.tree.spread(softmax((self.scores(places) + np.log(self.products)) / temperature))

    def find(self, found: Sequence[str]) -> NDArray[np.int64]:
        """int64 [known features]: their places."""
        asked = keys_of(found)
        if not len(asked) or not len(self.keys):
            return np.zeros(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        return np.asarray(places[self.keys[places] == asked], dtype=np.int64)

    def scores(
        self, places: NDArray[np.int64], *, but: int | None = None, product: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """float64 [classes]: the logarithm of P(features | class), up to a constant.

        Args:
            places: of the features.
            but: a class of which one product is left out.
            product: the places of the features of that product.
        """
        starts, ends = self.offsets[places], self.offsets[places + 1]
        rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        classes, counts, totals = self.classes[rows], self.counts[rows].astype(np.float64), self.totals
        if but is not None and product is not None:
            own = np.repeat(np.isin(places, product), ends - starts) & (classes == but)
            counts = counts - own
            totals = totals.copy()
            totals[but] -= len(product)
        gains = np.log1p(counts / SMOOTHING)
        spread = np.log(totals + SMOOTHING * len(self.keys))
        summed = np.bincount(classes, weights=gains, minlength=len(totals))
        return np.asarray(summed - len(places) * spread, dtype=np.float64)

    def shares(self, row: Sequence[str]) -> tuple[CategoryShare, ...]:
        """The likeliest nodes for the words of a query, likelier first, then by path."""
        chances = self.chances(row)
        if chances is None:
            return ()
        nodes = np.flatnonzero(chances >= LEAST)
        order = nodes[np.lexsort((nodes, -chances[nodes]))][:MOST]
        return tuple(CategoryShare(self.tree.paths[node], min(float(chances[node]), 1.0), int(node)) for node in order)

    def save(self, folder: Path) -> None:
        """Write categories.npz and tree.parquet."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        np.savez(folder / MODEL, allow_pickle=False, **arrays)
        classes = np.zeros(len(self.tree.paths), dtype=np.bool_)
        classes[self.tree.leaves] = True
        pl.DataFrame({"path": self.tree.paths, "products": classes}).write_parquet(folder / TREE)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The classifier of a folder; the files' own errors pass."""
        table = pl.read_parquet(folder / TREE)
        tree = Tree.of(table.filter(pl.col("products"))["path"].to_list())
        with np.load(folder / MODEL, allow_pickle=False) as stored:
            return cls(tree, **{name: stored[name] for name in ARRAYS})


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chances that sum to 1."""
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())
