"""Signature of the command that forgets users; what is heavy is imported when it runs."""

from typing import Annotated

import typer

from feature_store.options import Home, Log, Machine
from recsys.cli.output import emit_json
from recsys.provenance import user_name
from recsys.settings import load_settings


def forget(
    users: Annotated[list[str], typer.Argument(metavar="USER", help="Plain user ids, as the shop writes them.")],
    *,
    shop: Annotated[
        str | None, typer.Option("--shop", help="The shop's name; the only one in RECSYS_HOME if left out.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who asks for it; the ledger keeps that.", default_factory=user_name)],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Forget whom nobody knows, too: whatever of them is read later stays out.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    log: Log = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Delete users everywhere: keys, event log, histories; tombstones keep them out of all that is read later.

    Files of the event log follow at the next `recsys events compact`, with which each night begins. The shop's own
    tables stay as they are: their rows on these users are passed over. Nothing brings a forgotten user back. Given
    again, the command finishes what a kill or a lost connection has left over; who was forgotten before is no fault.
    """
    from feature_store.forgetting.forget import forget as forget_users
    from feature_store.forgetting.report import as_json, show_outcome
    from feature_store.forgetting.shops import find_shop

    settings = load_settings(home=home, event_log=log)
    done = forget_users(
        users, shop=find_shop(settings, shop=shop), settings=settings, by=by, anyway=anyway, dry_run=dry_run
    )
    if machine:
        emit_json(as_json(done))
    else:
        show_outcome(done)
