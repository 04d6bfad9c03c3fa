"""The teacher's losses by hand, and against sentence-transformers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.retriever.loss import listwise_kl, margin_mse

NAN = float("nan")


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_margin_mse_by_hand() -> None:
    """Margins 2 and 3 against 1 and 1 of the teacher: the mean of 1 and 4; the missing negative counts nothing."""
    scores = torch.tensor([[5.0, 3.0, 2.0], [1.0, 9.0, 9.0]])
    teacher = torch.tensor([[4.0, 3.0, 3.0], [2.0, NAN, NAN]])
    assert margin_mse(scores, teacher=teacher).item() == pytest.approx(2.5)
    assert margin_mse(scores, teacher=teacher, weights=torch.tensor([0.5, 1.5])).item() == pytest.approx(1.25)


@pytest.mark.parametrize("negatives", [1, 3])
def test_margin_mse_is_that_of_sentence_transformers(negatives: int) -> None:
    from sentence_transformers.sentence_transformer.losses import MarginMSELoss

    queries, teacher = drawn(6, 4, seed=0), drawn(6, 1 + negatives, seed=1)
    products = [drawn(6, 4, seed=2 + number) for number in range(1 + negatives)]
    theirs = MarginMSELoss(model=None).compute_loss_from_embeddings([queries, *products], teacher)
    scores = torch.stack([(queries * one).sum(dim=1) for one in products], dim=1)
    assert margin_mse(scores, teacher=teacher).item() == pytest.approx(theirs.item(), abs=1e-5)


def test_kl_by_hand() -> None:
    """The teacher says 3/4 and 1/4, the scores 1/2 and 1/2."""
    scores = torch.tensor([[1.0, 1.0, 7.0]])
    teacher = torch.tensor([[math.log(3), 0.0, NAN]])
    expected = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    assert listwise_kl(scores, teacher=teacher).item() == pytest.approx(expected)


@given(seed=st.integers(0, 40), batch=st.integers(1, 4), negatives=st.integers(1, 3))
def test_kl_is_that_of_torch_and_least_where_both_agree(seed: int, batch: int, negatives: int) -> None:
    scores, teacher = (drawn(batch, 1 + negatives, seed=seed + number) for number in (0, 1))
    expected = torch.nn.functional.kl_div(
        scores.log_softmax(dim=1), teacher.log_softmax(dim=1), log_target=True, reduction="batchmean"
    )
    assert listwise_kl(scores, teacher=teacher).item() == pytest.approx(expected.item(), abs=1e-5)
    assert listwise_kl(teacher + 3.0, teacher=teacher).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("loss", [margin_mse, listwise_kl])
def test_without_negatives_there_is_nothing_to_learn(loss: object) -> None:
    """Neither a loss nor a gradient that is no number."""
    scores = drawn(3, 3, seed=0).requires_grad_()
    teacher = torch.full((3, 3), NAN)
    found = loss(scores, teacher=teacher)  # type: ignore[operator]
    found.backward()
    assert found.item() == 0.0
    assert scores.grad is not None
    assert scores.grad.abs().max() == 0.0


@pytest.mark.parametrize("loss", [margin_mse, listwise_kl])
def test_what_is_missing_changes_nothing(loss: object) -> None:
    """A list with padding is the list without it, in its gradients, too."""
    scores, teacher = drawn(4, 3, seed=0), drawn(4, 3, seed=1)
    grads, values = [], []
    for padding in (0, 2):
        wide = torch.cat([scores, drawn(4, padding, seed=9)], dim=1).requires_grad_()
        value = loss(wide, teacher=torch.cat([teacher, torch.full((4, padding), NAN)], dim=1))  # type: ignore[operator]
        value.backward()
        assert wide.grad is not None
        values.append(value.item())
        grads.append(wide.grad[:, :3])
        assert padding == 0 or wide.grad[:, 3:].abs().max() == 0.0
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    torch.testing.assert_close(grads[0], grads[1])
