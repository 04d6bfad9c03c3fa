"""Sampled softmax against the full softmax."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.models.two_tower_config import FIRST
from training.two_tower.loss import accidental_hits, sampled_softmax
from training.two_tower.negatives import NegativeSampler

PRODUCTS, WIDTH = 30, 4


def towers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(5, WIDTH, generator=generator)
    return states.requires_grad_(), torch.randn(PRODUCTS, WIDTH, generator=generator)


def loss(states: torch.Tensor, products: torch.Tensor, targets: torch.Tensor, draws: np.ndarray, log: np.ndarray):  # noqa: ANN201
    return sampled_softmax(
        states=states,
        products=products,
        target_states=torch.arange(5),
        targets=targets,
        negatives=torch.from_numpy(draws),
        log_expected=torch.from_numpy(log),
    )


def test_every_product_once_is_the_full_softmax() -> None:
    states, products = towers()
    targets = torch.tensor([0, 3, 3, 29, 7])
    sampled = loss(states, products, targets, np.arange(PRODUCTS), np.zeros(PRODUCTS, dtype=np.float32))
    full = torch.nn.functional.cross_entropy(states @ products.T, targets, reduction="none")
    torch.testing.assert_close(sampled, full)


@pytest.mark.parametrize("uniform", [1.0, 0.3])
def test_many_draws_approach_the_full_softmax_and_its_gradient(uniform: float) -> None:
    states, products = towers()
    targets = torch.tensor([0, 3, 3, 29, 7])
    counts = np.random.default_rng(1).integers(0, 50, PRODUCTS).astype(float)
    sampler = NegativeSampler(counts, uniform=uniform)
    draws, log = sampler.draw(np.random.default_rng(2), count=200_000)
    sampled = loss(states, products, targets, draws, log)
    full = torch.nn.functional.cross_entropy(states @ products.T, targets, reduction="none")
    torch.testing.assert_close(sampled, full, rtol=0.02, atol=0.01)
    (own,) = torch.autograd.grad(sampled.sum(), states, retain_graph=True)
    (whole,) = torch.autograd.grad(full.sum(), states)
    torch.testing.assert_close(own, whole, rtol=0.05, atol=0.02)


def test_the_normaliser_is_unbiased_over_draws() -> None:
    states, products = towers()
    targets = torch.tensor([1, 2, 4, 8, 16])
    sampler = NegativeSampler(np.arange(PRODUCTS, dtype=float), uniform=0.5)
    full = (states @ products.T).exp().sum(dim=1)
    generator, normalisers = np.random.default_rng(3), []
    for _ in range(3000):
        draws, log = sampler.draw(generator, count=8)
        positive = (states * products[targets]).sum(dim=1)
        normalisers.append((loss(states, products, targets, draws, log) + positive).exp().detach())
    torch.testing.assert_close(torch.stack(normalisers).mean(dim=0), full.detach(), rtol=0.05, atol=0.0)


def test_the_normaliser_is_unbiased_with_the_steps_own_targets_among_the_negatives() -> None:
    states, products = towers()
    targets = torch.tensor([1, 2, 4, 8, 16])
    counts = np.arange(PRODUCTS, dtype=float)
    sampler = NegativeSampler(counts, uniform=0.5)
    full = (states @ products.T).exp().sum(dim=1)
    generator, normalisers = np.random.default_rng(3), []
    for _ in range(3000):
        draws, _ = sampler.draw(generator, count=8)
        others = generator.choice(PRODUCTS, size=12, p=counts / counts.sum())
        both, log = sampler.beside(draws, targets=others)
        positive = (states * products[targets]).sum(dim=1)
        normalisers.append((loss(states, products, targets, both, log) + positive).exp().detach())
    torch.testing.assert_close(torch.stack(normalisers).mean(dim=0), full.detach(), rtol=0.05, atol=0.0)


class EachOnce:
    """In the place of a generator: numbers that draw each product once."""

    def __init__(self, probabilities: np.ndarray) -> None:
        edges = np.cumsum(probabilities)
        self.middles = (edges - probabilities / 2) / edges[-1]

    def random(self, count: int) -> np.ndarray:
        assert count == len(self.middles)
        return self.middles


@given(
    counts=st.lists(st.integers(0, 1000), min_size=PRODUCTS, max_size=PRODUCTS).filter(any),
    uniform=st.floats(0.01, 1.0),
    power=st.floats(0.0, 1.0),
    drawn=st.integers(PRODUCTS, 5000),
    own=st.integers(0, 5000),
    seed=st.integers(0, 1000),
)
def test_whatever_the_mixture_the_expected_normaliser_is_that_of_the_full_softmax(
    counts: list[int], uniform: float, power: float, drawn: int, own: int, seed: int
) -> None:
    """The expectation over all draws, product by product; the other sign, or none, is another number."""
    states, products = towers(seed)
    targets = torch.arange(5) * 3
    sampler = NegativeSampler(np.array(counts, dtype=float), uniform=uniform, power=power)
    each, log = sampler.draw(EachOnce(sampler.probabilities), count=PRODUCTS)  # type: ignore[arg-type]
    assert each.tolist() == list(range(PRODUCTS))
    log = log + np.float32(np.log(drawn / PRODUCTS))
    expected = drawn * sampler.probabilities
    if own:
        _, both = sampler.beside(np.resize(each, drawn), targets=np.resize(each, own))
        log, expected = both[:PRODUCTS], expected + own * np.array(counts) / sum(counts)
    positive = (states * products[targets]).sum(dim=1).exp()

    def mean_rest(log_expected: np.ndarray) -> torch.Tensor:
        """What stands beside the target in the normaliser, in the mean over all that may be drawn."""
        ones = [loss(states, products, targets, each[[row]], log_expected[[row]]) for row in range(PRODUCTS)]
        return sum(times * (one.exp() - 1) for times, one in zip(expected.tolist(), ones, strict=True)) * positive

    rest = (states @ products.T).exp().sum(dim=1) - positive
    torch.testing.assert_close(mean_rest(log), rest, rtol=2e-3, atol=1e-3)
    if log.min() > 0.5 or log.max() < -0.5:
        for wrong in (-log, np.zeros_like(log)):
            assert not torch.isclose(mean_rest(wrong), rest, rtol=0.1).any()


def test_the_more_draws_the_nearer_the_full_softmax() -> None:
    states, products = towers()
    targets = torch.tensor([0, 3, 3, 29, 7])
    sampler = NegativeSampler(np.arange(1, PRODUCTS + 1, dtype=float), uniform=0.3)
    full = torch.nn.functional.cross_entropy(states @ products.T, targets, reduction="none")
    errors = []
    for count in (10, 100, 1000, 10_000):
        found = [
            loss(states, products, targets, *sampler.draw(np.random.default_rng(n), count=count)) for n in range(40)
        ]
        errors.append(float((torch.stack(found) - full).detach().square().mean().sqrt()))
    # by the square root of ten each time
    assert all(2.0 < before / after < 5.0 for before, after in pairwise(errors)), errors


def test_accidental_hits_of_all_targets_of_a_state_are_masked() -> None:
    states, products = towers()
    draws = np.array([2, 2, 5])
    found = sampled_softmax(
        states=states,
        products=products,
        target_states=torch.tensor([0, 0, 1]),
        targets=torch.tensor([2, 5, 2]),
        negatives=torch.from_numpy(draws),
        log_expected=torch.zeros(3),
    )
    torch.testing.assert_close(found[:2], torch.zeros(2))
    scores = (states @ products.T)[1]
    torch.testing.assert_close(found[2], torch.log1p((scores[5] - scores[2]).exp()))


@given(seed=st.integers(0, 10_000), owns=st.booleans())
def test_hits_are_those_of_the_whole_table_of_states_and_products(seed: int, owns: bool) -> None:
    generator = torch.Generator().manual_seed(seed)

    def places(*shape: int, below: int = PRODUCTS) -> torch.Tensor:
        return torch.randint(0, below, shape, generator=generator)

    target_states, targets, negatives = places(12, below=5), places(12), places(20)
    owned = places(5, 7) if owns else None
    table = torch.zeros(5, PRODUCTS, dtype=torch.bool)
    table[target_states, targets] = True
    if owned is not None:
        table.scatter_(1, owned, value=True)
    found = accidental_hits(target_states, targets, negatives=negatives, owned=owned, states=5, products=PRODUCTS)
    assert torch.equal(found, table[:, negatives])


def test_first_row_of_the_vocabulary_stands_behind_the_reserved_ones() -> None:
    assert FIRST == 2
