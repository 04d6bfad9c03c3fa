"""Do a model's probabilities come true on judged queries, and what its cut-off shows of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_store.snapshot import Snapshot
from recsys.engine.engine import Engine
from recsys.engine.steps import steps_of
from recsys.metrics.calibration import brier, reliability, sampling_ece
from recsys.ranking.calibration import Calibration, CutOff, as_logits
from recsys.types import Scores
from training.calibration.cutoff import Lists, irrelevant_shares
from training.evaluate.queries import JudgedQuery, Ranking

RIGHTLY, MISSED = "no good match, rightly", "no good match though one was judged"


def why_uncalibrated(engine: Engine, snapshot: Snapshot, *, alone: bool) -> str:
    """Why no probability can be looked at, in words; "" where it can.

    Args:
        engine: of the model.
        snapshot: whose judgments they would be compared with.
        alone: whether the cross-encoder's own scores of the judged products are there.
    """
    if (found := engine.finder.calibration) is None:
        absent = engine.finder.absent
        return absent.get("calibration", absent.get("cross-encoder", "not built"))
    if not math.isclose(found.max_grade, snapshot.manifest.max_grade, rel_tol=1e-6):
        return f"fitted on grades 0 to {found.max_grade:g}, judged here on 0 to {snapshot.manifest.max_grade:g}"
    return "" if alone else "the cross-encoder is not scored by itself where --stages names the systems"


def measure_calibration(
    calibration: Calibration | None, queries: Sequence[JudgedQuery], scores: Sequence[Scores] | None
) -> dict[str, Any]:
    """What came true of the probabilities of all judged products, as a report holds it; empty without a calibration.

    Args:
        calibration: of the cross-encoder.
        queries: the judged queries; those that the protocols leave out count, too.
        scores: for each query float32 [n], the cross-encoder's score of every judged product.
    """
    if calibration is None or scores is None:
        return {}
    flat = np.concatenate(scores)
    lists = Lists(
        logits=as_logits(flat),
        probabilities=calibration.of_scores(flat).astype(np.float64),
        outcomes=(np.concatenate([query.grades for query in queries]) >= calibration.threshold).astype(np.float64),
        queries=np.repeat(np.arange(len(queries)), [len(query.grades) for query in queries]),
    )
    found, chance = reliability(lists.probabilities, lists.outcomes), sampling_ece(lists.probabilities, seed=0)
    report: dict[str, Any] = {
        "of": calibration.said,
        "pairs": len(flat),
        "good": float(lists.outcomes.mean()),
        "ece": found.ece,
        "ece_by_sampling": chance.mean,
        "ece_by_sampling_high": chance.high,
        "brier": brier(lists.probabilities, lists.outcomes),
        "reliability": {name: values.tolist() for name, values in found._asdict().items()},
    }
    return report if calibration.cutoff is None else report | shown_by(calibration.cutoff, lists)


def shown_by(cutoff: CutOff, lists: Lists) -> dict[str, Any]:
    """What the cut-off lets through of the judged products, as a report holds it.

    An empty list is answered with "no good match": rightly where no judged product is one, else `missed`.
    """
    shares = irrelevant_shares(lists, cutoff=cutoff.probability, k=cutoff.k)
    empty = np.isnan(shares)
    good = np.bincount(lists.queries, weights=lists.outcomes, minlength=len(lists)) > 0
    passed = lists.probabilities >= cutoff.probability
    return {
        "cutoff": cutoff.model_dump(),
        "irrelevant_share": None if empty.all() else float(shares[~empty].mean()),
        "lists": len(lists),
        "lists_without_a_good_match": float(empty.mean()),
        "no_good_match": {"rightly": int((empty & ~good).sum()), "missed": int((empty & good).sum())},
        "good_above": share_of(passed, lists.outcomes),
        "irrelevant_above": share_of(passed, 1.0 - lists.outcomes),
    }


def answering(engine: Engine, snapshot: Snapshot, *, stages: str) -> Calibration | None:
    """The calibration by whose cut-off a search with these stages says "no good match"; None where it never does.

    Args:
        engine: of the model.
        snapshot: whose judgments say what a good match is.
        stages: the search's.
    """
    found = engine.finder.calibration
    if found is None or found.cutoff is None or "cross_encoder" not in steps_of(stages):
        return None
    return None if why_uncalibrated(engine, snapshot, alone=True) else found


def count_empty(
    calibration: Calibration | None, queries: Sequence[JudgedQuery], rankings: Sequence[Ranking]
) -> dict[str, int]:
    """How many searches of the catalogue for good matches alone end in "no good match", as counts of a report.

    Rightly where no product was judged one, those that nobody judged being none; else missed. Nothing is counted
    without a cut-off.

    Args:
        calibration: of the cross-encoder.
        queries: the judged queries; those that the protocols leave out count, too.
        rankings: what was found for each.
    """
    if calibration is None or calibration.cutoff is None:
        return {}
    least = np.float32(calibration.cutoff.probability)
    chances = (ranking.probabilities for ranking in rankings)
    empty = np.array([row is None or not (row >= least).any() for row in chances], dtype=np.bool_)
    good = np.array([(query.grades >= calibration.threshold).any() for query in queries], dtype=np.bool_)
    return {RIGHTLY: int((empty & ~good).sum()), MISSED: int((empty & good).sum())}


def share_of(passed: NDArray[np.bool_], weights: NDArray[np.float64]) -> float | None:
    """The weighted share of what passed; None where nothing has weight."""
    total = float(weights.sum())
    return float(weights[passed].sum()) / total if total else None


def said(report: Mapping[str, Any]) -> str:
    """The figures in a line for people."""
    line = (
        f"calibration ({report['of']}): ECE {report['ece']:.4f} over {report['pairs']} pairs in bins of equal mass; "
        f"sampling alone would give {report['ece_by_sampling']:.4f}, at most {report['ece_by_sampling_high']:.4f} in "
        f"19 of 20 cases; Brier {report['brier']:.4f}"
    )
    if (cutoff := report.get("cutoff")) is None:
        return f"{line}\nno cut-off: none was found that keeps its promise"
    share, answers = report["irrelevant_share"], report["no_good_match"]
    shown = "nothing is shown" if share is None else f"{share:.1%} of what a list shows is irrelevant"
    return (
        f"{line}\ncut-off {cutoff['probability']:.2f}: {shown} (promised: {cutoff['irrelevant_share']:.0%} at most), "
        f"{report['lists_without_a_good_match']:.1%} of the lists show nothing: no good match, "
        f"{answers['rightly']} rightly, {answers['missed']} though one was judged"
    )


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures that a run logs, by name."""
    names = ("ece", "ece_by_sampling", "ece_by_sampling_high", "brier", "irrelevant_share")
    return {f"calibration {name}": float(report[name]) for name in names if report.get(name) is not None}
