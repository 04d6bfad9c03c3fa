"""What is kept of one key so that all its features can be read: numbered slots, and cells in them.

A cell is two whole numbers: its code (slot and place in it) and what it is worth. A record is its cells, ascending by
code. Windows are sums over neighbouring cells, so that many records are read, and changed, by a few array operations.

| slot | a cell for each | is worth |
|---|---|---|
| total | | the sum of all that was known |
| first, last | | the instant, microseconds since 1970 |
| hop | hop of a window | the sum in it |
| ids | hop of a window | how many ids were seen last in it |
| versions | two for each value | from when on it is the latest known one; the value |
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import (
    DAY,
    ENTITIES,
    Age,
    Change,
    Distinct,
    Entity,
    Feature,
    Latest,
    Measure,
)

Integers = NDArray[np.int64]
CODES: dict[Entity, str] = {
    "user": "u",
    "product": "p",
    "user_product": "b",
    "query": "q",
    "query_product": "s",
    "follow": "f",
}
"""By entity the letter with which its keys begin."""
IDS = "i"
"""The letter before a key under which the ids stand that its distinct counts have counted."""
LONGEST_PART = 240
"""Bytes of one part of a key; a longer one is replaced by its hash."""
PLACES = 32
"""Bits of a code that tell the place in its slot; hops of 5 minutes reach 20,000 years either way."""
ZERO = 1 << (PLACES - 1)
"""The place of hop 0, which begins in 1970."""
MOST_SLOTS = 1 << 10


class Slot(NamedTuple):
    """One kind of number that is kept of a measure.

    Attributes:
        measure: what is measured.
        part: see the table above.
        hop: length of the hops, microseconds; 0 where there are none.
    """

    measure: Measure
    part: Literal["total", "first", "last", "hop", "ids", "versions"]
    hop: int = 0


@dataclass(frozen=True)
class Layout:
    """The slots of one entity's records.

    Attributes:
        entity: whose.
        features: that are read out of them, in order.
    """

    entity: Entity
    features: tuple[Feature, ...]

    @cached_property
    def slots(self) -> dict[Slot, int]:
        """By slot its number."""
        found = dict.fromkeys(slot for feature in self.features for slot in slots_of(feature))
        if len(found) > MOST_SLOTS:
            raise ValueError(f"{len(found)} slots, expected at most {MOST_SLOTS}")
        return {slot: number for number, slot in enumerate(found)}

    @cached_property
    def longest(self) -> dict[Slot, int]:
        """By slot with hops the longest window over it, microseconds; 0 where all the past counts."""
        found: dict[Slot, list[int]] = {}
        for feature in self.features:
            for slot in slots_of(feature):
                if slot.hop:
                    found.setdefault(slot, []).append(feature.window.length if feature.window else 0)
        return {slot: 0 if 0 in lengths else max(lengths) for slot, lengths in found.items()}

    def lowest(self, now: int) -> Integers:
        """int64 [slots]: the first place in each that some window at `now` or later can ask for."""
        lowest = np.zeros(len(self.slots), dtype=np.int64)
        for slot, longest in self.longest.items():
            if longest:
                lowest[self.slots[slot]] = (now - longest) // slot.hop + ZERO
        return lowest


def layouts(features: Sequence[Feature]) -> dict[Entity, Layout]:
    """The layout of every entity that the features speak of."""
    entities = dict.fromkeys(feature.entity for feature in features)
    return {one: Layout(one, tuple(feature for feature in features if feature.entity == one)) for one in entities}


def slots_of(feature: Feature) -> Iterable[Slot]:
    """The slots that a feature is read from; of a rate first the numerator's."""
    match feature.of:
        case Age(measure, end):
            return (Slot(measure, end),)
        case Latest(measure) | Change(measure):
            return (Slot(measure, "versions"),)
        case Distinct(measure, window):
            return (Slot(measure, "ids", window.hop if window else DAY),)
        case _ if (window := feature.window) is not None:
            return tuple(Slot(measure, "hop", window.hop) for measure in feature.measures)
        case _:
            return tuple(Slot(measure, "total") for measure in feature.measures)


def streamed(feature: Feature) -> bool:
    """True where an event changes the feature by itself.

    Prices, stock and grades come with the shop's tables; what was viewed one after the other is told by the order of
    all the views of a user.
    """
    own = all(measure.stream == "events" for measure in feature.measures)
    return own and feature.entity != "follow" and not isinstance(feature.of, Latest | Change)


def key_of(entity: Entity, parts: Sequence[str]) -> str:
    """The key of an entity's record."""
    first, *rest = map(short, parts)
    return CODES[entity] + first if not rest else f"{CODES[entity]}{len(first.encode())}:{first}{rest[0]}"


def beginning(entity: Entity, first: str) -> str:
    """What the keys of all pairs with this first part begin with."""
    return key_of(entity, (first, ""))


def first_part(key: str) -> str:
    """The first part of a pair's key, as it stands in it."""
    length, _, parts = key[1:].partition(":")
    return parts.encode()[: int(length)].decode()


def short(part: str) -> str:
    """A part of a key as it stands in it."""
    long = part.encode("utf-8", "surrogatepass")
    if len(long) <= LONGEST_PART:
        return part
    return "#" + base64.urlsafe_b64encode(hashlib.blake2b(long, digest_size=18).digest()).decode()


def keys_of(entity: Entity, frame: pl.DataFrame) -> pl.Series:
    """The keys of many records; see `key_of`.

    Args:
        entity: whose.
        frame: its columns, as text without nulls.
    """
    parts = [shortened(frame[name]) for name in ENTITIES[entity]]
    letter = pl.lit(CODES[entity])
    if len(parts) == 1:
        return pl.select(pl.concat_str(letter, parts[0])).to_series()
    first, second = parts
    return pl.select(
        pl.concat_str(letter, first.str.len_bytes().cast(pl.String), pl.lit(":"), first, second)
    ).to_series()


def shortened(part: pl.Series) -> pl.Series:
    """Parts of keys as they stand in them."""
    long = part.str.len_bytes() > LONGEST_PART
    return part.map_elements(short, return_dtype=pl.String) if long.any() else part


@lru_cache(maxsize=1 << 17)
def id_hash(text: str) -> int:
    """What stands for an id that is counted once, 63 bits; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") >> 1
