"""Which candidates may be negatives, and which of them are taken: pure functions of arrays."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.types import Mask, Positions, Scores


def window(ranked: Sequence[Positions], *, start: int, stop: int) -> Positions:
    """The candidates of several lists between two ranks: by their best rank, then list by list, each once.

    Args:
        ranked: positions by each miner, best first.
        start: how many of the best are passed over.
        stop: the last rank, from 1.
    """
    parts = [positions[start:stop] for positions in ranked]
    ranks = np.concatenate([np.arange(len(part)) for part in parts])
    together = np.concatenate(parts)[np.argsort(ranks, kind="stable")]
    _, first = np.unique(together, return_index=True)
    return together[np.sort(first)]


def below(scores: Scores, positive: float, *, absolute: float | None, relative: float | None) -> Mask:
    """True where a candidate scores so much less than the positive that it is hardly another positive.

    Args:
        scores: float32 [n].
        positive: the score of what is right.
        absolute: least distance between the two.
        relative: least distance as a share of the positive's score; a score of 0 or less gives no room to share, and
            candidates above it are refused.

    Source: Moreira et al. 2024 (arXiv 2407.15831), equations of TopK-MarginPos and TopK-PercPos.
    """
    ceiling = np.inf if absolute is None else positive - absolute
    if relative is not None:
        ceiling = min(ceiling, positive - relative * abs(positive))
    return np.asarray(scores.astype(np.float64) <= ceiling)


def drawn(count: int, *, seed: int, text: str) -> NDArray[np.int64]:
    """A random order of a query's candidates that depends on the seed, the query's text and their number alone."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return np.random.default_rng((seed, int.from_bytes(digest, "little"))).permutation(count)
