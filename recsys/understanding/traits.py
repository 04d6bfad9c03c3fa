"""What each product is, in numbers: facts, place in the tree, quantities; small arrays, mapped from disk."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.meaning import Quantity, SpanKind
from recsys.text.fields import strings
from recsys.types import Positions
from recsys.understanding.attributes import prefixes
from recsys.understanding.categories import Ints, Tree
from recsys.understanding.gazetteer import Known
from recsys.understanding.units import CODES, quantities

Offsets = NDArray[np.int64]
FLUID = 28.349523125 / 29.5735295625
"""Grams of an ounce over millilitres of a fluid ounce: a bottle of 8 fl oz is called one of 8 oz as well."""


class Owned(NamedTuple):
    """Values of some products: `values[i]` belongs to the product at `rows[i]` of the positions asked for."""

    rows: Positions
    places: Positions


@dataclass(frozen=True, slots=True)
class Traits:
    """The products of a catalogue.

    Attributes:
        fact_offsets: int64 [products + 1]; product i owns the facts from fact_offsets[i] to fact_offsets[i + 1].
        facts: int32, numbers of facts.
        groups: int32 [facts known], equal for facts of one kind and name.
        classes: int32 [products], each product's class in the tree, -1 where it has no category.
        quantity_offsets: int64 [products + 1], as fact_offsets.
        units: int8, see recsys.understanding.units.CODES.
        values: float32, in base units.
    """

    fact_offsets: Offsets
    facts: Ints
    groups: Ints
    classes: Ints
    quantity_offsets: Offsets
    units: NDArray[np.int8]
    values: NDArray[np.float32]

    def save(self, folder: Path) -> None:
        """Write one npy for each array."""
        folder.mkdir()
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The traits of a folder, mapped into memory; the files' own errors pass."""
        arrays: dict[str, Any] = {
            field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
            for field in fields(cls)
        }
        return cls(**arrays)


def owned(offsets: Offsets, positions: Positions) -> Owned:
    """Where the values of some products stand, product by product."""
    starts = offsets[positions]
    counts = offsets[positions + 1] - starts
    rows = np.repeat(np.arange(len(positions)), counts)
    before = np.cumsum(counts) - counts
    return Owned(rows, np.arange(len(rows)) - before[rows] + starts[rows])


def measure_products(frame: pl.DataFrame, known: Known, tree: Tree | None) -> Traits:
    """The traits of a catalogue's products, in the order of positions.

    Args:
        frame: the rows of a catalogue.
        known: its facts.
        tree: its category tree; None where it has none.
    """
    found = list(product_quantities(strings(frame, "title"), known))
    flat = [one for row in found for one in row]
    numbers = {reading: number for number, reading in enumerate(dict.fromkeys(fact[:2] for fact in known.facts))}
    return Traits(
        fact_offsets=np.cumsum([0, *map(len, known.of)], dtype=np.int64),
        facts=np.array([number for row in known.of for number in row], dtype=np.int32),
        groups=np.array([numbers[fact[:2]] for fact in known.facts], dtype=np.int32),
        classes=product_classes(strings(frame, "category"), tree),
        quantity_offsets=np.cumsum([0, *map(len, found)], dtype=np.int64),
        units=np.array([CODES[unit] for unit, _ in flat], dtype=np.int8),
        values=np.array([value for _, value in flat], dtype=np.float32),
    )


def product_classes(categories: Sequence[str], tree: Tree | None) -> Ints:
    """int32 [products]: the class of each category path, -1 for none."""
    number = {} if tree is None else {tree.paths[node]: place for place, node in enumerate(tree.leaves.tolist())}
    lines = (prefixes(path) for path in categories)
    return np.fromiter((number.get(line[-1], -1) if line else -1 for line in lines), np.int32, len(categories))


def product_quantities(titles: Iterable[str], known: Known) -> Iterator[list[tuple[str, float]]]:
    """For each product the distinct quantities of its title and of its attributes' values, as unit and value."""

    @cache
    def told(number: int) -> tuple[Quantity, ...]:
        fact = known.facts[number]
        return quantities(fact.value) if fact.kind is SpanKind.ATTRIBUTE and has_digit(fact.value) else ()

    for title, own in zip(titles, known.of, strict=True):
        found = [*(quantities(title) if has_digit(title) else ()), *(one for number in own for one in told(number))]
        pairs = [(one.unit, one.value) for one in found]
        fluid = [
            ("g", one.value * FLUID) for one in found if one.unit == "ml" and "o" in title[one.start : one.end].lower()
        ]
        yield list(dict.fromkeys([*pairs, *fluid]))


def has_digit(text: str) -> bool:
    """True where a text has a number in it, which costs far less to see than to read."""
    return any(letter.isnumeric() for letter in text)
