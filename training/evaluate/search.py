"""Search protocols: the judged products alone, and the whole catalogue with unjudged products as grade 0."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.retrieval.lexical import LexicalIndex
from recsys.types import Positions, Ranker, Retriever, Scores
from training.evaluate.baselines import bm25_baselines, stock_encoder, stock_retriever
from training.evaluate.calibration import answering, count_empty, measure_calibration, why_uncalibrated
from training.evaluate.compare import choose_baseline
from training.evaluate.earned import run_stages
from training.evaluate.grouping import count_searches, known_queries, slice_queries
from training.evaluate.measured import Asked, ByMetric, Measured
from training.evaluate.queries import (
    JudgedQuery,
    Ranking,
    judged_metrics,
    left_out,
    read_queries,
    retrieval_metrics,
    threshold,
)
from training.evaluate.rankings import Rankings, by_score

DEPTH = 1000


def measure_judged(
    engine: Engine,
    snapshot: Snapshot,
    *,
    split: str,
    cuts: Sequence[int],
    stages: Sequence[str] | None = None,
    baseline: str | None = None,
) -> Measured:
    """Rank each query's judged products, by every stage of the engine and by each baseline.

    Args:
        engine: the registered artefact on an index of this snapshot's catalogue.
        snapshot: the judgments.
        split: "train", "validation", "test" or "all".
        cuts: the k of ndcg@k.
        stages: the engine's stages to compare; all it has if None. The last one is the subject.
        baseline: the system to compare with, checked before anything is measured.
    """
    queries = read_queries(snapshot, split=split)
    chosen = chosen_stages(engine, stages)
    relevant = threshold(snapshot)
    systems: dict[str, ByMetric] = {}
    runs: dict[str, Rankings] = {}
    alone: list[Scores] | None = None
    with bm25_baselines(engine.catalogue) as indexes:
        scorers = judged_scorers(engine, queries, stages=chosen, every=stages is None, indexes=indexes)
        choose_baseline(list(scorers), name=baseline, subject=chosen[-1])
        for name, score in scorers.items():
            rows = score()
            alone = rows if name == "cross-encoder" else alone
            systems[name] = judged_metrics(queries, rows, cuts=cuts, relevant=relevant)
            runs[name] = Rankings.of(by_score(query.positions, row) for query, row in zip(queries, rows, strict=True))
    missing = why_uncalibrated(engine, snapshot, alone=alone is not None)
    return Measured(
        protocol=f"by query, {split} part, judged products alone, ties averaged",
        keys=[query.query_id for query in queries],
        asked=as_asked(queries, engine=engine, snapshot=snapshot, relevant=relevant),
        subject=chosen[-1],
        systems=systems,
        baselines=[name for name in systems if name != chosen[-1]],
        counts=left_out(queries),
        runs=runs,
        snapshot=snapshot.manifest.snapshot_id,
        ran=run_stages(engine.finder, [query.query for query in queries], stages=chosen),
        calibration={} if missing else measure_calibration(engine.finder.calibration, queries, alone),
        uncalibrated=missing,
    )


def judged_scorers(
    engine: Engine,
    queries: Sequence[JudgedQuery],
    *,
    stages: Sequence[str],
    every: bool,
    indexes: Mapping[str, LexicalIndex],
) -> dict[str, Callable[[], list[Scores]]]:
    """By system, what scores each query's judged products; nothing is scored yet.

    Args:
        engine: see `measure_judged`.
        queries: the judged queries.
        stages: the engine's stages to compare.
        every: whether the cross-encoder is shown alone as well.
        indexes: the BM25 baselines.
    """

    def by_stage(name: str) -> list[Scores]:
        return [within(engine, query, stage=name) for query in queries]

    def by_index(index: LexicalIndex) -> list[Scores]:
        return [by_words(index, query, engine) for query in queries]

    scorers: dict[str, Callable[[], list[Scores]]] = {name: partial(by_stage, name) for name in stages}
    ranker = engine.finder.ranker
    if ranker is not None and every:
        scorers["cross-encoder"] = lambda: by_ranker(ranker, queries, engine.finder.texts)
    scorers |= {name: partial(by_index, index) for name, index in indexes.items()}
    if (stock := stock_encoder()) is not None:
        titles = engine.catalogue.column("title")
        scorers["not fine-tuned encoder, titles"] = lambda: by_ranker(
            stock, queries, lambda rows: titles.gather(rows).to_list()
        )
    return scorers


def measure_retrieval(
    engine: Engine,
    snapshot: Snapshot,
    *,
    split: str,
    cuts: Sequence[int],
    stages: Sequence[str] | None = None,
    baseline: str | None = None,
    cache: Path | None = None,
) -> Measured:
    """Search the whole catalogue for each judged query, by every stage of the engine and by each baseline.

    Arguments as `measure_judged`, and `cache`: the folder that keeps text vectors, None encodes the catalogue anew.
    """
    queries = read_queries(snapshot, split=split)
    chosen = chosen_stages(engine, stages)
    relevant = threshold(snapshot)
    systems: dict[str, ByMetric] = {}
    runs: dict[str, Rankings] = {}
    empty: dict[str, int] = {}
    with bm25_baselines(engine.catalogue) as indexes, stock_retriever(engine.catalogue, cache=cache) as stock:
        others: dict[str, Retriever] = {**indexes, **({"not fine-tuned encoder": stock} if stock is not None else {})}
        finders = retrieval_finders(engine, [query.query for query in queries], stages=chosen, others=others)
        choose_baseline(list(finders), name=baseline, subject=chosen[-1])
        for name, find in finders.items():
            rows = list(find())
            if name == chosen[-1]:
                empty = count_empty(answering(engine, snapshot, stages=name), queries, rows)
            systems[name] = retrieval_metrics(queries, rows, cuts=cuts, relevant=relevant)
            runs[name] = Rankings.of((row.positions, row.scores) for row in rows)
    return Measured(
        protocol=f"catalogue retrieval, {split} queries, unjudged as grade 0, ties averaged",
        keys=[query.query_id for query in queries],
        asked=as_asked(queries, engine=engine, snapshot=snapshot, relevant=relevant),
        subject=chosen[-1],
        systems=systems,
        baselines=[name for name in systems if name != chosen[-1]],
        counts={**left_out(queries), "products": len(engine.catalogue), **empty},
        runs=runs,
        snapshot=snapshot.manifest.snapshot_id,
        ran=run_stages(engine.finder, [query.query for query in queries], stages=chosen),
        uncalibrated="probabilities are compared with judgments by --task judged",
    )


def retrieval_finders(
    engine: Engine, texts: Sequence[str], *, stages: Sequence[str], others: Mapping[str, Retriever]
) -> dict[str, Callable[[], Iterable[Ranking]]]:
    """By system, what searches the catalogue for all queries; nothing is searched yet."""

    def by_stage(name: str) -> Iterable[Ranking]:
        ranked = engine.finder.run(texts, k=DEPTH, allowed=None, stages=name)
        return (Ranking(row.positions, row.scores, row.probabilities) for row in ranked)

    def by_retriever(retriever: Retriever) -> Iterable[Ranking]:
        return (Ranking(row.positions, row.scores) for row in retriever.retrieve(texts, k=DEPTH))

    finders: dict[str, Callable[[], Iterable[Ranking]]] = {name: partial(by_stage, name) for name in stages}
    return finders | {name: partial(by_retriever, retriever) for name, retriever in others.items()}


def as_asked(queries: Sequence[JudgedQuery], *, engine: Engine, snapshot: Snapshot, relevant: float) -> Asked:
    """The queries with their judgments and slices."""
    searched = count_searches(queries, snapshot)
    return Asked(
        unit="query",
        catalogue=engine.catalogue,
        texts=[query.query for query in queries],
        judged=[(query.positions, query.grades) for query in queries],
        relevant=relevant,
        counts={"searches": searched},
        slicings=slice_queries(
            queries,
            searched=searched,
            typed=known_queries(snapshot),
            catalogue=engine.catalogue,
            relevant=relevant,
        ),
    )


def chosen_stages(engine: Engine, stages: Sequence[str] | None) -> list[str]:
    """The stages asked for, each checked; all that the index has if none are named, those of a plain search last."""
    if stages:
        return [engine.finder.resolve(name) for name in stages]
    default = engine.finder.default
    return [*(name for name in engine.finder.available if name != default), default]


def within(engine: Engine, query: JudgedQuery, *, stage: str) -> Scores:
    """float32 [judged]: the engine's score of each judged product, in their order."""
    ranked = engine.finder.within(query.query, query.positions, stages=stage)
    scores: Scores = ranked.scores[np.argsort(ranked.positions)]
    return scores


def by_words(index: Retriever, query: JudgedQuery, engine: Engine) -> Scores:
    """float32 [judged]: the BM25 score of each judged product, 0 where no word is shared."""
    allowed = np.zeros(len(engine.catalogue), dtype=np.bool_)
    allowed[query.positions] = True
    found = index.retrieve([query.query], k=len(query.positions), allowed=allowed)[0]
    scores = np.zeros(len(query.positions), dtype=np.float32)
    scores[np.searchsorted(query.positions, found.positions)] = found.scores
    return scores


def by_ranker(ranker: Ranker, queries: Sequence[JudgedQuery], texts: Callable[[Positions], list[str]]) -> list[Scores]:
    """The scores of a ranker for the judged products of each query, all pairs in one call."""
    positions = np.concatenate([query.positions for query in queries])
    asked = [query.query for query in queries for _ in query.positions]
    flat = ranker.score(asked, texts(positions))
    ends = np.cumsum([len(query.positions) for query in queries])
    return np.split(flat, ends[:-1])
