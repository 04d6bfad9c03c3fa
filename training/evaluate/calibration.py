"""Do a model's probabilities come true on judged queries: the figures, and the reliability plot."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.metrics.calibration import brier, reliability, sampling_ece
from recsys.ranking.calibration import Calibration, as_logits
from recsys.types import Scores
from training.calibration.cutoff import Lists, irrelevant_shares
from training.evaluate.queries import JudgedQuery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT = "reliability.png"


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
    report = {
        "of": calibration.said,
        "pairs": len(flat),
        "good": float(lists.outcomes.mean()),
        "ece": found.ece,
        "ece_by_sampling": chance.mean,
        "ece_by_sampling_high": chance.high,
        "brier": brier(lists.probabilities, lists.outcomes),
        "reliability": {name: values.tolist() for name, values in found._asdict().items()},
    }
    if (cutoff := calibration.cutoff) is None:
        return report
    shares = irrelevant_shares(lists, cutoff=cutoff.probability, k=cutoff.k)
    shown = shares[~np.isnan(shares)]
    return report | {
        "cutoff": cutoff.model_dump(),
        "irrelevant_share": float(shown.mean()) if len(shown) else None,
        "lists_without_a_good_match": float(np.isnan(shares).mean()),
    }


def said(report: Mapping[str, Any]) -> str:
    """The figures in a line for people."""
    line = (
        f"calibration ({report['of']}): ECE {report['ece']:.4f} over {report['pairs']} pairs in bins of equal mass; "
        f"sampling alone would give {report['ece_by_sampling']:.4f}, at most {report['ece_by_sampling_high']:.4f} in "
        f"19 of 20 cases; Brier {report['brier']:.4f}"
    )
    if report.get("irrelevant_share") is None:
        return line
    cutoff = report["cutoff"]
    return (
        f"{line}\ncut-off {cutoff['probability']:.2f}: {report['irrelevant_share']:.1%} of what a list shows is "
        f"irrelevant (promised: {cutoff['irrelevant_share']:.0%} at most), "
        f"{report['lists_without_a_good_match']:.1%} of the lists show nothing"
    )


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures that a run logs, by name."""
    names = ("ece", "ece_by_sampling", "ece_by_sampling_high", "brier", "irrelevant_share")
    return {f"calibration {name}": float(report[name]) for name in names if report.get(name) is not None}


def reliability_figure(report: Mapping[str, Any]) -> "Figure":
    """Stated probability against the share that came true, a point for each bin; on the diagonal all is right.

    The bars are two standard errors of a share of so many pairs.
    """
    from matplotlib.figure import Figure

    stated, observed, counts = (np.asarray(report["reliability"][name]) for name in ("stated", "observed", "counts"))
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    errors = 2 * np.sqrt(stated * (1 - stated) / counts)
    axes.errorbar(stated, observed, yerr=errors, marker="o", capsize=2, linewidth=1)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="stated probability of a good match",
        ylabel="share of good matches",
        title=f"ECE {report['ece']:.3f}, by sampling alone {report['ece_by_sampling']:.3f}",
    )
    return figure
