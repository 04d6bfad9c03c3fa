"""What was measured on a registered version goes to MLflow: a run with the report, metrics and tags of the version."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import Interval
from recsys.registry.client import Registry
from recsys.registry.evaluation import Evaluation
from recsys.registry.version import Version
from recsys.settings import Settings
from recsys.tracking import Run, Tracker
from training.evaluate.calibration import figures
from training.evaluate.folder import write_json, write_record
from training.evaluate.measured import Measured
from training.evaluate.reliability import PLOT, reliability_figure
from training.evaluate.run import Request

Fields = Mapping[str, dict[str, float] | None]


def record(
    tables: Sequence[Measured],
    reports: Sequence[Mapping[str, Any]],
    *,
    request: Request,
    version: Version,
    settings: Settings,
    seed: int,
) -> list[Evaluation]:
    """Log each table as a run of the model's experiment, and on the version under names that say what it is of.

    Args:
        tables: what was measured.
        reports: what `measured.report` made of each table.
        request: what was asked for.
        version: the version that was measured.
        settings: where MLflow stands.
        seed: of the bootstrap.

    Raises:
        TrackingError: the server can't be reached or refuses.
    """
    found = []
    for table, report in zip(tables, reports, strict=True):
        with recorded(report, request=request, version=version, settings=settings) as (run, one):
            log_files(run, table, report, seed=seed)
        found.append(one)
    return found


def record_report(report: Mapping[str, Any], *, request: Request, version: Version, settings: Settings) -> Evaluation:
    """Log a report that has no table by user, as `record` does; it goes along as report.json.

    Raises:
        TrackingError: the server can't be reached or refuses.
    """
    with (
        recorded(report, request=request, version=version, settings=settings) as (run, one),
        TemporaryDirectory(prefix="recsys-report-") as place,
    ):
        write_json(report, Path(place) / "report.json")
        run.artifact(Path(place) / "report.json")
    return one


@contextmanager
def recorded(
    report: Mapping[str, Any], *, request: Request, version: Version, settings: Settings
) -> Iterator[tuple[Run, Evaluation]]:
    """A run with the report's figures, to which files may be added; the version's metrics and tags once it is whole."""
    registry, tracker = Registry(settings), Tracker(settings)
    snapshot = Snapshot.open(request.snapshot, settings=settings)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tags = {
        "stage": "evaluate",
        "model": version.uri,
        "digest": version.digest,
        "snapshot": snapshot.manifest.snapshot_id,
        "task": request.task,
        "split": request.split,
        "protocol": report["protocol"],
        "against": report["against"],
    }
    with tracker.run(version.name, name=f"evaluate {version.label} {request.task}", tags=tags) as run:
        one = as_evaluation(report, request=request, snapshot=snapshot, run_id=run.id, at=now)
        log(run, evaluation=one, snapshot=snapshot)
        yield run, one
    registry.measure(version, one.keyed_metrics, run_id=run.id)
    registry.tag(version, one.tags)


def log(run: Run, *, evaluation: Evaluation, snapshot: Snapshot) -> None:
    """Log the data and the figures with their intervals."""
    manifest = snapshot.manifest
    counts = {name: count for name, count in manifest.counts.items() if count}
    run.dataset(
        name=manifest.shop,
        digest=manifest.snapshot_id,
        source=str(snapshot.path),
        profile=counts,
        context="evaluation",
    )
    run.metrics(flat(evaluation.metrics) | flat(evaluation.differences, prefix="difference "))


def log_files(run: Run, table: Measured, report: Mapping[str, Any], *, seed: int) -> None:
    """Log the page, the whole report and the tables as files of the run, and what came true of probabilities."""
    if (stated := report.get("calibration")) is not None:
        run.metrics(figures(stated))
        run.figure(reliability_figure(stated), PLOT)
    with TemporaryDirectory(prefix="recsys-report-") as place:
        write_record(table, report, Path(place), seed=seed)
        for file in sorted(Path(place).iterdir()):
            run.artifact(file)


def as_evaluation(
    report: Mapping[str, Any], *, request: Request, snapshot: Snapshot, run_id: str, at: str
) -> Evaluation:
    """A report as the version's tags hold it."""
    other = report["against"]
    return Evaluation(
        snapshot=snapshot.manifest.snapshot_id,
        task=request.task,
        split=request.split,
        variant=report["system"] if request.stages else report["variant"],
        protocol=report["protocol"],
        run_id=run_id,
        at=at,
        metrics=intervals(report["intervals"]),
        against=other,
        differences=intervals(report["baselines"][other]["difference"]) if other else {},
    )


def intervals(fields: Fields) -> dict[str, Interval]:
    """The intervals of a report that were measured."""
    return {name: Interval(**values) for name, values in fields.items() if values is not None}


def flat(values: Mapping[str, Interval], *, prefix: str = "") -> dict[str, float]:
    """Mean, low and high of each metric under names of their own."""
    return {
        f"{prefix}{name}{end}": value
        for name, interval in values.items()
        for end, value in zip(("", " low", " high"), interval, strict=True)
    }
