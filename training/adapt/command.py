"""The `recsys adapt` command: a backbone that has read the shops' products, for any later training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_store.options import Home, Machine

if TYPE_CHECKING:
    from feature_store.snapshot import Snapshot
    from recsys.settings import Settings
    from training.adapt.config import AdaptConfig


def adapt(  # noqa: PLR0917
    snapshots: Annotated[list[Path], typer.Argument(help="Snapshot folders, or snapshots' ids, of one or more shops.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the adapted backbone.")],
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings by name.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting; wins over the file.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start anew where the same command was killed before.")] = False,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Let a backbone read the shops' products by filling in masked words, before any label is learned.

    Start from it with `recsys train relevance SNAPSHOT --set backbone=FOLDER`, the retriever likewise. The same command
    goes on where it was killed.
    """
    from recsys.cli.output import emit_json, emit_line
    from recsys.settings import load_settings
    from training.adapt.config import AdaptConfig
    from training.config import read_config
    from training.plan import open_each

    settings = load_settings(home=home)
    chosen = read_config(AdaptConfig, file=config, settings=setting or ())
    opened = open_each(snapshots, settings=settings)
    report = run(opened, config=chosen, out=out, fresh=fresh, settings=settings)
    if report is None:
        return
    if machine:
        emit_json(report)
    else:
        emit_line(f"{out} has read {report['products']} products in {report['seconds']} s; run {report['run_id']}")


def run(
    snapshots: "list[Snapshot]", *, config: "AdaptConfig", out: Path, fresh: bool, settings: "Settings"
) -> dict[str, Any] | None:
    """Adapt inside an MLflow run; None in all processes of a distributed run but the first."""
    import shutil
    from time import perf_counter

    from recsys.bundle.manifest import PRODUCT_SEARCH
    from recsys.models.masked_language import HEAD
    from recsys.registry.version import model_name
    from recsys.storage import locked, refuse_other_files
    from recsys.tracking import Tracker
    from training.adapt.learn import adapt as learn
    from training.compose import RUN_FILE, log_dataset
    from training.curves import Recorder, draw_curves
    from training.plan import content_of, working_name
    from training.processes import main_process

    refuse_other_files(out, what="adapted backbone", older=lambda folder: (folder / HEAD).is_file())
    begun, ids = perf_counter(), [snapshot.manifest.snapshot_id for snapshot in snapshots]
    asked = {"snapshots": ids, "config": config.model_dump(mode="json"), "files": content_of(config)}
    key = working_name("adapt", asked)
    work = settings.home / "training" / key
    if not main_process():
        learn(snapshots, config=config, out=out, work=work)
        return None
    with locked(settings.locks / f"train-{key}"):
        if fresh:
            shutil.rmtree(work, ignore_errors=True)
        before = (work / RUN_FILE).read_text() if (work / RUN_FILE).is_file() else None
        shop = snapshots[0].manifest.shop
        tags = {"shop": shop, "stage": "adapt", "snapshot": ids[0]}
        experiment, params = model_name(PRODUCT_SEARCH, shop=shop), config.model_dump(mode="json")
        with Tracker(settings).run(experiment, name="adapt", tags=tags, params=params, run_id=before) as tracked:
            work.mkdir(parents=True, exist_ok=True)
            (work / RUN_FILE).write_text(tracked.id)
            for snapshot in snapshots:
                log_dataset(tracked, snapshot)
            recorder = Recorder(tracked)
            result = learn(snapshots, config=config, out=out, work=work, run=recorder)
            draw_curves(recorder)
        shutil.rmtree(work, ignore_errors=True)
    return {
        "backbone": str(out),
        "run_id": tracked.id,
        "snapshots": ids,
        "products": sum(snapshot.manifest.counts["catalogue"] for snapshot in snapshots),
        "metrics": result.history[-1],
        "seconds": round(perf_counter() - begun, 1),
    }
