"""What a validation gathers, by hand."""

import numpy as np
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from training.scored import Scored


def test_a_pair_scored_twice_has_its_mean() -> None:
    """As the last batch of two processes does, which is filled up with pairs of the first."""
    scored = Scored(4, device=torch.device("cpu"))
    scored.add(torch.tensor([2, 0]), torch.tensor([0.5, 1.0]))
    scored.add(torch.tensor([1, 2]), torch.tensor([-3.0, 1.5]))
    found = scored.means(SingleDeviceStrategy(device=torch.device("cpu")))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1.0, -3.0, 1.0, np.nan])
