"""What a retriever must hold to; call `check_retriever` from the tests of your own."""

from collections.abc import Sequence

import numpy as np

from recsys.testing.conformance import require, require_list, require_same
from recsys.types import Retriever

STRANGE = (
    "",
    "   ",
    "(",
    '"',
    '55" tv',
    "AND",
    "-",
    "+",
    "title:head*",
    "((((((",
    "a:b:c",
    "\\",
    "\x00",
    "\ud800",
    "☃ 🛋️",
    "x" * 10_000,
    "sofa " * 2_000,
    "NOT NOT (",
)


def check_retriever(
    retriever: Retriever,
    *,
    queries: Sequence[str],
    catalogue: int,
    k: int = 10,
    tolerance: float = 0.0,
    seed: int = 0,
) -> None:
    """Hold a retriever to its protocol.

    Order and ties, k of 0 and beyond the catalogue, masks of every size (exactly the unfiltered list with the rest
    left out, where the retriever says that it is exact), batches against single queries, the same answer twice, and
    texts that are no sensible query.

    Args:
        retriever: the stage.
        queries: at least two, with some answers.
        catalogue: how many products it knows.
        k: how many to ask for.
        tolerance: how far scores may differ between batch sizes; 0 means the same bytes.
        seed: of the masks.

    Raises:
        ConformanceError: which promise is broken.
    """
    require(isinstance(retriever.name, str) and retriever.name, "name is empty")
    require(isinstance(retriever.exact, bool), "exact is no bool")
    require(retriever.retrieve([], k=k) == [], "no queries bring no lists")
    found = retriever.retrieve(queries, k=k)
    require(len(found) == len(queries), f"{len(queries)} queries bring {len(found)} lists")
    require(any(len(one.positions) for one in found), "no query has an answer: give queries that have")
    for query, one in zip(queries, found, strict=True):
        require_list(one, k=k, catalogue=catalogue, what=f"query {query!r}")
    require_same(found, retriever.retrieve(queries, k=k), tolerance=0.0, what="asked twice")
    singles = [retriever.retrieve([query], k=k)[0] for query in queries]
    require_same(found, singles, tolerance=tolerance, what="batch against single")
    turned = retriever.retrieve(list(reversed(queries)), k=k)[::-1]
    require_same(found, turned, tolerance=tolerance, what="order of queries")
    check_depths(retriever, queries=queries, catalogue=catalogue, tolerance=tolerance)
    check_masks(retriever, queries=queries, catalogue=catalogue, k=k, tolerance=tolerance, seed=seed)
    for text in STRANGE:
        require_list(retriever.retrieve([text], k=k)[0], k=k, catalogue=catalogue, what=f"query {text[:20]!r}")


def check_depths(retriever: Retriever, *, queries: Sequence[str], catalogue: int, tolerance: float) -> None:
    """k of 0, of more than there is, and that a shorter list is the beginning of a longer one."""
    for one in retriever.retrieve(queries, k=0):
        require(len(one.positions) == 0, "k = 0 brings candidates")
    whole = retriever.retrieve(queries, k=catalogue + 5)
    for query, one in zip(queries, whole, strict=True):
        require_list(one, k=catalogue, catalogue=catalogue, what=f"query {query!r} with k beyond the catalogue")
    if retriever.exact:
        for k in (1, 3, max(catalogue // 2, 1)):
            heads = [type(one)(one.positions[:k], one.scores[:k], one.source) for one in whole]
            require_same(retriever.retrieve(queries, k=k), heads, tolerance=tolerance, what=f"k = {k} against all")


def check_masks(
    retriever: Retriever, *, queries: Sequence[str], catalogue: int, k: int, tolerance: float, seed: int
) -> None:
    """Nothing, one product, some and all allowed."""
    generator = np.random.default_rng(seed)
    for one in retriever.retrieve(queries, k=k, allowed=np.zeros(catalogue, dtype=np.bool_)):
        require(len(one.positions) == 0, "a mask that allows nothing brings candidates")
    whole = retriever.retrieve(queries, k=catalogue) if retriever.exact else []
    for share in (1 / max(catalogue, 1), 0.01, 0.1, 0.5, 1.0):
        allowed = generator.random(catalogue) < share
        allowed[generator.integers(catalogue)] = True
        found = retriever.retrieve(queries, k=k, allowed=allowed)
        for query, one in zip(queries, found, strict=True):
            require_list(
                one, k=k, catalogue=catalogue, allowed=allowed, what=f"query {query!r} with {share:.0%} allowed"
            )
        if whole:
            kept = [allowed[one.positions] for one in whole]
            passing = [
                type(one)(one.positions[mask][:k], one.scores[mask][:k], one.source)
                for one, mask in zip(whole, kept, strict=True)
            ]
            require_same(found, passing, tolerance=tolerance, what=f"filter of {share:.0%} against all")
