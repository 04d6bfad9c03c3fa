"""How queries are grouped: head and tail, length, category, typos; and users, by what they did before."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.catalogue import SEPARATOR, Catalogue
from recsys.text.normalise import normalise
from recsys.text.words import words
from training.evaluate.queries import JudgedQuery
from training.evaluate.slices import NONE, Slicing, by_size
from training.evaluate.typos import mistyped

Counts = NDArray[np.int64]
HEAD, TAIL = "head", "tail"
LENGTHS = (1, 2, 3, 4)
KNOWN = (1, 4, 19)


def slice_queries(
    queries: Sequence[JudgedQuery],
    *,
    searched: Counts,
    typed: Sequence[str],
    catalogue: Catalogue,
    relevant: float,
) -> tuple[Slicing, ...]:
    """All ways to group the queries.

    Args:
        queries: the judged queries.
        searched: int64 [queries], how often each was typed; see `count_searches`.
        typed: all queries that the shop knows; see `known_queries`.
        catalogue: the products.
        relevant: the grade from which a product counts as relevant.
    """
    labels, lengths = by_size([len(words(query.query)) for query in queries], ends=LENGTHS, unit="word")
    slips = mistyped([query.query for query in queries], catalogue=catalogue, typed=typed)
    return (
        by_frequency(queries, searched=searched, relevant=relevant),
        Slicing("query length", labels, lengths, "words of the query"),
        by_category(queries, catalogue=catalogue, relevant=relevant),
        Slicing(
            "typos",
            ["with a typo" if row else "without" for row in slips],
            ("with a typo", "without"),
            "a word that neither catalogue nor other queries use, one slip (from eight letters two) from one they do",
        ),
    )


def count_searches(queries: Sequence[JudgedQuery], snapshot: Snapshot) -> Counts:
    """int64 [queries]: how often each was typed in the whole snapshot: by its id, or in its words whatever the case."""
    searches = snapshot.searches().select("query_id", "query")
    ids = {query.query_id for query in queries}
    by_id = searches.filter(pl.col("query_id").is_in(ids))
    others = searches.filter(pl.col("query_id").is_null() | ~pl.col("query_id").is_in(ids))
    counts = dict(by_id.group_by("query_id").len().iter_rows())
    texts: Counter[str] = Counter()
    for text, count in others.drop_nulls("query").group_by("query").len().iter_rows():
        texts[normalise(text)] += count
    found = [counts.get(query.query_id, 0) + texts[normalise(query.query)] for query in queries]
    return np.array(found, dtype=np.int64)


def known_queries(snapshot: Snapshot) -> list[str]:
    """Every different query that was typed or judged, in whichever part."""
    texts = pl.concat([snapshot.searches()["query"], snapshot.judgments()["query"]])
    return texts.drop_nulls().unique().sort().to_list()


def by_frequency(queries: Sequence[JudgedQuery], *, searched: Counts, relevant: float) -> Slicing:
    """Head: the most frequent queries that together bring half of the searches; tail: all others.

    Where the shop has no search of these queries, the number of relevant products stands for it. Queries as frequent
    as the last one of the head belong to the head.
    """
    rule = "head: the most typed queries that bring half of the shop's searches; tail: the others"
    weights = searched
    if not searched.any():
        rule = "no searches here, so by relevant products: head: the queries with most of them that hold half of all"
        weights = np.array([(query.grades >= relevant).sum() for query in queries], dtype=np.int64)
    falling = np.sort(weights)[::-1]
    reached = int(np.searchsorted(np.cumsum(falling), falling.sum() / 2))
    least = falling[min(reached, len(falling) - 1)] if len(falling) else 0
    labels = [HEAD if weight >= max(1, least) else TAIL for weight in weights.tolist()]
    return Slicing("frequency", labels, (HEAD, TAIL), rule)


def by_category(queries: Sequence[JudgedQuery], *, catalogue: Catalogue, relevant: float) -> Slicing:
    """The top level that most of the query's relevant products share, those with any positive grade where none is."""
    tops = catalogue.column("category").cast(pl.String).str.split(SEPARATOR).list.first().str.strip_chars()
    tops = tops.replace("", None).fill_null(NONE)
    labels = []
    for query in queries:
        floor = relevant if (query.grades >= relevant).any() else np.nextafter(0.0, 1.0)
        counts = Counter(tops.gather(query.positions[query.grades >= floor]).to_list())
        named = {name: count for name, count in counts.items() if name != NONE}
        labels.append(min(named, key=lambda name: (-named[name], name)) if named else NONE)
    order = [name for name, _ in sorted(Counter(labels).items(), key=lambda row: (row[0] == NONE, -row[1], row[0]))]
    return Slicing("category", labels, order, "top level of the category path that most relevant products share")


def slice_users(known: Sequence[int], segments: Sequence[str]) -> tuple[Slicing, ...]:
    """Users by how many products they knew before, and by segment where the shop names any."""
    labels, order = by_size(known, ends=KNOWN, unit="product")
    found = [Slicing("history", labels, order, "different products that the user had before")]
    if any(segments):
        named = [segment or NONE for segment in segments]
        found.append(Slicing("segment", named, sorted(set(named)), "the users table's segment"))
    return tuple(found)
