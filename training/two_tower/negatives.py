"""Shared negatives of the sampled softmax, with the correction for how often each is drawn."""

import numpy as np
from numpy.typing import NDArray


class NegativeSampler:
    """Draws shared negatives from a mixture of uniform and popularity.

    Args:
        counts: [products], at least 0, how often each product of the vocabulary is a target; not all 0.
        uniform: share of the uniform part, above 0 to 1.
        power: exponent that flattens popularity, 0 to 1.
    """

    def __init__(self, counts: NDArray[np.int64] | NDArray[np.float64], *, uniform: float, power: float = 1.0) -> None:
        self.shares = np.asarray(counts, dtype=np.float64) / np.sum(counts)
        popular = np.asarray(counts, dtype=np.float64) ** power * (counts > 0)
        popular = popular / popular.sum()
        self.probabilities = uniform / len(counts) + (1.0 - uniform) * popular
        self._edges = np.cumsum(self.probabilities)

    def draw(self, generator: np.random.Generator, *, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """`count` draws with replacement.

        Returns:
            int64 [count] products by place in the vocabulary, and float32 [count] log(count x probability), the
            correction that makes the sampled softmax an unbiased estimate of the full normaliser.
            Source: Bengio and Senecal, "Adaptive importance sampling" (2008); Yi et al., "Sampling-bias-corrected
            neural modeling" (RecSys 2019).
        """
        draws = np.searchsorted(self._edges, generator.random(count) * self._edges[-1], side="right")
        draws = np.minimum(draws, len(self._edges) - 1)
        return draws, np.log(count * self.probabilities[draws]).astype(np.float32)

    def beside(
        self, draws: NDArray[np.int64], *, targets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The draws and a step's own targets together.

        A product is expected count x probability times among the draws and targets x its share of all targets times
        among the targets; divided by the sum of both, the normaliser stays unbiased.

        Args:
            draws: int64 [n], from `draw`.
            targets: int64 [t], by place in the vocabulary.

        Returns:
            int64 [n + t] products, and float32 [n + t], the log of how often each is expected.
            Source: the balance heuristic of Veach and Guibas, "Optimally combining sampling techniques" (SIGGRAPH
            1995); Yang et al., "Mixed negative sampling for learning two-tower neural networks" (WWW 2020).
        """
        both = np.concatenate([draws, targets])
        expected = len(draws) * self.probabilities[both] + len(targets) * self.shares[both]
        return both, np.log(expected).astype(np.float32)
