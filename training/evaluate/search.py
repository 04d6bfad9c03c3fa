"""Search protocols: the judged products alone, and the whole catalogue with unjudged products as grade 0."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.types import Positions, Ranker, Retriever, Scores
from training.evaluate.baselines import bm25_baselines, stock_encoder, stock_retriever
from training.evaluate.measured import ByMetric, Measured, RankedList
from training.evaluate.queries import (
    JudgedQuery,
    Ranking,
    judged_metrics,
    left_out,
    read_queries,
    retrieval_metrics,
    threshold,
)

DEPTH = 1000

Scorer = Callable[[JudgedQuery], Scores]


def measure_judged(
    engine: Engine, snapshot: Snapshot, *, split: str, cuts: Sequence[int], stages: Sequence[str] | None = None
) -> Measured:
    """Rank each query's judged products, by every stage of the engine and by each baseline.

    Args:
        engine: the registered artefact on an index of this snapshot's catalogue.
        snapshot: the judgments.
        split: "train", "validation", "test" or "all".
        cuts: the k of ndcg@k.
        stages: the engine's stages to compare; all it has if None. The last one is the subject.
    """
    queries = read_queries(snapshot, split=split)
    chosen = chosen_stages(engine, stages)
    scores = {name: [within(engine, query, stage=name) for query in queries] for name in chosen}
    if engine.finder.ranker is not None and stages is None:
        scores["cross-encoder"] = by_ranker(engine.finder.ranker, queries, engine.finder.texts)
    baselines: dict[str, list[Scores]] = {}
    with bm25_baselines(engine.catalogue) as indexes:
        baselines |= {name: [by_words(index, query, engine) for query in queries] for name, index in indexes.items()}
    if (stock := stock_encoder()) is not None:
        titles = engine.catalogue.column("title")
        baselines["not fine-tuned encoder, titles"] = by_ranker(
            stock, queries, lambda rows: titles.gather(rows).to_list()
        )
    relevant = threshold(snapshot)
    systems = {
        name: judged_metrics(queries, rows, cuts=cuts, relevant=relevant)
        for name, rows in {**scores, **baselines}.items()
    }
    return Measured(
        protocol=f"by query, {split} part, judged products alone, ties averaged",
        keys=[query.query_id for query in queries],
        subject=chosen[-1],
        systems=systems,
        baselines=[name for name in systems if name != chosen[-1]],
        counts=left_out(queries),
        runs={
            chosen[-1]: [
                as_list(engine, query.positions, row) for query, row in zip(queries, scores[chosen[-1]], strict=True)
            ]
        },
    )


def measure_retrieval(
    engine: Engine,
    snapshot: Snapshot,
    *,
    split: str,
    cuts: Sequence[int],
    stages: Sequence[str] | None = None,
    cache: Path | None = None,
) -> Measured:
    """Search the whole catalogue for each judged query, by every stage of the engine and by each baseline.

    Arguments as `measure_judged`, and `cache`: the folder that keeps text vectors, None encodes the catalogue anew.
    """
    queries = read_queries(snapshot, split=split)
    chosen = chosen_stages(engine, stages)
    texts = [query.query for query in queries]
    rankings = {
        name: [
            Ranking(ranked.positions, ranked.scores)
            for ranked in engine.finder.run(texts, k=DEPTH, allowed=None, stages=name)
        ]
        for name in chosen
    }
    with bm25_baselines(engine.catalogue) as indexes:
        for name, index in indexes.items():
            rankings[name] = [Ranking(found.positions, found.scores) for found in index.retrieve(texts, k=DEPTH)]
    with stock_retriever(engine.catalogue, cache=cache) as stock:
        if stock is not None:
            found = stock.retrieve(texts, k=DEPTH)
            rankings["not fine-tuned encoder"] = [Ranking(row.positions, row.scores) for row in found]
    relevant = threshold(snapshot)
    systems: dict[str, ByMetric] = {
        name: retrieval_metrics(queries, rows, cuts=cuts, relevant=relevant) for name, rows in rankings.items()
    }
    subject = chosen[-1]
    return Measured(
        protocol=f"catalogue retrieval, {split} queries, unjudged as grade 0, ties averaged",
        keys=[query.query_id for query in queries],
        subject=subject,
        systems=systems,
        baselines=[name for name in systems if name != subject],
        counts={**left_out(queries), "products": len(engine.catalogue)},
        runs={subject: [as_list(engine, row.positions, row.scores) for row in rankings[subject]]},
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


def as_list(engine: Engine, positions: Positions, scores: Scores) -> RankedList:
    """A ranking by ids, best first."""
    order = np.lexsort((positions, -scores))
    return RankedList(engine.catalogue.ids(positions[order]), scores[order].tolist())
