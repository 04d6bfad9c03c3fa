"""The techniques that led the screening, confirmed in full: crowdflower by query, all folds and seeds.

Each row is the recipe of relevance-crowdflower, from the same networks after homedepot, with one setting changed in
the step on crowdflower. Its gain is over that recipe on the same queries; the cosine's and the feedback's shares are
those that relevance-crowdflower chooses on each fold's training queries.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.job import Measured, Place, Result, Table, Unit, of, span
from benchmarks.jobs.relevance_crowdflower import (
    FOLDS,
    SEEDS,
    TUNING,
    after_homedepot,
    choose_shares,
    relevance,
    tuned,
)
from benchmarks.jobs.relevance_screening import PLAIN, VARIANTS, Settings
from benchmarks.judged import NETWORKS, by_query, pooled, shop_snapshot, title_vectors, with_feedback
from feature_store.snapshot import Snapshot
from recsys.metrics.intervals import bootstrap, holm, paired_bootstrap, sign_flip_test
from recsys.text.tokenizer import TextTokenizer
from training.relevance.learn import Learned
from training.relevance.soup import learn_soup
from training.relevance.sources import Reader, Sources

PROTOCOL = "by query, 5 outer folds x 3 seeds, judged pairs, ties averaged; Holm over all switches screened"
SHOPS = ("crowdflower", "homedepot")
CONFIRMED: Mapping[str, Settings] = {
    "LoRA 8": VARIANTS["LoRA 8, crowdflower"].crowdflower,
    "soup of 2": VARIANTS["soup of 2"].crowdflower,
    "R-Drop 1": VARIANTS["R-Drop 1"].crowdflower,
    "rater_weight": VARIANTS["rater_weight"].crowdflower,
    "EMA .99": VARIANTS["EMA .99"].crowdflower,
}
UNITS = tuple(Unit(name, fold, seed) for seed in SEEDS for fold in FOLDS for name in (PLAIN, *CONFIRMED))
ALONE, HEARD = "ndcg@10", "heard.ndcg@10"


def measure(unit: Unit, place: Place) -> Measured:
    """NDCG@10 of each test query of the fold, by the network alone and with cosine and feedback."""
    fold, seed, own = unit.fold or 0, unit.seed or 0, place.of(NETWORKS)
    snapshot = shop_snapshot("crowdflower", own, fold=fold)
    judgments = snapshot.judgments("test")
    learned = learned_of(unit, snapshot, place=place)
    scores = relevance(learned, snapshot, judgments)
    share, heard = shares_of(own, fold, seed)
    vectors = title_vectors(snapshot, judgments)
    together = with_feedback(judgments, scores + share * vectors.cosines, vectors.titles, heard)
    values = {ALONE: by_query(judgments, scores), HEARD: by_query(judgments, together)}
    return Measured(
        metrics={name: sum(column) / len(column) for name, column in values.items()},
        counts={"queries": len(values[ALONE]), "pairs": len(judgments)},
        config=dict(CONFIRMED.get(unit.variant, {})),
        scores=values,
    )


def learned_of(unit: Unit, snapshot: Snapshot, *, place: Place) -> Learned:
    """The fold's network; the plain one is that of relevance-crowdflower."""
    fold, seed, own = unit.fold or 0, unit.seed or 0, place.of(NETWORKS)
    start = after_homedepot(own, seed=seed)
    if unit.variant == PLAIN:
        return tuned(snapshot, start, work=own.work / f"{start.name}-fold{fold}", seed=seed)
    changed: dict[str, Any] = {**TUNING.model_dump(), **CONFIRMED[unit.variant], "seed": seed}
    config = type(TUNING).model_validate(changed)
    reader = Reader(snapshot, Sources(), TextTokenizer.load(start), config, place.work / "reader")
    pairs = reader.pairs("train", "validation")
    if pairs is None:
        raise ValueError("crowdflower has no judgments")
    work = place.work / f"{start.name}-{unit.stem}"
    return learn_soup(pairs, None, config=config, start=start, work=work).learned


@lru_cache(maxsize=1)
def shares_of(own: Place, fold: int, seed: int) -> tuple[float, float]:
    """Weights of cosine and feedback of a fold and seed; its units stand one behind the other."""
    return choose_shares(shop_snapshot("crowdflower", own, fold=fold), [after_homedepot(own, seed=seed)])


def tables(results: Sequence[Result]) -> list[Table]:
    """For each row its NDCG@10, the gain over the plain recipe, and its p-value among all that was screened."""
    found = {name: compared(results, name) for name in CONFIRMED}
    gaps = {name: pair for name, pair in found.items() if pair is not None}
    screened = len(VARIANTS) - 1
    p_values = [sign_flip_test(*pair[ALONE], seed=0) for pair in gaps.values()]
    corrected = holm([*p_values, *[1.0] * (screened - len(p_values))])
    rows = [
        [name, str(len(of(results, name))), *cells(pair, p=float(p))]
        for (name, pair), p in zip(gaps.items(), corrected, strict=False)
    ]
    seeds = {result["seed"] for result in results}
    rule = "A switch becomes a default where p is below .05" + (
        "." if len(seeds) == len(SEEDS) else f"; with {len(seeds)} of {len(SEEDS)} seeds measured none does yet."
    )
    note = (
        f"Five of the {screened} switches of the screening, those that led when they were chosen. A query's value "
        "is its mean over the seeds that were measured; p is that of a sign-flip test of the gain alone, corrected by "
        f"Holm for all switches screened, those not confirmed counting as 1. {rule}"
    )
    columns = ("switch", "units", "queries", "NDCG@10", "gain over plain", "gain with cosine + feedback", "p (Holm)")
    return [Table("Techniques confirmed in full", columns, rows, note)]


Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def compared(results: Sequence[Result], name: str) -> dict[str, Pair] | None:
    """By metric the row's and the plain recipe's values on the folds and seeds that both have; None without any."""
    done = {(result["fold"], result["seed"]) for result in of(results, name)}
    done &= {(result["fold"], result["seed"]) for result in of(results, PLAIN)}
    shared = [result for result in results if (result["fold"], result["seed"]) in done]
    if not done:
        return None
    return {
        metric: (pooled(shared, name, metric=metric), pooled(shared, PLAIN, metric=metric)) for metric in (ALONE, HEARD)
    }


def cells(pair: Mapping[str, Pair], *, p: float) -> list[str]:
    """What stands behind a row's name and units."""
    own = bootstrap(pair[ALONE][0], seed=0)
    gains = [span(paired_bootstrap(*pair[metric], seed=0)) for metric in (ALONE, HEARD)]
    return [str(len(pair[ALONE][0])), f"{own.mean:.4f}", *gains, f"{p:.3f}"]
