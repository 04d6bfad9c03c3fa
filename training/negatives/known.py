"""What must never be a negative: every product known to be right for a query, and its twins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Known:
    """Pairs of a query and a product that are right, each product standing for all its twins.

    Attributes:
        codes: int64 [pairs], query * twins + twin, ascending, each once.
        twins: how many different products there are.
    """

    codes: Integers
    twins: int

    @classmethod
    def of(cls, query: Integers, twin: Integers, *, twins: int) -> "Known":
        """From pairs in any order, int64 [pairs] each."""
        return cls(np.unique(query * twins + twin), twins)

    def holds(self, query: Integers, twin: Integers) -> NDArray[np.bool_]:
        """True where the product, or a twin of it, is right for the query; the shapes are broadcast."""
        codes = np.asarray(query) * self.twins + np.asarray(twin)
        if not len(self.codes):
            return np.zeros(codes.shape, dtype=np.bool_)
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.asarray(self.codes[place] == codes)

    def among(self, query: int) -> Integers:
        """int64 [n], ascending: the twins that are right for one query."""
        start, stop = np.searchsorted(self.codes, [query * self.twins, (query + 1) * self.twins])
        return self.codes[start:stop] - query * self.twins
