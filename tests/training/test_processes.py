"""`recsys train` with two gloo processes: the losses and weights of one process with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from tests.command import recsys
from tests.training.commands import ROOT, history, options, runs

NETWORKS = {"relevance": "cross_encoder", "retriever": "text_encoder"}


def train_shared(stage: str, snapshot: Snapshot, *, out: Path, settings: list[str]) -> dict[str, Any]:
    """The report of a `recsys train` in its own process tree."""
    command = [sys.executable, "-m", "recsys", "train", stage, str(snapshot.path), "-o", str(out), "--json"]
    command += ["--base", "none", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(
    ("stage", "own"),
    [
        ("relevance", ("dropout=0.0", "loss=lambdaloss", "batch_size=30", "accumulate=2", "layer_decay=0.8")),
        ("relevance", ("dropout=0.0", "adversarial=0.02", "ema=0.5", "typos=0.3", "lora=2", "rdrop=1", "soup=2")),
        ("retriever", ("scale=20", "negatives=2", "relative_margin=null", "matryoshka=[8]")),
    ],
)
def test_two_processes_learn_what_one_learns(
    stage: str,
    own: tuple[str, ...],
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Retriever: only with negatives gathered from both processes, and their gradients, do the losses agree.

    Losses of whole queries: only with the scores of both, in batches that don't depend on the processes.
    """
    settings = options(tiny_backbone, "epochs=2", "patience=0", *own)
    two = [*settings, "--set", "devices=2", "--set", "strategy=ddp", "--set", "accelerator=cpu"]
    command = ["train", stage, small_snapshot.path, "-o", tmp_path / "one", "--json", "--base", "none", *settings]
    alone = recsys(capsys, *command).report
    assert len(runs()) == 1
    shared = train_shared(stage, small_snapshot, out=tmp_path / "two", settings=two)
    assert len(runs()) == 2
    assert (shared["version"], shared["alias"]) == (2, "challenger")
    for name in ("loss", "validation/ndcg@10"):
        first, second = (history(report["run_id"], name.replace("@", "_at_")) for report in (alone, shared))
        assert len(first) >= 2
        assert second == pytest.approx(first, abs=1e-4), name
    weights = []
    for name in ("one", "two"):
        folder = Bundle.open(tmp_path / name).component(NETWORKS[stage])
        assert folder is not None
        weights.append(load_file(folder / "model.safetensors"))
    for name, weight in weights[0].items():
        assert (weight - weights[1][name]).abs().max() < 1e-4, name


PLAIN = ("profile=sequence", "text=false", "dropout=0.0", "id_dropout=0.0", "width=16", "length=10", "negatives=16")


@pytest.mark.parametrize("sparse", ["false", "true"])
def test_two_processes_learn_one_two_tower(
    sparse: str, small_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every process ranks against the negatives of the whole batch, so that the losses agree."""
    common = (*PLAIN, f"sparse={sparse}", "epochs=2", "patience=0", "batch_size=8", "precision=fp32", "accelerator=cpu")
    settings = [part for text in common for part in ("--set", text)]
    command = ["train", "two-tower", small_snapshot.path, "-o", tmp_path / "one", "--json", "--base", "none"]
    alone = recsys(capsys, *command, *settings).report
    two = [*settings, "--set", "devices=2", "--set", "strategy=ddp"]
    shared = train_shared("two-tower", small_snapshot, out=tmp_path / "two", settings=two)
    assert len(runs()) == 2
    first, second = (history(report["run_id"], "loss") for report in (alone, shared))
    assert len(first) >= 2
    assert second == pytest.approx(first, abs=1e-4)
