"""The build of a snapshot: clean the shop, make the frames, hash them, put the folder into place as a whole."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from feature_store.checking import CheckedTable
from feature_store.faults import writable
from feature_store.frames import FRAMES, filled
from feature_store.interactions import EventFrames, event_frames
from feature_store.joins import same_rows
from feature_store.judgments import judgment_frame
from feature_store.leaks import refuse_leaks
from feature_store.manifest import FORMAT_VERSION, SHOP, Manifest, Split, StoredFile
from feature_store.products import catalogue_frame
from feature_store.splits import plan_split
from feature_store.users import user_frame
from feature_store.validate import CleanShop, clean_shop
from recsys.digest import file_sha256, frame_digest
from recsys.errors import SnapshotError
from recsys.logs import progress
from recsys.provenance import git_commit, library_versions
from recsys.settings import Settings
from recsys.storage import partial_folder, sync_folder, sync_tree


def build(
    shop: Path,
    *,
    out: Path | None,
    split: str | None,
    as_of: datetime | None,
    options: Mapping[str, str],
    settings: Settings,
) -> Path:
    """See `build_snapshot`; gives the folder of the snapshot."""
    parent = (out or settings.snapshots / "new").parent
    with partial_folder(parent, "snapshot") as partial:
        with writable(parent):
            manifest = fill(partial, shop, split=split, as_of=as_of, options=options, settings=settings)
        sync_tree(partial)
        return place(partial, out or settings.snapshots / manifest.snapshot_id, manifest)


def fill(
    folder: Path,
    shop: Path,
    *,
    split: str | None,
    as_of: datetime | None,
    options: Mapping[str, str],
    settings: Settings,
) -> Manifest:
    """Write a whole snapshot into an empty folder."""
    staging = folder / "staging"
    staging.mkdir()
    clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
    oldest, known_from = first_moments(clean.tables.get("events"))
    plan = plan_split(
        clean.config,
        kind=split,
        options=options,
        events="events" in clean.tables,
        watermark=clean.watermark,
        oldest=oldest,
        known_from=known_from,
    )
    manifest = write_frames(folder, clean, plan, options={**options, SHOP: str(shop.resolve())})
    shutil.rmtree(staging)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def first_moments(events: CheckedTable | None) -> tuple[datetime | None, datetime | None]:
    """When the oldest event happened, and from when on `known_at` tells what was known; None where it never does.

    It tells from the first event that has one. Events without it that all happened before are a past from before
    anything was recorded; where some happened later, none of them was late, and it tells from the oldest event on.
    """
    if events is None:
        return None, None
    time, told = pl.col("timestamp"), pl.col("known_at").is_not_null()
    known = pl.max_horizontal("timestamp", "known_at")
    moments = events.frame.select(
        oldest=time.min(), first=known.min(), recorded=known.filter(told).min(), silent=time.filter(~told).max()
    )
    oldest, first, recorded, silent = moments.collect(engine="streaming").row(0)
    later = recorded is not None and silent is not None and silent > recorded
    return oldest, first if later else recorded


def write_frames(folder: Path, clean: CleanShop, split: Split, *, options: Mapping[str, str]) -> Manifest:
    """Write every frame of the snapshot and give its manifest."""
    tables, config = clean.tables, clean.config
    catalogue = catalogue_frame(tables["products"], currency=config.currency, now=clean.watermark or clean.as_of)
    events = event_frames(tables.get("events"), catalogue=catalogue, weights=config.event_weights, split=split)
    judgments = judgment_frame(
        tables.get("judgments"), queries=tables.get("queries"), catalogue=catalogue, fold=split.fold
    )
    refuse_leaks(events.interactions, judgments, split=split)
    frames: dict[str, pl.LazyFrame | pl.DataFrame] = {
        "catalogue": catalogue,
        "interactions": filled(events.interactions.lazy().drop("known_at", strict=False), "interactions"),
        "impressions": events.impressions,
        "searches": events.searches,
        "judgments": judgments,
        "users": user_frame(tables.get("users"), events=tables.get("events")),
        "quarantine": clean.quarantine(),
    }
    named = progress(frames.items(), label="Writing the snapshot", total=len(frames))
    files = {name: store(frame, folder / f"{name}.parquet", name=name) for name, frame in named}
    for name, rows in events.rows.items():
        same_rows(files[name].rows, rows, of=name)
    return Manifest(
        format_version=FORMAT_VERSION,
        snapshot_id=identity(clean, split, files),
        shop=config.name,
        currency=config.currency,
        max_grade=clean.max_grade,
        timestamps=config.timestamps,
        split=split,
        counts=count(events, judgments, files, clean),
        watermark=clean.watermark,
        as_of=clean.as_of,
        quarantine={name: table.reasons() for name, table in tables.items()},
        unknown_columns={name: list(table.unknown) for name, table in tables.items()},
        sources=clean.sources(),
        files=files,
        settings={**options, "split": split.kind},
        versions={**library_versions(), "commit": git_commit(), "built_at": datetime.now(UTC).isoformat()},
    )


def store(frame: pl.LazyFrame | pl.DataFrame, file: Path, *, name: str) -> StoredFile:
    """Write one frame after its contract has passed it."""
    columns = list(FRAMES[name].column_names())
    frame.lazy().sink_parquet(file, compression="zstd")
    written = pl.scan_parquet(file)
    if not FRAMES[name].is_valid(written.select(columns)):
        raise SnapshotError(
            f"frame {name} breaks its own contract",
            expected=f"what {FRAMES[name].__name__} says",
            action="report this with the shop's manifest: it is an error of the build, not of the shop",
        )
    rows = int(written.select(pl.len()).collect().item())
    return StoredFile(rows=rows, sha256=file_sha256(file), digest=frame_digest(written))


def identity(clean: CleanShop, split: Split, files: Mapping[str, StoredFile]) -> str:
    """16 hex digits over what the snapshot says; where the rows came from and how they were written does not matter.

    Nor do the instant as of which it was asked for and what was known when: which rows this leaves decides.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "shop": clean.config.name,
        "timestamps": clean.config.timestamps,
        "max_grade": clean.max_grade,
        "split": split.model_dump(mode="json", exclude={"known_from"}),
        "frames": {name: file.digest for name, file in sorted(files.items()) if name != "quarantine"},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def count(
    events: EventFrames, judgments: pl.DataFrame, files: Mapping[str, StoredFile], clean: CleanShop
) -> dict[str, int]:
    """Rows by frame and part, events by type and what cleaning noticed."""
    counts = {name: file.rows for name, file in files.items()}
    for name, frame in (("interactions", events.interactions), ("judgments", judgments)):
        parts = frame.group_by("part").len().sort("part")
        counts |= {f"{name}_{part}": rows for part, rows in parts.iter_rows()}
    known = events.interactions["user_id"].drop_nulls()
    counts["users_with_interactions"] = known.n_unique()
    counts["queries_judged"] = judgments["query_id"].n_unique()
    return counts | events.counts | clean.counts


def place(partial: Path, target: Path, manifest: Manifest) -> Path:
    """Rename the finished folder into place; where the same snapshot already stands, that one stays.

    Raises:
        SnapshotError: something else stands at `target`.
    """
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():
            raise
        if not same_snapshot(target, manifest):
            raise SnapshotError(
                f"{target} already holds something else",
                expected="a new folder, or the same snapshot",
                action="choose another place or remove it",
            ) from None
    else:
        sync_folder(target.parent)
    return target


def same_snapshot(target: Path, manifest: Manifest) -> bool:
    """True where `target` is a snapshot of the same content."""
    try:
        there = Manifest.model_validate_json((target / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return there.snapshot_id == manifest.snapshot_id
