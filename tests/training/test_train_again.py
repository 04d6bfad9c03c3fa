"""`recsys train` killed and given again, and every mistake as one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from tests.command import Done, recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import ROOT, options, runs


def test_a_killed_command_goes_on_when_it_is_given_again(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed after its second epoch; the second call runs the rest in the same MLflow run, to the same weights."""
    arguments = ["train", "relevance", str(small_snapshot.path), *options(tiny_backbone, "epochs=3", "patience=0")]
    killer = (
        "import os, signal, sys\n"
        "from recsys.tracking import Run\n"
        "log = Run.metrics\n"
        "def metrics(run, values, step=0):\n"
        "    log(run, values, step)\n"
        "    if step == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Run.metrics = metrics\n"
        "from recsys.cli.app import main\n"
        "main(sys.argv[1:])\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", killer, *arguments]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    done = recsys(capsys, *arguments, "-o", tmp_path / "resumed", "--json")
    assert done.code == 0, done.err
    (run,) = runs()
    assert run.info.run_id == done.report["run_id"]
    whole = recsys(capsys, *arguments, "-o", tmp_path / "whole", "--base", "none", "--init", "stock", "--json")
    assert whole.code == 0, whole.err
    first, second = (Bundle.open(tmp_path / name).manifest for name in ("resumed", "whole"))
    assert first.components["cross_encoder"].digest == second.components["cross_encoder"].digest


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["relevence"], 2, "no stage 'relevence'; expected one of relevance, calibration, retriever"),
        (["relevance", "--set", "epoch=3"], 2, "unknown setting epoch"),
        (["relevance", "--config", "nowhere.toml"], 2, "no file nowhere.toml"),
        (["relevance", "--base", "nowhere"], 1, "names no model version and no folder that exists"),
        (["relevance", "--base", "./no/where"], 1, "names no model version and no folder that exists"),
        (["relevance", "--init", "models:/product-search/7"], 1, "no version 7 of model"),
        (["relevance", "--set", "backbone=/nowhere"], 1, "backbone /nowhere is neither a folder"),
        (["relevance", "--set", "devices=2", "--set", "batch_size=5"], 2, "batch_size = 5 for 2 devices"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    small_snapshot: Snapshot,
    tiny_backbone: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = [] if any("backbone" in text for text in arguments) else ["--set", f"backbone={tiny_backbone}"]
    if arguments[0] != "relevance":
        own = []
    done = recsys(capsys, "train", arguments[0], small_snapshot.path, *own, *arguments[1:])
    check_line(done, code=code, message=message)


def test_an_unreachable_server_is_one_line_before_anything_is_trained(
    small_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = recsys(capsys, "train", "popularity", small_snapshot.path)
    check_line(done, code=1, message="127.0.0.1:9")


def test_a_missing_snapshot_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_line(recsys(capsys, "train", "relevance", tmp_path), code=1, message="is no snapshot")


def test_an_altered_snapshot_is_named_by_file_before_anything_is_trained(
    small_snapshot: Snapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = tmp_path / "snapshot"
    shutil.copytree(small_snapshot.path, snapshot)
    interactions = snapshot / "interactions.parquet"
    pl.read_parquet(interactions).head(5).write_parquet(interactions)
    done = recsys(capsys, "train", "popularity", snapshot)
    check_line(done, code=1, message="interactions.parquet is missing or altered; expected the bytes that were written")


def test_a_shop_without_judgments_is_one_line(
    tmp_path: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {name: frame for name, frame in small_tables().items() if name not in ("queries", "judgments")}
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables), out=tmp_path / "snapshot")
    missing = {"relevance": "judgments in the training part", "retriever": "positive pairs in the training part"}
    for stage, message in missing.items():
        done = recsys(capsys, "train", stage, snapshot.path, "--set", f"backbone={tiny_backbone}")
        check_line(done, code=1, message=message)


@pytest.mark.parametrize(
    ("grade", "settings", "message"),
    [
        (pl.lit(3.0), (), "tell no product from another: all .* have grade 3; expected products of different grades"),
        (pl.col("query_id").str.tail(1).cast(pl.Float64) % 2, ("loss=listnet",), "each query has one grade"),
    ],
)
def test_grades_that_say_nothing_are_one_line(
    grade: pl.Expr, settings: tuple[str, ...], message: str, tmp_path: Path, tiny_backbone: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Nothing is registered, so nothing is calibrated or promoted."""
    tables = small_tables()
    tables["judgments"] = tables["judgments"].with_columns(grade=grade)
    snapshot = build_snapshot(write_shop(tmp_path / "shop", tables), out=tmp_path / "snapshot")
    done = recsys(capsys, "train", "relevance", snapshot.path, *options(tiny_backbone, "epochs=1", *settings))
    check_line(done, code=1, message=message)


def check_line(done: Done, *, code: int, message: str) -> None:
    """One line on standard error, and the exit code."""
    assert done.code == code, done.err
    assert len(done.lines) == 1, done.err
    assert re.search(message, done.err), done.err
