"""Online records of a whole shop at one instant: every key's tallies, out of the same streams and definitions.

streams, as known at an instant ──► a row for each key and measure ──► ENTITY.parquet, from which any online store
                                                                       can be filled; `tallies` reads and updates it
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feature_store.joins import same_rows
from feature_store.point_in_time.choice import choose, named
from feature_store.point_in_time.definitions import ENTITIES, Entity, Feature, Measure, Rate
from feature_store.point_in_time.own import behind, carried, definitions_of
from feature_store.point_in_time.streams import Streams, kind_codes, shop_streams
from feature_store.point_in_time.survey import surveys
from feature_store.point_in_time.tallies import Need, Record, Tally, needs, read
from feature_store.point_in_time.values import HASHED, MISSING, VALUES
from feature_store.staging import staging_folder
from feature_store.validate import clean_shop
from recsys.errors import ShopError, UsageError
from recsys.logs import progress
from recsys.settings import Settings
from recsys.storage import atomic_folder, refuse_other_files

ABOUT = "records.json"


@dataclass(frozen=True)
class Kept:
    """What was written.

    Attributes:
        folder: the records'.
        at: nothing known later is in them.
        keys: by entity how many keys there are.
        features: by name the version of the definition that they serve.
        left_out: by name why it is not among them.
    """

    folder: Path
    at: datetime
    keys: dict[str, int]
    features: dict[str, str]
    left_out: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        more = {"keys": self.keys, "features": self.features, "left_out": self.left_out}
        return {"records": str(self.folder), "at": self.at.isoformat(), **more}


def write_records(
    shop: Path,
    *,
    out: Path,
    only: Sequence[str] = (),
    definitions: Sequence[Feature] | None = None,
    as_of: datetime | None,
    settings: Settings,
) -> Kept:
    """Write the online records of a shop as of an instant.

    Args:
        shop: the shop folder.
        out: a new folder, or older records.
        only: names of features; all that the shop can have where empty.
        definitions: what can be named; DEFAULTS and the shop's own where None.
        as_of: the instant; the shop's newest event where None.
        settings: where working files may stand.

    Raises:
        UsageError: a feature can't be had, or `out` holds other files.
        ShopError: a table's contract fails as a whole, or there is neither an event nor an instant.
    """
    wanted = named(only, definitions_of(shop) if definitions is None else definitions)
    refuse_other_files(out, what="folder of records", older=lambda folder: (folder / ABOUT).is_file())
    with staging_folder(settings) as staging:
        clean = clean_shop(shop, staging=staging, as_of=as_of, settings=settings)
        at = as_of or clean.watermark
        if at is None:
            raise ShopError(
                f"{shop} has no newest event",
                expected="a shop with a calendar and events",
                action="give it events with real timestamps",
            )
        streams = shop_streams(clean.tables)
        keys = {key for columns in ENTITIES.values() for key in columns}
        features, left_out = choose(wanted, streams, keys=keys, calendar=True, strict=bool(only))
        with atomic_folder(out) as folder:
            counts = fill(folder, features, streams, at=at)
            about = {
                "at": at.isoformat(),
                "features": {one.name: one.version for one in features},
                "own": carried(features),
                "priors": prior_rates(features, streams, at=at),
            }
            (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return Kept(out, at, counts, {one.name: one.version for one in features}, left_out)


def fill(folder: Path, features: Sequence[Feature], streams: Streams, *, at: datetime) -> dict[str, int]:
    """Write each entity's file; by entity how many keys it has."""
    counts: dict[str, int] = {}
    entities = list(dict.fromkeys(feature.entity for feature in features))
    for entity in progress(entities, label="Writing the records", total=len(entities)):
        frame = entity_frame(entity, features, streams, now=instant(at))
        frame.write_parquet(folder / f"{entity}.parquet", compression="zstd")
        counts[entity] = frame.select(ENTITIES[entity]).n_unique()
    return counts


def instant(at: datetime) -> int:
    """Microseconds since 1970."""
    return pl.Series([at], dtype=pl.Datetime("us", "UTC")).dt.timestamp("us").item()  # type: ignore[no-any-return]


def entity_frame(entity: Entity, features: Sequence[Feature], streams: Streams, *, now: int) -> pl.DataFrame:
    """A row for each key and measure: key columns, measure (its number among `needs`), and the tally's parts.

    Raises:
        SnapshotError: a join gave rows.
    """
    keys = list(ENTITIES[entity])
    wanted = needs(feature for feature in features if feature.entity == entity)
    parts = []
    for number, (measure, need) in enumerate(wanted.items()):
        whole = VALUES[measure.value].whole
        rows = streams[measure.stream].frame.filter(
            pl.all_horizontal(pl.col(keys).is_not_null()), pl.col("start") <= now, whole != MISSING
        )
        if measure.kinds:
            rows = rows.filter(pl.col("kind").is_in(kind_codes(measure.kinds)))
        parts.append(tally_frame(rows.with_columns(worth=whole), keys, measure, need, now=now, number=number))
    found = pl.concat(parts).sort(*keys, "measure").collect(engine="streaming")
    new = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in (*keys, "measure"))
    same_rows(found.height, found.select(new.sum()).item(), of=f"tallies of {entity}")
    return found


def tally_frame(
    rows: pl.LazyFrame, keys: list[str], measure: Measure, need: Need, *, now: int, number: int
) -> pl.LazyFrame:
    """The tallies of one measure."""
    pair = pl.List(pl.Struct({"hop": pl.Int64, "begin": pl.Int64, "worth": pl.Int64}))
    version = pl.List(pl.Struct({"start": pl.Int64, "time": pl.Int64, "worth": pl.Int64}))
    own = pl.List(pl.Struct({"id": pl.String, "last": pl.Int64}))
    hashed = measure.value in HASHED
    total = pl.lit(0, dtype=pl.Int64) if hashed else pl.col("worth").sum()
    frame = rows.group_by(keys).agg(total=total, first=pl.col("time").min(), last=pl.col("time").max())
    absent = {"hops": pair, "versions": version, "ids": own}
    if need.hops and not hashed:
        sums = pl.concat(hop_sums(rows, keys, hop, longest, now=now) for hop, longest in need.hops.items())
        listed = sums.group_by(keys).agg(hops=pl.struct("hop", "begin", "worth").sort())
        frame, _ = frame.join(listed, on=keys, how="left"), absent.pop("hops")
    if need.past is not None:
        listed = rows.group_by(keys).agg(versions=pl.struct("start", "time", "worth").sort())
        frame, _ = frame.join(listed, on=keys, how="left"), absent.pop("versions")
    if hashed:
        lasts = rows.group_by([*keys, pl.col(HASHED[measure.value]).alias("id")]).agg(last=pl.col("time").max())
        recent = lasts.filter(pl.col("last") >= now - need.ids) if need.ids else lasts
        listed = recent.group_by(keys).agg(ids=pl.struct("id", "last").sort())
        frame, _ = frame.join(listed, on=keys, how="left"), absent.pop("ids")
    empty = (pl.lit(None, dtype=kind).alias(name) for name, kind in absent.items())
    measured = frame.with_columns(*empty, measure=pl.lit(number, dtype=pl.Int32))
    return measured.select(*keys, "measure", "total", "first", "last", "hops", "versions", "ids")


def hop_sums(rows: pl.LazyFrame, keys: list[str], hop: int, longest: int, *, now: int) -> pl.LazyFrame:
    """The sums of the hops that a window may still ask for."""
    inside = rows.filter(pl.col("time") >= (now - longest) // hop * hop)
    begin = (pl.col("time") // hop * hop).alias("begin")
    sums = inside.group_by([*keys, begin]).agg(pl.col("worth").sum())
    return sums.select(*keys, pl.lit(hop, dtype=pl.Int64).alias("hop"), "begin", "worth")


def prior_rates(features: Sequence[Feature], streams: Streams, *, at: datetime) -> dict[str, float]:
    """By feature the shop's rate as of the last midnight before `at`."""
    surveyed, now = surveys(features, streams), np.array([instant(at)])
    return {
        feature.name: float(surveyed[feature.measures[0].stream].rate(feature.of, now)[0])
        for feature in features
        if isinstance(feature.of, Rate) and feature.of.strength
    }


class RecordFolder:
    """Records on disk, read as an online store would."""

    def __init__(self, folder: Path) -> None:
        """Open what `write_records` wrote.

        Args:
            folder: the records'.

        Raises:
            UsageError: the definition of a feature has changed since.
        """
        self.folder = folder
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        try:
            self.features = behind(about["features"], about.get("own", {}))
        except ValueError as error:
            raise UsageError(
                f"{folder} serves other definitions of {error}",
                expected="records of this release's definitions",
                action="write them again: recsys table records",
            ) from error
        self.priors: dict[str, float] = about["priors"]
        self.at = datetime.fromisoformat(about["at"])

    def record(self, entity: Entity, key: Sequence[str]) -> Record:
        """What is kept of one key; empty where nothing is known of it."""
        measures = list(needs(feature for feature in self.features if feature.entity == entity))
        own = pl.scan_parquet(self.folder / f"{entity}.parquet").filter(
            pl.all_horizontal(pl.col(name) == part for name, part in zip(ENTITIES[entity], key, strict=True))
        )
        return {measures[row["measure"]]: as_tally(row) for row in own.collect().iter_rows(named=True)}

    def values(self, entity: Entity, key: Sequence[str], *, now: datetime) -> dict[str, float | None]:
        """The entity's features of one key, at `now`; what happened after `at` is not in them."""
        record = self.record(entity, key)
        return {
            feature.name: read(record, feature, now=instant(now), prior=self.priors.get(feature.name, 0.0))
            for feature in self.features
            if feature.entity == entity
        }


def as_tally(row: dict[str, Any]) -> Tally:
    """A stored row as a tally."""
    hops: dict[int, dict[int, int]] = {}
    for one in row["hops"] or ():
        hops.setdefault(one["hop"], {})[one["begin"]] = one["worth"]
    return Tally(
        total=row["total"],
        first=row["first"],
        last=row["last"],
        hops=hops,
        versions=[(one["start"], one["time"], one["worth"]) for one in row["versions"] or ()],
        ids={one["id"]: one["last"] for one in row["ids"] or ()},
    )
