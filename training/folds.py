"""Parts of the queries, for learning from some and measuring on others."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.text.normalise import normalise

Numbers = NDArray[np.int64]


def query_folds(queries: Numbers, *, folds: int, seed: int) -> Numbers:
    """int64 [pairs]: the fold of each pair, from 0; a query's pairs share one.

    Args:
        queries: int64 [pairs], numbers of the queries, every number from 0 on at least once.
        folds: how many, as many as queries where there are fewer; their numbers of queries differ by one at most.
        seed: decides which queries go together.
    """
    count = int(queries.max(initial=-1)) + 1
    fold = np.empty(count, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % max(1, min(folds, count))
    return fold[queries]


def text_folds(texts: Sequence[str], *, folds: int, seed: int) -> Numbers:
    """int64 [texts]: the fold of each query text; those of one spelling share one. Arguments as of `query_folds`."""
    spellings = np.unique([normalise(text) for text in texts], return_inverse=True)[1].astype(np.int64)
    return query_folds(spellings, folds=folds, seed=seed)
