"""How many labels it takes: the cross-encoder with a share of crowdflower's training queries, on unseen queries.

Whole queries are drawn, a smaller share inside a larger one. The network starts from the stock backbone, or from the
one that has seen homedepot (without the queries that crowdflower has); its share 0 is what homedepot alone gives, and
the share 0 of the stock backbone is its cosine of titles.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit
from benchmarks.jobs.relevance_crowdflower import BEFORE, FOLDS, SEEDS, TUNING, after_homedepot
from benchmarks.judged import NETWORKS, by_query, cosine_scores, pooled, shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import product_texts, snapshot_pairs
from training.relevance.fewshot import sample_queries
from training.relevance.learn import learn, start_folder

PROTOCOL = "by query, 5 outer folds x 3 seeds, judged pairs, ties averaged"
SHOPS = ("crowdflower", "homedepot")
AFTER, STOCK = "after homedepot", "from the stock backbone"
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
FROM_STOCK = BEFORE.model_copy(update={"epochs": 3})
STEPS = 40  # the fewest; few labels are shown more often


def variant(start: str, share: float) -> str:
    """The name of a row's cell."""
    return f"{start}, {share:.0%} of the queries"


UNITS = (
    *(Unit(variant(STOCK, 0.0), fold) for fold in FOLDS),
    *(
        Unit(variant(start, share), fold, seed)
        for seed in SEEDS
        for fold in FOLDS
        for start in (AFTER, STOCK)
        for share in SHARES
        if share or start == AFTER
    ),
)
BY_NAME = {variant(start, share): (start, share) for start in (AFTER, STOCK) for share in SHARES}


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold."""
    start, share = BY_NAME[unit.variant]
    fold, seed = unit.fold or 0, unit.seed or 0
    own = place.of(NETWORKS)
    snapshot = shop_snapshot("crowdflower", own, fold=fold)
    judgments = snapshot.judgments("test")
    config: dict[str, Any] = {}
    counts: dict[str, int] = {}
    if (start, share) == (STOCK, 0.0):
        scores = cosine_scores(snapshot, judgments)
    else:
        folder = after_homedepot(own, seed=seed) if start == AFTER else start_folder(FROM_STOCK, None)
        settings = (TUNING if start == AFTER else FROM_STOCK).model_copy(update={"seed": seed, "label_share": share})
        ranker, told, counts = ranker_of(snapshot, folder, config=settings, work=place.work / unit.stem)
        scores = ranker.score(judgments["query"].to_list(), product_texts(snapshot, judgments, fields=ranker.fields))
        config = told.model_dump()
    values = by_query(judgments, scores)
    return Measured(
        metrics={"ndcg@10": sum(values) / len(values)},
        counts={"queries": len(values), "pairs": len(judgments), **counts},
        config=config,
        scores={"ndcg@10": values},
    )


def ranker_of(
    snapshot: Snapshot, folder: Path, *, config: RelevanceConfig, work: Path
) -> tuple[CrossEncoderRanker, RelevanceConfig, dict[str, int]]:
    """The ranker after the share's labels, with its settings and how many labels there were."""
    known = snapshot.judgments("train", "validation")
    judgments = sample_queries(known, share=config.label_share, seed=config.seed)
    counts = {"training queries": judgments["query_id"].n_unique(), "training pairs": len(judgments)}
    if judgments.is_empty():
        return CrossEncoderRanker.load(folder), config, counts
    batches = max(1, len(judgments) // config.batch_size)
    config = config.model_copy(update={"epochs": max(config.epochs, math.ceil(STEPS / batches))})
    pairs = snapshot_pairs(snapshot, judgments, tokenizer=TextTokenizer.load(folder), config=config)
    learned = learn(pairs, None, config=config, start=folder, work=work)
    return CrossEncoderRanker(learned.network, learned.tokenizer), config, counts


def tables(results: Sequence[Result]) -> list[Table]:
    """A row for each share of the labels, a column for each start; of the folds on which all of it was measured."""
    folds = [
        fold for fold in FOLDS if {result["variant"] for result in results if result["fold"] == fold} >= {*BY_NAME}
    ]
    results = [result for result in results if result["fold"] in folds]
    rows = []
    for share in SHARES:
        cells = [cell(results, variant(start, share)) for start in (STOCK, AFTER)]
        if cells != ["-", "-"]:
            rows.append([f"{share:.0%}", queries(results, share), *cells])
    columns = ("share of the labelled queries", "queries", STOCK, AFTER)
    note = (
        "NDCG@10 with its interval; a test query's value is its mean over seeds. Recipes as in relevance-crowdflower, "
        f"but at least {STEPS} steps; nothing was chosen by these figures. From the stock backbone with no label: its "
        f"cosine of titles. Outer folds: {', '.join(map(str, folds))}."
    )
    return [Table("NDCG@10 on unseen queries by the labels at hand", columns, rows, note)] if rows else []


def cell(results: Sequence[Result], name: str) -> str:
    """Mean and interval of a row; "-" where it was not measured."""
    values = pooled(results, name)
    if not len(values):
        return "-"
    own = bootstrap(values, seed=0)
    return f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]"


def queries(results: Sequence[Result], share: float) -> str:
    """How many labelled queries a share is, in the mean."""
    names = {variant(start, share) for start in (AFTER, STOCK)}
    counts = [result["counts"].get("training queries", 0) for result in results if result["variant"] in names]
    return f"{np.mean(counts):.0f}"
