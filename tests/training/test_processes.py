"""`recsys train` with two gloo processes: the losses and weights of one process with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.settings import load_settings
from tests.command import recsys
from tests.ports import free_port
from tests.training.commands import ROOT, history, options, runs

PLAIN = ("profile=sequence", "text=false", "dropout=0.0", "id_dropout=0.0", "width=16", "length=10", "negatives=16")
TOWER = (*PLAIN, "batch_size=8", "precision=fp32", "accelerator=cpu")
NETWORKS = {"relevance": "cross_encoder", "retriever": "text_encoder"}
TWO = ("--set", "devices=2", "--set", "strategy=ddp", "--set", "accelerator=cpu")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "whole queries": (
        "relevance",
        ("dropout=0.0", "loss=lambdaloss", "batch_size=30", "accumulate=2", "layer_decay=0.8"),
    ),
    "every technique": (
        "relevance",
        ("dropout=0.0", "adversarial=0.02", "ema=0.5", "typos=0.3", "lora=2", "rdrop=1", "soup=2"),
    ),
    "retriever": ("retriever", ("scale=20", "negatives=2", "relative_margin=null", "matryoshka=[8]")),
    "two-tower, sparse": ("two-tower", (*TOWER, "sparse=true")),
    "two-tower, its batch as negatives": ("two-tower", (*TOWER, "in_batch=true")),
}
RUN = """
import json, sys
from recsys.cli.app import main

for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as left:
        if left.code:
            raise
"""


def asked(name: str, snapshot: Snapshot, *, backbone: Path, out: Path) -> list[str]:
    """The command of a case for one process."""
    stage, own = CASES[name]
    common = ("epochs=2", "patience=0")
    if stage == "two-tower":
        settings = [part for text in (*own, *common) for part in ("--set", text)]
    else:
        settings = options(backbone, *own, *common)
    return ["train", stage, str(snapshot.path), "-o", str(out / name), "--json", "--base", "none", *settings]


@pytest.fixture(scope="module")
def pair(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes leave which run all cases, one behind the other; started as a cluster's are."""
    base = tmp_path_factory.mktemp("pair")
    commands = [[*asked(name, small_snapshot, backbone=tiny_backbone, out=base), *TWO] for name in CASES]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "RECSYS_HOME": str(base / "home"), "NODE_RANK": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    common.pop("MLFLOW_TRACKING_URI", None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(commands)],
            cwd=ROOT,
            env={**common, "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[1][0] == "", "only the first process reports"
    (base / "reports.json").write_text(json.dumps([json.loads(line) for line in said[0][0].splitlines()]))
    return base


def pair_report(pair: Path, name: str) -> tuple[dict[str, Any], MlflowClient]:
    """What the two processes reported of a case, and a client of their runs."""
    reports = json.loads((pair / "reports.json").read_text())
    assert len(reports) == len(CASES)
    return reports[list(CASES).index(name)], MlflowClient(tracking_uri=load_settings(home=pair / "home").tracking_uri)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(
    name: str,
    pair: Path,
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Retriever: only with negatives gathered from both processes, and their gradients, do the losses agree.

    Losses of whole queries: only with the scores of both, in batches that don't depend on the processes. Two-tower:
    every process ranks against the negatives of the whole batch.
    """
    stage = CASES[name][0]
    alone = recsys(capsys, *asked(name, small_snapshot, backbone=tiny_backbone, out=tmp_path)).report
    shared, client = pair_report(pair, name)
    assert (shared["stage"], shared["alias"]) == (stage, "challenger")
    for metric in ("loss", *(["validation/ndcg_at_10"] if stage in NETWORKS else [])):
        first = history(alone["run_id"], metric)
        second = [one.value for one in client.get_metric_history(shared["run_id"], metric)]
        assert len(first) >= 2
        assert second == pytest.approx(first, abs=1e-4), metric
    if stage in NETWORKS:
        folders = [Bundle.open(base / name).component(NETWORKS[stage]) for base in (tmp_path, pair)]
        one, two = (load_file(folder / "model.safetensors") for folder in folders if folder is not None)
        for key, weight in one.items():
            assert (weight - two[key]).abs().max() < 1e-4, key


def test_a_command_starts_the_second_process_itself(
    small_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints one report, makes one version, and learns what one process does."""
    settings = [part for text in (*TOWER, "epochs=2", "patience=0") for part in ("--set", text)]
    command = ["train", "two-tower", str(small_snapshot.path), "--json", "--base", "none", *settings]
    alone = recsys(capsys, *command).report
    done = subprocess.run(
        [sys.executable, "-m", "recsys", *command, *TWO],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    shared = json.loads(line)
    assert len(runs()) == 2
    assert (shared["version"], shared["alias"]) == (2, "challenger")
    first, second = (history(report["run_id"], "loss") for report in (alone, shared))
    assert len(first) >= 2
    assert second == pytest.approx(first, abs=1e-4)
