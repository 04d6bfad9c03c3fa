"""Models that learned from a forgotten user: their versions are marked, so that a reviewer knows to train again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from feature_store.forgetting.marks import Forgotten
from feature_store.forgetting.opening import open_people
from feature_store.forgetting.people import Tombstone
from feature_store.forgetting.places import built_at
from feature_store.forgetting.rows import USER
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import KINDS, snapshots_behind
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError
from recsys.registry.client import Registry
from recsys.registry.version import FORGOTTEN, UNCHECKED, Version, model_name
from recsys.server import database_file
from recsys.settings import Settings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Known = Mapping[str, frozenset[str] | None]
"""By snapshot the forgotten users whose past it knows; None where it is not at hand."""


def mark_models(
    forgotten: Forgotten, stones: Sequence[Tombstone], *, settings: Settings, shop: str
) -> dict[str, dict[str, str]]:
    """Tag the versions of a shop's models whose snapshots knew a forgotten user.

    Args:
        forgotten: the shop's.
        stones: all of the shop.
        settings: name the registry, and the folder of snapshots. A snapshot that is not there can't be asked: a
            version that was made of it before somebody was forgotten is tagged as unchecked.
        shop: its name.

    Returns:
        By "NAME/VERSION" the tags of each that has any.

    Raises:
        TrackingError: the registry can't be reached.
    """
    file = database_file(settings)
    if file is not None and not file.exists():
        return {}  # nothing was ever registered
    registry, known, marked = Registry(settings), dict[str, frozenset[str] | None](), {}
    for kind in KINDS:
        for version in registry.versions(model_name(kind, shop=shop)):
            for name in learned_from(version):
                if name not in known:
                    known[name] = knew(name, forgotten, settings=settings)
            tags = tags_of(version, known, stones)
            if tags:
                marked[version.label] = tags
                if not tags.items() <= version.tags.items():
                    registry.tag(version, tags)
    return marked


def tags_at_birth(bundle: Bundle, *, snapshot: Snapshot, settings: Settings) -> dict[str, str]:
    """The same for a version that is about to be registered: an old snapshot may be learned from at any time.

    Args:
        bundle: what was learned.
        snapshot: what it was learned from now; snapshots of carried-over components are looked up.
        settings: where tombstones and snapshots stand.
    """
    forgotten = open_people(settings, shop=bundle.shop).forgotten()
    if not forgotten:
        return {}
    known = {name: knew(name, forgotten, settings=settings) for name in snapshots_behind(bundle.manifest)}
    known[snapshot.manifest.snapshot_id] = forgotten_in(snapshot, forgotten)
    return told(known, later=True)


def learned_from(version: Version) -> list[str]:
    """The snapshots behind a version, those of carried-over components included where its tags tell them."""
    return [name for name in version.tags.get("snapshots", version.tags.get("snapshot", "")).split(",") if name]


def tags_of(version: Version, known: Known, stones: Sequence[Tombstone]) -> dict[str, str]:
    """What a version is to carry; nothing where nobody behind it was forgotten."""
    later = any(EPOCH + timedelta(microseconds=stone.at) >= version.created_at for stone in stones)
    return told({name: known[name] for name in learned_from(version)}, later=later)


def told(known: Known, *, later: bool) -> dict[str, str]:
    """Tags out of what is known of the snapshots behind a version.

    Args:
        known: by snapshot the forgotten users whom it knew; None where it is not at hand.
        later: whether anybody was forgotten since it may have been made.
    """
    users = frozenset[str]().union(*(one for one in known.values() if one is not None))
    gone = [name for name, one in known.items() if one is None] if later else []
    return ({FORGOTTEN: str(len(users))} if users else {}) | ({UNCHECKED: ",".join(gone)} if gone else {})


def knew(name: str, forgotten: Forgotten, *, settings: Settings) -> frozenset[str] | None:
    """The forgotten users whom the snapshot of a name knows; None where it is not at hand."""
    try:
        return forgotten_in(Snapshot.open(settings.snapshots / name, settings=settings), forgotten)
    except SnapshotError:
        return None


def forgotten_in(snapshot: Snapshot, forgotten: Forgotten) -> frozenset[str]:
    """The forgotten users whose past a snapshot knows; one built after a user came back knows what happened since."""
    moment = ((built_at(snapshot) or EPOCH) - EPOCH) // timedelta(microseconds=1)
    users = snapshot.users()[USER]
    return frozenset(user for user, until in forgotten.until(users).items() if until >= moment)
