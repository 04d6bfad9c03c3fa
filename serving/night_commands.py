"""Signatures of the commands that run a whole night; what is heavy is imported when a command runs."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from feature_store.options import Home, Machine, Online
from recsys.cli.output import emit_json
from recsys.settings import load_settings
from serving.options import Shop

log = logging.getLogger(__name__)

Out = Annotated[Path, typer.Option("-o", "--out", help="The folder of all nights; each night is a folder in it.")]
Night = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="The night's date; the day of the newest event if left out."),
]
Rows = Annotated[int, typer.Option("--k", min=1, max=1000, help="Recommendations for each user.")]

batch = typer.Typer(help="Write or check everyone's recommendations.", add_completion=False)


@batch.command("run")
def batch_run(
    *,
    out: Out,
    date: Night = None,
    k: Rows = 20,
    repeats: Annotated[
        bool | None, typer.Option("--repeats/--no-repeats", help="May bought products come back; else the model says.")
    ] = None,
    index: Annotated[Path | None, typer.Option("--index", help="The index that answers; the live one if left out.")] = (
        None
    ),
    histories: Annotated[
        str | None,
        typer.Option("--histories", help="The histories that `recsys index` named; the current ones if left out."),
    ] = None,
    shop: Shop = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Write recommendations for every known user from the live index, or from one that was left aside.

    The night appears in OUT as a whole. A run that was killed goes on where it stood when the same command is given
    again; a night that stands already and has the same inputs is left as it is.
    """
    from serving.nights import write_night
    from serving.show import show_night

    summary = write_night(
        load_settings(home=home),
        shop=shop,
        out=out,
        night=date.date() if date else None,
        k=k,
        repeats=repeats,
        index=index,
        histories=histories,
    )
    if machine:
        emit_json(summary)
    else:
        show_night(summary)


@batch.command("verify")
def batch_verify(
    folder: Annotated[Path, typer.Argument(help="A night's folder, or the folder of all nights: then the latest.")],
    *,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Read a night again and hold counts, digests and rows against its manifest; say who was forgotten since."""
    from serving.forgotten import forgotten_since
    from serving.night import latest_night, verify_night
    from serving.show import show_forgotten, show_night

    night = latest_night(folder)
    manifest = verify_night(night)
    since = forgotten_since(night, manifest, settings=load_settings(home=home))
    if machine:
        emit_json(manifest.summary() | {"verified": True} | since.as_json())
    else:
        show_night(manifest.summary(), note="verified: every file is what the manifest says")
        show_forgotten(since)


def nightly(
    folder: Annotated[Path, typer.Argument(metavar="SHOP", help="The shop folder with its raw tables.")],
    *,
    out: Out,
    date: Night = None,
    k: Rows = 20,
    train: Annotated[str, typer.Option(help="due, always or never.")] = "due",
    retrain_days: Annotated[float, typer.Option(min=0, help="Train again on data so many days newer.")] = 7.0,
    anew_days: Annotated[
        float,
        typer.Option(
            min=0,
            help="In between, the two-tower goes on from its newest model; 0: it always learns from the beginning.",
        ),
    ] = 0.0,
    only: Annotated[list[str] | None, typer.Option("--only", help="A stage that may be trained; repeatable.")] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", help="A stage not to train; repeatable.")] = None,
    once: Annotated[
        list[str] | None,
        typer.Option(
            "--no-refit", help="A stage that isn't learned anew on train and validation: half the time; repeatable."
        ),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="A training setting, as two-tower.epochs=5; repeatable.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where the work runs: local.")] = "local",
    online: Online = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """The main job: from a shop's raw tables to recommendations for every known user.

    Stages: compact (where an event log is), parity (where services logged features), validate, features, train what is
    due, evaluate, the gate, index, batch, verify, publish (where shop.toml asks for online features). Each is a child
    process; a stage whose inputs have not changed is not run again, so that a run that was stopped goes on where it
    stood. A first model that beats its baseline may go live by itself; an existing champion is only replaced by a
    person.
    """
    from serving.job import read_job
    from serving.nightly import run_nightly
    from serving.report import show_nightly

    job = read_job(
        folder,
        out=out,
        night=date.date() if date else None,
        k=k,
        train=train,
        days=retrain_days,
        anew_days=anew_days,
        only=only or [],
        skip=skip or [],
        once=once or [],
        options=options or [],
        engine=engine,
    )
    report = run_nightly(job, settings=load_settings(home=home, online_store=online), announce=log.info)
    if machine:
        emit_json(report)
    else:
        show_nightly(report)


def demo(
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where shop and nights are written; RECSYS_HOME/demo if left out."),
    ] = None,
    products: Annotated[int, typer.Option(min=50, help="Products of the made-up shop.")] = 1000,
    users: Annotated[int, typer.Option(min=20, help="Users of the made-up shop.")] = 800,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Run the whole line on a made-up shop and show the results.

    Writes the shop, checks it, trains every stage on it, measures them against their baselines, puts them live, writes
    everyone's recommendations and asks two questions. Minutes on two cores; needs no network, no server and no GPU.
    """
    from serving.demo import run_demo
    from serving.story import tell

    settings = load_settings(home=home)
    told = run_demo(settings, folder=out or settings.home / "demo", announce=log.info, products=products, users=users)
    if machine:
        emit_json(told)
    else:
        tell(told)
