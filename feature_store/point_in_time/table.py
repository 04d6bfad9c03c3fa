"""A training table: rows with their features, one file a day, built again only where its past has changed."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_store.effort import Effort, Meter
from feature_store.joins import same_rows
from feature_store.point_in_time.choice import choose, named
from feature_store.point_in_time.definitions import DAY, Feature
from feature_store.point_in_time.engine import compute
from feature_store.point_in_time.manifest import FORMAT_VERSION, Day, TableManifest, is_table, read_manifest, table_id
from feature_store.point_in_time.own import definitions_of
from feature_store.point_in_time.page import page
from feature_store.point_in_time.past import pasts
from feature_store.point_in_time.rows import TIME, Rows, asking, day_of, read_rows
from feature_store.point_in_time.streams import Streams, shop_streams
from feature_store.point_in_time.task import Engine
from feature_store.staging import staging_folder
from feature_store.validate import clean_shop
from recsys.digest import frame_digest
from recsys.errors import UsageError
from recsys.provenance import git_commit, library_versions
from recsys.settings import Settings
from recsys.storage import atomic_folder, refuse_other_files

AT_ONCE = 2_000_000
"""Rows computed at a time, in whole days."""


@dataclass(frozen=True)
class Built:
    """What a build did and what it took.

    Attributes:
        folder: the table's.
        manifest: what it says about itself.
        rows: of the whole table.
        computed: rows whose features were computed now; the others stood.
        effort: what the whole build took.
    """

    folder: Path
    manifest: TableManifest
    rows: int
    computed: int
    effort: Effort

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        told = {name: value for name, value in asdict(self).items() if name in ("rows", "computed")}
        return {"table": str(self.folder), **told, **self.effort._asdict(), **self.manifest.model_dump(mode="json")}


def build_table(
    shop: Path,
    *,
    rows: Path,
    out: Path,
    only: Sequence[str] = (),
    definitions: Sequence[Feature] | None = None,
    as_of: datetime | None,
    settings: Settings,
    engine: Engine | None = None,
) -> Built:
    """Compute the features of rows, each as of its own timestamp, and write them as a table.

    Where a table of the same features stands at `out`, its days stay as they are if their rows and everything that the
    shop knew by their end are the same; the other days are computed. The result is the same as that of a whole build.

    Args:
        shop: the shop folder.
        rows: a file with `timestamp` and some of user_id, product_id and query.
        out: the table's folder.
        only: names of features; all that can be had where empty.
        definitions: what can be named; DEFAULTS and the shop's own where None.
        as_of: nothing known later is read.
        settings: where working files may stand.
        engine: computes the features; threads on all cores where None. It changes no bit of the table.

    Raises:
        UsageError: a feature or a row can't be had, or `out` holds other files.
        ShopError: a table's contract fails as a whole.
    """
    meter = Meter()
    features = named(only, definitions_of(shop) if definitions is None else definitions)
    refuse_other_files(out, what="table of features", older=is_table)
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        asked = read_rows(rows, config=clean.config, as_of=as_of)
        streams = shop_streams(clean.tables)
        calendar = clean.config.timestamps == "calendar"
        chosen, left_out = choose(features, streams, keys=asked.keys, calendar=calendar, strict=bool(only))
        if twice := [one.name for one in chosen if one.name in asked.frame.collect_schema()]:
            raise UsageError(
                f"{rows} has a column {', '.join(twice)}", expected="names of its own", action="rename it there"
            )
        versions = {feature.name: feature.version for feature in chosen}
        old = read_manifest(out)
        kept = old.days if old is not None and old.features == versions else {}
        with atomic_folder(out) as folder:
            days = fill(folder, asked, chosen, streams, kept=kept, old=out, staging=staging, engine=engine)
            manifest = TableManifest(
                format_version=FORMAT_VERSION,
                table_id=table_id(versions, {date: day for date, (day, _) in days.items()}),
                shop=clean.config.name,
                features=versions,
                left_out=left_out,
                days={date: day for date, (day, _) in days.items()},
                as_of=as_of,
                versions={**library_versions(), "commit": git_commit()},
            )
            (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
            (folder / "features.md").write_text(page(chosen), encoding="utf-8")
    return Built(
        folder=out,
        manifest=manifest,
        rows=sum(day.rows for day, _ in days.values()),
        computed=sum(day.rows for day, fresh in days.values() if fresh),
        effort=meter.read(),
    )


def fill(
    folder: Path,
    asked: Rows,
    features: Sequence[Feature],
    streams: Streams,
    *,
    kept: dict[str, Day],
    old: Path,
    staging: Path,
    engine: Engine | None,
) -> dict[str, tuple[Day, bool]]:
    """Write every day's file; by date the day and whether it was computed now."""
    past = pasts(streams, features, days=asked.days)
    written: dict[str, tuple[Day, bool]] = {}
    for several in batches(asked):
        rows = asked.read(several)
        due = []
        for (day,), own in rows.group_by(day_of(pl.col(TIME)), maintain_order=True):
            date, digest = date_of(day), frame_digest(own)
            there = kept.get(date)
            if there is not None and (there.asked, there.past) == (digest, past[day]) and keep_file(old, folder, date):
                written[date] = (there, False)
            else:
                due.append(day)
                written[date] = (Day(rows=own.height, asked=digest, past=past[day], digest=""), True)
        if due:
            fresh = rows.filter(day_of(pl.col(TIME)).is_in(due))
            values = compute(asking(fresh, asked.keys), features, streams, staging=staging, engine=engine)
            same_rows(values.height, fresh.height, of="rows of features")
            written |= store(folder, fresh, values, planned=written)
    return dict(sorted(written.items()))


def store(
    folder: Path, rows: pl.DataFrame, values: pl.DataFrame, *, planned: Mapping[str, tuple[Day, bool]]
) -> dict[str, tuple[Day, bool]]:
    """Write the days of some rows with their features, and put the digest of what was written into their plans."""
    written, at = {}, 0
    for (day,), own in rows.group_by(day_of(pl.col(TIME)), maintain_order=True):
        date, found = date_of(day), values.slice(at, own.height)
        at += own.height
        own.hstack(found).write_parquet(folder / f"{date}.parquet", compression="zstd")
        plan = planned[date][0]
        written[date] = (plan.model_copy(update={"digest": content_digest(plan.asked, found)}), True)
    return written


def content_digest(asked: str, values: pl.DataFrame) -> str:
    """sha256 (hex) of rows, by their own digest, and of their features' names and bits, null as NaN and -0.0 as 0.0."""
    numbers = np.ascontiguousarray(values.to_numpy().astype(np.float32)) + np.float32(0.0)
    numbers[np.isnan(numbers)] = np.nan
    total = hashlib.sha256(f"{asked} {' '.join(values.columns)} {values.height}".encode())
    total.update(numbers.tobytes())
    return total.hexdigest()


def batches(asked: Rows) -> Iterator[list[int]]:
    """The days in groups of about AT_ONCE rows."""
    group: list[int] = []
    held = 0
    for day, rows in asked.days.items():
        if group and held + rows > AT_ONCE:
            yield group
            group, held = [], 0
        group.append(day)
        held += rows
    yield group


def keep_file(old: Path, folder: Path, date: str) -> bool:
    """Take a day's file over from the table that stands; False where it is gone. Bytes are shared where disks can."""
    source, target = old / f"{date}.parquet", folder / f"{date}.parquet"
    if not source.is_file():
        return False
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return True


def date_of(day: int) -> str:
    """A day since 1970 as a date."""
    return datetime.fromtimestamp(day * DAY / 1e6, tz=UTC).date().isoformat()
