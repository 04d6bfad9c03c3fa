"""Ranking losses by hand, by plain loops over pairs, and by what may not change them."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.metrics.ranking import ndcg
from training.losses import graded_cross_entropy
from training.ranking_losses import (
    Scheme,
    lambda_loss,
    listnet,
    listwise_softmax,
    margin_mse,
    ordinal,
    query_ranks,
    ranknet,
)

Loss = Callable[..., Tensor]
SCHEMES: tuple[Scheme, ...] = ("lambdarank", "ndcg-loss2", "ndcg-loss2++")
LAMBDAS = {f"{scheme}@{k}": partial(lambda_loss, scheme=scheme, k=k) for scheme in SCHEMES for k in (2, None)}
MEANS: dict[str, Loss] = {"ranknet": ranknet, "margin-mse": margin_mse, "listnet": listnet, "softmax": listwise_softmax}
LOSSES: dict[str, Loss] = MEANS | LAMBDAS
EACH = pytest.mark.parametrize("name", LOSSES)
SEEDS = st.integers(0, 10_000)
LOG2 = math.log(2)
FEW = settings(max_examples=15)  # for each of ten losses


def batch(seed: int, *, rows: int = 9, queries: int = 3) -> dict[str, Tensor]:
    """Random scores, grades 0..3, queries that stand mixed, and weights of which some are 0."""
    random = torch.Generator().manual_seed(seed)
    return {
        "scores": torch.randn(rows, generator=random, dtype=torch.float64),
        "grades": torch.randint(0, 4, (rows,), generator=random).double(),
        "groups": torch.randint(0, queries, (rows,), generator=random) * 7,
        "weights": torch.randint(0, 4, (rows,), generator=random).double() / 2,
    }


def value(loss: Loss, given_batch: dict[str, Tensor]) -> float:
    rest = {key: tensor for key, tensor in given_batch.items() if key != "scores"}
    return float(loss(given_batch["scores"], **rest))


def gradient(loss: Loss, given_batch: dict[str, Tensor]) -> Tensor:
    scores = given_batch["scores"].clone().requires_grad_()
    loss(scores, **{key: tensor for key, tensor in given_batch.items() if key != "scores"}).backward()
    assert scores.grad is not None
    return scores.grad


def of_query(scores: list[float], grades: list[float], weights: list[float] | None = None) -> dict[str, Tensor]:
    """One query as a batch."""
    found = {"scores": torch.tensor(scores).double(), "grades": torch.tensor(grades).double()}
    found["groups"] = torch.full((len(scores),), 5)
    return found | ({"weights": torch.tensor(weights).double()} if weights else {})


def test_ranknet_by_hand() -> None:
    """The three pairs of grades 2, 1, 0 with margins 0, log 3 and log 3: log 2, log 4/3, log 4/3."""
    one = of_query([math.log(3), math.log(3), 0.0], [2.0, 1.0, 0.0])
    assert value(ranknet, one) == pytest.approx((LOG2 + 2 * math.log(4 / 3)) / 3)
    weighted = one | {"weights": torch.tensor([1.0, 2.0, 3.0]).double()}
    expected = 2.0 * (2 * LOG2 + 3 * math.log(4 / 3) + 6 * math.log(4 / 3)) / 11
    assert value(ranknet, weighted) == pytest.approx(expected)


def test_margin_mse_by_hand() -> None:
    """Margins 1, 3, 2 where the grades say 1, 2, 1."""
    one = of_query([3.0, 2.0, 0.0], [2.0, 1.0, 0.0])
    assert value(margin_mse, one) == pytest.approx((0 + 1 + 1) / 3)
    assert value(partial(margin_mse, scale=1.5), one) == pytest.approx((0.5**2 + 0 + 0.5**2) / 3)


def test_listnet_by_hand() -> None:
    """Top-one probabilities 2/3 and 1/3 by the grades, 1/4 and 3/4 by the scores."""
    one = of_query([0.0, math.log(3)], [LOG2, 0.0])
    assert value(listnet, one) == pytest.approx(-(2 / 3 * math.log(1 / 4) + 1 / 3 * math.log(3 / 4)))


def test_listwise_softmax_by_hand() -> None:
    """Grades 3, 1, 0 are shares 3/4, 1/4, 0; the softmax is 1/6, 3/6, 2/6."""
    one = of_query([0.0, math.log(3), LOG2], [3.0, 1.0, 0.0])
    assert value(listwise_softmax, one) == pytest.approx(-(3 / 4 * math.log(1 / 6) + 1 / 4 * math.log(3 / 6)))


def test_lambda_loss_by_hand() -> None:
    """The relevant product stands second: gain share 1, discounts 1 and 1 / log2(3); softplus(log 3) = log 4."""
    one = of_query([0.0, math.log(3)], [1.0, 0.0])
    swapped = 1 - 1 / math.log2(3)
    for scheme, weight in zip(SCHEMES, (swapped, swapped, 11 * swapped), strict=True):
        assert value(partial(lambda_loss, scheme=scheme), one) == pytest.approx(2 * weight)
    at_one = value(partial(lambda_loss, scheme="lambdarank", k=1), one)
    assert at_one == pytest.approx(2 * 1.0)  # the change of place moves all of NDCG@1


THREE = torch.logit(torch.tensor([1, 3, 5], dtype=torch.float64) / 6)


def test_ordinal_by_hand() -> None:
    """Two levels have cuts at logit(1/4) and logit(3/4); grade 1 has reached the first, 3/2 half of the second."""
    scores, cut = torch.zeros(2, dtype=torch.float64), math.log(3)
    found = ordinal(scores, grades=torch.tensor([1.0, 1.5]), cuts=torch.tensor([-cut, cut], dtype=torch.float64))
    near, far = math.log1p(math.exp(-cut)), math.log1p(math.exp(cut))
    assert float(found) == pytest.approx(((near + near) / 2 + (near + (near + far) / 2) / 2) / 2)


def test_a_mean_of_raters_is_the_mean_of_their_losses() -> None:
    """Grade 4/3 is what two raters who say 1 and one who says 2 give together."""
    scores, cuts = torch.tensor([0.4], dtype=torch.float64), torch.tensor([-0.7, 0.2], dtype=torch.float64)
    one, two, mean = (float(ordinal(scores, grades=torch.tensor([grade]), cuts=cuts)) for grade in (1.0, 2.0, 4 / 3))
    assert mean == pytest.approx((2 * one + two) / 3, abs=1e-6)


def test_each_pair_is_read_by_its_own_cuts() -> None:
    """Of a pair with one level the absent second one counts nothing, in the value and in the gradient."""
    scores = torch.tensor([0.3, -1.0], dtype=torch.float64, requires_grad=True)
    cuts = torch.tensor([[-1.0, 0.5], [0.2, math.inf]], dtype=torch.float64, requires_grad=True)
    found = ordinal(scores, grades=torch.tensor([2.0, 1.0]), cuts=cuts)
    found.backward()
    first = (math.log1p(math.exp(-1.3)) + math.log1p(math.exp(0.2))) / 2
    assert found.item() == pytest.approx((first + math.log1p(math.exp(1.2))) / 2)
    assert scores.grad is not None
    assert cuts.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert cuts.grad[1, 1] == 0.0
    assert cuts.grad[1, 0].item() == pytest.approx(-scores.grad[1].item())


@given(grade=st.floats(0.1, 2.9))
def test_ordinal_is_least_where_the_reached_grades_add_up(grade: float) -> None:
    score = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    ordinal(score, grades=torch.tensor([grade]), cuts=THREE).backward()
    assert score.grad is not None
    expected = (torch.sigmoid(0 - THREE).sum() - grade) / 3
    assert score.grad.item() == pytest.approx(float(expected), abs=1e-6)


def test_ordinal_with_one_level_is_graded_cross_entropy() -> None:
    scores, grades, weights, cuts = torch.randn(6), torch.rand(6), torch.rand(6), torch.zeros(1)
    plain = graded_cross_entropy(scores, grades, weights)
    assert ordinal(scores, grades=grades, cuts=cuts, weights=weights).item() == pytest.approx(plain.item(), abs=1e-6)
    assert ordinal(scores, grades=grades, cuts=cuts).item() == pytest.approx(
        graded_cross_entropy(scores, grades).item(), abs=1e-6
    )


def queries_of(one: dict[str, Tensor]) -> Iterator[list[int]]:
    """The rows of each query that orders something."""
    for group in one["groups"].unique().tolist():
        rows = [row for row in range(len(one["groups"])) if one["groups"][row] == group]
        if len({float(one["grades"][row]) for row in rows if one["weights"][row] > 0}) > 1:
            yield rows


def pairs_of(one: dict[str, Tensor], rows: list[int]) -> Iterator[tuple[int, int, float]]:
    """Better row, worse row and weight of every pair."""
    for better, worse in product(rows, rows):
        if one["grades"][better] > one["grades"][worse]:
            yield better, worse, float(one["weights"][better] * one["weights"][worse])


def by_loop(name: str, one: dict[str, Tensor], rows: list[int]) -> float:
    """The loss of one query of mean weight 1, by plain loops."""
    scores, grades = one["scores"].tolist(), one["grades"].tolist()
    weights = one["weights"].tolist()
    if name in ("listnet", "softmax"):
        wanted = {row: weights[row] * (math.exp(grades[row]) if name == "listnet" else grades[row]) for row in rows}
        shown = math.log(sum(weights[row] * math.exp(scores[row]) for row in rows))
        return -sum(wanted[row] * (scores[row] - shown) for row in rows) / sum(wanted.values())
    total, mass = 0.0, 0.0
    for better, worse, weight in pairs_of(one, rows):
        margin = scores[better] - scores[worse]
        if name == "ranknet":
            total += weight * math.log(1 + math.exp(-margin))
        elif name == "margin-mse":
            total += weight * (margin - grades[better] + grades[worse]) ** 2
        else:
            importance = pair_importance(name, scores, grades, rows, better, worse)
            total += weight * importance * math.log2(1 + math.exp(-margin))
        mass += weight
    return total / mass if name in MEANS else total


def pair_importance(
    name: str, scores: list[float], grades: list[float], rows: list[int], better: int, worse: int
) -> float:
    """LambdaRank's as the change of the shipped NDCG@k; NDCG-Loss2's by its formula."""
    scheme, _, cut = name.partition("@")
    k = None if cut == "None" else int(cut)
    swapped = dict(zip(rows, rows, strict=True)) | {better: worse, worse: better}
    own = [grades[row] for row in rows]
    before = ndcg(own, [scores[row] for row in rows], k=k)
    change = abs(before - ndcg(own, [scores[swapped[row]] for row in rows], k=k))
    if scheme == "lambdarank":
        return change
    order = sorted(rows, key=lambda row: -scores[row])
    places = [order.index(row) + 1 for row in (better, worse)]
    apart = abs(places[0] - places[1])
    ideal = sum((2**grade - 1) / math.log2(place + 2) for place, grade in enumerate(sorted(own, reverse=True)[:k]))
    gains = (2 ** grades[better] - 2 ** grades[worse]) / ideal
    near = gains * (1 / math.log2(1 + apart) - 1 / math.log2(2 + apart)) if k is None or min(places) <= k else 0.0
    return near if scheme == "ndcg-loss2" else change + 10 * near


@EACH
@FEW
@given(seed=SEEDS)
def test_every_loss_against_loops(name: str, seed: int) -> None:
    one = batch(seed)
    expected = []
    for rows in queries_of(one):
        mean = float(one["weights"][rows].mean())
        even = one | {"weights": one["weights"] / mean}
        expected.append(mean * by_loop(name, even, rows))
    assert value(LOSSES[name], one) == pytest.approx(sum(expected) / max(1, len(expected)), rel=1e-5, abs=1e-6)


@EACH
@FEW
@given(seed=SEEDS)
def test_the_order_of_the_rows_and_the_numbers_of_the_queries_mean_nothing(name: str, seed: int) -> None:
    one = batch(seed)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    turned = {key: tensor[order] for key, tensor in one.items()}
    turned["groups"] = 100 - turned["groups"]
    assert value(LOSSES[name], turned) == pytest.approx(value(LOSSES[name], one))
    assert gradient(LOSSES[name], turned).tolist() == pytest.approx(gradient(LOSSES[name], one)[order].tolist())


@EACH
@FEW
@given(seed=SEEDS)
def test_a_constant_on_all_scores_of_a_query_changes_nothing(name: str, seed: int) -> None:
    one = batch(seed)
    moved = one | {"scores": one["scores"] + 3.0 * (one["groups"] == 7) - 2.0 * (one["groups"] == 14)}
    assert value(LOSSES[name], moved) == pytest.approx(value(LOSSES[name], one), abs=1e-9)
    pulls = gradient(LOSSES[name], one)
    for group in (0, 7, 14):
        assert pulls[one["groups"] == group].sum().item() == pytest.approx(0.0, abs=1e-9)


@EACH
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_queries_that_order_nothing_have_neither_loss_nor_gradient(name: str, weight: float) -> None:
    """One grade, grade 0 alone, one row alone, no weight on one of two grades: 0, and no NaN."""
    silent = {
        "scores": torch.tensor([3.0, -1.0, 2.0, 0.0, 9.0, 1.0, 2.0]),
        "grades": torch.tensor([2.0, 2.0, 0.0, 0.0, 3.0, 1.0, 0.0]),
        "groups": torch.tensor([0, 0, 1, 1, 2, 3, 3]),
        "weights": torch.tensor([weight] * 5 + [1.0, 0.0]),
    }
    assert value(LOSSES[name], silent) == 0.0
    assert gradient(LOSSES[name], silent).tolist() == [0.0] * 7
    spoken = of_query([0.0, 1.0], [1.0, 0.0]) | {"weights": torch.ones(2).double()}
    both = {key: torch.cat([silent[key], spoken[key].to(silent[key].dtype)]) for key in silent}
    assert value(LOSSES[name], both) == pytest.approx(value(LOSSES[name], spoken))


@EACH
@FEW
@given(seed=SEEDS)
def test_gradients_are_those_of_the_value(name: str, seed: int) -> None:
    one = batch(seed, rows=5, queries=2)
    rest = {key: tensor for key, tensor in one.items() if key != "scores"}
    assert torch.autograd.gradcheck(lambda scores: LOSSES[name](scores, **rest), one["scores"].requires_grad_())


def test_the_gradient_of_ordinal_is_that_of_the_value() -> None:
    scores = batch(0)["scores"].requires_grad_()
    grades, weights = batch(1)["grades"], batch(1)["weights"]
    cuts = THREE.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda own, at: ordinal(own, grades=grades, cuts=at, weights=weights), (scores, cuts)
    )


@pytest.mark.parametrize("name", MEANS)
def test_a_row_of_weight_two_pulls_like_two_rows(name: str) -> None:
    scores, grades = [0.3, -1.0, 0.8], [2.0, 1.0, 0.0]
    once = gradient(MEANS[name], of_query(scores, grades, [2.0, 1.0, 1.0])) / (4 / 3)
    twice = gradient(MEANS[name], of_query([scores[0], *scores], [grades[0], *grades]))
    assert once.tolist() == pytest.approx([float(twice[0] + twice[1]), *twice[2:].tolist()])


@EACH
def test_twice_the_weight_is_twice_the_loss_and_none_is_one(name: str) -> None:
    one = batch(3)
    doubled = one | {"weights": 2 * one["weights"]}
    assert value(LOSSES[name], doubled) == pytest.approx(2 * value(LOSSES[name], one))
    assert value(LOSSES[name], one | {"weights": None}) == value(LOSSES[name], one | {"weights": torch.ones(9)})


@EACH
def test_a_step_against_the_gradient_puts_the_better_first(name: str) -> None:
    pulls = gradient(LOSSES[name], of_query([0.0, 0.5, 0.2], [3.0, 0.0, 0.0]))
    assert pulls[0] < 0 < pulls[1]


def test_large_grades_and_scores_stay_finite() -> None:
    one = of_query([900.0, -900.0, 0.0], [100.0, 300.0, 0.0])
    for name, loss in LOSSES.items():
        assert math.isfinite(value(loss, {key: tensor.float() for key, tensor in one.items()})), name


def test_equal_scores_take_ranks_in_the_order_of_the_batch() -> None:
    same = torch.tensor([[True, False, True, True], [False, True, False, False]])[[0, 1, 0, 0]]
    assert query_ranks(torch.tensor([1.0, 5.0, 2.0, 1.0]), same=same).tolist() == [2, 1, 1, 3]
