"""Clipping of the gradients' common norm, those of tables of which a step touches few rows included."""

from collections.abc import Iterable

import torch
from torch import nn


def clip_gradients(parameters: Iterable[nn.Parameter], *, largest: float) -> None:
    """Scale all gradients so that their common norm is `largest` at most.

    Rows of a sparse gradient that stand several times in it are summed first.

    Args:
        parameters: those without a gradient are passed over.
        largest: norm, above 0.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    sparse = [parameter for parameter in trained if parameter.grad is not None and parameter.grad.is_sparse]
    if not sparse:
        torch.nn.utils.clip_grad_norm_(trained, largest)
        return
    for parameter in sparse:
        parameter.grad = None if parameter.grad is None else parameter.grad.coalesce()
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    values = [gradient.values() if gradient.is_sparse else gradient for gradient in gradients]
    share = largest / (torch.nn.utils.get_total_norm(values) + 1e-6)
    for value in values:
        value.mul_(share.clamp(max=1.0))
