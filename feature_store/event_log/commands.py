"""Signatures of the commands around the event log; what is heavy is imported when a command runs."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from feature_store.event_log.shapes.names import Shape
from feature_store.options import Home, Log, Machine, Shop
from recsys.cli.output import emit_json, emit_line, emit_table
from recsys.settings import load_settings

events = typer.Typer(help="Take events into a shop's log, and write them out for the night.", add_completion=False)


@events.command("append")
def append(
    shop: Shop,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet; as many as you like.")
    ],
    *,
    shape: Annotated[
        Shape,
        typer.Option(help="shop: the events table; ubi: UBI 1.3; personalize: PutEvents; retail: Google's UserEvent."),
    ] = "shop",
    key: Annotated[
        str | None,
        typer.Option(
            help="Makes the ids of events without one, with their place and content; the file's hash if left out, so "
            "that the same file again adds nothing.",
        ),
    ] = None,
    log: Log = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Take files of events into the shop's log; each batch is on the disk before the next is read.

    Events whose id the log knows are counted and left out, so that a command that was stopped can be given again.
    Rows that break the contract are set aside with their reason in RECSYS_HOME/quarantine.
    """
    from feature_store.config import load_config
    from feature_store.event_log.append import Appender
    from feature_store.event_log.door import Door
    from feature_store.event_log.opening import open_log
    from feature_store.forgetting.opening import names_of, open_people
    from feature_store.owner import claim_state

    settings, config = load_settings(home=home, event_log=log), load_config(shop)
    claim_state(shop, name=config.name, settings=settings)
    names = names_of(settings, shop=config.name, privacy=config.privacy)
    people = open_people(settings, shop=config.name)
    aside = settings.home / "quarantine" / f"{config.name or shop.resolve().name}-events"
    with closing(open_log(settings, shop=config.name, mask=names.fingerprint if names else "")) as events:
        door = Door(names, told_known_at=True, forgotten=people.forgotten)
        appender = Appender(log=events, door=door, config=config, quarantine=aside)
        done = appender.append(files, shape=shape, key=key)
    if machine:
        emit_json(done.as_json())
        return
    emit_line(f"{done.rows:,} rows: {done.accepted:,} events accepted, {done.duplicates:,} known before")
    if done.refused:
        emit_table(("reason", "rows set aside"), done.refused.most_common(), title=f"in {aside}")
    if done.unknown_columns:
        emit_line(f"kept under attributes: {', '.join(done.unknown_columns)}")


@events.command("compact")
def compact(
    shop: Shop,
    *,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The log keeps what is written out for so many days, and knows its ids again; [events] keep_days of "
            "shop.toml, else 30, if left out.",
        ),
    ] = None,
    log: Log = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Write what the log took into the shop folder: event_log/day=…/*.parquet, read beside the shop's own events.

    `recsys nightly` begins with it. Stopped or killed, it goes on where it stood when the same command is given again.
    """
    from feature_store.config import load_config
    from feature_store.event_log.compact import compact as write_out
    from feature_store.event_log.opening import open_log
    from feature_store.forgetting.opening import open_people
    from feature_store.owner import claim_state

    settings, config = load_settings(home=home, event_log=log), load_config(shop)
    name, kept = config.name, config.events.keep_days if keep_days is None else keep_days
    claim_state(shop, name=name, settings=settings)
    lock = settings.locks / f"events-{settings.events(name).name}.lock"
    with closing(open_log(settings, shop=name)) as events:
        done = write_out(events, shop, lock=lock, keep_days=kept, people=open_people(settings, shop=name))
    if machine:
        emit_json(done.as_json())
        return
    emit_line(
        f"{done.events:,} events written to {len(done.files)} files; the log is written out up to {done.watermark:,}"
    )
    if done.forgotten:
        emit_line(f"{done.forgotten:,} rows of forgotten users went from the log and its files")
    for file in done.lost:
        emit_line(f"missing, and no longer in the log: {file}")


@events.command("mask")
def mask(
    shop: Shop,
    users: Annotated[list[str], typer.Argument(metavar="USER", help="Plain user ids.")],
    *,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Show the masked ids or pseudonyms of users, to join what the nights write with your own tables."""
    from feature_store.config import load_config
    from feature_store.forgetting.opening import Pseudonyms, open_people
    from feature_store.masking import load_mask

    settings, config = load_settings(home=home), load_config(shop)
    if config.privacy.pseudonyms:
        found = dict(
            zip(users, Pseudonyms(open_people(settings, shop=config.name), make=False).all(users), strict=True)
        )
    else:
        hide = load_mask(settings, shop=config.name, create=False)
        found = {user: hide(user) for user in users}
    if machine:
        emit_json(found)
    else:
        emit_table(("user", "masked"), found.items())
