"""The pairs that a blender learns from: their grades, the parts of their weighted sum and their signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.engine.blending import places
from recsys.engine.joining import rejoin
from recsys.engine.search import Search
from recsys.ranking.signals import signal_matrix, stage_signals
from recsys.types import Scores, Signals, Vectors
from training.evaluate.queries import JudgedQuery

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Pairs, those of a query side by side.

    Attributes:
        texts: of each query.
        queries: int64 [pairs], the query of each pair, 0 to queries - 1, ascending.
        grades: float64 [pairs], 0 or more.
        parts: by stage, float32 [pairs], what it adds to the weighted sum.
        names: of the signals.
        matrix: float32 [pairs, signals], NaN where unknown.
    """

    texts: tuple[str, ...]
    queries: Numbers
    grades: Floats
    parts: Mapping[str, Scores]
    names: tuple[str, ...]
    matrix: Vectors

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def base(self) -> Scores:
        """float32 [pairs]: the weighted sum."""
        total: Scores = np.stack(list(self.parts.values())).sum(axis=0, dtype=np.float32)
        return total

    @property
    def starts(self) -> Numbers:
        """int64 [queries]: where each query's pairs begin."""
        return np.flatnonzero(np.diff(self.queries, prepend=-1))

    def take(self, kept: NDArray[np.bool_]) -> "Rows":
        """The pairs of some queries, bool [queries]."""
        inside = kept[self.queries]
        return Rows(
            texts=tuple(text for text, stays in zip(self.texts, kept, strict=True) if stays),
            queries=np.cumsum(kept)[self.queries[inside]] - 1,
            grades=self.grades[inside],
            parts={name: part[inside] for name, part in self.parts.items()},
            names=self.names,
            matrix=self.matrix[inside],
        )


def read_rows(
    finder: Search,
    judged: Sequence[JudgedQuery],
    *,
    relevance: Sequence[Scores] | None,
    sources: Sequence[Signals],
    names: Sequence[str],
    cosines: Sequence[Scores] | None = None,
) -> Rows:
    """What the engine's stages and the sources say of judged pairs, word for word what a search would.

    Args:
        finder: the stages before the blender.
        judged: the queries with their products.
        relevance: for each query the cross-encoder's scores of its products, float32 0..1, by networks that have not
            learned from the query; None without cross-encoder.
        sources: who computes the signals that no stage brings.
        names: the signals.
        cosines: for each query those of its products, float32 [products], by encoders that have not learned from the
            query, in the place of the finder's own; None where its encoder has not.
    """
    parts: list[dict[str, Scores]] = []
    matrices = []
    for number, query in enumerate(judged):
        (understood,) = finder.read([query.query])
        vector = None if finder.dense is None else finder.dense.encode([understood.text])[0]
        ranked = finder.within(understood, query.positions, stages="hybrid", vector=vector)
        scores = None if relevance is None else relevance[number]
        near = None if cosines is None else cosines[number]
        if near is not None:
            ranked = rejoin(ranked, near[places(query.positions, ranked.positions)], policy=finder.policy)
        if scores is not None:
            ranked = finder.settle(ranked, relevance=scores[places(query.positions, ranked.positions)])
        inside = places(ranked.positions, query.positions)
        parts.append({name: part[inside] for name, part in ranked.parts.items()})
        if near is not None:
            known = stage_signals(cosines=near, relevance=scores)
        else:
            known = dict(finder.known(query.positions, vector=vector, relevance=scores))
        matrices.append(signal_matrix(names, sources, query=understood, positions=query.positions, known=known))
    return Rows(
        texts=tuple(query.query for query in judged),
        queries=np.repeat(np.arange(len(judged)), [len(query.positions) for query in judged]),
        grades=np.concatenate([query.grades for query in judged]),
        parts={name: np.concatenate([row[name] for row in parts]) for name in parts[0]},
        names=tuple(names),
        matrix=np.concatenate(matrices),
    )


def with_unjudged(finder: Search, judged: Sequence[JudgedQuery], *, count: int) -> list[JudgedQuery]:
    """The queries, each with up to `count` more products that the first stages rank highest, as grade 0."""
    if not count:
        return list(judged)
    found = []
    depth = count + max((len(query.positions) for query in judged), default=0)
    rankings = finder.run([query.query for query in judged], k=depth, allowed=None, stages="hybrid")
    for query, ranked in zip(judged, rankings, strict=True):
        new = ranked.positions[~np.isin(ranked.positions, query.positions)][:count]
        positions = np.concatenate([query.positions, new])
        grades = np.concatenate([query.grades, np.zeros(len(new))])
        order = np.argsort(positions)
        found.append(JudgedQuery(query.query_id, query.query, positions[order], grades[order]))
    return found
