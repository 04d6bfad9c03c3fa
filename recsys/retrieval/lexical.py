"""Lexical retrieval: BM25 over a catalogue's words, kept in a tantivy index.

All fields of a product stand in one field `words`, each as often as its weight says; a title word counts twice by
default. That is BM25F with whole weights: term frequencies add up before they saturate, instead of one saturated
score per field. Each field stands apart as well, for `brand:acme` and phrases in one field.

Source: Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields", CIKM 2004.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import tantivy
from tantivy import Occur, Query

from recsys.catalogue import Catalogue
from recsys.errors import IndexMismatchError
from recsys.retrieval.lexical_schema import ALL, ANALYSER, analyser, documents, schema_of, stands_in_order
from recsys.retrieval.order import in_order
from recsys.retrieval.query_syntax import Clause, Group, Need, parse, plain
from recsys.text.normalise import normalise, well_formed
from recsys.types import Candidates, Mask

FORMAT = 1
SETTINGS = "lexical.json"
WEIGHTS: dict[str, int] = {"title": 2, "brand": 1, "category": 1, "attributes": 1, "description": 1}
LANGUAGE = "english"
LONGEST = 2000  # characters read of one query; a pasted page must not become a thousand clauses
HEAP = 2_000_000_000  # the writer starts a new segment beyond; it takes no more than the words need
SELECTIVE = 0.05  # below this share of allowed products the filter goes into the query, above it trims the answer
SLACK = 16
Alternatives = Sequence[tuple[str, float]]
OCCURS = {Need.WANTED: Occur.Should, Need.NEEDED: Occur.Must, Need.EXCLUDED: Occur.MustNot}


class Hit(NamedTuple):
    """What tantivy found, before ties are settled."""

    score: float
    position: int


class WordRetriever(Protocol):
    """Lexical retrieval: LexicalIndex is one; see its `retrieve`."""

    def retrieve(
        self,
        queries: Sequence[str],
        *,
        k: int,
        allowed: Mask | None = None,
        alternatives: Sequence[Alternatives] | None = None,
    ) -> list[Candidates]:
        """The k best for each query, by its words and by what counts beside them."""
        ...


class LexicalIndex:
    """A retriever over a folder that `build` wrote.

    Args:
        index: an open tantivy index.
        settings: the fields of lexical.json.
    """

    name = "bm25"
    exact = True

    def __init__(self, index: Any, settings: Mapping[str, Any]) -> None:
        self.analyser = analyser(settings["language"])
        index.register_tokenizer(ANALYSER, self.analyser)
        self.schema = index.schema
        self.fields = tuple(settings["weights"])
        index.config_reader(reload_policy="manual")  # the folder never changes: no thread need watch it
        self.searcher = index.searcher()
        self.in_order = bool(settings["in_order"]) and self.searcher.num_segments == 1

    def __len__(self) -> int:
        return int(self.searcher.num_docs)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        folder: Path,
        *,
        weights: Mapping[str, int] | None = None,
        language: str = LANGUAGE,
        heap: int = HEAP,
    ) -> Self:
        """Write the index of a catalogue and open it.

        Args:
            catalogue: the products.
            folder: an empty or absent folder.
            weights: how often each field's words count, 0 or more by field name; WEIGHTS where not given.
            language: whose endings are cut off ("english", "german", ...); "" cuts none.
            heap: bytes of words in memory before a new segment begins.
        """
        chosen = dict(WEIGHTS if weights is None else weights)
        folder.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(schema_of(chosen), path=str(folder), sort_by_field="position")
        index.register_tokenizer(ANALYSER, analyser(language))
        writer = index.writer(heap_size=heap, num_threads=1)  # several threads leave the order to chance
        for document in documents(catalogue, weights=chosen, schema=index.schema):
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        settings = {"format": FORMAT, "weights": chosen, "language": language, "products": len(catalogue)}
        settings["in_order"] = stands_in_order(index.searcher())
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return cls(index, settings)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The index of a folder.

        Raises:
            IndexMismatchError: the folder holds no lexical index, or one of another format or size.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            index = tantivy.Index.open(str(folder))
            products = index.searcher().num_docs
        except (OSError, ValueError) as error:
            raise broken(folder, str(error)) from error
        if settings.get("format") != FORMAT or settings.get("products") != products:
            raise broken(folder, f"format {settings.get('format')}, {products} products")
        return cls(index, settings)

    def retrieve(
        self,
        queries: Sequence[str],
        *,
        k: int,
        allowed: Mask | None = None,
        alternatives: Sequence[Alternatives] | None = None,
    ) -> list[Candidates]:
        """The k best products for each query; see `recsys.types.Retriever`.

        `alternatives` are words, for each query, that count beside what was typed, with their weights.

        No text raises: what is no operator, phrase or group is read as plain words (recsys.retrieval.query_syntax).
        A query without words has no candidates; one that only excludes brings all others in the order of positions.
        """
        beside = [()] * len(queries) if alternatives is None else alternatives
        rows = zip(queries, beside, strict=True)
        return [self.search(query, k=k, allowed=allowed, alternatives=extra) for query, extra in rows]

    def frequency(self, word: str) -> int:
        """How many products have a word, or the rarest of its parts, in any field; 0 for what is no word."""
        terms = self.analyser.analyze(normalise(well_formed(word)))
        return min((int(self.searcher.doc_freq(ALL, term)) for term in terms), default=0)

    def search(self, text: str, *, k: int, allowed: Mask | None = None, alternatives: Alternatives = ()) -> Candidates:
        """The k best products for one query."""
        query = self.compile(text, alternatives=alternatives)
        if allowed is not None and query is not None:
            count = int(allowed.sum())
            if count == 0:
                query = None
            elif count < SELECTIVE * len(allowed):
                inside = Query.term_set_query(self.schema, "position", np.flatnonzero(allowed).tolist())
                query = Query.boolean_query([(Occur.Must, query), (Occur.Must, Query.const_score_query(inside, 0.0))])
                allowed = None
        hits = self.best(query, k=k, allowed=allowed) if query is not None and k > 0 else []
        positions = np.fromiter((hit.position for hit in hits), dtype=np.int64, count=len(hits))
        scores = np.fromiter((hit.score for hit in hits), dtype=np.float32, count=len(hits))
        return Candidates(*in_order(positions, scores, k=k), source=self.name)

    def best(self, query: Query, *, k: int, allowed: Mask | None) -> list[Hit]:
        """At least the k best allowed hits with every tie at the cut, or all hits there are."""
        limit = k + SLACK
        while True:
            hits = self.hits(query, limit=limit)
            passing = hits if allowed is None else [hit for hit in hits if allowed[hit.position]]
            settled = len(passing) >= k and (self.in_order or hits[-1].score < passing[k - 1].score)
            if settled or len(hits) < limit:
                return passing
            limit *= 4

    def hits(self, query: Query, *, limit: int) -> list[Hit]:
        """The first hits as tantivy orders them."""
        found = self.searcher.search(query, min(limit, max(len(self), 1)), count=False).hits
        positions = self.searcher.fast_field_values("position", [address for _, address in found])
        return [Hit(score, position) for (score, _), position in zip(found, positions, strict=True)]

    def compile(self, text: str, *, alternatives: Alternatives = ()) -> Query | None:
        """The tantivy query of a shopper's text; None where it says nothing."""
        said = parse(well_formed(text[:LONGEST]), fields=self.fields)
        query = self.group(said)
        beside = [
            (Occur.Should, Query.boost_query(Query.term_query(self.schema, ALL, term), weight))
            for words, weight in alternatives
            for term in self.analyser.analyze(normalise(words))
        ]
        if not beside or query is None:
            return Query.boolean_query(beside) if beside else query
        return Query.boolean_query([(Occur.Should if plain(said) else Occur.Must, query), *beside])

    def group(self, group: Group) -> Query | None:
        """Clauses side by side; what only excludes is taken from all products."""
        parts = [
            (OCCURS[clause.need], query)
            for clause in group.clauses
            for query in self.clause(clause)
            if query is not None
        ]
        if not parts:
            return None
        if all(occur == Occur.MustNot for occur, _ in parts):
            parts.append((Occur.Must, Query.all_query()))
        return Query.boolean_query(parts)

    def clause(self, clause: Clause) -> Iterable[Query | None]:
        """The queries of a clause: a wanted word like wi-fi is wanted piece by piece, an excluded one as a whole."""
        if isinstance(clause.what, Group):
            return (self.group(clause.what),)
        field = clause.what.field or ALL
        terms = self.analyser.analyze(normalise(clause.what.text))
        if not terms:
            return ()
        if len(terms) > 1 and (clause.what.phrase or clause.need is Need.EXCLUDED):
            return (Query.phrase_query(self.schema, field, terms),)
        return (Query.term_query(self.schema, field, term) for term in terms)


def broken(folder: Path, reason: str) -> IndexMismatchError:
    """The error for a folder that can't be opened."""
    return IndexMismatchError(
        f"{folder} is no readable lexical index ({' '.join(reason.split())[:200]})",
        expected=f"a lexical index of format {FORMAT}",
        action="build it again with `recsys index`",
    )
