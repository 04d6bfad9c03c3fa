"""Calibrated probabilities on unseen queries (crowdflower): does P(grade >= 2) come true, and does the cut-off.

The cross-encoder is that of relevance-crowdflower, the same weights where they are still there. The curve is fitted on
scores of the outer training part's queries by networks that had not learned from them: one that chose the epochs gives
those of the validation part (a fifth, no further training), or five inner folds give those of all (five trainings).
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import polars as pl

from benchmarks.job import Measured, Place, Result, Table, Unit, of
from benchmarks.jobs.relevance_crowdflower import TUNING, after_homedepot, tuned
from benchmarks.judged import shop_snapshot
from feature_store.snapshot import Snapshot
from recsys.metrics.calibration import brier, ece, sampling_ece
from recsys.text.tokenizer import TextTokenizer
from training.calibration.config import CalibrationConfig, Kind
from training.calibration.cutoff import Lists, irrelevant_shares
from training.calibration.stage import fit_calibration
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.relevance.held_out import as_held_out, fold_logits, score
from training.relevance.learn import learn
from training.relevance.members import Members
from training.relevance.module import Pairs

PROTOCOL = "by query, 5 outer folds x 3 seeds, P(grade >= 2), 15 bins of equal mass, calibrated inside"
SHOPS = ("crowdflower", "homedepot")
FOLDS, SEEDS, INNER = range(5), range(3), 5
PART, ALL = "validation part", "five inner folds"
UNITS = tuple(Unit(variant, fold, seed) for variant in (PART, ALL) for seed in SEEDS for fold in FOLDS)
THRESHOLD, NONE = 2.0, "uncalibrated"
ROWS: tuple[str, ...] = (NONE, *get_args(Kind), "auto")
SHARES = (0.1, 0.2)


def measure(unit: Unit, place: Place) -> Measured:
    """The probability of each judged pair of the fold's test queries, and what the cut-offs show."""
    fold, seed = unit.fold or 0, unit.seed or 0
    shared = Place(place.data, place.work.parent / "relevance-crowdflower")
    shared.work.mkdir(parents=True, exist_ok=True)
    snapshot = shop_snapshot("crowdflower", shared, fold=fold)
    before, config = after_homedepot(shared, seed=seed), TUNING.model_copy(update={"seed": seed})
    network = tuned(snapshot, before, work=shared.work / f"{before.name}-fold{fold}", seed=seed)
    test = read(snapshot, "test", tokenizer=network.tokenizer, config=config)
    logits = score(Members((network,)), test, precision=config.precision)
    known = inner_scores(unit, snapshot, place, config=config, start=before)
    outcomes = (test.grades >= THRESHOLD).astype(np.float64)
    scores: dict[str, list[float]] = {"good": outcomes.tolist()}
    scores[NONE] = (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist()
    metrics: dict[str, float] = {}
    chosen: dict[str, Any] = {"crowdflower": config.model_dump()}
    for name in ROWS[1:]:
        settings = CalibrationConfig.model_validate({"kind": name, "threshold": THRESHOLD, "seed": seed})
        curve = fit_calibration(known, config=settings)[0].curve
        scores[name] = [float(value) for value in curve(logits)]
        chosen[name] = curve.kind
    for name in ROWS:
        metrics |= {f"{name} ece": ece(scores[name], outcomes), f"{name} brier": brier(scores[name], outcomes)}
    for share in SHARES:
        metrics |= cut_off(known, test, logits, share=share, seed=seed)
    counts = {"pairs": len(test), "queries": int(test.queries.max()) + 1, "pairs fitted on": len(known)}
    return Measured(metrics=metrics, counts=counts, config=chosen, scores=scores)


def read(snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RelevanceConfig) -> Pairs:
    """The judged pairs of some parts."""
    pairs = read_pairs(snapshot, *parts, tokenizer=tokenizer, config=config)
    assert pairs is not None  # noqa: S101 - crowdflower has judgments
    return pairs


def inner_scores(unit: Unit, snapshot: Snapshot, place: Place, *, config: RelevanceConfig, start: Any) -> pl.DataFrame:
    """Held-out scores inside the outer training part, by the variant's way."""
    tokenizer = TextTokenizer.load(start)
    work = place.work / f"{start.name}-{unit.stem}"
    if unit.variant == ALL:
        pairs = read(snapshot, "train", "validation", tokenizer=tokenizer, config=config)
        logits = fold_logits(pairs, folds=INNER, config=config, start=start, work=work)
        return as_held_out(snapshot.judgments("train", "validation"), logits, max_grade=pairs.max_grade)
    pairs = read(snapshot, "train", tokenizer=tokenizer, config=config)
    learned = learn(pairs, None, config=config, start=start, work=work)
    judged = read(snapshot, "validation", tokenizer=tokenizer, config=config)
    logits = score(Members((learned,)), judged, precision=config.precision)
    return as_held_out(snapshot.judgments("validation"), logits, max_grade=judged.max_grade)


def cut_off(known: pl.DataFrame, test: Pairs, logits: Any, *, share: float, seed: int) -> dict[str, float]:
    """What the cut-off that promises a share shows of the test lists; without a cut-off that the promise is refused."""
    settings = CalibrationConfig(threshold=THRESHOLD, irrelevant_share=share, seed=seed)
    calibration = fit_calibration(known, config=settings)[0]
    found = calibration.cutoff
    name = f"share {share:g}"
    if found is None:
        return {f"{name} refused": 1.0}
    lists = Lists(
        logits=logits.astype(np.float64),
        probabilities=calibration.curve(logits).astype(np.float64),
        outcomes=(test.grades >= THRESHOLD).astype(np.float64),
        queries=test.queries,
    )
    shares = irrelevant_shares(lists, cutoff=found.probability, k=found.k)
    return {
        f"{name} refused": 0.0,
        f"{name} cut-off": found.probability,
        f"{name} shown": float(np.nanmean(shares)),
        f"{name} everything": float(np.nanmean(irrelevant_shares(lists, cutoff=0.0, k=found.k))),
        f"{name} nothing": float(np.isnan(shares).mean()),
    }


def tables(results: Sequence[Result]) -> list[Table]:
    """The calibration error of all folds' pairs together, and the cut-offs."""
    rows, cuts = [], []
    for variant in (PART, ALL):
        for name in ROWS if variant == ALL else ROWS[1:]:
            if measured := [pooled(results, variant, name, seed=seed) for seed in seeds_of(results, variant)]:
                errors, chances, squares = (np.array(column) for column in zip(*measured, strict=True))
                by_fold = np.mean([result["metrics"][f"{name} ece"] for result in of(results, variant)])
                label = name if name == NONE else f"{name}, {variant}"
                rows.append([label, spread(errors), spread(chances), f"{by_fold:.4f}", spread(squares)])
        cuts += [row for share in SHARES if (row := cut_row(results, variant, share=share))]
    columns = ("probabilities", "ECE", "ECE by sampling alone", "ECE of one fold", "Brier")
    note = (
        "All test pairs of the five folds together, mean ± standard deviation over seeds; one fold has a fifth of the "
        "pairs, so that chance alone makes its ECE larger. The kinds of curve are all that was tried; auto is the "
        "default and chooses by the Brier score on left-out queries inside."
    )
    promise = ("promised", "fitted on", "cut-off", "irrelevant above it", "irrelevant without", "lists left empty")
    more = "The first 10 of each judged test list; means over folds and seeds in which a cut-off could be promised."
    return [Table("P(grade >= 2) on unseen queries", columns, rows, note), Table("Cut-offs", promise, cuts, more)]


def seeds_of(results: Sequence[Result], variant: str) -> list[int]:
    """The seeds of which every fold was measured."""
    done = of(results, variant)
    return [seed for seed in SEEDS if len([one for one in done if one["seed"] == seed]) == len(FOLDS)]


def pooled(results: Sequence[Result], variant: str, name: str, *, seed: int) -> tuple[float, float, float]:
    """The error over all folds' pairs, that of sampling alone, and the Brier score."""
    own = [result["scores"] for result in of(results, variant) if result["seed"] == seed]
    stated, happened = (np.concatenate([scores[key] for scores in own]) for key in (name, "good"))
    return ece(stated, happened), sampling_ece(stated, seed=seed).mean, brier(stated, happened)


def cut_row(results: Sequence[Result], variant: str, *, share: float) -> list[str]:
    """One row of the cut-offs; empty where nothing was measured."""
    name = f"share {share:g}"
    found = [result["metrics"] for result in of(results, variant)]
    kept = [metrics for metrics in found if metrics[f"{name} refused"] == 0.0]
    if not found:
        return []
    means = [np.mean([one[f"{name} {key}"] for one in kept]) if kept else np.nan for key in ("cut-off", "shown")]
    more = [np.mean([one[f"{name} {key}"] for one in kept]) if kept else np.nan for key in ("everything", "nothing")]
    promised = f"{share:.0%} at most ({len(kept)} of {len(found)} units)"
    return [promised, variant, f"{means[0]:.2f}", *(f"{value:.1%}" for value in (means[1], *more))]


def spread(values: np.ndarray[Any, Any]) -> str:
    """Mean ± standard deviation."""
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}" if len(values) > 1 else f"{values.mean():.4f}"
