"""The commands of those who review and release models: review, promote, reject, rollback, history, ledger."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.output import emit_json, emit_line, emit_table
from recsys.cli.parity import refuse_low_parity
from recsys.errors import RegistryError, UsageError
from recsys.provenance import user_name
from recsys.settings import load_settings

if TYPE_CHECKING:
    from recsys.ledger import Entry
    from recsys.promotion import Promotions
    from recsys.registry.client import Registry

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS or models:/NAME/VERSION, e.g. recommender@challenger")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The registered model, e.g. recommender or SHOP.recommender")]
AnyName = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this registered model")]
By = Annotated[str, typer.Option("--by", help="Who takes the step", default_factory=user_name)]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one sentence")]
Shop = Annotated[str | None, typer.Option("--shop", help="Refuse models of another shop")]
OnlyShop = Annotated[
    str | None, typer.Option("--shop", help="Only this shop's models; all in the registry if left out")
]
Home = Annotated[Path | None, typer.Option("--home", help="The state folder instead of RECSYS_HOME")]
Json = Annotated[bool, typer.Option("--json", help="One JSON report on standard output")]


def review(model: Model, *, shop: Shop = None, home: Home = None, machine: Json = False) -> None:
    """Show a version beside the champion: figures, the newest paired comparison, components, settings."""
    from recsys.cli.review import as_json, show_review
    from recsys.parity import read_parity
    from recsys.review import compare

    promotions = open_promotions(home)
    registry = promotions.registry
    version = registry.resolve(model, shop=shop)
    champion = registry.find(version.kind, shop=version.shop)
    live = registry.fetch(champion) if champion else None
    parity = read_parity(promotions.settings, shop=version.shop)
    found = compare(version, registry.fetch(version), champion=champion, live=live, parity=parity)
    if machine:
        emit_json(as_json(found))
    else:
        show_review(found)


def promote(
    model: Model,
    *,
    by: By,
    reason: Reason = "",
    shop: Shop = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Only where there is no champion, and only if it beats its baseline")
    ] = False,
    parity: Annotated[
        Path | None,
        typer.Option("--parity", help="A report of `recsys table parity --json`; refuse where a feature is too low."),
    ] = None,
    no_parity: Annotated[
        str, typer.Option("--no-parity", help="Promote however the features were served; the reason, for the ledger.")
    ] = "",
    home: Home = None,
    machine: Json = False,
) -> None:
    """Make a version the champion; its files are checked first.

    Refused where the last `recsys table parity` of the shop found a feature below 99.9 %; --no-parity overrides that.
    """
    refuse_low_parity(parity)
    if bootstrap and no_parity:
        raise UsageError(
            "--bootstrap and --no-parity", expected="one of them: the rule overrides nothing", action="leave one out"
        )
    promotions = open_promotions(home)
    if bootstrap:
        from recsys.registry.version import parse_address, split_name

        kind, named = split_name(parse_address(model).name)
        show(promotions.bootstrap(kind, shop=named, allowed=True), machine=machine)
    else:
        version = promotions.registry.resolve(model, shop=shop)
        show(promotions.promote(version, by=by, reason=reason, no_parity=no_parity.strip()), machine=machine)


def reject(
    model: Model, *, reason: Reason, by: By, shop: Shop = None, home: Home = None, machine: Json = False
) -> None:
    """Refuse a version for good, with the reason."""
    promotions = open_promotions(home)
    show(promotions.reject(promotions.registry.resolve(model, shop=shop), by=by, reason=reason), machine=machine)


def rollback(name: Name, *, by: By, reason: Reason = "", home: Home = None, machine: Json = False) -> None:
    """Go back to the champion before the current one."""
    show(open_promotions(home).rollback(name, by=by, reason=reason), machine=machine)


def history(name: AnyName = None, *, home: Home = None, machine: Json = False) -> None:
    """List the steps of the ledger, and a named model's versions."""
    promotions = open_promotions(home)
    entries = promotions.history(name)
    versions = promotions.registry.versions(name) if name else []
    if name and not entries and not versions:
        raise no_model(promotions.registry, name)
    if machine:
        listed = [
            {"version": version.version, "aliases": version.aliases, "status": version.tags.get("status", "")}
            | {"created_at": version.created_at, "metrics": version.metrics}
            for version in versions
        ]
        emit_json({"steps": [asdict(entry) for entry in entries], "versions": listed})
        return
    steps = (
        (
            entry.number,
            entry.at,
            entry.action,
            about(entry),
            entry.by,
            entry.approved_by,
            entry.reason,
        )
        for entry in entries
    )
    emit_table(("line", "at", "step", "about", "by", "approved by", "reason"), steps, title="Steps")
    if name:
        rows = (
            (
                version.version,
                ", ".join(version.aliases),
                version.tags.get("status", ""),
                version.created_at.isoformat(timespec="seconds"),
                version.tags["components"],
            )
            for version in versions
        )
        emit_table(("version", "aliases", "status", "registered at", "components"), rows, title=name)


def no_model(registry: "Registry", name: str) -> RegistryError:
    """The error for a name that neither the registry nor the ledger knows."""
    known = ", ".join(registry.models()) or "none"
    return RegistryError(f"no model {name}", expected=f"one of those registered: {known}", action="correct the name")


ledger = typer.Typer(add_completion=False, help="The chained record of promotions.", pretty_exceptions_enable=False)


@ledger.callback()
def ledger_group() -> None:
    """The chained record of promotions."""


@ledger.command("verify")
def verify_ledger(*, shop: OnlyShop = None, home: Home = None, machine: Json = False) -> None:
    """Check that no line was changed, and that the ledger made each champion and each decision in the registry.

    Says how many users were forgotten, too; who they were stands nowhere.
    """
    from recsys.ledger import FORGET

    promotions = open_promotions(home)
    entries = promotions.verify(shop=shop)
    gone = [entry for entry in entries if entry.action == FORGET and shop in (None, entry.model)]
    if machine:
        told = {"ok": True, "lines": len(entries), "last": entries[-1].hash if entries else None}
        emit_json(told | {"forgotten": len(gone), "last_forgotten": gone[-1].at if gone else None})
        return
    emit_line(f"{promotions.settings.ledger}: {len(entries)} lines, chain unbroken, champions as recorded")
    if gone:
        emit_line(f"users forgotten: {len(gone)}, the last on {gone[-1].at}")


def about(entry: "Entry") -> str:
    """The version that a step is about, or the shop of which a user was forgotten."""
    return f"{entry.model}/{entry.version}" if entry.version else f"a user of {entry.model or 'the shop'}"


def open_promotions(home: Path | None) -> "Promotions":
    """The steps of this installation; imports what the registry needs."""
    from recsys.promotion import Promotions
    from recsys.registry.client import Registry

    settings = load_settings(home=home)
    return Promotions(registry=Registry(settings), settings=settings)


def show(entry: "Entry | None", *, machine: bool) -> None:
    """Print a step."""
    if machine:
        emit_json({"step": asdict(entry) if entry else None})
    elif entry is None:
        emit_line("there is a champion already; nothing changed")
    else:
        emit_line(f"{entry.action}: {entry.model}/{entry.version}, line {entry.number} of the ledger")
