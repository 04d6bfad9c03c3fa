"""Queries that nobody typed: words of a product's own title, for shops without judgments."""

import hashlib
from collections.abc import Sequence

import numpy as np

KEPT = 0.5
LEAST, MOST = 2, 6  # words of a query, as shoppers type them


def pseudo_queries(titles: Sequence[str], *, number: int, seed: int) -> tuple[list[str], list[int]]:
    """Some words of each title, in their order: a query that the product answers.

    Args:
        titles: of the products.
        number: queries of each title; of those that come out alike one is kept.
        seed: with the title, decides which words stay.

    Returns:
        The queries, and for each the row of its title. A title of no word has none.

    Source: word dropout as in Wang et al. 2021, "TSDAE" (arXiv 2104.06979), where deleting .6 of the words was best;
    query and text of one product as in the inverse cloze task of Lee et al. 2019 (arXiv 1906.00300).
    """
    queries: list[str] = []
    rows: list[int] = []
    for row, title in enumerate(titles):
        words = title.split()
        digest = hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=8).digest()
        random = np.random.default_rng((seed, int.from_bytes(digest, "little")))
        made = dict.fromkeys(shortened(words, random=random) for _ in range(number)) if words else {}
        queries += made
        rows += [row] * len(made)
    return queries, rows


def shortened(words: Sequence[str], *, random: np.random.Generator) -> str:
    """LEAST to MOST of the words, about half of them, in their order; all where there are no more than LEAST."""
    count = int(np.clip(random.binomial(len(words), KEPT), LEAST, MOST))
    kept = np.sort(random.permutation(len(words))[:count])
    return " ".join(words[place] for place in kept)
