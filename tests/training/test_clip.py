"""Clipping with sparse gradients against clipping the same gradients written out."""

import pytest
import torch
from torch import nn

from training.clip import clip_gradients


def gradients(largest: float, *, sparse: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    table, layer = nn.Embedding(7, 3, sparse=sparse), nn.Linear(3, 1)
    layer(table(torch.tensor([1, 4, 4, 6]))).square().sum().mul(100).backward()
    parameters = [*table.parameters(), *layer.parameters(), nn.Parameter(torch.ones(2))]
    clip_gradients(parameters, largest=largest)
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in found]


@pytest.mark.parametrize("largest", [0.5, 1e9])
def test_sparse_gradients_count_by_their_summed_rows(largest: float) -> None:
    dense, sparse = gradients(largest, sparse=False), gradients(largest, sparse=True)
    assert len(dense) == len(sparse) == 3
    for one, other in zip(dense, sparse, strict=True):
        torch.testing.assert_close(one, other)
    total = torch.cat([gradient.flatten() for gradient in sparse]).norm()
    assert total < 0.5001 if largest == 0.5 else total > 1
