"""A shop's tables as the values of a new generation: out of the same streams and definitions as its training rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import polars as pl

from feature_store.online_features.cells import CELL
from feature_store.online_features.deltas import Counting, packed_ids, rows_of, values_of
from feature_store.online_features.layout import IDS, PLACES, ZERO, Layout, Slot, id_hash, key_of, keys_of, layouts
from feature_store.online_features.state import Row, drawn
from feature_store.point_in_time.definitions import ENTITIES, Entity, Feature, Stream
from feature_store.point_in_time.records import entity_frame
from feature_store.point_in_time.streams import Records, Streams
from feature_store.point_in_time.survey import surveys
from feature_store.point_in_time.tallies import needs

AT_ONCE = 5_000_000
"""About how many records of a stream are packed at a time."""
KEY = "key"


@dataclass
class Packing:
    """Packs what a shop knew at an instant.

    Attributes:
        features: what is wanted; streams and columns that they need are there.
        streams: of the shop.
        at: the instant, microseconds since 1970.
        oldest: keys of which all that is known is older are left out; products stay.
        records: by entity how many records were packed so far.
        idle: by entity how many were left out so far.
    """

    features: Sequence[Feature]
    streams: Streams
    at: int
    oldest: int

    def __post_init__(self) -> None:
        self.records: dict[str, int] = {}
        self.idle: dict[str, int] = {}

    def values(self, products: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Key and record of everything that is known, each key once.

        Args:
            products: all that the shop has: events of others do not count, here as offline.
        """
        known = Streamed(self.streams, self.at)
        seen: set[str] = set()
        for entity, layout in layouts(self.features).items():
            parts = 1 + known.rows() // AT_ONCE
            for part in range(parts):
                for key, record in self.entity(layout, known.part(entity, part, of=parts)):
                    yield key, record
                    if entity == "product":
                        seen.add(key)
        yield from ((key, b"") for one in products if (key := key_of("product", (one,))) not in seen)
        self.records["product"] = len(products)

    def entity(self, layout: Layout, streams: Streams) -> Iterator[tuple[str, bytes]]:
        """Key and record, and under another key the ids that are counted once, of one entity."""
        frame = entity_frame(layout.entity, layout.features, streams, now=self.at)
        frame = frame.with_columns(keys_of(layout.entity, frame).alias(KEY))
        if layout.entity != "product":
            alive = frame.filter(pl.col("last").max().over(KEY) >= self.oldest)
            left = frame[KEY].n_unique() - alive[KEY].n_unique()
            self.idle[layout.entity] = self.idle.get(layout.entity, 0) + left
            frame = alive
        yield from packed(cell_frame(layout, frame), keys=frame[KEY].unique(maintain_order=True))
        self.records[layout.entity] = self.records.get(layout.entity, 0) + frame[KEY].n_unique()
        yield from id_entries(layout, frame)

    def waiting(self) -> list[Row]:
        """The events that are known later than `at`."""
        if "events" not in self.streams:
            return []
        return rows_of(self.streams["events"].frame.filter(pl.col("start") > self.at), values_of(self.features))

    def sums(self) -> list[dict[int, int]]:
        """See `State.sums`."""
        found = []
        surveyed = surveys(self.features, Streamed(self.streams, self.at).whole())
        for measure in drawn(self.features):
            one = surveyed[measure.stream]
            each = np.diff(one.sums[measure], prepend=0)
            found.append(dict(zip(one.days.tolist(), each.tolist(), strict=True)))
        return found


@dataclass(frozen=True)
class Streamed:
    """Streams as far as they were known at an instant."""

    streams: Streams
    at: int

    def whole(self) -> dict[Stream, Records]:
        """All of them."""
        return {
            name: Records(one.frame.filter(pl.col("start") <= self.at), one.lacks) for name, one in self.streams.items()
        }

    def rows(self) -> int:
        """How many records the longest stream has."""
        counts = (one.frame.select(pl.len()).collect(engine="streaming").item() for one in self.streams.values())
        return int(max(counts))

    def part(self, entity: Entity, number: int, *, of: int) -> dict[Stream, Records]:
        """The records of a share of an entity's keys."""
        if of == 1:
            return self.whole()
        columns = ENTITIES[entity]
        return {
            name: Records(one.frame.filter(pl.struct(columns).hash() % of == number), one.lacks)
            for name, one in self.whole().items()
            if set(columns) <= set(one.frame.collect_schema())
        }


def cell_frame(layout: Layout, frame: pl.DataFrame) -> pl.DataFrame:
    """Key, code and worth of every cell, ascending by key and code.

    Args:
        layout: of the entity.
        frame: its `entity_frame` with the column `key`.
    """
    numbers = {measure: number for number, measure in enumerate(needs(layout.features))}
    parts = [pl.DataFrame(schema={KEY: pl.String, "code": pl.Int64, "worth": pl.Int64})]
    for slot, number in layout.slots.items():
        own = frame.filter(pl.col("measure") == numbers[slot.measure])
        parts.append(slot_cells(slot, own).with_columns(pl.col("code") + (number << PLACES)))
    return pl.concat(parts).sort(KEY, "code")


def slot_cells(slot: Slot, own: pl.DataFrame) -> pl.DataFrame:
    """Key, place and worth of one slot's cells."""
    place = pl.lit(0, dtype=pl.Int64)
    match slot.part:
        case "total" | "first" | "last":
            return own.select(KEY, code=place, worth=pl.col(slot.part))
        case "hop":
            hops = own.select(KEY, "hops").explode("hops").unnest("hops").filter(pl.col("hop") == slot.hop)
            return hops.select(KEY, code=pl.col("begin") // slot.hop + ZERO, worth="worth")
        case "ids":
            ids = own.select(KEY, "ids").explode("ids").unnest("ids").drop_nulls()
            return ids.group_by(KEY, code=pl.col("last") // slot.hop + ZERO).agg(worth=pl.len().cast(pl.Int64))
        case _:
            return version_cells(own)


def version_cells(own: pl.DataFrame) -> pl.DataFrame:
    """Key, place and worth of values: whenever another one becomes the latest known, that instant and the value."""
    cells: list[tuple[str, int, int]] = []
    for key, versions in own.select(KEY, "versions").iter_rows():
        best: tuple[int, int] | None = None
        place = 0
        for one in versions or ():
            if best is None or (one["time"], one["worth"]) > best:
                best = (one["time"], one["worth"])
                cells += [(key, place, one["start"]), (key, place + 1, one["worth"])]
                place += 2
    return pl.DataFrame(cells, schema={KEY: pl.String, "code": pl.Int64, "worth": pl.Int64}, orient="row")


def packed(cells: pl.DataFrame, *, keys: pl.Series) -> Iterator[tuple[str, bytes]]:
    """Key and record of each of the keys."""
    pairs = np.empty((cells.height, 2), dtype="<i8")
    pairs[:, 0], pairs[:, 1] = cells["code"].to_numpy(), cells["worth"].to_numpy()
    content, at = pairs.tobytes(), 0
    counts: Mapping[str, int] = dict(cells.group_by(KEY, maintain_order=True).len().iter_rows())
    for key, count in counts.items():
        yield key, content[CELL * at : CELL * (at + count)]
        at += count
    yield from ((key, b"") for key in keys if key not in counts)


def id_entries(layout: Layout, frame: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    """The ids that are counted once, by the key of their record."""
    measures = [measure for measure, _, _ in Counting(layout).measures]
    names = {measure: number for number, measure in enumerate(needs(layout.features))}
    counted = {names[one]: number for number, one in enumerate(measures) if one in names}
    rows = frame.filter(pl.col("ids").list.len() > 0).select(KEY, "measure", "ids")
    for key, own in groupby(rows.iter_rows(), key=itemgetter(0)):
        yield (
            f"{IDS}{key}",
            packed_ids(
                (counted[measure], id_hash(one["id"]), one["last"])
                for _, measure, ids in own
                if measure in counted
                for one in ids
            ),
        )
