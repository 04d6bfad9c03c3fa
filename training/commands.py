"""The commands that learn and measure."""

from pathlib import Path
from typing import Annotated, Any

import typer

from feature_store.options import Home, Machine
from training.adapt.command import adapt
from training.evaluate.command import evaluate

__all__ = ["adapt", "evaluate", "train"]


def train(  # noqa: PLR0917
    stage: Annotated[
        str,
        typer.Argument(
            help="relevance, calibration, retriever, images, blender; two-tower, als, bpr, item-knn, popularity, "
            "bought-together, repeat, trending, category-popularity or recommend-blender.",
            metavar="STAGE",
        ),
    ],
    snapshot: Annotated[Path, typer.Argument(help="A snapshot folder, or a snapshot's id.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings by name.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting; wins over the file.")
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Learn from this snapshot of another shop as well, on its own scale of grades; relevance only."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Model whose other components are carried over, or none. Default: the challenger, else the champion."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--init",
            help="Weights to start from: stock, base or any shop's model; base if --base is named, else stock.",
        ),
    ] = None,
    refit: Annotated[bool, typer.Option(help="Learn anew on train and validation once the epochs are chosen.")] = True,
    fresh: Annotated[bool, typer.Option(help="Start anew where the same command was killed before.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write the bundle to this folder.")] = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Train one stage on a snapshot and register a complete new model version as the challenger.

    Settings and epochs are chosen on the validation part; the test part is never read. The same command goes on where
    it was killed. Several processes: --set devices=2 --set strategy=ddp.
    """
    from recsys.settings import load_settings
    from training.compose import train as run
    from training.plan import Request

    request = Request(
        stage=stage,
        snapshot=snapshot,
        config=config,
        settings=tuple(setting or ()),
        base=base,
        start=start,
        refit=refit,
        fresh=fresh,
        out=out,
        also=tuple(also or ()),
    )
    report = run(request, settings=load_settings(home=home))
    if report is not None:
        show(report, machine=machine)


def show(report: dict[str, Any], *, machine: bool) -> None:
    """Print the report: one JSON object, or a table of the metrics and one line on the version."""
    from recsys.cli.output import emit_json, emit_line, emit_table

    if machine:
        emit_json(report)
        return
    before = report["before"]
    rows = [(name, before.get(name), value) for name, value in report["metrics"].items()]
    emit_table(("metric", "before", "now"), rows, title=f"{report['component']}, validation part")
    if report["stages"]:
        (show_blend if "tables" in report["stages"] else show_stages)(report["stages"])
    emit_line(f"{report['uri']} is the {report['alias']}; run {report['run_id']}, {report['seconds']} s")


def show_blend(report: dict[str, Any]) -> None:
    """Print what the blend of all recommenders gains over the best of them, on held-out users, by table."""
    from recsys.cli.output import emit_line

    for table in report["tables"]:
        gain, metric = table["gain"], table["metric"]
        told = (
            "nobody to measure it on"
            if gain is None
            else f"{gain['mean']:+.4f} [{gain['low']:.4f}, {gain['high']:.4f}]"
        )
        best = f"{table['best source']} {table['sources'][table['best source']]:.4f}"
        state = "on" if table["on"] else "off: its gain is not shown to be above 0"
        emit_line(f"{table['table']}: {metric} over {best}: {told}, {table['users']} users, blend {state}")


def show_stages(report: dict[str, Any]) -> None:
    """Print what each stage of the search gains over the list without it and costs, as a whole and by query class."""
    from recsys.cli.output import emit_line
    from training.evaluate.show import show_stages as show_rows

    title = f"stages, NDCG@10 of {report['queries']} held-out queries, gain over the list without, ms with all before"
    show_rows(report["stages"], metric="ndcg@10", title=title)
    if report["seen"]:
        names = " and ".join(report["seen"])
        emit_line(f"{names} learned from these queries: dense looks too good here, the stages after it too poor")
    if "why" in report:
        emit_line(f"weights: {report['why']}")
        return
    absent = ", ".join(report["absent"]) or "none"
    emit_line(f"blender: {report['chosen']}; signals that this shop lacks: {absent}")
