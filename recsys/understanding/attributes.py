"""What a catalogue says of each product: brand, colours, attribute values, categories, as plain rows."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from recsys.catalogue import SEPARATOR
from recsys.meaning import SpanKind
from recsys.text.fields import TYPE_MARK, strings
from recsys.text.words import words

LONGEST = 4  # words of a value that a query may name
LETTERS = 48
PARTS = re.compile(r"[,;/|\n]|\\n")
LEAF_PARTS = re.compile(r"[,&/]|\band\b")
COLOUR_NAMES = frozenset({"colour", "color", "farbe", "couleur"})
COLOURS: tuple[str, ...] = (
    *("white", "black", "red", "green", "yellow", "blue", "brown", "purple", "pink", "orange", "grey", "gray"),
)
"""The basic colour terms of English. Source: Berlin and Kay, "Basic color terms", 1969; grey in both spellings."""
YES = "yes"
GUESSES = {SpanKind.BRAND: 0.6, SpanKind.COLOUR: 0.6, SpanKind.ATTRIBUTE: 0.3}
"""How likely a name is meant before any title was read; below one half, titles have to speak for it."""


class Fact(NamedTuple):
    """One thing that products may be: of a brand, of a colour, with an attribute's value, in a category.

    Attributes:
        kind: brand, colour, attribute or category.
        name: the attribute's name; "" for a brand, colour or category, whichever column or attribute tells it.
        value: as the catalogue writes it; for a category its path; YES for an attribute that is merely there.
    """

    kind: SpanKind
    name: str
    value: str


def product_facts(frame: pl.DataFrame) -> Iterator[list[Fact]]:
    """The facts of each product in the order of positions, a category with those above it."""
    columns = (strings(frame, name) for name in ("brand", "category", "attributes"))
    for brand, category, attributes in zip(*columns, strict=True):
        found = [Fact(SpanKind.CATEGORY, "", path) for path in prefixes(category)]
        if brand.strip():
            found.append(Fact(SpanKind.BRAND, "", brand.strip()))
        found += attribute_facts(attributes) if attributes else ()
        yield list(dict.fromkeys(found))


def title_colours(titles: Iterable[str]) -> Iterator[list[Fact]]:
    """The basic colours in each title, for a catalogue whose attributes hold none: elsewhere green tea is no colour."""
    for title in titles:
        said = set(words(title))
        yield [Fact(SpanKind.COLOUR, "", colour) for colour in COLOURS if colour in said]


def prefixes(category: str) -> list[str]:
    """A path and those above it, the root first; [] for none."""
    steps = [step.strip() for step in category.split(SEPARATOR.strip()) if step.strip()]
    return [SEPARATOR.join(steps[: depth + 1]) for depth in range(len(steps))]


def attribute_facts(attributes: str) -> Iterator[Fact]:
    """The facts of a JSON object; numbers have no unit and long texts are no names, so both are passed over."""
    try:
        known = json.loads(attributes)
    except (ValueError, RecursionError):
        return
    if not isinstance(known, dict):
        return
    for key, value in known.items():
        kind, name = attribute_name(key)
        if value is True:
            yield Fact(SpanKind.ATTRIBUTE, name, YES)
        for text in texts_of(value):
            if is_short(text):
                yield Fact(kind, name, text)


@lru_cache(maxsize=1 << 16)
def attribute_name(key: str) -> tuple[SpanKind, str]:
    """What an attribute holds and its name in words; all that hold a colour are one."""
    name = TYPE_MARK.sub("", key).replace("_", " ").strip()
    return (SpanKind.ATTRIBUTE, name) if COLOUR_NAMES.isdisjoint(words(name)) else (SpanKind.COLOUR, "")


@lru_cache(maxsize=1 << 16)
def is_short(text: str) -> bool:
    """True for a value that a query may name."""
    return len(text) <= LETTERS and len(words(text)) <= LONGEST


def texts_of(value: Any) -> Iterator[str]:
    """The texts in a value: lists item by item, and what a comma, semicolon, slash or new line joins."""
    if isinstance(value, str):
        yield from (part.strip() for part in PARTS.split(value) if part.strip())
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, str):
                yield from texts_of(one)
    elif isinstance(value, Mapping):
        yield from texts_of([one for one in value.values() if isinstance(one, str)])


def names_of(fact: Fact) -> Iterator[tuple[str, float]]:
    """What a query may call a fact, and how likely each is meant so before any title was read.

    A category is called by its last step, by each part of it ("Creams, Gels & Lotions") and, where the titles speak
    for it, by the part's last word: a sofa cover is a cover. Navy blue is a blue.
    """
    if fact.kind is not SpanKind.CATEGORY:
        row = words(fact.name if fact.value == YES else fact.value)
        yield " ".join(row), GUESSES[fact.kind]
        if fact.kind is SpanKind.COLOUR:
            yield from ((word, GUESSES[fact.kind]) for word in row if word in COLOURS)
        return
    leaf = fact.value.rsplit(SEPARATOR, 1)[-1]
    yield " ".join(words(leaf)), 0.8
    for part in LEAF_PARTS.split(leaf):
        row = words(part)
        yield " ".join(row), 0.5
        if len(row) > 1 and len(row[-1]) > 3:
            yield row[-1], 0.0
