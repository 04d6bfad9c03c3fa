"""What a shopper could ask for instead, where nothing matches well: spelt otherwise, or a little less."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from recsys.retrieval.query_syntax import spoken, strict
from recsys.types import Filters


class Vocabulary(Protocol):
    """Knows the catalogue's words."""

    def frequency(self, word: str) -> int:
        """How many products have the word; 0 where none has."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One search to try; the attributes are those of `recsys.types.Relaxation`."""

    kind: str
    what: str
    query: str
    filters: Filters


def attempts(query: str, filters: Filters, *, vocabulary: Vocabulary | None, spelling: str | None) -> Iterator[Attempt]:
    """What to try, in this order: other spelling, each filter left out alone, operators, words that help least.

    Products that the shop never shows, or shows alone (`exclude`, `only`), stay so: those are no wishes of the shopper.

    Args:
        query: as it was searched for, not blank.
        filters: as they were asked.
        vocabulary: without one no word is left out.
        spelling: the query as it may have been meant; None where nothing is known.
    """
    if spelling is not None and spelling != query:
        yield Attempt("spelling", spelling, spelling, filters)
    for name, value in wishes(filters):
        empty = getattr(Filters(), name)
        yield Attempt("filter", f"{name} {value}", query, replace(filters, **{name: empty}))
    if strict(query):
        if spoken(query).strip():
            yield Attempt("operators", query, spoken(query), filters)
    elif vocabulary is not None:
        yield from fewer_words(query, filters, vocabulary=vocabulary)


def wishes(filters: Filters) -> Iterator[tuple[str, str]]:
    """Name and value of each filter that a shopper has set."""
    if filters.brand:
        yield "brand", " or ".join(filters.brand)
    if filters.category:
        yield "category", " or ".join(filters.category)
    if filters.price_min is not None:
        yield "price_min", f"{filters.price_min:g}"
    if filters.price_max is not None:
        yield "price_max", f"{filters.price_max:g}"
    if filters.in_stock is not None:
        yield "in_stock", str(filters.in_stock).lower()


def fewer_words(query: str, filters: Filters, *, vocabulary: Vocabulary) -> Iterator[Attempt]:
    """Without the words that no product has; without the one, of those left, that tells the least."""
    words = query.split()
    counts = {word: vocabulary.frequency(word) for word in words}
    known = [word for word in words if counts[word] > 0]
    if known and len(known) < len(words):
        unknown = [word for word in words if counts[word] == 0]
        yield Attempt("words", " ".join(unknown), " ".join(known), filters)
    if len(set(known)) > 1:
        common = max(known, key=lambda word: counts[word])  # the one in most products, the first of equals
        left = " ".join(word for word in known if word != common)
        yield Attempt("words", " ".join(word for word in words if word not in left.split()), left, filters)
