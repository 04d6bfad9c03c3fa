"""The learned cut-points of the ordinal loss: ordered whatever is learned, one row for each shop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from feature_store.snapshot import Snapshot
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.ranking_losses import ordinal
from training.relevance.config import RelevanceConfig
from training.relevance.cut_points import RATE, CutPoints
from training.relevance.data import join_pairs, of_shop, read_pairs
from training.relevance.held_out import take
from training.relevance.learn import learn, new_network
from training.relevance.module import RelevanceModule, loaders
from training.relevance.objective import objective

SHOPS = torch.tensor([0, 1, 1, 0])


def test_they_start_at_the_middle_of_each_grade() -> None:
    first, second, third = CutPoints({0: 3.0, 1: 1.0, 2: 2.5}).rows()
    assert first.tolist() == pytest.approx(torch.logit(torch.tensor([1, 3, 5]) / 6).tolist(), abs=1e-6)
    assert second.tolist() == [0.0]
    assert len(third) == 3, "grade 2.5 is half way to a third"


def test_a_row_ends_where_the_shops_scale_does() -> None:
    found = CutPoints({0: 2.0, 1: 1.0})(SHOPS)
    assert found.isfinite().tolist() == [[True, True], [True, False], [True, False], [True, True]]
    assert found[1, 1] == torch.inf


def test_grades_are_told_on_the_scale_of_their_shop() -> None:
    targets = torch.tensor([0.5, 0.5, 1.0, 2 / 3])
    assert CutPoints({0: 3.0, 1: 2.0}).grades(targets, SHOPS).tolist() == pytest.approx([1.5, 1.0, 2.0, 2.0])
    assert CutPoints({0: 0.5, 1: 0.2}).grades(targets, SHOPS).tolist() == targets.tolist(), "below one: its share"


@given(
    raw=arrays(np.float32, st.integers(1, 6), elements=st.floats(-30, 30, width=32)),
    score=st.floats(-30, 30),
    first=st.booleans(),
)
def test_they_are_ordered_and_the_grades_probabilities_sum_to_one(raw: np.ndarray, score: float, first: bool) -> None:
    cuts = CutPoints({0: float(len(raw)), 1: float(len(raw))})
    number = 0 if first else 1
    cuts.learned[number].data = torch.from_numpy(raw)
    (row,) = cuts(torch.tensor([number])).detach().double()
    assert (row.diff() >= 0).all()
    assert not first or row.mean().item() == pytest.approx(0.0, abs=1e-4)
    reached = torch.cat([torch.ones(1), torch.sigmoid(score - row), torch.zeros(1)])
    each = -reached.diff()
    assert (each >= 0).all()
    assert each.sum().item() == pytest.approx(1.0)


def test_they_learn_how_often_each_grade_is_given() -> None:
    """Where the score says nothing, the best cut of grade k is the log-odds of not reaching it; the mean stays."""
    cuts = CutPoints({0: 1.0, 1: 2.0})
    grades, shops = torch.tensor([0.0, 1.0, 1.0, 1.0, 2.0] * 4), torch.ones(20, dtype=torch.int64)
    optimiser = torch.optim.Adam(cuts.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        ordinal(torch.zeros(20), grades=grades, cuts=cuts(shops)).backward()
        optimiser.step()
    one, other = cuts.rows()
    assert other.tolist() == pytest.approx([np.log(0.2 / 0.8), np.log(0.8 / 0.2)], abs=1e-3)
    assert one.tolist() == [0.0], "nobody of the first shop was asked"


def test_the_loss_of_several_shops_is_that_of_each_by_its_own_cuts() -> None:
    """Grades in thirds on 0..2 beside whole ones on 0..3; as targets both are shares of the best grade."""
    cuts = CutPoints({0: 2.0, 1: 3.0})
    scores, shops = torch.tensor([0.2, -0.4, 1.0]), torch.tensor([0, 1, 0])
    grades, weights = torch.tensor([4 / 3, 2.0, 1 / 3]), torch.tensor([1.0, 1.0, 1.0])
    batch = {"targets": grades / torch.tensor([2.0, 3.0, 2.0]), "shops": shops, "weights": weights}
    found = objective("ordinal", cuts=cuts)(scores, batch)
    alone = [
        ordinal(scores[row : row + 1], grades=grades[row : row + 1], cuts=cuts.rows()[shop])
        for row, shop in enumerate(shops.tolist())
    ]
    assert found.item() == pytest.approx(torch.stack(alone).mean().item(), abs=1e-6)


def test_training_moves_them_and_the_network_is_saved_without(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = RelevanceConfig(
        backbone=str(tiny_backbone), precision="fp32", max_length=24, epochs=2, batch_size=32, loss="ordinal"
    )
    tokenizer = TextTokenizer.load(tiny_backbone)
    own = read_pairs(small_snapshot, "train", tokenizer=tokenizer, config=config)
    assert own is not None
    pairs = join_pairs(own, of_shop(own, 1))
    assert (pairs.best_grades, np.bincount(pairs.of_shops).tolist()) == ({0: 3.0, 1: 3.0}, [len(own)] * 2)
    assert take(pairs, np.array([0, len(own)])).of_shops.tolist() == [0, 1]
    network = new_network(config, tiny_backbone)
    module = RelevanceModule(network, config=config, steps=9, judged=None, scales=pairs.best_grades)
    assert module.cuts is not None
    groups = module.configure_optimizers()["optimizer"].param_groups
    fast = [parameter for group in groups if group["initial_lr"] == RATE for parameter in group["params"]]
    assert [row is parameter for row, parameter in zip(module.cuts.learned, fast, strict=True)] == [True, True]
    first, _, _ = loaders(pairs, None, tokenizer=tokenizer, config=config)
    module.training_step(next(iter(first)), 0).backward()
    assert all(row.grad is not None and row.grad.abs().max() > 0 for row in module.cuts.learned)
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "work")
    learned.save(tmp_path / "saved")
    assert not any("cuts" in name for name in learned.network.state_dict())
    assert np.isfinite(infer(learned.network, tokenizer, own.tokens, precision="fp32")).all()
