"""Quality beside the peer: our cross-encoder and sentence-transformers' on the same labels (crowdflower).

Both start from all-MiniLM-L6-v2, read query and title, learn every pair of the fold's training and validation queries
for three epochs, and rank the same test queries. The peer is CrossEncoder with CrossEncoderTrainer as they come:
binary cross-entropy on grade / 3, batches of 8 in random order, a rate of 5e-5 that falls in a line, float32. Ours is
measured with two recipes that were fixed before: what `recsys train relevance` does unless it is told otherwise, and
the one by which relevance-crowdflower learns homedepot; in bfloat16 where the processor has it. No label of another
shop is learned from.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.jobs.few_labels_crowdflower import FROM_STOCK
from benchmarks.jobs.relevance_crowdflower import FOLDS, TITLE, relevance
from benchmarks.judged import NETWORKS, by_query, cosine_scores, pooled, shop_snapshot
from benchmarks.peer import peer_scores, peer_trainer
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap, paired_bootstrap
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from training.relevance.config import RelevanceConfig
from training.relevance.data import product_texts, read_pairs
from training.relevance.learn import learn, start_folder

PROTOCOL = "by query, 5 outer folds, 1 seed, judged pairs, ties averaged"
SHOPS = ("crowdflower",)
SEED = 0
COSINE, PEER = "stock encoder, cosine of titles", "sentence-transformers, defaults"
DEFAULTS, RECIPE = "ours, defaults", "ours, homedepot's recipe"
OURS: Mapping[str, RelevanceConfig] = {DEFAULTS: RelevanceConfig(fields=TITLE, patience=0), RECIPE: FROM_STOCK}
TRAINED = (PEER, *OURS)
UNITS = (*(Unit(COSINE, fold) for fold in FOLDS), *(Unit(name, fold, SEED) for name in TRAINED for fold in FOLDS))


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold."""
    snapshot = shop_snapshot("crowdflower", place.of(NETWORKS), fold=unit.fold or 0)
    known, judgments = snapshot.judgments("train", "validation"), snapshot.judgments("test")
    config = OURS[unit.variant].model_copy(update={"seed": unit.seed}) if unit.variant in OURS else None
    with TemporaryDirectory() as work:
        if config is not None:
            scores = our_scores(snapshot, judgments, config=config, work=Path(work))
        elif unit.variant == PEER:
            scores = their_scores(snapshot, known, judgments, seed=unit.seed or 0, work=Path(work))
        else:
            scores = cosine_scores(snapshot, judgments)
    values = by_query(judgments, scores)
    return Measured(
        metrics={"ndcg@10": sum(values) / len(values)},
        counts={"queries": len(values), "pairs learned from": len(known), "pairs": len(judgments)},
        config={} if config is None else config.model_dump(),
        scores={"ndcg@10": values},
    )


def our_scores(snapshot: Snapshot, judgments: pl.DataFrame, *, config: RelevanceConfig, work: Path) -> Scores:
    """float32 [pairs]: of the test pairs, after all others."""
    start = start_folder(config, None)
    pairs = read_pairs(snapshot, "train", "validation", tokenizer=TextTokenizer.load(start), config=config)
    assert pairs is not None  # noqa: S101 - crowdflower has judgments
    learned = learn(pairs, None, config=config, start=start, work=work)
    return np.asarray(relevance(learned, snapshot, judgments), dtype=np.float32)


def their_scores(snapshot: Snapshot, known: pl.DataFrame, judgments: pl.DataFrame, *, seed: int, work: Path) -> Scores:
    """float32 [pairs]: the same by the peer."""
    learned_from, shown = (product_texts(snapshot, frame, fields=TITLE) for frame in (known, judgments))
    start, best = start_folder(OURS[DEFAULTS], None), snapshot.manifest.max_grade
    with peer_trainer(known, texts=learned_from, best=best, start=start, work=work, seed=seed) as trainer:
        trainer.train()
        return peer_scores(trainer.model, judgments, texts=shown)


def tables(results: Sequence[Result]) -> list[Table]:
    """One row for each ranker over the folds that all have, with paired gains over the stock encoder and the peer."""
    folds = set.intersection(*({result["fold"] for result in of(results, name)} for name in (COSINE, *TRAINED)))
    shared = [result for result in results if result["fold"] in folds]
    found = {name: pooled(shared, name) for name in (COSINE, *TRAINED)}
    rows = []
    for name, values in found.items():
        if len(values):
            own = bootstrap(values, seed=0)
            gains = [
                "-" if name in skipped else span(paired_bootstrap(values, found[base], seed=0))
                for base, skipped in ((COSINE, (COSINE,)), (PEER, (COSINE, PEER)))
            ]
            minutes = np.mean([result["seconds"] for result in of(shared, name)]) / 60
            ndcg = f"{own.mean:.4f} [{own.low:.4f}, {own.high:.4f}]"
            rows.append([name, str(len(values)), ndcg, *gains, f"{minutes:.1f}"])
    note = (
        f"{len(folds)} folds, one seed. Minutes are a fold's, of training and scoring. No setting was chosen by these "
        "figures: the peer's are its library's, ours were fixed by other jobs; defaults compare with defaults."
    )
    columns = ("cross-encoder", "queries", "NDCG@10", "gain over the stock encoder", "gain over the peer", "minutes")
    return [Table("Trained on the same labels as the peer", columns, rows, note)]
