"""Does the registry stand as the ledger says? Looked at from the registry, so that a lost ledger is found too."""

from collections.abc import Sequence

from recsys.errors import RegistryError
from recsys.ledger import LIVE, Entry
from recsys.registry.client import Registry
from recsys.registry.version import CHAMPION, Version

ELSEWHERE = "where steps are taken from another home folder, verify there, or name your shop with --shop"


def audit(entries: Sequence[Entry], *, registry: Registry, shop: str | None) -> None:
    """Hold every model of the registry against the ledger.

    Args:
        entries: the ledger's, oldest first.
        registry: where versions and aliases stand.
        shop: only this shop's models; all if None.

    Raises:
        RegistryError: the first thing that does not fit.
    """
    recorded = {entry.model for entry in entries if entry.action in LIVE}
    for name in sorted({*registry.models(), *recorded}):
        if shop is None or name.rpartition(".")[0] == shop:
            check_model(name, [entry for entry in entries if entry.model == name], registry=registry)


def check_model(name: str, entries: Sequence[Entry], *, registry: Registry) -> None:
    """Each version that was decided on has its line, and the champion is the one that the last line made."""
    versions = registry.versions(name)
    told = {number for entry in entries for number in (entry.version, entry.replaced)}
    champion = next((version for version in versions if CHAMPION in version.aliases), None)
    made = next((entry for entry in reversed(entries) if entry.action in LIVE), None)
    if made is not None:
        champion = champion or registry.resolve(f"models:/{name}@{CHAMPION}")
        check_champion(champion, made)
    elif champion is not None:
        raise RegistryError(
            f"no line of the ledger made {champion.uri} the champion",
            expected="each champion promoted by `recsys promote`",
            action=f"run `recsys promote {champion.uri}` if it is the right one; {ELSEWHERE}",
        )
    for version in versions:
        if "status" in version.tags and version.version not in told:
            raise RegistryError(
                f"{version.uri} is {version.tags['status']}, and the ledger has no line on it",
                expected="a line for each decision",
                action=f"restore the ledger from a backup; {ELSEWHERE}",
            )


def check_champion(champion: Version, made: Entry) -> None:
    """The champion is the version, and the very bundle, that a line made champion."""
    if (champion.version, champion.digest) != (made.version, made.digest):
        raise RegistryError(
            f"the champion of `{champion.name}` is version {champion.version}",
            expected=f"version {made.version}, as line {made.number} of the ledger says",
            action=f"run `recsys promote models:/{made.model}/{made.version}`, or promote the other one by name",
        )
