"""A blender over every signal on unseen queries (crowdflower), against the cross-encoder alone and the weighted sum.

The cross-encoder is that of the job relevance-crowdflower. The blender is fitted inside the outer training part, on
scores of networks that have not seen the query: one for each of four inner folds of the training queries, tuned on the
other three. Kind and rounds are chosen on those queries, too; the outer test queries are touched only to report, with
the scores of the network that was tuned on all training queries.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.held_out import crowdflower, held_out_logits
from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.judged import cosine_scores, pooled
from feature_store.snapshot import Snapshot
from recsys.catalogue import Catalogue
from recsys.engine.blending import signal_sources
from recsys.engine.policy import SearchPolicy
from recsys.meaning import Understanding
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.ranking.cross_encoder import sigmoid
from recsys.ranking.signals import COSINE, LOGIT, RELEVANCE, SIGNALS, absent_signals, signal_matrix, stage_signals
from recsys.retrieval.lexical import LexicalIndex
from recsys.types import Scores, Signals
from training.blender.choose import Choice, blended, choose, fit_choice, mean_of, ndcg_of
from training.blender.config import BlenderConfig
from training.blender.rows import Rows

PROTOCOL = "by query, 5 outer folds x 3 seeds, judged pairs, ties averaged"
SHOPS = ("crowdflower", "homedepot")
VARIANT = "blender"
FOLDS, SEEDS = range(5), range(3)
UNITS = tuple(Unit(VARIANT, fold, seed) for seed in SEEDS for fold in FOLDS)
CROSS, SUM, CHOSEN = "cross-encoder", "weighted sum", "blender, kind chosen inside"
KINDS = {"linear": "blender, linear", "trees": "blender, trees"}
ROWS = (CROSS, SUM, *KINDS.values(), CHOSEN)


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold, by each ranking."""
    fold, seed = unit.fold or 0, unit.seed or 0
    snapshot = crowdflower(place, fold=fold)
    inner, outer = (sigmoid(logits) for logits in held_out_logits(snapshot, place, fold=fold, seed=seed))
    near = held_cosines(snapshot, place, fold=fold)
    sources = open_sources(snapshot.catalogue(), place)
    train = read_rows(
        snapshot, snapshot.judgments("train", "validation"), relevance=inner, cosines=near[0], sources=sources
    )
    test = read_rows(snapshot, snapshot.judgments("test"), relevance=outer, cosines=near[1], sources=sources)
    config = BlenderConfig(seed=seed)
    choice, tried = choose(train, config=config)
    best = {kind: max((c for c in tried if c.kind == kind), key=lambda c: tried[c]) for kind in KINDS}
    scores = {CROSS: test.parts["cross_encoder"], SUM: test.base} | {
        name: blended(fit_choice(train, one, config=config), test)
        for name, one in {**{KINDS[kind]: one for kind, one in best.items()}, CHOSEN: choice}.items()
    }
    values = {name: ndcg_of(test, found) for name, found in scores.items()}
    inside = {CROSS: mean_of(ndcg_of(train, train.parts["cross_encoder"]))} | {said(c): tried[c] for c in tried}
    return Measured(
        metrics={f"{name}.ndcg@10": mean_of(column) for name, column in values.items()},
        counts={"queries": len(test.texts), "training queries": len(train.texts), "signals": len(train.names)},
        config={
            "blender": config.model_dump(),
            "chosen": said(choice),
            "inside the training part": inside,
            "signals": list(train.names),
        },
        scores={f"{name}.ndcg@10": [float(v) for v in column[~np.isnan(column)]] for name, column in values.items()},
    )


def said(choice: Choice) -> str:
    """A candidate in words."""
    return f"{choice.kind} {choice.amount:g}"


def held_cosines(snapshot: Snapshot, place: Place, *, fold: int) -> tuple[Scores, Scores]:
    """The stock encoder's cosines of the training and the test pairs; made once for all seeds."""
    file = place.work / f"cosines-fold{fold}.npz"
    if not file.is_file():
        train, test = snapshot.judgments("train", "validation"), snapshot.judgments("test")
        np.savez(file, inner=cosine_scores(snapshot, train), outer=cosine_scores(snapshot, test))
    with np.load(file, allow_pickle=False) as found:
        return found["inner"].astype(np.float32), found["outer"].astype(np.float32)


def open_sources(catalogue: Catalogue, place: Place) -> tuple[Signals, ...]:
    """Who computes the signals; the shop has no events, so nothing is known of sales."""
    folder = place.work / f"lexical-{catalogue.digest[:12]}"
    if not (folder / "lexical.json").is_file():
        LexicalIndex.build(catalogue, folder)
    return signal_sources(catalogue, LexicalIndex.open(folder), reader=None, popularity=None)


def read_rows(
    snapshot: Snapshot, judgments: pl.DataFrame, *, relevance: Scores, cosines: Scores, sources: Sequence[Signals]
) -> Rows:
    """The pairs with the engine's default sum: BM25 over the query's best, cosine of titles, cross-encoder."""
    absent = absent_signals(sources, known=[COSINE, RELEVANCE, LOGIT])
    names = tuple(name for name in SIGNALS if name not in absent)
    positions = snapshot.catalogue().positions(judgments["product_id"])
    numbers = judgments["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    places: list[NDArray[np.int64]] = np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers)) + 1)
    texts = [judgments["query"][int(own[0])] for own in places]
    matrix = np.concatenate(
        [
            signal_matrix(
                names,
                sources,
                query=Understanding(text, text),
                positions=positions[own],
                known=stage_signals(cosines=cosines[own], relevance=relevance[own]),
            )
            for text, own in zip(texts, places, strict=True)
        ]
    )
    bm25 = np.nan_to_num(matrix[:, names.index("bm25.all")])
    most = np.maximum.reduceat(bm25, [own[0] for own in places])[numbers]
    policy = SearchPolicy()
    return Rows(
        texts=tuple(texts),
        queries=numbers,
        grades=judgments["grade"].to_numpy().astype(np.float64),
        parts={
            "bm25": (policy.bm25 * bm25 / np.maximum(most, np.finfo(np.float32).tiny)).astype(np.float32),
            "dense": np.float32(policy.dense) * cosines,
            "cross_encoder": np.float32(policy.cross_encoder) * relevance,
        },
        names=names,
        matrix=matrix,
    )


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each ranking, all folds together, with the paired gains over the cross-encoder and over the sum."""
    if not of(results, VARIANT):
        return []
    found = {name: pooled(results, VARIANT, metric=f"{name}.ndcg@10") for name in ROWS}
    rows = []
    for name, values in found.items():
        own = bootstrap(values, seed=0)
        gains = ["-" if name == base else span(paired_bootstrap(values, found[base], seed=0)) for base in (CROSS, SUM)]
        rows.append([name, str(len(values)), f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]", *gains])
    chosen = [result["config"]["chosen"] for result in of(results, VARIANT)]
    note = (
        "A query's value is its mean over the seeds. The sum has the engine's default weights. One set of settings was "
        "tried; inside each outer training part kind and rounds were chosen among "
        f"{len(BlenderConfig().ridges) + len(BlenderConfig().rounds) + 1} candidates: "
        + ", ".join(f"{name} {chosen.count(name)} times" for name in sorted(set(chosen)))
        + "."
    )
    columns = ("ranking", "queries", "NDCG@10", "gain over the cross-encoder", "gain over the sum")
    return [Table("A blender on unseen queries", columns, rows, note)]
