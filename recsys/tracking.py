"""Runs in MLflow: parameters, metrics by epoch, figures, files and the snapshot that was learned from.

One of the two doors to MLflow. It is imported on first use, for it takes two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.errors import TrackingError
from recsys.provenance import git_commit, library_versions, user_name
from recsys.server import first_use, prepare, remote, speaking, stored_name
from recsys.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

PARAMS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
LONGEST_VALUE = 500
LONGEST_DIGEST = 36


class Run:
    """One open run.

    Attributes:
        id: MLflow's id of the run.
        experiment: the experiment's name.
    """

    def __init__(self, client: MlflowClient, *, run_id: str, experiment: str, settings: Settings) -> None:
        self.id = run_id
        self.experiment = experiment
        self._client = client
        self._settings = settings

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings; nested mappings become dotted names, long values are cut at 500 characters."""
        from mlflow.entities import Param

        entries = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in flat(values).items()]
        with self._calling("log parameters"):
            for block in blocks(entries, PARAMS_AT_ONCE):
                self._client.log_batch(self.id, params=block)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of one epoch or step; MLflow shows ndcg@10 as ndcg_at_10, for it refuses "@"."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(stored_name(name), float(value), now, step) for name, value in values.items()]
        with self._calling("log metrics"):
            for block in blocks(entries, METRICS_AT_ONCE):
                self._client.log_batch(self.id, metrics=block)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        with self._calling("set tags"):
            self._client.log_batch(self.id, tags=[RunTag(name, str(value)) for name, value in values.items()])

    def artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Log a file, or a folder with all that is in it, below `folder` of the run's artefacts."""
        with self._calling(f"log {path.name}"):
            if path.is_dir():
                self._client.log_artifacts(self.id, str(path), folder)
            else:
                self._client.log_artifact(self.id, str(path), folder)

    def figure(self, figure: Figure, name: str) -> None:
        """Log a matplotlib figure as an image named e.g. "curves.png"."""
        with self._calling(f"log {name}"):
            self._client.log_figure(self.id, figure, name)

    def dataset(
        self,
        *,
        name: str,
        digest: str,
        source: str,
        profile: Mapping[str, Any] | None = None,
        context: str = "training",
    ) -> None:
        """Log which data was used, by name and digest; no row of it is copied.

        Args:
            name: the shop's name or the data set's.
            digest: the snapshot's id; MLflow keeps its first 36 characters.
            source: where the snapshot stands.
            profile: its counts.
            context: "training" or "evaluation".
        """
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(
            name=name or "default",
            digest=digest[:LONGEST_DIGEST],
            source_type="local",
            source=json.dumps({"uri": source, "snapshot": digest}),
            profile=json.dumps(dict(profile or {}), default=str),
        )
        tag = InputTag(key="mlflow.data.context", value=context)
        with self._calling("log the data set"):
            self._client.log_inputs(self.id, datasets=[DatasetInput(dataset=entity, tags=[tag])])

    @contextmanager
    def _calling(self, step: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        with speaking(self._settings, step=step, failures=MlflowException):
            yield


class Tracker:
    """Opens runs on the installation's MLflow server; nothing is asked of it before the first run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @contextmanager
    def run(
        self,
        experiment: str,
        *,
        name: str,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> Iterator[Run]:
        """Open a run; it ends as finished, or as failed where an error leaves the block.

        Args:
            experiment: the experiment's name; made where it is missing.
            name: the run's name.
            tags: added to those every run carries (git commit, library versions, user).
            params: settings to log at once.
            run_id: continue this run instead of opening one.

        Raises:
            TrackingError: the server can't be reached or refuses.
        """
        prepare(self.settings)
        from mlflow.exceptions import MlflowException

        with speaking(self.settings, step=f"open a run in {experiment}", failures=MlflowException):
            client = self._client()
            if run_id is None:
                experiment_id = self._experiment(client, experiment)
                started = client.create_run(experiment_id, tags={**standing_tags(), **(tags or {})}, run_name=name)
                run_id = started.info.run_id
            else:
                client.update_run(run_id, status="RUNNING")
        run = Run(client, run_id=run_id, experiment=experiment, settings=self.settings)
        status = "FAILED"
        try:
            if params:
                run.params(params)
            yield run
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            self._close(client, run_id, status=status)

    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        with first_use(self.settings):
            client = MlflowClient(tracking_uri=self.settings.tracking_uri, registry_uri=self.settings.tracking_uri)
            client.search_experiments(max_results=1)
        return client

    def _experiment(self, client: MlflowClient, name: str) -> str:
        """The id of an experiment; a new one keeps its artefacts inside the home folder unless a server does."""
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(name)
        if found is None:
            location = None if remote(self.settings) else (self.settings.artifacts / folder_name(name)).as_uri()
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException:
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment `{name}` was deleted",
                expected="an active one",
                action=f"run `mlflow experiments restore -x {found.experiment_id}`",
            )
        return str(found.experiment_id)

    def _close(self, client: MlflowClient, run_id: str, *, status: str) -> None:
        """End the run; where the block has failed, a second failure must not hide the first."""
        from mlflow.exceptions import MlflowException

        try:
            with speaking(self.settings, step="end the run", failures=MlflowException):
                client.set_terminated(run_id, status=status)
        except TrackingError:
            if status == "FINISHED":
                raise


def standing_tags() -> dict[str, str]:
    """The tags that every run carries."""
    versions = {f"version.{name}": value for name, value in library_versions().items()}
    commit = git_commit()
    return {
        "mlflow.source.git.commit": commit,
        "git_commit": commit,
        "mlflow.source.name": "recsys",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": user_name(),
        **versions,
    }


def flat(values: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(flat(value, prefix=f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def folder_name(experiment: str) -> str:
    """An experiment's name as one folder's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in experiment).strip(".") or "run"


def blocks(entries: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive blocks of at most `size` entries."""
    for start in range(0, len(entries), size):
        yield list(entries[start : start + size])
