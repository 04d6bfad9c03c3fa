"""Steps on MLflow's client that take more than one call."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.registry.artifact import FOLDER
from recsys.registry.card import SUMMARY
from recsys.registry.version import Version
from recsys.server import stored_name

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_metrics(client: MlflowClient, metrics: Mapping[str, float], *, run_id: str, model_id: str) -> None:
    """Log numbers of a model and of the run that made it."""
    for name, value in metrics.items():
        client.log_metric(run_id, stored_name(name), float(value), model_id=model_id)


def make_model(client: MlflowClient, name: str, *, kind: str, shop: str) -> None:
    """Make the registered model; it may be there already."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"shop": shop, "kind": kind}, description=SUMMARY[kind])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def download(client: MlflowClient, version: Version, folder: Path, *, address: str) -> None:
    """Put the files of a version's bundle into a folder."""
    import mlflow.artifacts

    source = client.get_model_version_download_uri(version.name, str(version.version))
    mlflow.artifacts.download_artifacts(
        artifact_uri=f"{source}/data/{FOLDER}", dst_path=str(folder), tracking_uri=address, registry_uri=address
    )
    for path in (folder / FOLDER).iterdir():
        path.rename(folder / path.name)
    (folder / FOLDER).rmdir()


@contextmanager
def default_address(address: str) -> Iterator[None]:
    """Make `address` MLflow's default for a moment: its SQL registry looks `models:/ID` up there, not at its own."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before
