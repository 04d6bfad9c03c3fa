"""Events of the log as what they change: cells to be added to the records of their keys."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from feature_store.contracts import contract_columns
from feature_store.event_log.compact import part_frame
from feature_store.event_log.log import Stored
from feature_store.online_features.layout import IDS, PLACES, ZERO, Layout, Slot, id_hash, key_of, slots_of, streamed
from feature_store.online_features.state import Row
from feature_store.point_in_time.definitions import ENTITIES, Entity, Feature, Measure
from feature_store.point_in_time.streams import event_frame, kind_codes
from feature_store.point_in_time.values import HASHED, MISSING, VALUES

COLUMNS = ("time", "start", "kind", "user_id", "product_id", "query")
TRIPLE = 24
"""Bytes of an id in what stands under IDS: number of the measure, hash, the instant it was seen last."""


def rows_of(events: pl.LazyFrame, values: Iterable[str]) -> list[Row]:
    """Records of the stream as small JSON objects: COLUMNS, and by name what each is worth; what is missing is absent.

    Args:
        events: the stream's frame.
        values: names of `VALUES` that are wanted.
    """
    whole = {f"worth {name}": VALUES[name].whole for name in values if name not in HASHED}
    frame = events.select(*COLUMNS, **whole).collect()
    return [
        {name: value for name, value in row.items() if value is not None and value != MISSING}
        for row in frame.iter_rows(named=True)
    ]


def stored_rows(events: Sequence[Stored], values: Iterable[str]) -> list[Row]:
    """Events of the log, in order, as rows; the stream's own definitions say what each is worth."""
    if not events:
        return []
    frame = part_frame(events)
    lacks = {name: kind for name, kind in contract_columns("events").items() if name not in frame.columns}
    whole = frame.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in lacks.items())
    numbered = whole.with_columns(number=pl.Series([one.number for one in events]))
    return rows_of(event_frame(numbered.lazy()).sort("number"), values)


@dataclass
class Deltas:
    """What some events change.

    Attributes:
        cells: by entity and key codes and what they are worth more.
        ids: by entity and key the ids that were seen: number of the measure's slot group, hash, instant.
    """

    cells: dict[Entity, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)
    ids: dict[Entity, dict[str, list[tuple[int, int, int]]]] = field(default_factory=dict)

    def keys(self) -> list[str]:
        """The keys of all records, and of the ids that go with some."""
        own = [key for by_key in self.cells.values() for key in by_key]
        return own + [IDS + key for by_key in self.ids.values() for key in by_key]


class Counting:
    """How one entity's records count events."""

    def __init__(self, layout: Layout) -> None:
        """Find by kind of event what it touches.

        Args:
            layout: of the records; features that no event changes by itself are passed over.
        """
        self.layout = layout
        self.columns = ENTITIES[layout.entity]
        live = {slot for feature in layout.features if streamed(feature) for slot in slots_of(feature)}
        by_measure: dict[Measure, list[tuple[Slot, int]]] = defaultdict(list)
        for slot, number in layout.slots.items():
            if slot in live:
                by_measure[slot.measure].append((slot, number << PLACES))
        self.measures = [(measure, set(kind_codes(measure.kinds)), slots) for measure, slots in by_measure.items()]

    def add(self, row: Row, deltas: Deltas) -> None:
        """Note what an event changes in the record of its key, if it has one."""
        parts = [row[name] for name in self.columns if name in row]
        if len(parts) < len(self.columns):
            return
        key, time = key_of(self.layout.entity, parts), row["time"]
        cells = deltas.cells.setdefault(self.layout.entity, {}).setdefault(key, [])
        for number, (measure, kinds, slots) in enumerate(self.measures):
            if kinds and row["kind"] not in kinds:
                continue
            if measure.value in HASHED:
                if (name := row.get(HASHED[measure.value])) is None:
                    continue
                worth = 0
                seen = deltas.ids.setdefault(self.layout.entity, {}).setdefault(key, [])
                seen.append((number, id_hash(name), time))
            else:
                worth = 1 if measure.value == "one" else row.get(f"worth {measure.value}", MISSING)
            if worth != MISSING:
                cells += cells_of(slots, time, worth)

    def counted(self, stored: bytes | None, seen: Sequence[tuple[int, int, int]], *, oldest: int) -> "Counted":
        """Move ids to where they were seen last.

        Args:
            stored: the ids of a key as they are kept.
            seen: ids of new events.
            oldest: the earliest instant that is asked for from now on.
        """
        triples = np.frombuffer(stored or b"", dtype="<i8").reshape(-1, 3)
        last = {(number, name): time for number, name, time in triples.tolist()}
        cells: list[tuple[int, int]] = []
        for number, name, time in seen:
            before = last.get((number, name))
            if before is not None and before >= time:
                continue
            last[number, name] = time
            for slot, code in self.measures[number][2]:
                if slot.part == "ids":
                    cells.append((code + time // slot.hop + ZERO, 1))
                    cells += [] if before is None else [(code + before // slot.hop + ZERO, -1)]
        kept = [(number, name, time) for (number, name), time in last.items() if time >= oldest - self.keeps(number)]
        return Counted(cells, packed_ids(kept))

    def keeps(self, number: int) -> int:
        """How long an id of a measure counts, microseconds; all the past where a count has no window."""
        spans = [
            self.layout.longest[slot] + slot.hop if self.layout.longest[slot] else 1 << 62
            for slot, _ in self.measures[number][2]
            if slot.part == "ids"
        ]
        return max(spans)


@dataclass(frozen=True)
class Counted:
    """What comes of new ids: cells to be added to the record, and the ids as they are kept."""

    cells: list[tuple[int, int]]
    ids: bytes


def cells_of(slots: Iterable[tuple[Slot, int]], time: int, worth: int) -> Iterator[tuple[int, int]]:
    """The cells of one event in some slots; distinct counts are left to `Counting.counted`."""
    for slot, code in slots:
        if slot.part == "total":
            yield code, worth
        elif slot.part == "hop":
            yield code + time // slot.hop + ZERO, worth
        elif slot.part in ("first", "last"):
            yield code, time


def packed_ids(ids: Iterable[tuple[int, int, int]]) -> bytes:
    """Ids as they are stored."""
    return np.array(list(ids), dtype="<i8").tobytes()


def values_of(features: Iterable[Feature]) -> list[str]:
    """The names of the values that events have to be given."""
    used = (measure.value for feature in features if streamed(feature) for measure in feature.measures)
    return [name for name in dict.fromkeys(used) if name not in HASHED and name != "one"]


def count(rows: Iterable[Row], countings: Mapping[Entity, Counting]) -> Deltas:
    """What some events change."""
    deltas = Deltas()
    for row in rows:
        for counting in countings.values():
            counting.add(row, deltas)
    return deltas
