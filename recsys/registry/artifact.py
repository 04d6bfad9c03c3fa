"""A bundle in MLflow's pyfunc format: loader module, data, signature, example, card and the project's own wheel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.bundle.manifest import PRODUCT_SEARCH, snapshots_behind
from recsys.bundle.read import Bundle
from recsys.errors import BundleError
from recsys.registry.version import Version
from recsys.registry.wheel import pack_wheel
from recsys.storage import partial_folder

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

FOLDER = "bundle"
CARD = "model-card.md"
LOADER = "recsys.pyfunc"
FIELDS = ("description", "brand", "category", "attributes")


def log_model(client: MlflowClient, bundle: Bundle, *, run_id: str, card: str, home: Path) -> LoggedModel:
    """Log a bundle as a model of a run; one that is not complete is marked as failed.

    Args:
        client: of the server that holds the run.
        bundle: what was learned.
        run_id: the run that made it.
        card: the model card, Markdown.
        home: a folder with room for a copy of the bundle.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name=bundle.kind, source_run_id=run_id, tags=version_tags(bundle))
    status = LoggedModelStatus.FAILED
    try:
        with partial_folder(home, "model") as folder:
            save_model(folder, bundle, model=model, card=card)
            client.log_model_artifacts(model.model_id, str(folder / "model"))
        client.log_outputs(run_id, models=[LoggedModelOutput(model.model_id, step=0)])
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(model.model_id, status)
    return model


def save_model(folder: Path, bundle: Bundle, *, model: LoggedModel, card: str) -> None:
    """Write FOLDER/model in MLflow's format: plain data and a loader's name, no pickle.

    Args:
        folder: an empty folder to work in.
        bundle: what was learned.
        model: the logged model that the artefact will belong to.
        card: the model card, Markdown.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    wheel = pack_wheel(folder)
    data = folder / FOLDER
    data.symlink_to(bundle.path.resolve(), target_is_directory=True)
    target = folder / "model"
    mlflow.pyfunc.save_model(
        str(target),
        loader_module=LOADER,
        data_path=str(data),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=model.source_run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
        signature=signature(bundle.kind),
        input_example=input_example(bundle),
        # A recommender's index holds vectors, which only FAISS searches.
        pip_requirements=[f"wheels/{wheel.name}{'' if bundle.kind == PRODUCT_SEARCH else '[cpu]'}"],
        metadata={"digest": bundle.digest, "kind": bundle.kind, "shop": bundle.shop},
    )
    (target / "wheels").mkdir()
    shutil.move(wheel, target / "wheels" / wheel.name)
    (target / CARD).write_text(card, encoding="utf-8")


def version_tags(bundle: Bundle) -> dict[str, str]:
    """The tags that every version carries."""
    manifest = bundle.manifest
    return {
        "kind": bundle.kind,
        "shop": bundle.shop,
        "snapshot": manifest.snapshot,
        "snapshots": ",".join(snapshots_behind(manifest)),
        "digest": bundle.digest,
        "git_commit": manifest.git_commit,
        "components": ",".join(manifest.components),
        "format_version": str(manifest.format_version),
    }


def signature(kind: str) -> ModelSignature:
    """Which columns the model takes and gives; written by hand, for nothing infers it right from Polars or lists."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema, TensorSpec

    if kind == PRODUCT_SEARCH:
        optional = [ColSpec(DataType.string, field, required=False) for field in FIELDS]
        inputs: list[ColSpec | TensorSpec] = [
            ColSpec(DataType.string, "query"),
            ColSpec(DataType.string, "title"),
            *optional,
        ]
        return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.double, "score")]))
    return ModelSignature(
        inputs=Schema(
            [ColSpec(Array(DataType.string), "history"), ColSpec(DataType.long, "k", required=False)],
        ),
        outputs=Schema(
            [ColSpec(Array(DataType.string), "product_ids"), ColSpec(Array(DataType.double), "scores")],
        ),
    )


def input_example(bundle: Bundle) -> pd.DataFrame:
    """Two rows that the model can answer; a recommender's history comes from its own products."""
    import pandas as pd

    if bundle.kind == PRODUCT_SEARCH:
        titles = ["Velvet sofa, 3 seats, navy blue", "Oak coffee table, round"]
        return pd.DataFrame({"query": ["blue velvet sofa"] * 2, "title": titles})
    known: list[str] = []
    if bundle.catalogue is not None:
        import polars as pl

        known = pl.scan_parquet(bundle.catalogue).select("product_id").head(2).collect()["product_id"].to_list()
    return pd.DataFrame({"history": [known, known[:1]], "k": [10, 5]})


def open_artifact(folder: Path, version: Version) -> Bundle:
    """The bundle in a folder, every file checked, and its digest compared with the registered one."""
    bundle = Bundle.open(folder)
    if bundle.digest != version.digest:
        raise BundleError(
            f"the artefact of {version.uri} has digest {bundle.digest[:12]}",
            expected=f"{version.digest[:12]}, as it was registered",
            action="reject the version and train it anew",
        )
    return bundle
