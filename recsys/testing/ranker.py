"""What a ranker must hold to; call `check_ranker` from the tests of your own."""

from collections.abc import Sequence

import numpy as np

from recsys.testing.conformance import require
from recsys.types import Ranker, Scores

STRANGE = ("", " ", "☃ 🛋️", "\x00", "\ud800", "x" * 10_000, "sofa " * 2_000)


def check_ranker(
    ranker: Ranker,
    *,
    queries: Sequence[str],
    texts: Sequence[str],
    tolerance: float = 1e-5,
    low: float = -np.inf,
    high: float = np.inf,
) -> None:
    """Hold a ranker to its protocol.

    Types and range, that a pair's score does not hang on its company (batch, order, twins), and strange texts.

    Args:
        ranker: the stage.
        queries: at least two, of different lengths.
        texts: at least two, of different lengths.
        tolerance: how far a pair's score may differ between batches.
        low: the lowest score there may be.
        high: the highest score there may be.

    Raises:
        ConformanceError: which promise is broken.
    """
    require(isinstance(ranker.name, str) and ranker.name, "name is empty")
    left = [query for query in queries for _ in texts]
    right = [text for _ in queries for text in texts]
    found = ranker.score(left, right)
    require_scores(found, pairs=len(left), low=low, high=high)
    require_scores(ranker.score([], []), pairs=0, low=low, high=high)
    require((found == ranker.score(left, right)).all(), "asked twice: scores differ")
    singles = [ranker.score([query], [text])[0] for query, text in zip(left, right, strict=True)]
    require(np.allclose(found, singles, rtol=0, atol=tolerance), "batch against single: scores differ")
    order = np.random.default_rng(0).permutation(len(left))
    shuffled = ranker.score([left[row] for row in order], [right[row] for row in order])
    require(np.allclose(found[order], shuffled, rtol=0, atol=tolerance), "order of the pairs: scores differ")
    twins = ranker.score(left[:1] * 33, right[:1] * 33)
    require(np.allclose(twins, found[0], rtol=0, atol=tolerance), "the same pair many times: scores differ")
    for text in STRANGE:
        require_scores(ranker.score([queries[0], text], [text, texts[0]]), pairs=2, low=low, high=high)


def require_scores(found: Scores, *, pairs: int, low: float, high: float) -> None:
    """One float32 score for each pair, within the range."""
    require(found.dtype == np.float32, f"scores are {found.dtype}, not float32")
    require(found.shape == (pairs,), f"{pairs} pairs bring scores of shape {found.shape}")
    require(np.isfinite(found).all(), "a score is not finite")
    require(((found >= low) & (found <= high)).all(), f"a score lies outside {low} to {high}")
