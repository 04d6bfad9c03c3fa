"""Runs: exact resume after SIGKILL, early stopping, best weights, accumulation, the schedule."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recsys.errors import StorageError, UsageError
from tests.training.toy import CONFIG, run_toy, weights_of
from training.config import FitConfig
from training.fit import adamw, layer_rates, wants_bf16
from training.processes import main_process

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("weight", "bias")
BATCHES = 7  # of an epoch: 60 rows in batches of 8


def toy_process(folder: Path, *, kill_at: int = 0, ema: float = 0.0) -> tuple[int, Any]:
    """Exit code and what the run came to."""
    command = [sys.executable, "-m", "tests.training.toy", str(folder), str(kill_at), str(ema)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The run that nobody kills: best epoch, history, losses and weights."""
    toy, result = run_toy(tmp_path_factory.mktemp("whole"))
    return json.loads(json.dumps([result.best_epoch, result.history, result.losses, weights_of(toy)]))


@pytest.mark.parametrize("step", [2, 6, BATCHES, BATCHES + 1, BATCHES + 4, 3 * BATCHES])
def test_a_killed_run_ends_as_if_nothing_had_happened(step: int, whole: list[Any], tmp_path: Path) -> None:
    """Killed before the first checkpoint, inside an epoch, at its last batch, right after it, in a later one."""
    code, _ = toy_process(tmp_path / "run", kill_at=step)
    assert code == -9
    toy, result = run_toy(tmp_path / "run")
    assert [result.best_epoch, list(result.history), list(result.losses), weights_of(toy)] == whole


def test_a_run_that_was_complete_is_not_run_again(whole: list[Any], tmp_path: Path) -> None:
    run_toy(tmp_path)
    toy, result = run_toy(tmp_path)
    assert toy.seen == 0
    assert [list(result.losses), weights_of(toy)] == whole[2:]


def test_each_seed_has_its_own_losses(whole: list[Any], tmp_path: Path) -> None:
    _, result = run_toy(tmp_path, config=CONFIG.model_copy(update={"seed": 4}))
    assert list(result.losses) != whole[2]


def test_it_stops_when_the_metric_no_longer_improves_and_keeps_the_best_weights(tmp_path: Path) -> None:
    """A learning rate that diverges makes the first epoch the best one."""
    config = FitConfig(epochs=9, batch_size=8, patience=2, precision="fp32", learning_rate=30.0, warmup=1.0, clip=0)
    kept: list[dict[str, float]] = []

    class Log:
        def metrics(self, values: Any, *, step: int) -> None:
            kept.append(dict(values))

    toy, result = run_toy(tmp_path, config=config, dropout=0.0, log=Log())
    assert len(result.history) == result.best_epoch + 2 < 9
    assert kept == list(result.history)
    assert result.best_score == min(epoch["error"] for epoch in result.history)
    again, _ = run_toy(tmp_path / "again", config=config, dropout=0.0, stop_after=result.best_epoch)
    assert weights_of(toy) == weights_of(again)


@pytest.mark.parametrize("options", [{}, {"validation": None, "monitor": ""}])
@pytest.mark.parametrize("checkpoint_steps", [0, 2])
def test_a_run_that_diverges_ends_with_one_clear_line(
    options: dict[str, Any], checkpoint_steps: int, tmp_path: Path
) -> None:
    """Without validation nobody else would notice: the weights of the last epoch would be kept as they are."""
    config = CONFIG.model_copy(update={"learning_rate": 1e38, "clip": 0.0, "checkpoint_steps": checkpoint_steps})
    with pytest.raises(UsageError, match=r"diverged: .* in epoch 1;.*learning_rate"):
        run_toy(tmp_path, config=config, **options)
    assert not list(tmp_path.iterdir())


def test_without_a_monitored_metric_the_last_epoch_stays(tmp_path: Path) -> None:
    _, result = run_toy(tmp_path, validation=None, monitor="")
    assert result.best_epoch == CONFIG.epochs
    assert math.isnan(result.best_score)
    assert not (tmp_path / "best.safetensors").exists()


def test_accumulated_batches_step_like_one_large_batch(tmp_path: Path) -> None:
    large = FitConfig(epochs=1, batch_size=60, precision="fp32", learning_rate=0.05, clip=0)
    small = large.model_copy(update={"batch_size": 15, "accumulate": 4})
    one, _ = run_toy(tmp_path / "large", config=large, dropout=0.0)
    four, _ = run_toy(tmp_path / "small", config=small, dropout=0.0)
    assert weights_of(one) == pytest.approx(weights_of(four), abs=1e-6)


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    norms: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_
    config = CONFIG.model_copy(update={"clip": 0.25})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.nn.utils, "clip_grad_norm_", lambda weights, norm: norms.append(norm) or clip(weights, norm)
        )
        run_toy(tmp_path, config=config)
    assert norms == [0.25] * 12  # 7 batches, two by two, the last alone: 4 steps in each of 3 epochs


def test_the_rate_rises_to_its_highest_and_falls_to_nothing() -> None:
    config = FitConfig(learning_rate=1.0, warmup=0.2)
    made = adamw(nn.Linear(2, 2), config=config, steps=10)
    optimiser, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    assert optimiser.param_groups[0]["lr"] == 0.0


def test_only_matrices_decay_and_frozen_weights_are_left_out() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    network[0].weight.requires_grad = False
    groups = adamw(network, config=FitConfig(weight_decay=0.3), steps=1)["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert [[weight.ndim for weight in group["params"]] for group in groups] == [[2], [1, 1, 1, 1]]


class Stack(nn.Module):
    """Named as a backbone of three layers under a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(3, 2)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(nn.Linear(2, 2) for _ in range(3))})
        self.head = nn.Linear(2, 1)


def test_lower_layers_learn_slower_and_all_rates_follow_the_schedule() -> None:
    network = Stack()
    found = layer_rates(network, decay=0.5)
    assert found.pop("embeddings.weight") == 0.5**4
    layers = {f"encoder.layer.{number}.{kind}": 0.5 ** (3 - number) for number in range(3) for kind in KINDS}
    assert found == layers | {"head.weight": 1.0, "head.bias": 1.0}
    config = FitConfig(learning_rate=0.8, weight_decay=0.3, warmup=0.5)
    made = adamw(network, config=config, steps=4, rates=layer_rates(network, decay=0.5))
    groups = [group for group in made["optimizer"].param_groups if group["params"]]
    assert sorted(group["initial_lr"] for group in groups) == [0.05, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8]
    assert all(group["lr"] == group["initial_lr"] / 2 for group in groups)
    assert all(group["weight_decay"] == 0.3 * (weight.ndim > 1) for group in groups for weight in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_a_decay_of_one_is_no_decay() -> None:
    """The same two groups in the same order, so that weights and checkpoints stay what they were."""
    network = Stack()
    plain, decayed = (
        adamw(network, config=FitConfig(), steps=1, rates=rates)["optimizer"].param_groups
        for rates in (None, layer_rates(network, decay=1.0))
    )
    for one, other in zip(plain, decayed, strict=True):
        assert [id(weight) for weight in one["params"]] == [id(weight) for weight in other["params"]]
        assert one["lr"] == other["lr"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "resume.ckpt").write_bytes(b"half a checkpoint")
    with pytest.raises(StorageError, match=r"resume.ckpt is damaged; expected .*; delete it"):
        run_toy(tmp_path)


def test_a_batch_that_devices_can_not_share_is_refused(tmp_path: Path) -> None:
    config = FitConfig(batch_size=9, devices=2, strategy="ddp")
    with pytest.raises(UsageError, match="batch_size = 9 for 2 devices"):
        run_toy(tmp_path, config=config)


def test_precision_follows_the_wish_or_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fit.has_bf16", lambda device: device.type == "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert wants_bf16(FitConfig())
    assert not wants_bf16(FitConfig(precision="fp32"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not wants_bf16(FitConfig())
    assert wants_bf16(FitConfig(precision="bf16"))
    assert wants_bf16(FitConfig(accelerator="cpu"))


def test_only_the_first_process_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert main_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not main_process()
