"""Where a user stands: keys, event log, histories, and what no command rewrites: snapshots and nights."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from feature_store.event_log.opening import has_log, open_log
from feature_store.event_log.parts import part_files
from feature_store.forgetting.people import People
from feature_store.forgetting.rows import USER
from feature_store.masking import key_given, load_mask
from feature_store.online.lmdb import LmdbStore
from feature_store.served_log.log import ServedLog
from feature_store.snapshot import Snapshot
from recsys.errors import SnapshotError
from recsys.settings import NAMELESS, Settings

FRAMES = ("interactions", "impressions", "searches")
"""The frames of a snapshot whose rows name users, beside the users themselves."""


@dataclass(frozen=True)
class Place:
    """Something that holds rows of users, and stays as it is.

    Attributes:
        path: where it stands.
        rows: by name of a user, how many rows it holds.
        built: when it was made, as far as it says.
    """

    path: Path
    rows: Counter[str]
    built: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """Where some users stand.

    Attributes:
        keys: by plain id, the pseudonym of whoever has a key.
        log: by name, events in the log.
        histories: names that have a record in the current histories.
        served: names of whom features that were served are logged.
        files: the files of the event log.
        snapshots: those of the shop in RECSYS_HOME.
        nights: those that `recsys nightly` has written, where they still stand.
    """

    keys: dict[str, str]
    log: Counter[str]
    histories: frozenset[str]
    served: frozenset[str]
    files: list[Place]
    snapshots: list[Place]
    nights: list[Place]

    def stands(self, names: Iterable[str]) -> bool:
        """True where any of one user's names stands anywhere."""
        places = (self.log, *(place.rows for place in (*self.files, *self.snapshots, *self.nights)))
        online = self.histories | self.served
        return any(name in online or any(name in rows for rows in places) for name in names)


def names_by_id(user_ids: Sequence[str], people: People, *, settings: Settings, shop: str) -> dict[str, list[str]]:
    """By plain id all that a user may be called: the id, the masked id, the pseudonym; the last of them comes last."""
    masked = load_mask(settings, shop=shop, create=False).all(user_ids) if key_given(settings, shop=shop) else user_ids
    keys = people.pseudonyms(user_ids, make=False)
    both = zip(user_ids, masked, strict=True)
    return {user: [*dict.fromkeys((user, other, keys.get(user, user)))] for user, other in both}


def look_up(user_ids: Sequence[str], people: People, *, settings: Settings, shop: str) -> Standing:
    """Look everywhere for some users.

    Args:
        user_ids: plain ids.
        people: the shop's.
        settings: where state lives.
        shop: its name.

    Raises:
        StorageError: a log or a store does not answer.
        SnapshotError: a snapshot is damaged.
    """
    called = names_by_id(user_ids, people, settings=settings, shop=shop)
    names = list(dict.fromkeys(name for one in called.values() for name in one))
    snapshots = list(snapshots_of(shop, settings=settings))
    folders = {place for snapshot in snapshots if (place := snapshot.pictures) is not None}
    known = LmdbStore(settings.online(shop)).known(names)
    return Standing(
        keys=people.pseudonyms(user_ids, make=False),
        log=in_log(names, settings=settings, shop=shop),
        histories=frozenset(name for name, there in zip(names, known, strict=True) if there),
        served=in_served(names, settings=settings, shop=shop),
        files=[Place(file, count(file, names)) for folder in sorted(folders) for file in part_files(folder)],
        snapshots=[Place(one.path, in_snapshot(one, names), built_at(one)) for one in snapshots],
        nights=[Place(night, in_night(night, names)) for night in nights_of(shop, settings=settings)],
    )


def in_log(names: Sequence[str], *, settings: Settings, shop: str) -> Counter[str]:
    """By name, events in the log; none where the shop has no log."""
    if not has_log(settings, shop=shop):
        return Counter()
    with closing(open_log(settings, shop=shop)) as log:
        tails = log.tail(names, after=0, limit=2**31)
    return +Counter({name: len(tail) for name, tail in zip(names, tails, strict=True)})


def in_served(names: Sequence[str], *, settings: Settings, shop: str) -> frozenset[str]:
    """The names of whom features that were served are logged."""
    with closing(ServedLog(settings.served(shop))) as served:
        return frozenset(names).intersection(served.users())


def snapshots_of(shop: str, *, settings: Settings) -> Iterator[Snapshot]:
    """The snapshots of a shop in RECSYS_HOME that can be opened, by their names."""
    for file in sorted(settings.snapshots.glob("*/manifest.json")):
        try:
            found = Snapshot.open(file.parent, settings=settings)
        except SnapshotError:
            continue  # of another version, or damaged
        if found.manifest.shop == shop:
            yield found


def in_snapshot(snapshot: Snapshot, names: Sequence[str]) -> Counter[str]:
    """By name, rows of a snapshot."""
    found = Counter(snapshot.users()[USER].filter(snapshot.users()[USER].is_in(names)).to_list())
    for frame in FRAMES:
        rows = snapshot.scan(frame).filter(pl.col(USER).is_in(names)).group_by(USER).len().collect()
        found.update(dict(rows.iter_rows()))
    return found


def built_at(snapshot: Snapshot) -> datetime | None:
    """When a snapshot was made."""
    told = snapshot.manifest.versions.get("built_at")
    return datetime.fromisoformat(told) if told else None


def nights_of(shop: str, *, settings: Settings) -> list[Path]:
    """The nights that `recsys nightly` has written for a shop and that still stand where they were written."""
    folders = []
    for report in sorted((settings.home / "nights" / (shop or NAMELESS)).glob("*.json")):
        night = (json.loads(report.read_bytes()).get("batch") or {}).get("path")
        if night and Path(night).is_dir():
            folders.append(Path(night))
    return folders


def in_night(folder: Path, names: Sequence[str]) -> Counter[str]:
    """By name, rows of a night."""
    return sum((count(file, names) for file in sorted(folder.glob("*.parquet"))), Counter[str]())


def count(file: Path, names: Sequence[str]) -> Counter[str]:
    """By name, rows of a Parquet file with the column user_id."""
    rows = pl.scan_parquet(file, hive_partitioning=False).filter(pl.col(USER).is_in(names))
    return Counter(dict(rows.group_by(USER).len().collect().iter_rows()))
