"""Models that learned from a forgotten user: their versions are marked, so that a reviewer knows to train again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from feature_store.forgetting.marks import Forgotten
from feature_store.forgetting.people import Tombstone
from feature_store.forgetting.places import built_at
from feature_store.forgetting.rows import USER
from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import KINDS
from recsys.errors import SnapshotError
from recsys.registry.client import Registry
from recsys.registry.version import FORGOTTEN, UNCHECKED, Version, model_name
from recsys.server import database_file
from recsys.settings import Settings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def learned_from(version: Version) -> list[str]:
    """The snapshots behind a version, those of carried-over components included where its tags tell them."""
    return [name for name in version.tags.get("snapshots", version.tags.get("snapshot", "")).split(",") if name]


def tags_of(version: Version, known: dict[str, frozenset[str] | None], stones: Sequence[Tombstone]) -> dict[str, str]:
    """What a version is to carry; nothing where nobody behind it was forgotten."""
    behind = [known[name] for name in learned_from(version)]
    users = frozenset[str]().union(*(one for one in behind if one is not None))
    tags = {FORGOTTEN: str(len(users))} if users else {}
    later = any(EPOCH + timedelta(microseconds=stone.at) >= version.created_at for stone in stones)
    if later and (gone := [name for name in learned_from(version) if known[name] is None]):
        tags[UNCHECKED] = ",".join(gone)
    return tags


def knew(name: str, forgotten: Forgotten, *, settings: Settings) -> frozenset[str] | None:
    """The forgotten users whom a snapshot knows; None where it is not at hand.

    One built after a user came back knows what happened since, and nothing before.
    """
    try:
        snapshot = Snapshot.open(settings.snapshots / name, settings=settings)
        users = snapshot.users()[USER].to_list()
    except SnapshotError:
        return None
    moment = ((built_at(snapshot) or EPOCH) - EPOCH) // timedelta(microseconds=1)
    return frozenset(user for user, until in forgotten.until(users).items() if until >= moment)
