"""Losses by hand, by plain loops, and against sentence-transformers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.losses import graded_cross_entropy, in_batch_softmax


def unit(*shape: int, seed: int) -> Tensor:
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1)


def test_graded_cross_entropy_by_hand() -> None:
    """sigmoid(0) = 1/2; sigmoid(log 3) = 3/4."""
    logits = torch.tensor([0.0, math.log(3)])
    grades = torch.tensor([1.0, 1 / 3])
    first = math.log(2)
    second = -(1 / 3 * math.log(3 / 4) + 2 / 3 * math.log(1 / 4))
    assert graded_cross_entropy(logits, grades).item() == pytest.approx((first + second) / 2)
    weighted = graded_cross_entropy(logits, grades, torch.tensor([0.5, 1.5]))
    assert weighted.item() == pytest.approx((0.5 * first + 1.5 * second) / 2)


@given(grade=st.floats(0.05, 0.95))
def test_its_least_value_stands_where_the_sigmoid_is_the_grade(grade: float) -> None:
    logit = torch.tensor([math.log(grade / (1 - grade))], dtype=torch.float64, requires_grad=True)
    graded_cross_entropy(logit, torch.tensor([grade], dtype=torch.float64)).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_in_batch_softmax_is_that_of_sentence_transformers() -> None:
    """MultipleNegativesRankingLoss where every query has one positive."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    queries, products = unit(6, 4, seed=0).float(), unit(6, 4, seed=1).float()
    theirs = MultipleNegativesRankingLoss(model=None, scale=20.0).compute_loss_from_embeddings(
        [queries, products], None
    )
    ours = in_batch_softmax(queries, products, torch.arange(6), torch.eye(6, dtype=torch.bool))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


@given(seed=st.integers(0, 50), batch=st.integers(1, 5), extra=st.integers(0, 4))
def test_in_batch_softmax_against_a_loop(seed: int, batch: int, extra: int) -> None:
    """Further positives leave the denominator, weights count, products may outnumber queries."""
    queries, products = unit(batch, 3, seed=seed), unit(batch + extra, 3, seed=seed + 1)
    generator = torch.Generator().manual_seed(seed)
    own = torch.randperm(batch + extra, generator=generator)[:batch]
    positive = torch.rand(batch, batch + extra, generator=generator) < 0.3
    weights = torch.rand(batch, generator=generator, dtype=torch.float64) + 0.5
    expected = 0.0
    for row in range(batch):
        logits = [5.0 * float(queries[row] @ product) for product in products]
        counted = [logit for column, logit in enumerate(logits) if column == own[row] or not positive[row, column]]
        total = math.log(sum(math.exp(logit) for logit in counted))
        expected += float(weights[row]) * (total - logits[own[row]]) / batch
    found = in_batch_softmax(queries, products, own, positive, weights=weights, scale=5.0)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_a_further_positive_is_not_pushed_away() -> None:
    products = unit(3, 4, seed=1).requires_grad_()
    positive = torch.tensor([[True, True, False]])
    in_batch_softmax(unit(1, 4, seed=0), products, torch.tensor([0]), positive).backward()
    assert products.grad is not None
    assert products.grad[1].abs().max() == 0.0
    assert products.grad[2].abs().max() > 0.0
