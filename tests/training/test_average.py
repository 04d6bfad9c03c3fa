"""The moving average of the weights: by hand, validated, kept and resumed exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule

from tests.training.test_fit import toy_process
from tests.training.toy import CONFIG, INPUTS, TARGETS, run_toy, weights_of
from training.average import step_decay

AVERAGED = CONFIG.model_copy(update={"ema": 0.9})


def test_the_decay_rises_to_its_highest() -> None:
    assert [step_decay(0.9, updates=updates) for updates in (1, 8, 80, 81, 1000)] == [2 / 11, 0.5, 0.9, 0.9, 0.9]


def test_the_average_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the weights after every step of the run, averaged here in float64."""
    seen: list[list[float]] = []
    step = torch.optim.AdamW.step

    def kept(self: Any, *arguments: Any, **named: Any) -> Any:
        done = step(self, *arguments, **named)
        weights = [one.detach().flatten() for group in self.param_groups for one in group["params"]]
        seen.append(torch.cat(weights).tolist())
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", kept)
    config = AVERAGED.model_copy(update={"ema": 0.3})
    toy, _ = run_toy(tmp_path, config=config, validation=None, monitor="")
    assert len(seen) == 12
    average = torch.tensor(seen[0], dtype=torch.float64)
    for updates, weights in enumerate(seen[1:], start=1):
        average = average.lerp(torch.tensor(weights, dtype=torch.float64), 1 - step_decay(0.3, updates=updates))
    assert sorted(weights_of(toy)) == pytest.approx(sorted(average.tolist()), abs=1e-5)
    assert sorted(weights_of(toy)) != pytest.approx(sorted(seen[-1]), abs=1e-3)


def test_the_metric_is_that_of_the_averaged_weights_that_are_kept(tmp_path: Path) -> None:
    toy, result = run_toy(tmp_path, config=AVERAGED)
    _, plain = run_toy(tmp_path / "plain")
    assert result.losses == plain.losses  # what is averaged does not change how it is learned
    assert [one["error"] for one in result.history] != [one["error"] for one in plain.history]
    assert error_of(toy) == pytest.approx(result.best_score, rel=1e-6)


def error_of(toy: LightningModule) -> float:
    """The mean squared error over all rows, without dropout."""
    with torch.inference_mode():
        return float(((toy.eval().network(INPUTS)[:, 0] - TARGETS) ** 2).mean())


@pytest.mark.parametrize("step", [6, 8])
def test_a_killed_run_ends_with_the_same_average(step: int, tmp_path: Path) -> None:
    whole, result = run_toy(tmp_path / "whole", config=AVERAGED)
    code, _ = toy_process(tmp_path / "run", kill_at=step, ema=0.9)
    assert code == -9
    toy, again = run_toy(tmp_path / "run", config=AVERAGED)
    assert (again.losses, again.history, weights_of(toy)) == (result.losses, result.history, weights_of(whole))


@pytest.mark.parametrize("options", [{}, {"validation": None, "monitor": ""}])
def test_a_complete_run_is_not_run_again_and_gives_the_average(options: dict[str, Any], tmp_path: Path) -> None:
    whole, _ = run_toy(tmp_path, config=AVERAGED, **options)
    toy, _ = run_toy(tmp_path, config=AVERAGED, **options)
    assert toy.seen == 0
    assert weights_of(toy) == weights_of(whole)
