"""Adversarial word vectors and R-Drop: values by hand, and that they change nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from feature_store.snapshot import Snapshot
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.relevance.learn import Learned, learn, new_network
from training.relevance.module import Pairs, RelevanceModule, collate, mean_ndcg
from training.relevance.regularise import (
    bernoulli_divergence,
    fast_gradient,
    moved,
    regularised_loss,
    softmax_divergence,
    watched,
)

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


class Tiny(nn.Module):
    """Scores are sums of word vectors times a direction of each width."""

    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 2)
        self.words.weight.requires_grad = not frozen
        self.direction = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return ((self.words(ids) * mask[..., None]).sum(dim=1) * self.direction).sum(dim=1)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_step_has_its_length_along_the_gradient_of_each_row(frozen: bool) -> None:
    """The score's gradient is (3, 4) at each of the two words: (3, 4) / 5 / sqrt(2) of the step at each."""
    network = Tiny(frozen=frozen)
    ids, mask = torch.tensor([[1, 2, 0], [3, 4, 0]]), torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    with watched(network.words) as seen:
        loss = (network(ids, mask) * torch.tensor([1e-30, -7.0])).sum()
    step = fast_gradient(loss, vectors=seen[0], length=0.5)
    one = 0.5 / 5 / 2**0.5 * torch.tensor([3.0, 4.0])
    assert step[0] == pytest.approx(torch.stack([one, one, 0 * one]), rel=1e-5)
    assert step[1] == pytest.approx(torch.stack([-one, -one, 0 * one]), rel=1e-5)
    assert step.norm(dim=(1, 2)) == pytest.approx(torch.tensor([0.5, 0.5]))
    assert not step.requires_grad
    plain = network(ids, mask)
    with moved(network.words, by=step):
        higher = network(ids, mask)
    assert (higher - plain).detach() == pytest.approx(torch.tensor([0.5, -0.5]) * 5 * 2**0.5, rel=1e-5)
    assert torch.equal(network(ids, mask), plain)


def test_a_row_without_gradient_is_not_moved() -> None:
    network = Tiny(frozen=True)
    with watched(network.words) as seen:
        scores = network(torch.tensor([[1], [2]]), torch.ones(2, 1))
    step = fast_gradient(scores[0], vectors=seen[0], length=1.0)
    assert step[1].tolist() == [[0.0, 0.0]]
    assert step[0].norm().item() == pytest.approx(1.0)


def test_the_adversarial_loss_by_hand() -> None:
    """Loss s: the moved pass adds 5 sqrt(2) times the step to it, and the mean of both is taken."""
    network = Tiny(frozen=True)
    ids, mask = torch.tensor([[1, 2]]), torch.ones(1, 2)
    plain = network(ids, mask).sum().item()
    found = regularised_loss(
        lambda: network(ids, mask),
        loss=torch.sum,
        divergence=lambda first, second: first.sum() * 0,
        vectors=network.words,
        adversarial=0.1,
        rdrop=0.0,
    )
    assert found.item() == pytest.approx(plain + 0.1 * 5 * 2**0.5 / 2, rel=1e-5)
    found.backward()
    assert network.words.weight.grad is None
    assert network.direction.grad is not None
    own = network.words(ids)[0].sum(dim=0)
    along = torch.tensor([3.0, 4.0]) / 5 * 2**0.5 * 0.1
    assert network.direction.grad == pytest.approx(own + along / 2, rel=1e-4)
    assert not network.words._forward_hooks


def test_r_drop_by_hand() -> None:
    """Two passes that give 0 and 2: mean loss 1, and half of the weight times their divergence."""
    passes = iter([torch.tensor([0.0]), torch.tensor([2.0])])
    found = regularised_loss(
        lambda: next(passes),
        loss=torch.sum,
        divergence=bernoulli_divergence,
        vectors=nn.Identity(),
        adversarial=0.0,
        rdrop=3.0,
    )
    p = 1 / (1 + np.exp(-2))
    kl = (p * np.log(p / 0.5) + (1 - p) * np.log((1 - p) / 0.5) + 0.5 * np.log(0.25 / (p * (1 - p)))) / 2
    assert found.item() == pytest.approx(1 + 1.5 * kl, rel=1e-6)


@given(first=logits, second=logits)
def test_bernoulli_divergence_is_both_divergences(first: list[float], second: list[float]) -> None:
    one, other = (
        torch.tensor(values[: min(len(first), len(second))], dtype=torch.float64) for values in (first, second)
    )
    p, q = torch.distributions.Bernoulli(logits=one), torch.distributions.Bernoulli(logits=other)
    wanted = (torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)).mean() / 2
    found = bernoulli_divergence(one, other)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6, abs=1e-9)
    assert found.item() == bernoulli_divergence(other, one).item() >= 0
    assert bernoulli_divergence(one, one).item() == 0


def test_softmax_divergence_is_that_of_each_query() -> None:
    first, second = torch.randn(2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = torch.tensor([1, 0, 1, 0, 1, -1, 2])
    grades = torch.tensor([1.0, 0, 0, 2, 1, 3, 1])
    wanted = []
    for group in (0, 1):  # the third query has one row, which orders nothing
        p, q = (torch.distributions.Categorical(logits=one[groups == group]) for one in (first, second))
        wanted.append(torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p))
    found = softmax_divergence(first, second, grades=grades, groups=groups)
    assert found.item() == pytest.approx(torch.stack(wanted).mean().item() / 2)
    moved_up = softmax_divergence(first + 5, second - 3, grades=grades, groups=groups)
    assert moved_up.item() == pytest.approx(found.item())
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    turned = softmax_divergence(first[order], second[order], grades=grades[order], groups=groups[order])
    assert turned.item() == pytest.approx(found.item())
    double = softmax_divergence(first, second, grades=grades, groups=groups, weights=torch.full((7,), 2.0))
    assert double.item() == pytest.approx(2 * found.item())


def pairs_and_module(snapshot: Snapshot, backbone: Path, **values: object) -> tuple[dict[str, Tensor], RelevanceModule]:
    """A batch of all training pairs and a module that learns from it, without dropout."""
    given = {"max_length": 24, "dropout": 0.0, "precision": "fp32", "batch_size": 16} | values
    config = RelevanceConfig.model_validate(given)
    tokenizer = TextTokenizer.load(backbone)
    pairs = read_pairs(snapshot, "train", tokenizer=tokenizer, config=config)
    assert pairs is not None
    torch.manual_seed(0)
    module = RelevanceModule(new_network(config, backbone), config=config, steps=1, judged=None, scales={0: 3.0})
    return collate(pairs, np.arange(len(pairs)), tokenizer=tokenizer), module


@pytest.mark.parametrize("loss", ["graded", "ordinal", "ranknet", "lambdaloss"])
@pytest.mark.parametrize("freeze", [False, True])
def test_every_loss_rises_by_the_step(loss: str, freeze: bool, small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    given = {"loss": loss, "freeze_embeddings": freeze}
    batch, plain = pairs_and_module(small_snapshot, tiny_backbone, **given)
    _, moved_ = pairs_and_module(small_snapshot, tiny_backbone, adversarial=0.3, **given)
    before, after = plain.training_step(batch, 0), moved_.training_step(batch, 0)
    assert after.item() > before.item() * 1.001
    after.backward()
    assert moved_.network.head[0].weight.grad.abs().sum() > 0
    table = moved_.network.backbone.network.embeddings.word_embeddings.weight
    assert (table.grad is None) is freeze


@pytest.mark.parametrize("loss", ["graded", "softmax"])
def test_without_dropout_r_drop_is_the_plain_loss(loss: str, small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    batch, plain = pairs_and_module(small_snapshot, tiny_backbone, loss=loss)
    _, twice = pairs_and_module(small_snapshot, tiny_backbone, loss=loss, rdrop=5.0)
    assert twice.training_step(batch, 0).item() == pytest.approx(plain.training_step(batch, 0).item(), rel=1e-6)
    _, dropped = pairs_and_module(small_snapshot, tiny_backbone, loss=loss, rdrop=5.0, dropout=0.5)
    _, half = pairs_and_module(small_snapshot, tiny_backbone, loss=loss, rdrop=1e-9, dropout=0.5)
    losses = []
    for module in (dropped, half):
        torch.manual_seed(1)
        losses.append(module.training_step(batch, 0).item())
    assert losses[0] > losses[1]


def test_padding_does_not_share_the_step(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    batch, module = pairs_and_module(small_snapshot, tiny_backbone)
    vectors = module.network.backbone.network.get_input_embeddings()
    with watched(vectors) as seen:
        loss = module.loss(module(batch), batch=batch)
    step = fast_gradient(loss, vectors=seen[0], length=1.0)
    assert step[batch["attention_mask"] == 0].abs().max().item() == 0.0
    assert step.norm(dim=(1, 2)) == pytest.approx(torch.ones(len(step)), rel=1e-5)


def run(
    snapshot: Snapshot, backbone: Path, work: Path, *, stop_after: int = 0, **values: object
) -> tuple[Pairs, Learned]:
    """Both switches on, with dropout, frozen word vectors and clipping."""
    given = {"learning_rate": 0.01, "max_length": 24, "batch_size": 16, "adversarial": 0.01, "rdrop": 0.1} | values
    config = RelevanceConfig.model_validate(given)
    pairs = read_pairs(snapshot, "train", tokenizer=TextTokenizer.load(backbone), config=config)
    assert pairs is not None
    return pairs, learn(pairs, None, config=config, start=backbone, work=work, stop_after=stop_after)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    precision: str, small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    given = {"epochs": 3, "accumulate": 2, "precision": precision}
    _, whole = run(small_snapshot, tiny_backbone, tmp_path / "whole", **given)
    run(small_snapshot, tiny_backbone, tmp_path / "parts", stop_after=2, **given)
    _, parts = run(small_snapshot, tiny_backbone, tmp_path / "parts", **given)
    assert parts.result.losses == whole.result.losses
    mine, theirs = whole.network.state_dict(), parts.network.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_with_both_on_it_still_learns_what_the_grades_say(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    pairs, learned = run(
        small_snapshot, tiny_backbone, tmp_path, epochs=15, loss="ranknet", freeze_embeddings=False, precision="fp32"
    )
    scores = infer(learned.network, learned.tokenizer, pairs.tokens, precision="fp32")
    before = infer(new_network(RelevanceConfig(), tiny_backbone), learned.tokenizer, pairs.tokens, precision="fp32")
    first, last = (mean_ndcg(pairs.queries, pairs.grades, one) for one in (before, scores))
    assert last > first + 0.05
