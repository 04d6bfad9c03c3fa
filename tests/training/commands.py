"""What tests of `recsys train` share."""

import warnings
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from recsys.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
FAST = ("precision=fp32", "batch_size=16", "learning_rate=0.003", "freeze_embeddings=false", "max_length=24")


def options(backbone: Path, *more: str) -> list[str]:
    """Settings of a quick run on the tiny backbone."""
    return [part for text in (f"backbone={backbone}", *FAST, *more) for part in ("--set", text)]


def client() -> MlflowClient:
    return MlflowClient(tracking_uri=load_settings().tracking_uri)


def runs() -> list[Any]:
    """All runs of all experiments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on the first use of its database
        found = client().search_experiments()
        return list(client().search_runs([experiment.experiment_id for experiment in found]))


def history(run_id: str, name: str) -> list[float]:
    """The values of a metric, oldest first."""
    return [metric.value for metric in client().get_metric_history(run_id, name)]
