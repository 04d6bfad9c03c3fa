"""The reliability plot: stated probability against the share that came true, for MLflow and for the page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT = "reliability.png"
ERRORS = 2
"""Standard errors to each side of a share: 19 of 20 draws are within."""


def reliability_figure(report: Mapping[str, Any]) -> "Figure":
    """The plot as a figure of its own; see `draw_reliability`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    draw_reliability(axes, report, point="tab:blue", line="grey")
    axes.set_title(f"ECE {report['ece']:.3f}, by sampling alone {report['ece_by_sampling']:.3f}")
    return figure


def draw_reliability(axes: "Axes", report: Mapping[str, Any], *, point: str, line: str) -> None:
    """A point for each bin of equal mass, on the diagonal where what was stated came true.

    The bar of a bin stands around the diagonal: so far chance alone carries the share of so many independent pairs in
    19 of 20 draws. Judgments of one query agree more than that, so that points stray rather further.

    Args:
        axes: where it is drawn.
        report: of `measure_calibration`.
        point: colour of what came true.
        line: colour of the diagonal and of the bars.

    Source: Bröcker and Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 2007
    (consistency bars; here of the binomial's standard error instead of resampled).
    """
    stated, observed, counts = (np.asarray(report["reliability"][name]) for name in ("stated", "observed", "counts"))
    errors = ERRORS * np.sqrt(stated * (1 - stated) / counts)
    axes.plot([0, 1], [0, 1], color=line, linewidth=1)
    axes.vlines(stated, (stated - errors).clip(0, 1), (stated + errors).clip(0, 1), color=line, linewidth=5, alpha=0.45)
    axes.plot(stated, observed, color=point, marker="o", linewidth=1)
    if (cutoff := report.get("cutoff")) is not None:
        axes.axvline(cutoff["probability"], color=line, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        xlabel="stated probability of a good match",
        ylabel="share of good matches",
    )
