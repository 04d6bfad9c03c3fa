"""What the job `understanding` measures of names and quantities: how many spans are right, how many facts are found."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.job import Measured
from benchmarks.understanding import judged, shop_catalogue
from recsys.catalogue import SEPARATOR, Catalogue
from recsys.meaning import Quantity, SpanKind, Understanding
from recsys.understanding.attributes import YES, Fact, product_facts
from recsys.understanding.reader import QueryReader
from recsys.understanding.units import TOLERANCE, quantities

BEST, FEWEST = 3, 3
"""The grade of a best product, and how many a query has to have."""
MADE, DRAWN = 300, 2
OWN_WORDS = "own words: "
Answers = dict[str, list[bool]]


@dataclass(frozen=True, slots=True)
class Meant:
    """What a query is held against.

    Attributes:
        possible: facts that a span may name.
        shared: facts that it should find.
        measured: quantities that it may name.
        common: quantities that it should find.
    """

    possible: Collection[Fact]
    shared: Collection[Fact]
    measured: Sequence[Quantity]
    common: Sequence[Quantity]


def measure_names(folder: Path, *, seed: int) -> Measured:
    """Precision and recall of names and quantities, and the accuracy of categories.

    Judged queries: a span is right where some best product is what it names; what all best products share, a category
    by its leaf alone, should be found, whether or not the query says it in the catalogue's words. Made-up queries in
    the catalogue's own words: the leaf and DRAWN facts of a product, all of which should be found.
    """
    catalogue = shop_catalogue(folder)
    facts = [frozenset(row) for row in product_facts(catalogue.frame)]
    found: Answers = {}
    with TemporaryDirectory() as place:
        reader = QueryReader.build(catalogue, Path(place) / "reader")
        for query in judged(folder, catalogue):
            best = query.positions[query.grades == query.grades.max()]
            if len(best) < FEWEST or query.grades.max() < BEST:
                continue
            read, meant = reader.read(query.query), of_best(catalogue.frame[best], [facts[row] for row in best])
            hold(found, read, meant)
            categories(found, read, meant)
        for text, meant in own_words(catalogue, facts, draw=random.Random(seed)):
            hold(found, reader.read(text), meant, kind=OWN_WORDS)
    counts = {name: len(values) for name, values in found.items()}
    return Measured({name: float(np.mean(values)) for name, values in found.items()}, counts=counts)


def of_best(products: pl.DataFrame, facts: Sequence[frozenset[Fact]]) -> Meant:
    """What some products are: each for itself, and all of them."""
    measured = [quantities(title) for title in products["title"]]
    common = [one for one in measured[0] if all(any(same(one, other) for other in row) for row in measured)]
    return Meant(frozenset.union(*facts), named(frozenset.intersection(*facts)), sum(measured, ()), common)


def named(facts: Collection[Fact]) -> list[Fact]:
    """The facts without categories that others of them stand below, in an order of their own."""
    paths = [fact.value for fact in facts if fact.kind is SpanKind.CATEGORY]
    above = {path for path in paths if any(other.startswith(path + SEPARATOR) for other in paths)}
    return sorted(fact for fact in facts if fact.kind is not SpanKind.CATEGORY or fact.value not in above)


def own_words(
    catalogue: Catalogue, facts: Sequence[frozenset[Fact]], *, draw: random.Random
) -> Iterator[tuple[str, Meant]]:
    """Queries that name a product's leaf and some of its facts as the catalogue writes them, in lower case."""
    for row in draw.sample(range(len(catalogue)), min(MADE, len(catalogue))):
        known = named(facts[row])
        leaves = [fact for fact in known if fact.kind is SpanKind.CATEGORY][:1]
        others = [fact for fact in known if fact.kind is not SpanKind.CATEGORY and fact.value != YES]
        if not leaves or len(others) < DRAWN:
            continue
        said = draw.sample(others, DRAWN)
        words = [*(fact.value for fact in said), leaves[0].value.rsplit(SEPARATOR, 1)[-1]]
        text = " ".join(words).lower()
        measured = quantities(text)
        yield text, Meant(facts[row], [*leaves, *said], measured, measured)


def hold(found: Answers, read: Understanding, meant: Meant, *, kind: str = "") -> None:
    """Note which spans and quantities are right, and which facts and quantities are found."""
    for span in read.spans:
        right = any(Fact(span.kind, span.name, value) in meant.possible for value in span.values)
        found.setdefault(f"{kind}{span.kind} spans that are right", []).append(right)
    said = {Fact(span.kind, span.name, value) for span in read.spans for value in span.values}
    for fact in meant.shared:
        found.setdefault(f"{kind}{fact.kind} facts that are found", []).append(fact in said)
    for one in read.quantities:
        right = any(same(one, other) for other in meant.measured)
        found.setdefault(f"{kind}quantities that are right", []).append(right)
    for one in meant.common:
        there = any(same(one, other) for other in read.quantities)
        found.setdefault(f"{kind}quantities that are found", []).append(there)


def same(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities have one unit and nearly one value."""
    return one.unit == other.unit and abs(one.value - other.value) <= TOLERANCE * max(one.value, other.value)


def categories(found: Answers, read: Understanding, meant: Meant) -> None:
    """Note whether the classifier places the query where all best products are."""
    leaves = [fact.value for fact in meant.shared if fact.kind is SpanKind.CATEGORY]
    if not leaves:
        return
    leaf = leaves[0]
    found.setdefault("queries with words of the catalogue", []).append(bool(read.categories))
    if read.categories:
        likely = [share.path for share in read.categories if share.path.count(SEPARATOR) >= leaf.count(SEPARATOR)]
        found.setdefault("their category, top-1", []).append(leaf in likely[:1])
        found.setdefault("their category, top-3", []).append(leaf in likely[:3])
