"""Calibrated probabilities on unseen queries (crowdflower): does P(grade >= 2) come true, and does the cut-off.

The cross-encoder is that of relevance-crowdflower. The curve is fitted on scores of the outer training part's queries
by networks that had not learned from them, one for each of four inner folds of those queries; and, as where a shop
trains once, on the queries of the first inner fold alone.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.held_out import HeldOut, crowdflower, held_out_logits, inner_folds
from benchmarks.job import Measured, Place, Result, Table, Unit
from benchmarks.jobs.relevance_crowdflower import TUNING
from recsys.metrics.calibration import brier, ece, sampling_ece
from recsys.ranking.held_out import as_held_out
from recsys.types import Scores
from training.calibration.config import CalibrationConfig, Kind
from training.calibration.cutoff import Lists, irrelevant_shares
from training.calibration.stage import fit_calibration

PROTOCOL = "by query, 5 outer folds x 3 seeds, P(grade >= 2), 15 bins of equal mass, calibrated inside"
SHOPS = ("crowdflower", "homedepot")
FOLDS, SEEDS = range(5), range(3)
PART, ALL = "one inner fold", "four inner folds"
UNITS = tuple(Unit("calibration", fold, seed) for seed in SEEDS for fold in FOLDS)
THRESHOLD, MAX_GRADE, NONE = 2.0, 3.0, "uncalibrated"
KINDS: tuple[str, ...] = (*get_args(Kind), "auto")
ROWS = (NONE, *(f"{kind}, {fitted}" for fitted in (ALL, PART) for kind in KINDS))
SHARES = (0.1, 0.2)


def measure(unit: Unit, place: Place) -> Measured:
    """The probability of each judged pair of the fold's test queries, and what the cut-offs show."""
    fold, seed = unit.fold or 0, unit.seed or 0
    snapshot = crowdflower(place, fold=fold)
    found = held_out_logits(snapshot, place, fold=fold, seed=seed)
    test = snapshot.judgments("test")
    outcomes = (test["grade"].to_numpy() >= THRESHOLD).astype(np.float64)
    scores: dict[str, list[float]] = {"good": outcomes.tolist()}
    scores[NONE] = (1 / (1 + np.exp(-found.outer.astype(np.float64)))).tolist()
    metrics: dict[str, float] = {}
    chosen: dict[str, Any] = {"crowdflower": TUNING.model_copy(update={"seed": seed}).model_dump()}
    for fitted, known in fitted_on(snapshot.judgments("train", "validation"), found).items():
        for kind in KINDS:
            settings = CalibrationConfig.model_validate({"kind": kind, "threshold": THRESHOLD, "seed": seed})
            curve = fit_calibration(known, config=settings)[0].curve
            scores[f"{kind}, {fitted}"] = [float(value) for value in curve(found.outer)]
            chosen[f"{kind}, {fitted}"] = curve.model_dump(exclude={"logits", "probabilities"})
        for share in SHARES:
            metrics |= cut_off(known, test, found.outer, share=share, seed=seed, fitted=fitted)
    for name in ROWS:
        metrics |= {f"{name} ece": ece(scores[name], outcomes), f"{name} brier": brier(scores[name], outcomes)}
    counts = {"pairs": len(test), "queries": test["query_id"].n_unique(), "pairs fitted on": len(found.inner)}
    return Measured(metrics=metrics, counts=counts, config=chosen, scores=scores)


def fitted_on(judgments: pl.DataFrame, found: HeldOut) -> dict[str, pl.DataFrame]:
    """The held-out scores that each way fits on."""
    whole = as_held_out(judgments, found.inner, max_grade=MAX_GRADE)
    return {ALL: whole, PART: whole.filter(pl.Series(inner_folds(judgments) == 0))}


def cut_off(
    known: pl.DataFrame, test: pl.DataFrame, logits: Scores, *, share: float, seed: int, fitted: str
) -> dict[str, float]:
    """What the cut-off that promises a share shows of the test lists; without a cut-off that the promise is refused."""
    settings = CalibrationConfig(threshold=THRESHOLD, irrelevant_share=share, seed=seed)
    calibration = fit_calibration(known, config=settings)[0]
    found = calibration.cutoff
    name = cut_name(share, fitted)
    if found is None:
        return {f"{name} refused": 1.0}
    lists = Lists(
        logits=logits.astype(np.float64),
        probabilities=calibration.curve(logits).astype(np.float64),
        outcomes=(test["grade"].to_numpy() >= THRESHOLD).astype(np.float64),
        queries=test["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
    )
    shares = irrelevant_shares(lists, cutoff=found.probability, k=found.k)
    return {
        f"{name} refused": 0.0,
        f"{name} cut-off": found.probability,
        f"{name} shown": float(np.nanmean(shares)),
        f"{name} everything": float(np.nanmean(irrelevant_shares(lists, cutoff=0.0, k=found.k))),
        f"{name} nothing": float(np.isnan(shares).mean()),
    }


def cut_name(share: float, fitted: str) -> str:
    """What a cut-off's figures are called."""
    return f"share {share:g}, {fitted}"


def tables(results: Sequence[Result]) -> list[Table]:
    """The calibration error of all folds' pairs together, and the cut-offs."""
    rows = []
    for name in ROWS:
        if measured := [pooled(results, name, seed=seed) for seed in seeds_of(results)]:
            errors, chances, squares = (np.array(column) for column in zip(*measured, strict=True))
            by_fold = np.mean([result["metrics"][f"{name} ece"] for result in results])
            rows.append([name, spread(errors), spread(chances), f"{by_fold:.4f}", spread(squares)])
    cuts = [row for fitted in (ALL, PART) for share in SHARES if (row := cut_row(results, fitted, share=share))]
    columns = ("probabilities", "ECE", "ECE by sampling alone", "ECE of one fold", "Brier")
    note = (
        "All test pairs of the five folds together, mean ± standard deviation over seeds; one fold has a fifth of the "
        "pairs, so that chance alone makes its ECE larger. The kinds of curve are all that was tried; auto is the "
        "default and takes the plainest that left-out queries inside can't tell from the best."
    )
    promise = ("promised", "fitted on", "cut-off", "irrelevant above it", "irrelevant without", "lists left empty")
    more = "The first 10 of each judged test list; means over folds and seeds in which a cut-off could be promised."
    return [Table("P(grade >= 2) on unseen queries", columns, rows, note), Table("Cut-offs", promise, cuts, more)]


def seeds_of(results: Sequence[Result]) -> list[int]:
    """The seeds of which every fold was measured."""
    return [seed for seed in SEEDS if len([one for one in results if one["seed"] == seed]) == len(FOLDS)]


def pooled(results: Sequence[Result], name: str, *, seed: int) -> tuple[float, float, float]:
    """The error over all folds' pairs, that of sampling alone, and the Brier score."""
    own = [result["scores"] for result in results if result["seed"] == seed]
    stated, happened = (np.concatenate([scores[key] for scores in own]) for key in (name, "good"))
    return ece(stated, happened), sampling_ece(stated, seed=seed).mean, brier(stated, happened)


def cut_row(results: Sequence[Result], fitted: str, *, share: float) -> list[str]:
    """One row of the cut-offs; empty where nothing was measured."""
    if not results:
        return []
    name = cut_name(share, fitted)
    found = [result["metrics"] for result in results]
    kept = [metrics for metrics in found if metrics[f"{name} refused"] == 0.0]
    keys = ("cut-off", "shown", "everything", "nothing")
    promised = f"{share:.0%} at most ({len(kept)} of {len(found)} units)"
    if not kept:
        return [promised, fitted, *("-" for _ in keys)]
    cutoff, *shown = (np.mean([one[f"{name} {key}"] for one in kept]) for key in keys)
    return [promised, fitted, f"{cutoff:.2f}", *(f"{value:.1%}" for value in shown)]


def spread(values: NDArray[np.float64]) -> str:
    """Mean ± standard deviation."""
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" if len(values) > 1 else f"{values.mean():.4f}"
