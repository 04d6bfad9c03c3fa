"""Query classes: what a report tells the gain of each stage by."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from feature_store.snapshot import Snapshot
from recsys.text.normalise import normalise
from recsys.text.words import words
from training.evaluate.queries import JudgedQuery

HEAD = 0.5  # the most frequent queries that make up this share of all searches are the head
TOP_LEVEL = " > "
LENGTHS = ((2, "1 or 2 words"), (4, "3 or 4 words"), (np.inf, "5 words or more"))


def query_classes(snapshot: Snapshot, queries: Sequence[JudgedQuery]) -> dict[str, list[str]]:
    """By classification, the class of each query; a classification that the shop's data does not allow is left out.

    - length: by the number of words.
    - number: whether a digit stands in it.
    - brand: whether it holds a brand of the catalogue, word by word.
    - category: the first level of the category that most of its best products have.
    - frequency: head, where it is among the most frequent queries that make up half of all searches; else tail.
    """
    texts = [query.query for query in queries]
    found = {
        "length": [next(name for most, name in LENGTHS if len(words(text)) <= most) for text in texts],
        "number": ["with a number" if any(sign.isdigit() for sign in text) else "without" for text in texts],
    }
    catalogue = snapshot.catalogue()
    brands = {tuple(words(name)) for name in catalogue.column("brand").drop_nulls().unique().to_list()} - {()}
    if brands:
        found["brand"] = ["with a brand" if holds(words(text), brands) else "without" for text in texts]
    categories = catalogue.column("category")
    if categories.null_count() < len(categories):
        found["category"] = [first_level(categories, query) for query in queries]
    asked = frequencies(snapshot)
    if asked:
        head = head_of(asked)
        found["frequency"] = ["head" if normalise(text) in head else "tail" for text in texts]
    return found


def holds(text: Sequence[str], names: set[tuple[str, ...]]) -> bool:
    """True where some name's words stand side by side in the text."""
    longest = max(map(len, names))
    spans = (tuple(text[at : at + size]) for size in range(1, longest + 1) for at in range(len(text) - size + 1))
    return any(span in names for span in spans)


def first_level(categories: pl.Series, query: JudgedQuery) -> str:
    """The first level of the category that most products of the best grade have; of equals the first by name."""
    best = query.positions[query.grades == query.grades.max(initial=0.0)]
    levels = [name.split(TOP_LEVEL)[0] for name in categories.gather(best).drop_nulls().to_list()]
    return min(set(levels), key=lambda name: (-levels.count(name), name)) if levels else "unknown"


def frequencies(snapshot: Snapshot) -> dict[str, int]:
    """How often each query was asked before the test part, by its normalised text; empty where no search is known."""
    counted = snapshot.read("searches", ("train", "validation"))["query"].drop_nulls().value_counts()
    found: dict[str, int] = {}
    for text, count in counted.iter_rows():
        found[normalise(text)] = found.get(normalise(text), 0) + count
    return found


def head_of(asked: Mapping[str, int]) -> set[str]:
    """The most frequent queries that together make up half of all."""
    total, seen, head = sum(asked.values()), 0, set()
    for text in sorted(asked, key=lambda name: (-asked[name], name)):
        if seen >= HEAD * total:
            break
        head.add(text)
        seen += asked[text]
    return head
