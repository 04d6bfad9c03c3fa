"""Who may import whom: the contracts of pyproject.toml hold, and a wrong import breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("recsys", "feature_store", "training", "serving")
LINTER = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"

WRONG = {
    "training imports serving": ("training/wrong.py", "import serving.app", "Packages point down"),
    "the core imports feature_store": ("recsys/engine/wrong.py", "import feature_store.config", "Packages point down"),
    "a network imports the engine": ("recsys/models/wrong.py", "import recsys.engine.engine", "Inside the core"),
    "a module without a layer": ("recsys/wrong.py", "", "Inside the core"),
    "MLflow in serving": ("serving/wrong.py", "import mlflow", "Door: MLflow"),
    "transformers in training": ("training/wrong.py", "from transformers import AutoModel", "Door: transformers"),
    "Lightning in the core": ("recsys/models/wrong.py", "import lightning", "Door: what only training needs"),
    "implicit at run time": ("recsys/retrieval/wrong.py", "import implicit", "Door: what only training needs"),
    "FAISS in the engine": ("recsys/engine/wrong.py", "import faiss", "Door: retrieval libraries"),
    "LightGBM in the engine": ("recsys/engine/wrong.py", "import lightgbm", "Door: LightGBM"),
    "LMDB outside the stores": ("feature_store/wrong.py", "import lmdb", "Door: online stores"),
    "PostgreSQL outside its log": ("feature_store/wrong.py", "import psycopg", "Door: PostgreSQL"),
    "Ray outside its engine": ("feature_store/point_in_time/wrong.py", "import ray.data", "Door: Ray"),
    "FastAPI in the core": ("recsys/cli/wrong.py", "import fastapi", "Door: the web"),
    "the truth in training": (
        "training/wrong.py",
        "from feature_store.sources.sample import truth",
        "The sample shop's truth has to be learned",
    ),
    "the truth in another source": (
        "feature_store/sources/wrong.py",
        "import feature_store.sources.sample.truth",
        "The sample shop's truth has to be learned",
    ),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINTER], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four packages and their contracts, to be broken."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_import_breaks_its_contract(case: str, copy: Path) -> None:
    place, line, contract = WRONG[case]
    file = copy / place
    file.write_text(line + "\n")
    try:
        result = lint(copy)
    finally:
        file.unlink()
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout


def test_the_folder_of_mlflow_settings_does_not_hide_mlflow() -> None:
    """mlflow/ stands beside the packages; an `__init__.py` in it would win over the real package."""
    code = "import mlflow, pathlib; print(pathlib.Path(mlflow.__file__).parent)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(shown.stdout.strip()) != ROOT / "mlflow"
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "polars", "numpy", "mlflow", "typer", "rich", "fastapi")
    code = (
        "import sys; from recsys.cli.app import show_help; show_help();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_training_runs_where_only_torch_and_lightning_are() -> None:
    """The training core goes to machines without Polars, FAISS and MLflow."""
    code = (
        "import sys, training.fit, training.losses, training.batches;"
        "print([name for name in ('polars', 'faiss', 'mlflow', 'tantivy', 'fastapi') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
