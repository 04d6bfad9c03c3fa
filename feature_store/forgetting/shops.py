"""Which shops have state in a home folder, whether or not they have an index."""

from feature_store.snapshot import Snapshot
from recsys.errors import SnapshotError, UsageError
from recsys.settings import NAMELESS, Settings


def find_shop(settings: Settings, *, shop: str | None) -> str:
    """The shop that is meant, "" for the one without a name: the one named, else the only one with any state.

    Raises:
        UsageError: the one named has no state, or none is named and there is not exactly one.
    """
    found = shops(settings)
    listed = ", ".join(found) or "none"
    wanted = found[0] if shop is None and len(found) == 1 else shop
    if wanted is None:
        raise UsageError(
            f"state of {listed} in {settings.home}",
            expected="one shop",
            action="name it with --shop, or another --home",
        )
    if (wanted or NAMELESS) not in found:
        raise UsageError(
            f"no state of shop `{wanted}` in {settings.home}", expected=f"one of {listed}", action="correct the name"
        )
    return "" if wanted == NAMELESS else wanted


def shops(settings: Settings) -> list[str]:
    """The shops that have keys, an event log, histories, indexes or snapshots here; one without a name as NAMELESS."""
    home, found = settings.home, set[str]()
    for pattern in ("events/*/log.db", "online/*/current", "indexes/*/current.json"):
        found |= {path.parent.name for path in home.glob(pattern)}
    found |= {path.stem for suffix in ("db", "key") for path in (home / "keys").glob(f"*.{suffix}")}
    for file in settings.snapshots.glob("*/manifest.json"):
        try:
            found.add(Snapshot.open(file.parent, settings=settings).manifest.shop or NAMELESS)
        except SnapshotError:
            continue
    return sorted(found)
