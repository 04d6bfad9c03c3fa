"""Signatures of the commands that read a shop's tables; what is heavy is imported when a command runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from feature_store.effort import Meter
from feature_store.options import Home, Machine, Online, Shop, parse_instant, parse_pairs
from recsys.cli.output import emit_json, emit_line, emit_table
from recsys.settings import load_settings

DenseKind = Literal["auto", "flat", "hnsw", "ivf-pq"]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        help="Leave out what happened or was known later: 2026-03-01 or 2026-03-01T12:00:00Z; UTC without a zone.",
    ),
]

Against = Annotated[
    Path | None,
    typer.Option("--against", help="The snapshot to compare with; the shop's newest in RECSYS_HOME if left out."),
]


def sample(
    out: Annotated[Path, typer.Argument(help="The folder to write; made if it isn't there.")],
    *,
    products: Annotated[int, typer.Option(help="How many products.")] = 3000,
    users: Annotated[int, typer.Option(help="How many users.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.")] = 0,
    images: Annotated[bool, typer.Option("--images", help="Draw a small picture of each product.")] = False,
    hide_colour: Annotated[
        float, typer.Option(help="Share of the coloured products whose words leave the colour out, 0 to 1.")
    ] = 0.0,
    machine: Machine = False,
) -> None:
    """Write a made-up shop folder with products, users, events, queries and judgments; no network needed."""
    from feature_store.sources.sample.write import write_sample

    report = write_sample(out, products=products, users=users, seed=seed, images=images, hide_colour=hide_colour)
    if machine:
        emit_json({"folder": str(report.folder), "rows": report.rows, "seed": report.seed})
        return
    emit_table(("table", "rows"), report.rows.items(), title=f"Sample shop in {report.folder}")
    emit_line(f"Next: recsys doctor {report.folder}")


def validate(
    shop: Shop,
    *,
    quarantine: Annotated[
        Path | None,
        typer.Option("--quarantine", help="Where rows set aside are written (Parquet); in RECSYS_HOME if left out."),
    ] = None,
    against: Against = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Write a page with plots (HTML); it shows examples of the shop's texts."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where any row is set aside or anything deserves a warning.")
    ] = False,
    as_of: AsOf = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Check a shop folder against the input contract, and what changed since its last snapshot.

    Rows that break the contract are written to the quarantine file with their reason, and the rest is used.
    A table that fails as a whole (missing, unreadable, most rows broken) ends the command with exit code 1.
    Drift, volume, freshness, references, repeats and damaged texts give warnings; limits: [quality] in shop.toml.
    """
    from feature_store.checked import validate_shop
    from feature_store.report import refuse_faults
    from feature_store.show import show_checked

    checked = validate_shop(
        shop,
        quarantine=quarantine,
        as_of=parse_instant(as_of),
        against=against,
        page=page,
        settings=load_settings(home=home),
    )
    if strict:
        refuse_faults(checked.clean, checked.quality, quarantine=checked.quarantine)
    if machine:
        emit_json(checked.as_json())
    else:
        show_checked(checked)


def doctor(
    shop: Shop,
    *,
    suggest_config: Annotated[
        bool,
        typer.Option("--suggest-config", help="Write a starting shop.toml first; beside the old one where one stands."),
    ] = False,
    as_of: AsOf = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Say what a shop's data can support, tier by tier, and what would help."""
    from feature_store.checked import examine_shop
    from feature_store.show import show_doctor, show_suggestion
    from feature_store.suggest import write_suggestion

    suggested = write_suggestion(shop) if suggest_config else None
    if suggested and not machine:
        show_suggestion(*suggested)
    report = examine_shop(shop, as_of=parse_instant(as_of), settings=load_settings(home=home))
    if machine:
        told = {"config": str(suggested[0]), "look_at": suggested[1].open_points} if suggested else {}
        emit_json(report.as_json() | told)
    else:
        show_doctor(report)


def features(
    shop: Shop,
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The snapshot folder; in RECSYS_HOME if left out."),
    ] = None,
    as_of: AsOf = None,
    split: Annotated[
        str | None, typer.Option("--split", help="time, leave-one-out or query-folds; the shop's own if left out.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="fold=0, test_days=28, validation_days=28; repeatable.")
    ] = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Turn a shop folder into a training snapshot: immutable, split, named by the hash of its content."""
    from feature_store.show import show_snapshot
    from feature_store.snapshot import build_snapshot

    meter = Meter()
    snapshot = build_snapshot(
        shop,
        out=out,
        split=split,
        as_of=parse_instant(as_of),
        options=parse_pairs(options or []),
        settings=load_settings(home=home),
    )
    effort = meter.read()
    if machine:
        emit_json({"snapshot": str(snapshot.path), **effort._asdict(), **snapshot.manifest.model_dump(mode="json")})
    else:
        show_snapshot(snapshot.path, snapshot.manifest, effort=effort)


def index(
    shop: Shop,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The index folder; in RECSYS_HOME if left out.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Version or bundle folder for search; the champion if left out.")
    ] = None,
    recommender: Annotated[
        str | None, typer.Option("--recommender", help="The same for recommendations; the champion if left out.")
    ] = None,
    dense: Annotated[DenseKind, typer.Option("--dense", help="How vectors are searched.")] = "auto",
    backbone: Annotated[
        str | None, typer.Option("--backbone", help='Encoder where no model has one; "" for words alone.')
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            help="Make it the one that answers from now on; if left out, unless --as-of is older than the live one.",
        ),
    ] = None,
    as_of: AsOf = None,
    online: Online = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Join the champions with today's catalogue, and store everyone's history beside it.

    Without a champion, search runs on words and the stock encoder.
    """
    from feature_store.indexing import IndexOptions, index_shop
    from feature_store.show import show_index
    from recsys.models.backbone import STOCK

    models = {kind: address for kind, address in (("product-search", search), ("recommender", recommender)) if address}
    made = index_shop(
        shop,
        as_of=parse_instant(as_of),
        options=IndexOptions(
            out=out, models=models, dense_kind=dense, backbone=STOCK if backbone is None else backbone, live=live
        ),
        settings=load_settings(home=home, online_store=online),
    )
    if machine:
        emit_json(made.as_json())
    else:
        show_index(made)
