"""What recommended lists are like beside being right: new, varied, of the head or the tail, each user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.catalogue import SEPARATOR, Catalogue
from recsys.engine.recommend import ByVectors, Neighbours
from recsys.metrics.lists import coverage, head_of, head_share, novelty, path_variety, personalisation, similarity
from recsys.retrieval.dense import DenseIndex
from recsys.types import Mask, Positions
from training.evaluate.compare import OWN_VECTORS
from training.evaluate.measured import ByMetric

CELLS = 1 << 23
"""Numbers of product vectors held at once: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What lists are held against.

    Attributes:
        counts: int64 [catalogue], how many users knew each product before.
        users: how many users knew any.
        head: bool [catalogue], the products that together hold half of what is known.
        paths: int32 [catalogue, levels], the category paths; see `path_numbers`.
        vectors: the model's product vectors; None where it has none.
        history: share of the head in what the measured users had, averaged over users; NaN where nobody had anything.
    """

    counts: Positions
    users: int
    head: Mask
    paths: NDArray[np.int32]
    vectors: DenseIndex | None
    history: float

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        *,
        known: tuple[Positions, int],
        histories: Sequence[Positions],
        neighbours: Sequence[Neighbours],
    ) -> "Yardsticks":
        """Read what the lists are held against.

        Args:
            catalogue: the products.
            known: how many users know each product, int64 [catalogue], and how many users there are.
            histories: for each measured user the distinct products of the history.
            neighbours: those of the model; the first with vectors gives them.
        """
        head = head_of(known[0])
        shares = [float(head[row].mean()) for row in histories if len(row)]
        return cls(
            counts=known[0],
            users=known[1],
            head=head,
            paths=path_numbers(catalogue),
            vectors=next((found.index for found in neighbours if isinstance(found, ByVectors)), None),
            history=float(np.mean(shares)) if shares else float("nan"),
        )


def list_metrics(shown: Mapping[int, Positions], *, by: Yardsticks) -> ByMetric:
    """Novelty, variety and share of the head of every list, float64 [users]; NaN where a list tells nothing.

    Args:
        shown: by cut k, int64 [users, k], -1 where a list is shorter.
        by: what the lists are held against.
    """
    found: ByMetric = {f"novelty@{k}": novelty(rows, counts=by.counts, users=by.users) for k, rows in shown.items()}
    if by.paths.shape[1]:
        found |= {f"diversity_by_category@{k}": path_variety(rows, paths=by.paths) for k, rows in shown.items()}
    if by.vectors is not None:
        found |= {f"{OWN_VECTORS}{k}": vector_variety(rows, index=by.vectors) for k, rows in shown.items()}
    return found | {f"head_share@{k}": head_share(rows, head=by.head) for k, rows in shown.items()}


def overall_metrics(shown: Mapping[int, Positions], *, by: Yardsticks) -> dict[str, float]:
    """Figures of all lists together; the share of the head in the histories stands beside that of the lists."""
    found = {f"coverage@{k}": coverage(rows, products=len(by.counts)) for k, rows in shown.items()}
    found |= {f"personalisation@{k}": personalisation(rows) for k, rows in shown.items()}
    found["head_share of the history"] = by.history
    return {name: value for name, value in found.items() if not np.isnan(value)}


def vector_variety(lists: Positions, *, index: DenseIndex) -> NDArray[np.float64]:
    """1 minus the mean cosine between a list's products, float64 [lists]; NaN for fewer than two.

    Source: as of `recsys.metrics.lists.similarity`.
    """
    found = np.full(len(lists), np.nan)
    step = max(1, CELLS // max(1, lists.shape[1] * index.width))
    for start in range(0, len(lists), step):
        part = lists[start : start + step]
        shown = np.unique(part[part >= 0])
        rows = np.where(part >= 0, np.searchsorted(shown, part), -1)
        found[start : start + step] = 1.0 - similarity(rows, vectors=index.at(shown))
    return found


def path_numbers(catalogue: Catalogue) -> NDArray[np.int32]:
    """int32 [catalogue, levels]: a number for the category path down to each level, -1 below the path's end.

    Two products have the same number where their paths are the same so far; no levels where no product has a path.
    """
    path = catalogue.column("category").cast(pl.String).str.strip_chars().replace("", None)
    parts = path.str.split(SEPARATOR).list.eval(pl.element().str.strip_chars())
    depth = parts.list.len()
    deepest = depth.max()
    levels = [
        pl.select(pl.when(depth > level).then(parts.list.head(level + 1).list.join(SEPARATOR)))
        .to_series()
        .rank("dense")
        .fill_null(0)
        .cast(pl.Int32)
        .to_numpy()
        - 1
        for level in range(deepest if isinstance(deepest, int) else 0)
    ]
    return np.stack(levels, axis=1).astype(np.int32) if levels else np.zeros((len(catalogue), 0), dtype=np.int32)
