"""Product-search relevance on unseen queries (crowdflower): the cross-encoder against BM25 and a stock encoder.

The cross-encoder reads titles. It sees homedepot once (without the queries that crowdflower has, too), then the
crowdflower queries of the outer training part twice. The sum adds the stock encoder's cosine to the cross-encoder's
score in 0..1, and feedback adds how much a title resembles the best titles of the list (recsys.ranking.feedback); both
shares are chosen for each fold on its training queries, beside a network that has not seen them yet. The row of all
seeds ranks by the mean score of their networks.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.judged import bm25_scores, by_query, pooled, shop_queries, shop_snapshot, title_vectors, with_feedback
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.field_names import TextField
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores, Vectors
from training.relevance.config import RelevanceConfig
from training.relevance.data import as_pairs, product_texts, read_pairs
from training.relevance.learn import Learned, learn, start_folder

PROTOCOL = "by query, 5 outer folds x 3 seeds, judged pairs, ties averaged"
SHOPS = ("crowdflower", "homedepot")
FOLDS, SEEDS = range(5), range(3)
CROSS, COSINE, BM25 = "cross-encoder", "stock encoder, cosine of titles", "BM25 on titles"
TOGETHER, TOGETHER_HEARD = "cross-encoders of all seeds", "cross-encoders of all seeds + cosine + feedback"
COSINE_HEARD = "stock encoder + feedback"
SUM, HEARD = "cross-encoder + cosine", "cross-encoder + cosine + feedback"
UNITS = (
    *(Unit(COSINE, fold) for fold in FOLDS),
    *(Unit(BM25, fold) for fold in FOLDS),
    *(Unit(CROSS, fold, seed) for seed in SEEDS for fold in FOLDS),
    *(Unit(TOGETHER, fold) for fold in FOLDS),
)
TITLE: tuple[TextField, ...] = ("title",)
BEFORE = RelevanceConfig(
    epochs=1,
    patience=0,
    batch_size=32,
    learning_rate=7e-5,
    fields=TITLE,
    max_length=32,
    freeze_embeddings=False,
)
TUNING = RelevanceConfig(
    epochs=2, patience=0, batch_size=64, learning_rate=3e-5, fields=TITLE, max_length=32, freeze_embeddings=True
)
FIRST = {
    *("epochs", "batch_size", "accumulate", "precision", "seed", "patience", "devices", "strategy", "accelerator"),
    *("learning_rate", "warmup", "weight_decay", "clip", "checkpoint_steps", "backbone", "layers", "fields"),
    *("max_length", "pooling", "dropout", "freeze_embeddings", "rater_weight"),
}
"""The settings that there were when networks were first kept by the hash of theirs."""
SHARES = (0.0, 0.25, 0.5, 1.0, 2.0)
FEEDBACK = (0.0, 0.5, 1.0, 2.0)

TRIED = (
    "Configurations tried: two earlier recipes were measured on test folds (half of homedepot, all text: .8564 "
    "with seed 0; all of homedepot at twice the rate, all text: .8787 on fold 0) and given up, because they "
    "ranked training queries no better than the cosine. This one is the best of seven that were screened with "
    "seed 0 on the training queries of fold 0: titles or all text; homedepot in batches of 32 with word vectors "
    "learned, or of 64 without, or with half its target from the cosine; crowdflower rates of 3e-5, 5e-5 and "
    "1e-4. Those queries are test queries of the other folds; on fold 0 alone, which the choice never saw, the "
    "cross-encoder's gain is"
)
HEARING = (
    "Feedback and its temperature were found on the same training queries, beside smoothing over like titles, feedback "
    "by shared words, and ridge and LambdaMART blends of them, none of which ranked them better. A larger "
    "backbone (all-mpnet-base-v2 after homedepot, one seed) ranks those queries at .8688 where ours after homedepot "
    "has .8557; with cosine and feedback it is .8707 against .868."
)


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold."""
    fold, seed = unit.fold or 0, unit.seed or 0
    snapshot = shop_snapshot("crowdflower", place, fold=fold)
    judgments = snapshot.judgments("test")
    config: dict[str, Any] = {}
    if unit.variant == BM25:
        values = {"ndcg@10": by_query(judgments, bm25_scores(snapshot, judgments))}
    elif unit.variant == COSINE:
        known = snapshot.judgments("train", "validation")
        learned_from, vectors = title_vectors(snapshot, known), title_vectors(snapshot, judgments)
        heard = choose_feedback(known, learned_from.cosines, learned_from.titles)
        config = {"share of the feedback": heard}
        values = {
            "ndcg@10": by_query(judgments, vectors.cosines),
            "heard.ndcg@10": by_query(judgments, with_feedback(judgments, vectors.cosines, vectors.titles, heard)),
        }
    else:
        seeds = SEEDS if unit.variant == TOGETHER else (seed,)
        starts = [after_homedepot(place, seed=one) for one in seeds]
        share, heard = choose_shares(snapshot, starts)
        config = {
            "homedepot": BEFORE.model_dump(),
            "crowdflower": TUNING.model_copy(update={"seed": seed}).model_dump(),
            "share of the cosine": share,
            "share of the feedback": heard,
        }
        networks = [
            tuned(snapshot, start, work=place.work / f"{start.name}-fold{fold}", seed=one)
            for one, start in zip(seeds, starts, strict=True)
        ]
        scores = np.mean([relevance(network, snapshot, judgments) for network in networks], axis=0)
        vectors = title_vectors(snapshot, judgments)
        together = scores + share * vectors.cosines
        values = {
            "ndcg@10": by_query(judgments, scores),
            "sum.ndcg@10": by_query(judgments, together),
            "heard.ndcg@10": by_query(judgments, with_feedback(judgments, together, vectors.titles, heard)),
        }
    queries = judgments["query_id"].n_unique()
    kept = len(values["ndcg@10"])
    return Measured(
        metrics={name: sum(column) / len(column) for name, column in values.items()},
        counts={"queries": kept, "left out (one grade only)": queries - kept, "pairs": len(judgments)},
        config=config,
        scores=values,
    )


def tuned(snapshot: Snapshot, before: Path, *, work: Path, seed: int) -> Learned:
    """The cross-encoder after homedepot and the fold's other queries."""
    config = TUNING.model_copy(update={"seed": seed})
    pairs = read_pairs(snapshot, "train", "validation", tokenizer=TextTokenizer.load(before), config=config)
    assert pairs is not None  # noqa: S101 - crowdflower has judgments
    return learn(pairs, None, config=config, start=before, work=work)


def relevance(learned: Learned, snapshot: Snapshot, judgments: pl.DataFrame) -> np.ndarray[Any, Any]:
    """The expected grade over the highest grade of each pair, 0..1."""
    texts = product_texts(snapshot, judgments, fields=learned.network.fields)
    return CrossEncoderRanker(learned.network, learned.tokenizer).score(judgments["query"].to_list(), texts)


def choose_shares(snapshot: Snapshot, starts: Sequence[Path]) -> tuple[float, float]:
    """Weights of cosine and feedback that rank the fold's training queries best, beside the networks before tuning."""
    judgments = snapshot.judgments("train", "validation")
    rankers, vectors = [CrossEncoderRanker.load(start) for start in starts], title_vectors(snapshot, judgments)
    texts = product_texts(snapshot, judgments, fields=rankers[0].fields)
    own = np.mean([ranker.score(judgments["query"].to_list(), texts) for ranker in rankers], axis=0)
    share = max(SHARES, key=lambda one: float(np.mean(by_query(judgments, own + one * vectors.cosines))))
    return share, choose_feedback(judgments, own + share * vectors.cosines, vectors.titles)


def choose_feedback(judgments: pl.DataFrame, scores: Scores, vectors: Vectors) -> float:
    """The feedback's weight that ranks these queries best."""
    return max(
        FEEDBACK, key=lambda one: float(np.mean(by_query(judgments, with_feedback(judgments, scores, vectors, one))))
    )


def after_homedepot(place: Place, *, seed: int) -> Path:
    """The folder of the cross-encoder after homedepot; made once for each seed and choice of settings."""
    config = BEFORE.model_copy(update={"seed": seed})
    name = f"homedepot-{digest(config)}"
    folder = place.work / name
    if not (folder / "done").exists():
        start = start_folder(config, None)
        snapshot = shop_snapshot("homedepot", place, fold=0)
        judgments = snapshot.judgments()
        known = set(shop_queries(place.data / "crowdflower"))
        judgments = judgments.filter(pl.Series([normalise(query) not in known for query in judgments["query"]]))
        pairs = as_pairs(
            judgments,
            texts=product_texts(snapshot, judgments, fields=config.fields),
            max_grade=snapshot.manifest.max_grade,
            tokenizer=TextTokenizer.load(start),
            config=config,
        )
        learn(pairs, None, config=config, start=start, work=place.work / f"{name}-work").save(folder)
        (folder / "done").touch()
    return folder


def digest(config: RelevanceConfig) -> str:
    """Names what was learned with a choice of settings."""
    return hashlib.sha256(settings_told(config).encode()).hexdigest()[:12]


def settings_told(config: RelevanceConfig) -> str:
    """The settings as JSON, without what came later and stands at its default, so that older networks keep a name."""
    fields = RelevanceConfig.model_fields.items()
    later = {name for name, field in fields if name not in FIRST and getattr(config, name) == field.default}
    return config.model_dump_json(exclude=later)


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each ranker, all folds together, and the paired gain over the stock encoder."""
    base = pooled(results, COSINE)
    rows = []
    for row, variant, metric in (
        (BM25, BM25, "ndcg@10"),
        (COSINE, COSINE, "ndcg@10"),
        (COSINE_HEARD, COSINE, "heard.ndcg@10"),
        (CROSS, CROSS, "ndcg@10"),
        (SUM, CROSS, "sum.ndcg@10"),
        (HEARD, CROSS, "heard.ndcg@10"),
        (TOGETHER, TOGETHER, "ndcg@10"),
        (TOGETHER_HEARD, TOGETHER, "heard.ndcg@10"),
    ):
        values = pooled(results, variant, metric=metric)
        if len(values):
            own = bootstrap(values, seed=0)
            gain = paired_bootstrap(values, base, seed=0) if len(values) == len(base) else None
            printed = "-" if gain is None or row == COSINE else span(gain)
            rows.append([row, str(len(values)), f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]", printed])
    seeds = len({result["seed"] for result in of(results, CROSS)})
    first = fold_gain(results, fold=0)
    note = (
        f"A query's value is its mean over {seeds} seeds. All have two grades or more. {TRIED} {first:+.4f}. {HEARING}"
    )
    columns = ("ranker", "queries", "NDCG@10", "gain over the stock encoder")
    return [Table("NDCG@10 on unseen queries", columns, rows, note)]


def fold_gain(results: Sequence[Result], *, fold: int) -> float:
    """The cross-encoder's mean gain over the cosine on one fold; NaN where it was not measured."""
    own, base = ([row for row in of(results, name) if row["fold"] == fold] for name in (CROSS, COSINE))
    if not own or not base:
        return float("nan")
    values = [float(np.mean(row["scores"]["ndcg@10"])) for row in own]
    return float(np.mean(values)) - float(np.mean(base[0]["scores"]["ndcg@10"]))
