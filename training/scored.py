"""The scores of a validation's pairs, gathered over its batches and processes."""

import numpy as np
import torch
from lightning.pytorch.strategies import Strategy
from numpy.typing import NDArray
from torch import Tensor


class Scored:
    """Sum and count of each pair's scores, so that one that two processes scored has its mean.

    Args:
        pairs: how many there are.
        device: where they are kept.
    """

    def __init__(self, pairs: int, *, device: torch.device) -> None:
        self.sums = torch.zeros((2, pairs), dtype=torch.float64, device=device)

    def add(self, rows: Tensor, scores: Tensor) -> None:
        """Keep a batch's scores, float [batch], of the pairs numbered `rows`, int64 [batch]."""
        self.sums[0, rows] += scores.double()
        self.sums[1, rows] += 1

    def means(self, strategy: Strategy) -> NDArray[np.float64]:
        """float64 [pairs], the same in all processes, each of which has to ask; NaN where nobody scored a pair."""
        total, count = strategy.reduce(self.sums, reduce_op="sum")
        found: NDArray[np.float64] = (total / count).cpu().numpy()
        return found
