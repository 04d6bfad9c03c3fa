"""Search: BM25 and dense retrieval bring candidates, a weighted sum joins them, the cross-encoder settles the top.

A blender, where the policy has it on, then puts that top in its order by all signals. A search within given products
(`within`) and a search of the whole catalogue are the same sum, so a product's parts explain both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from recsys.catalogue import Catalogue
from recsys.engine.blending import Blending
from recsys.engine.joining import join
from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import NONE, Ranked, alone, below, cut
from recsys.engine.relax import Vocabulary
from recsys.engine.settling import listen, settle
from recsys.engine.steps import check_stages, name_of, steps_of
from recsys.meaning import Understanding
from recsys.models.encode import encode_texts
from recsys.ranking.attribution import Attributor
from recsys.ranking.calibration import Calibration
from recsys.ranking.signals import stage_signals
from recsys.retrieval.dense_text import DenseTextRetriever
from recsys.retrieval.lexical import WordRetriever
from recsys.retrieval.order import in_order
from recsys.retrieval.query_syntax import spoken, strict
from recsys.retrieval.scan import exact_scores
from recsys.text.field_names import FIELDS
from recsys.text.fields import product_text
from recsys.text.normalise import normalise
from recsys.types import Attribution, Candidates, Mask, Positions, Ranker, Scores, Vectors
from recsys.understanding.reader import QueryReader

QUERIES = 64
"""Queries held at once."""


@dataclass(frozen=True)
class Search:
    """The stages of one index.

    Attributes:
        catalogue: the products.
        lexical: BM25 retrieval.
        dense: retrieval by text vectors; None where the index has none.
        ranker: the cross-encoder; None where the bundle has none.
        policy: how they work together.
        reader: what queries mean; None where the index was built without, then they are taken as they stand.
        absent: by stage, why it isn't there.
        calibration: what the ranker's scores mean; None where nobody has measured it.
        attributor: explains the ranker's scores; made when it is first asked for.
        vocabulary: how many products have a word; None where nobody knows.
        deterministic: whether a query's scores have the same bytes in every company, slower; else their last digits
            follow the shapes of the batches.
        blending: the blender with its signals; None where the bundle has none, or none that fits.
    """

    catalogue: Catalogue
    lexical: WordRetriever
    dense: DenseTextRetriever | None
    ranker: Ranker | None
    policy: SearchPolicy
    reader: QueryReader | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    attributor: Callable[[], Attributor] | None = None
    vocabulary: Vocabulary | None = None
    deterministic: bool = False
    blending: Blending | None = None

    @cached_property
    def available(self) -> tuple[str, ...]:
        """What `stages` may ask for, the most complete last."""
        dense = ("dense", "hybrid") if self.dense is not None else ()
        full = ("full",) if self.ranker is not None else ()
        return ("bm25", *dense, *full, *(("blended",) if self.blending is not None else ()))

    @cached_property
    def default(self) -> str:
        """The stages of a search that names none: all there are but those that the policy has off."""
        there = {"dense": self.dense, "cross_encoder": self.ranker, "blender": self.blending}
        present = [name for name, stage in there.items() if stage is not None]
        steps = [name for name in present if name not in self.policy.off]
        return name_of(steps, present=present, available=self.available)

    def resolve(self, stages: str | None) -> str:
        """The stages to run: those asked for, else the default.

        Raises:
            UsageError: there are no such stages, or this index does not have them.
        """
        if stages is None or stages == self.default:
            return self.default
        return check_stages(stages, available=self.available, absent=self.absent)

    def read(self, queries: Sequence[str], *, correct: bool = True) -> list[Understanding]:
        """What the queries mean, in order; `correct` says whether spelling is looked at."""
        if self.reader is None:
            return [Understanding(query, query) for query in queries]
        return [self.reader.read(query, correct=correct) for query in queries]

    def run(
        self,
        queries: Sequence[str] | Sequence[Understanding],
        *,
        k: int,
        allowed: Mask | None,
        stages: str,
    ) -> Iterator[Ranked]:
        """Rankings of up to k products, one for each query in order, in bounded memory.

        Queries that were not read yet are read here, and corrected where that is sure.

        A query that demands or excludes words ("+oak", "-velvet") takes its candidates from BM25 alone, which knows
        who meets that; the other stages only order them.
        """
        for start in range(0, len(queries), QUERIES):
            understood = self._read(queries[start : start + QUERIES])
            part = [one.text for one in understood]
            if stages == "bm25":
                yield from map(alone, self._words(understood, k=k, allowed=allowed))
            elif stages == "dense" and self.dense is not None:
                parts = [[query] for query in part] if self.deterministic else [part]
                yield from (alone(row) for some in parts for row in self.dense.retrieve(some, k=k, allowed=allowed))
            else:
                yield from (cut(ranked, k=k) for ranked in self._join(understood, k=k, allowed=allowed, stages=stages))

    def _read(self, queries: Sequence[str] | Sequence[Understanding]) -> list[Understanding]:
        """What the queries mean, those read already as they are."""
        return [one if isinstance(one, Understanding) else self.read([one])[0] for one in queries]

    def _words(self, understood: Sequence[Understanding], *, k: int, allowed: Mask | None) -> list[Candidates]:
        """BM25's candidates for what the queries mean, and for what doubtful words in them may mean."""
        texts, beside = [one.text for one in understood], [one.alternatives for one in understood]
        return self.lexical.retrieve(texts, k=k, allowed=allowed, alternatives=beside)

    def _join(self, understood: Sequence[Understanding], *, k: int, allowed: Mask | None, stages: str) -> list[Ranked]:
        queries = [one.text for one in understood]
        steps = steps_of(stages)
        pool = max(k, self.policy.candidates)
        lexical = self._words(understood, k=pool, allowed=allowed)
        dense: Sequence[Candidates] = [NONE] * len(queries)
        vectors: Sequence[Vectors | None] = [None] * len(queries)
        if self.dense is not None and "dense" in steps:
            asked = self._encode(self.dense, queries)
            found = self.dense.index.search(asked, k=pool, allowed=allowed, source=self.dense.name)
            dense = [NONE if strict(query) else row for query, row in zip(queries, found, strict=True)]
            vectors = list(asked)
        fused = [self._fuse(*lists, vector=row) for *lists, row in zip(lexical, dense, vectors, strict=True)]
        return self._finish(understood, fused, vectors=vectors, depth=self.policy.depth, steps=steps)

    def within(
        self, query: str | Understanding, positions: Positions, *, stages: str, vector: Vectors | None = None
    ) -> Ranked:
        """The ranking of exactly these products, whether the stages would have found them or not.

        `vector`, float32 [width], is the query's where the caller has encoded it already; None has it encoded.
        """
        understood = query if isinstance(query, Understanding) else self.read([query])[0]
        allowed = np.zeros(len(self.catalogue), dtype=np.bool_)
        allowed[positions] = True
        lexical = self._words([understood], k=len(positions), allowed=allowed)[0]
        unfound = np.setdiff1d(positions, lexical.positions)
        rest = Candidates(unfound, np.zeros(len(unfound), dtype=np.float32), "rank")
        if stages == "bm25":
            return alone(below(lexical, rest))
        steps = steps_of(stages)
        if self.dense is None or not (stages == "dense" or "dense" in steps):
            vector = None
        elif vector is None:
            vector = self.dense.encode([understood.text])[0]
        if stages == "dense" and vector is not None:
            return alone(Candidates(*in_order(positions, self._cosines(positions, vector), k=len(positions)), "dense"))
        ranked = self._fuse(lexical, rest, vector=vector)
        return self._finish([understood], [ranked], vectors=[vector], depth=len(positions), steps=steps)[0]

    def score_texts(self, query: str, texts: Sequence[str]) -> Scores:
        """float32 [texts]: by the cross-encoder, else the cosine of the text encoder, else the share of query words."""
        if self.ranker is not None:
            return self.ranker.score([query] * len(texts), texts)
        if self.dense is not None:
            encoder, tokenizer = self.dense.encoder, self.dense.tokenizer
            vectors = encode_texts(encoder, tokenizer, texts, deterministic=self.deterministic)
            return exact_scores(vectors, np.arange(len(vectors)), self.dense.encode([query])[0])
        words = set(normalise(query).split())
        shared = [len(words & set(normalise(text).split())) / max(1, len(words)) for text in texts]
        return np.array(shared, dtype=np.float32)

    def attribute(self, query: str, positions: Positions) -> list[Attribution]:
        """The words behind the cross-encoder's score of each product; none where the index has no cross-encoder."""
        if self.attributor is None:
            return []
        return self.attributor().explain([spoken(query)] * len(positions), self.texts(positions))

    def texts(self, positions: Positions) -> list[str]:
        """The texts of these products as the ranker reads them, each made once."""
        distinct, places = np.unique(positions, return_inverse=True)
        fields = FIELDS if self.ranker is None else self.ranker.fields
        known = product_text(self.catalogue.frame[distinct], fields=fields)
        return [known[place] for place in places]

    def _encode(self, dense: DenseTextRetriever, queries: Sequence[str]) -> Vectors:
        """float32 [queries, width]; one by one where equal bytes are asked for."""
        if not self.deterministic or len(queries) < 2:
            return dense.encode(queries)
        return np.concatenate([dense.encode([query]) for query in queries])

    def _fuse(self, lexical: Candidates, dense: Candidates, *, vector: Vectors | None) -> Ranked:
        """Add up the first stages' parts for the products of both lists."""
        positions = np.union1d(lexical.positions, dense.positions)
        cosines = pictures = None
        if vector is not None:
            cosines = self._cosines(positions, vector)
            # ranks can't be split into what text and picture have in them
            if self.dense is not None and self.dense.images is not None and self.policy.fusion == "score":
                pictures = self.dense.images.parts(positions, vector)
        return join(lexical, dense, positions=positions, policy=self.policy, cosines=cosines, pictures=pictures)

    def _cosines(self, positions: Positions, vector: Vectors) -> Scores:
        """float32 [positions]: the cosine of each product's vector and the query's."""
        if self.dense is None:
            return np.zeros(len(positions), dtype=np.float32)
        index = self.dense.index
        return exact_scores(index.vectors, index.rows[positions], vector)

    def _finish(
        self,
        understood: Sequence[Understanding],
        fused: Sequence[Ranked],
        *,
        vectors: Sequence[Vectors | None],
        depth: int,
        steps: Sequence[str],
    ) -> list[Ranked]:
        """Have the best `depth` of each ranking settled by the cross-encoder and then by the blender, where wanted."""
        tops = [ranked.positions[:depth] for ranked in fused]
        relevance = self._relevance([one.text for one in understood], tops) if "cross_encoder" in steps else None
        settled = list(fused)
        if relevance is not None:
            settled = [self.settle(one, relevance=row) for one, row in zip(fused, relevance, strict=True)]
        if self.blending is None or "blender" not in steps:
            return settled
        found: Sequence[Scores | None] = [None] * len(tops) if relevance is None else relevance
        return [
            self.blending.apply(ranked, query=query, top=top, known=self.known(top, vector=vector, relevance=judged))
            for ranked, query, top, vector, judged in zip(settled, understood, tops, vectors, found, strict=True)
        ]

    def known(self, top: Positions, *, vector: Vectors | None, relevance: Scores | None) -> Mapping[str, Scores]:
        """The signals of some products that the stages before the blender bring."""
        if self.dense is None or vector is None:
            return stage_signals(cosines=None, relevance=relevance)
        seen = None if self.dense.images is None else self.dense.images.cosines(top, vector)
        return stage_signals(cosines=self._cosines(top, vector), relevance=relevance, images=seen)

    def _relevance(self, queries: Sequence[str], tops: Sequence[Positions]) -> list[Scores] | None:
        """For each query the cross-encoder's scores of its products; all pairs go through it together."""
        asked = [spoken(query) for query, top in zip(queries, tops, strict=True) for _ in top]
        if self.ranker is None or not asked:
            return None
        scores = self.ranker.score(asked, self.texts(np.concatenate(tops)))
        return np.split(scores, np.cumsum([len(top) for top in tops])[:-1])

    def settle(self, ranked: Ranked, *, relevance: Scores) -> Ranked:
        """Add the cross-encoder's part to the first products, and the feedback's where the policy wants it."""
        settled = settle(ranked, relevance, policy=self.policy, calibration=self.calibration)
        if not self.policy.feedback or self.dense is None:
            return settled
        return listen(settled, self.dense.index.at(settled.positions[: len(relevance)]), policy=self.policy)
