"""The commands of features as of an instant; what is heavy is imported when a command runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from feature_store.commands import AsOf
from feature_store.effort import Meter
from feature_store.options import EngineName, Home, Machine, Online, Shop, parse_instant
from feature_store.point_in_time.definitions import Entity
from recsys.cli.output import emit_json, emit_line, emit_table
from recsys.errors import UsageError
from recsys.settings import load_settings

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="A feature's name; repeatable. All that shop and rows can have if left out."),
]


def emit_left_out(left_out: Mapping[str, str]) -> None:
    """Write which features there are not, and why: a line for each reason."""
    for why in dict.fromkeys(left_out.values()):
        emit_line(f"without {', '.join(name for name, reason in left_out.items() if reason == why)}: {why}")


table = typer.Typer(
    add_completion=False, help="Features of rows, each as of its own instant.", pretty_exceptions_enable=False
)


@table.command("list")
def list_features(
    shop: Annotated[Path | None, typer.Argument(help="A shop folder: its own features, too.")] = None,
    *,
    page: Annotated[Path | None, typer.Option("--page", help="Also write them as a Markdown page.")] = None,
    machine: Machine = False,
) -> None:
    """List every feature with its formula and the version of its definition.

    A shop adds its own in features.toml beside its shop.toml.
    """
    from feature_store.config import load_config
    from feature_store.point_in_time import page as pages
    from feature_store.point_in_time.defaults import DEFAULTS
    from feature_store.point_in_time.own import definitions_of
    from recsys.storage import write_text

    features = DEFAULTS
    if shop is not None:
        load_config(shop)
        features = definitions_of(shop)
    if page is not None:
        write_text(page, pages.page(features))
    if machine:
        told = ({"name": one.name, "keys": one.keys, "about": one.about} for one in features)
        more = ({"computed_as": pages.formula(one), "version": one.version} for one in features)
        emit_json({"features": [first | second for first, second in zip(told, more, strict=True)]})
        return
    rows = ((one.name, ", ".join(one.keys), one.about, one.version) for one in features)
    emit_table(("feature", "of", "says", "version"), rows, title=f"{len(features)} features")


@table.command("build")
def build(
    shop: Shop,
    *,
    rows: Annotated[
        Path,
        typer.Option("--rows", help="Parquet, CSV or JSON lines: timestamp and some of user_id, product_id, query."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table's folder; days that stand there are kept.")],
    only: Only = None,
    as_of: AsOf = None,
    engine: Annotated[
        EngineName,
        typer.Option("--engine", help="local: threads on this machine's cores; ray: workers of a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="HOST:PORT of a Ray cluster that this machine is a node of; RAY_ADDRESS or one of its own if left out."
            " Partitions travel to it: no folder has to be shared.",
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option("--ray-workers", min=1, help="Workers of a Ray cluster of its own; the cores if left out."),
    ] = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Give each row its features as they were known at its timestamp, one Parquet file a day.

    An event counts when it happened before the row's timestamp and was known by it. Run again with more rows or events,
    only those days are computed of which the past has changed; the result is that of a whole build.
    """
    from feature_store.point_in_time.opening import open_engine
    from feature_store.point_in_time.table import build_table

    settings, known = load_settings(home=home), parse_instant(as_of)
    with open_engine(engine, address=ray_address, workers=ray_workers) as answering:
        built = build_table(shop, rows=rows, out=out, only=only or (), as_of=known, settings=settings, engine=answering)
    if machine:
        emit_json(built.as_json())
        return
    manifest = built.manifest
    emit_line(
        f"{built.rows:,} rows with {len(manifest.features)} features in {len(manifest.days)} days, "
        f"{built.computed:,} rows computed now ({built.effort})"
    )
    emit_left_out(manifest.left_out)
    emit_line(f"table {manifest.table_id}: {built.folder}")


@table.command("parity")
def parity(
    shop: Shop,
    *,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            help="Logged requests: timestamp, keys, and the served values under the features' names; what services "
            "logged themselves (`recsys serve --log-features`) if left out.",
        ),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="How many requests at most.")] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.")] = 0,
    least: Annotated[
        float, typer.Option("--least", min=0, max=1, help="The share of equal values that each feature must reach.")
    ] = 0.999,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Without --log: only what was served from then on (UTC); a day if left out."),
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail/--no-fail", help="End with exit code 1 where a feature is below --least.")
    ] = True,
    as_of: AsOf = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Compute the features of logged requests again, as known then, and say how often the served ones were the same.

    Ends with exit code 1 where a feature is below --least. What the services' own log gives is kept: where a feature is
    below 99.9 % there, `recsys promote` refuses until the next measurement.
    """
    from feature_store.point_in_time.parity import replay
    from feature_store.point_in_time.parity_report import show_measured, show_replayed
    from feature_store.served_log.measure import measure

    settings = load_settings(home=home)
    if odd := "--as-of" if log is None and as_of else "--since" if log is not None and since else None:
        raise UsageError(
            f"{odd} with{'out' if log is None else ''} --log",
            expected="--since for what services logged, --as-of for a file of requests",
            action="leave it out",
        )
    if log is None:
        begin = parse_instant(since, option="--since")
        measured = measure(shop, sample=sample, seed=seed, least=least, since=begin, settings=settings)
        report, failed = measured.as_json(), measured.failed
        if not machine:
            show_measured(measured)
    else:
        found = replay(
            shop, log=log, sample=sample, seed=seed, least=least, as_of=parse_instant(as_of), settings=settings
        )
        report, failed = found.as_json(), found.failed
        if not machine:
            show_replayed(found)
    if machine:
        emit_json(report)
    if failed and fail:
        raise typer.Exit(1)


@table.command("records")
def records(
    shop: Shop,
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder for them; older records there are replaced.")],
    only: Only = None,
    as_of: AsOf = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Write what an online store needs to serve the same features: one small record for each key.

    A record holds what was known at the shop's newest event (or --as-of). Read later, its windows roll on; what
    happened since is missing until it is added.
    """
    from feature_store.point_in_time.records import write_records

    meter = Meter()
    kept = write_records(shop, out=out, only=only or (), as_of=parse_instant(as_of), settings=load_settings(home=home))
    effort = meter.read()
    if machine:
        emit_json(kept.as_json() | effort._asdict())
        return
    emit_table(("entity", "keys"), kept.keys.items(), title=f"Records as of {kept.at.isoformat()}")
    emit_left_out(kept.left_out)
    emit_line(f"it took {effort}")
    emit_line(f"records of {len(kept.features)} features: {kept.folder}")


@table.command("publish")
def publish(
    shop: Shop,
    *,
    only: Only = None,
    ttl_days: Annotated[
        float | None,
        typer.Option("--ttl-days", min=0.01, help="All vanish after so many days; shop.toml or 7 if left out."),
    ] = None,
    idle_days: Annotated[
        float | None,
        typer.Option("--idle-days", min=0.01, help="Leave out what is idle for so long; shop.toml or 400 if left out."),
    ] = None,
    online: Online = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Fill the online store with the features as they are known now; `recsys serve` lets them follow the events.

    They take the place of those published before in one step, in LMDB or on the Redis server of --online.
    """
    from feature_store.config import load_config
    from feature_store.online.opening import value_store
    from feature_store.online_features.publish import publish as fill

    meter = Meter()
    settings, config = load_settings(home=home, online_store=online), load_config(shop).online
    done = fill(
        shop,
        open_store=lambda name: value_store(settings, shop=name),
        settings=settings,
        only=only or config.only,
        ttl_days=config.ttl_days if ttl_days is None else ttl_days,
        idle_days=config.idle_days if idle_days is None else idle_days,
        log_share=config.log_share,
    )
    effort = meter.read()
    if machine:
        emit_json(done.as_json() | effort._asdict())
        return
    emit_table(("entity", "records"), done.records.items(), title=f"Features as of {done.at.isoformat()}")
    if done.idle:
        emit_line(f"idle and left out: {', '.join(f'{count:,} of {entity}' for entity, count in done.idle.items())}")
    if done.with_tables:
        emit_line(f"changed by the next publication, not by events: {', '.join(done.with_tables)}")
    emit_left_out(done.left_out)
    emit_line(f"it took {effort}")
    emit_line(f"{len(done.features)} features, generation {done.generation}")


@table.command("read")
def read(
    shop: Shop,
    entity: Annotated[Entity, typer.Argument(help="Whose features.")],
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY", help="Ids or queries; of pairs both parts, one after the other.")
    ],
    *,
    at: Annotated[
        str | None, typer.Option("--at", help="The instant (UTC), not before the newest event; now if left out.")
    ] = (None),
    online: Online = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Read features from the online store, as of this moment."""
    from feature_store.config import load_config
    from feature_store.online_features.opening import open_features, parts_of
    from feature_store.point_in_time.records import instant

    settings = load_settings(home=home, online_store=online)
    moment = parse_instant(at, option="--at")
    asked = parts_of(entity, keys)
    features = open_features(settings, shop=load_config(shop).name)
    found = features.read(entity, asked, now=None if moment is None else instant(moment))
    values = [[None if value != value else value for value in row] for row in found.values.tolist()]  # noqa: PLR0124
    if machine:
        emit_json({"entity": entity, "features": found.names, "keys": asked, "values": values})
        return
    rows = zip(found.names, *values, strict=True)
    emit_table(("feature", *(" × ".join(key) for key in asked)), rows, title=f"Features of {entity}")
