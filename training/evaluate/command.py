"""The `recsys evaluate` command: measure a registered artefact on a snapshot, by the named protocol."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Argument(help="models:/NAME@alias, models:/NAME/VERSION or a bundle folder.")],
    snapshot: Annotated[Path, typer.Argument(help="A snapshot folder, or a snapshot's id.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "test",
    task: Annotated[str, typer.Option(help="judged, retrieval or recommend.")] = "judged",
    stages: Annotated[
        str | None, typer.Option(help="Comma-separated: bm25, dense, hybrid, full; all if left out.")
    ] = None,
    repeats: Annotated[str, typer.Option(help="May owned products come back: allowed, excluded or both.")] = "both",
    k: Annotated[str, typer.Option(help="Comma-separated cut-offs.")] = "10,20",
    trec_run: Annotated[Path | None, typer.Option(help="Write the rankings as a TREC run file.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Write each query's or user's metrics as Parquet.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    machine: Annotated[bool, typer.Option("--json", help="Print one JSON report.")] = False,
) -> None:
    """Measure a registered model on a snapshot."""
    raise NotImplementedError
