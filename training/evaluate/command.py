"""The `recsys evaluate` command: measure a registered artefact on a snapshot, by the named protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_store.options import Home, Machine

if TYPE_CHECKING:
    from recsys.registry.version import Version
    from recsys.settings import Settings
    from training.evaluate.measured import Measured
    from training.evaluate.run import Request


def evaluate(  # noqa: PLR0917
    model: Annotated[str, typer.Argument(help="models:/NAME@alias, models:/NAME/VERSION or a bundle folder.")],
    snapshot: Annotated[Path, typer.Argument(help="A snapshot folder, or a snapshot's id.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
    task: Annotated[
        str,
        typer.Option(
            help="judged (its products alone), retrieval (the whole catalogue), recommend, or off-policy (what the"
            " model's order would have earned on logged lists)."
        ),
    ] = "judged",
    stages: Annotated[
        str | None, typer.Option(help="bm25, dense, hybrid, full, with commas between; all there are if left out.")
    ] = None,
    repeats: Annotated[
        str, typer.Option(help="May products come back that the user has: allowed, excluded or both (two tables).")
    ] = "excluded",
    k: Annotated[str, typer.Option(help="Where rankings are cut, with commas between.")] = "10,20",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write page, TREC runs and qrels, slices and the table to this folder."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The system that tests, slices and page compare with; --against's, else BM25 or popularity."),
    ] = None,
    trec_run: Annotated[
        Path | None, typer.Option(help="Write the rankings to this file, as trec_eval reads them.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write each query's or user's metrics to this Parquet file.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A second model, measured the same way and compared in pairs: the champion, as a rule."),
    ] = None,
    logged_by: Annotated[
        str | None, typer.Option(help="off-policy: the logged policy whose lists stood in random order.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of the tests.")] = 0,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Measure a registered model on a snapshot, beside its baselines and with intervals.

    The model answers through the engine, on an index of the snapshot's catalogue that is kept for the next time.
    What is found about a registered version is logged to MLflow, where `recsys review` reads it.
    """
    from recsys.room import check_writable
    from recsys.settings import load_settings
    from training.evaluate.folder import write_out
    from training.evaluate.interleaved import interleaving
    from training.evaluate.measured import report
    from training.evaluate.record import record
    from training.evaluate.run import OFF_POLICY, Request, as_cuts, check_task, measure, pinned
    from training.evaluate.show import show
    from training.evaluate.table import write_scores
    from training.evaluate.trec import write_run

    settings = load_settings(home=home)
    for place in (out, trec_run and trec_run.parent, scores and scores.parent):
        if place is not None:
            check_writable(place)
    version, name = pinned(model, settings=settings)
    request = Request(
        model=name,
        snapshot=snapshot,
        split=split,
        task=check_task(task),
        stages=tuple(stages.split(",")) if stages else None,
        repeats=repeats,
        cuts=as_cuts(k),
        against=pinned(against, settings=settings)[1] if against else None,
        baseline=baseline,
        logged_by=logged_by,
    )
    if request.task == OFF_POLICY:
        answer_logged(request, version=version, settings=settings, out=out, seed=seed, machine=machine)
        return
    tables = measure(request, settings=settings)
    for table in tables:
        if trec_run is not None:
            write_run(table, named(trec_run, table, several=len(tables) > 1), system=table.subject)
        if scores is not None:
            write_scores(table, named(scores, table, several=len(tables) > 1))
    reports = [report(table, seed=seed, baseline=baseline) | interleaving(table, seed=seed) for table in tables]
    if out is not None:
        write_out(tables, reports, out, seed=seed)
    if version is not None:
        record(tables, reports, request=request, version=version, settings=settings, seed=seed)
    if machine:
        emit(reports)
    else:
        for found in reports:
            show(found)


def answer_logged(
    request: "Request",
    *,
    version: "Version | None",
    settings: "Settings",
    out: Path | None,
    seed: int,
    machine: bool,
) -> None:
    """Measure on logged lists; write, record and print the one report of it."""
    from training.evaluate.folder import write_json
    from training.evaluate.off_policy.show import show_off_policy
    from training.evaluate.record import record_report
    from training.evaluate.run import measure_logged

    found = measure_logged(request, settings=settings, seed=seed)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(found, out / "report.json")
    if version is not None:
        record_report(found, request=request, version=version, settings=settings)
    if machine:
        emit([found])
    else:
        show_off_policy(found)


def named(path: Path, table: "Measured", *, several: bool) -> Path:
    """The file for one of several tables: its name says which."""
    return path.with_name(f"{path.stem}-{table.variant}{path.suffix}") if several else path


def emit(reports: list[dict[str, Any]]) -> None:
    """Print one JSON report; of two tables the second stands in `tables` beside the first."""
    from recsys.cli.output import emit_json

    emit_json(reports[0] if len(reports) == 1 else {**reports[0], "tables": reports})
