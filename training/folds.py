"""Parts of the queries, for learning from some and measuring on others."""

import numpy as np
from numpy.typing import NDArray

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
