"""Signals of an open lexical index: BM25 by field and the words that query and product share, for given products."""

import math
from collections.abc import Sequence

import numpy as np
from tantivy import Occur, Query

from recsys.catalogue import Catalogue
from recsys.meaning import Understanding
from recsys.retrieval.lexical import LONGEST, LexicalIndex
from recsys.retrieval.lexical_schema import ALL
from recsys.retrieval.query_syntax import spoken
from recsys.text.field_names import FIELDS
from recsys.text.fields import field_texts
from recsys.text.normalise import normalise, well_formed
from recsys.types import Positions, Scores, Vectors

K1 = 1.2  # tantivy's own
WORDS = ("words.title", "words.anywhere", "words.phrase")


class LexicalSignals:
    """Asks the index about the products of a list instead of the whole catalogue; see `recsys.types.Signals`.

    BM25 stands over the most that the query's words can score in the field (every word, endlessly often), 0 to 1, so
    that it compares between queries. `words.title` and `words.anywhere` are the share of the query's words that stand
    in the title and in any field; `words.phrase` is 1 where the title holds them side by side.

    Args:
        index: the lexical index.
        catalogue: the products it holds.
    """

    def __init__(self, index: LexicalIndex, catalogue: Catalogue) -> None:
        self.index = index
        self.fields = tuple(name for name in FIELDS if name in index.fields)
        self.names = (*(f"bm25.{name}" for name in self.fields), "bm25.all", *WORDS)
        empty = (name for name in self.fields if not any(field_texts(catalogue.frame, name)))
        self.absent = frozenset(f"bm25.{name}" for name in empty)

    def compute(self, query: Understanding, positions: Positions) -> Vectors:
        """float32 [positions, names]; NaN where the query has no word, and for fields that no product has."""
        terms = self._terms(query.text)
        if not terms or not len(positions):
            return np.full((len(positions), len(self.names)), np.nan, dtype=np.float32)
        inside = Query.const_score_query(Query.term_set_query(self.index.schema, "position", positions.tolist()), 0.0)
        columns = [self._bm25(terms, inside, positions, field=name) for name in self.fields]
        columns.append(self._bm25(terms, inside, positions, field=ALL))
        columns += [self._held(terms, inside, positions, field=name) for name in ("title", ALL)]
        columns.append(self._phrase(terms, inside, positions))
        return np.stack(columns, axis=1)

    def _terms(self, query: str) -> list[str]:
        """The query's words as the index keeps them, each once, without what it excludes."""
        text = normalise(spoken(well_formed(query[:LONGEST])))
        return list(dict.fromkeys(self.index.analyser.analyze(text)))

    def _bm25(self, terms: Sequence[str], inside: Query, positions: Positions, *, field: str) -> Scores:
        if f"bm25.{field}" in self.absent:
            return np.full(len(positions), np.nan, dtype=np.float32)
        anyone = Query.boolean_query([(Occur.Should, self._term(field, term)) for term in terms])
        most = sum(self._idf(field, term) for term in terms) * (1 + K1)
        return self._ask(anyone, inside, positions) / np.float32(most)

    def _held(self, terms: Sequence[str], inside: Query, positions: Positions, *, field: str) -> Scores:
        """The share of the words that a field holds."""
        each = [(Occur.Should, Query.const_score_query(self._term(field, term), 1.0)) for term in terms]
        return self._ask(Query.boolean_query(each), inside, positions) / np.float32(len(terms))

    def _phrase(self, terms: Sequence[str], inside: Query, positions: Positions) -> Scores:
        """1 where the title holds all words side by side, else 0."""
        if len(terms) == 1:
            side_by_side = self._term("title", terms[0])
        else:
            side_by_side = Query.phrase_query(self.index.schema, "title", list(terms))
        return self._ask(Query.const_score_query(side_by_side, 1.0), inside, positions)

    def _ask(self, query: Query, inside: Query, positions: Positions) -> Scores:
        """float32 [positions]: what the query gives each product, 0 where it does not match."""
        scores = np.zeros(len(positions), dtype=np.float32)
        order = np.argsort(positions)
        both = Query.boolean_query([(Occur.Must, query), (Occur.Must, inside)])
        for hit in self.index.hits(both, limit=len(positions)):
            scores[order[np.searchsorted(positions, hit.position, sorter=order)]] = hit.score
        return scores

    def _term(self, field: str, term: str) -> Query:
        return Query.term_query(self.index.schema, field, term)

    def _idf(self, field: str, term: str) -> float:
        """How telling a word is in a field, above 0; see `recsys.ranking.lexical`."""
        count = self.index.searcher.doc_freq(field, term)
        return math.log(1 + (len(self.index) - count + 0.5) / (count + 0.5))
