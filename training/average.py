"""An exponential moving average of the weights while they are learned."""

from collections.abc import Sequence

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


def moving_average(decay: float, *, device: torch.device) -> WeightAveraging:
    """The callback that keeps the average, validates it and puts it into the module at the end.

    Args:
        decay: what is left of the average after a step, 0..1; less in the first steps, see `step_decay`.
        device: where the average is kept.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor) -> None:
        share = 1 - step_decay(decay, updates=int(updates))
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, share)

    # buffers are copied: some count, and a moving average of whole numbers is rounded down
    return WeightAveraging(device=device, use_buffers=False, multi_avg_fn=update)


def step_decay(decay: float, *, updates: int) -> float:
    """The decay of one step: low at first, so that a short run forgets the weights it began with.

    Args:
        decay: the highest.
        updates: steps that are averaged so far, 1 or more.

    Source: TensorFlow's `tf.train.ExponentialMovingAverage` with `num_updates`.
    """
    return min(decay, (1 + updates) / (10 + updates))
