"""Pictures of an evaluation as SVG that stands inside a page and takes the page's colours, light or dark."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsys.metrics.intervals import Interval
from training.evaluate.reliability import draw_reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
# Stand-ins that are no colour of matplotlib's own; the page's style says what they are.
INK, MUTED, RULE, ACCENT, GAIN, LOSS, CARD = (f"#0102{number:02d}" for number in range(3, 10))
COLOURS = {INK: "ink", MUTED: "muted", RULE: "rule", ACCENT: "accent", GAIN: "gain", LOSS: "loss", CARD: "card"}
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "xtick.color": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
WIDE, ROW = 8.0, 0.32
SQUARE, SQUARE_ROWS = 5.0, 13
LONGEST_LABEL = 34
MOST_POINTS = 800
FEWEST = 10
"""Of fewer queries or users an interval by the bootstrap is too narrow to be believed."""


def systems_plot(intervals: Mapping[str, Interval], *, subject: str, baseline: str, metric: str) -> str:
    """Each system's mean with its interval, best above.

    Args:
        intervals: by system.
        subject: the system under evaluation, which stands out.
        baseline: the system that the others are compared with, whose mean is a line.
        metric: the axis's name.
    """
    order = sorted((name for name, row in intervals.items() if not np.isnan(row.mean)), key=lambda n: intervals[n].mean)
    with drawing(rows=len(order)) as (figure, axes):
        if baseline in order:
            axes.axvline(intervals[baseline].mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for place, name in enumerate(order):
            dot(axes, intervals[name], place=place, colour=ACCENT if name == subject else MUTED)
        axes.set_yticks(range(len(order)), [short(name) for name in order])
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(f"{metric}, 95 % bootstrap interval")
        return as_svg(figure, salt="systems", told=f"{metric} of {len(order)} systems with intervals")


def gains_plot(gains: Floats, *, unit: str, metric: str) -> str:
    """The gain over the baseline of every query or user, the largest first.

    Args:
        gains: float [n], without NaN.
        unit: "query" or "user".
        metric: the axis's name.
    """
    falling = np.sort(gains)[::-1]
    shown = falling[np.linspace(0, len(falling) - 1, min(len(falling), MOST_POINTS)).round().astype(np.int64)]
    edges = np.linspace(0, len(falling), len(shown) + 1)
    with drawing(rows=8) as (figure, axes):
        axes.stairs(np.maximum(shown, 0.0), edges, fill=True, color=GAIN)
        axes.stairs(np.minimum(shown, 0.0), edges, fill=True, color=LOSS)
        axes.axhline(0.0, color=RULE, linewidth=1)
        axes.set_xlim(0, max(1, len(falling)))
        axes.locator_params(axis="x", integer=True)
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.grid(visible=False, axis="x")
        axes.grid(visible=True, axis="y", color=RULE, linewidth=0.5)
        axes.set_xlabel(f"{len(falling)} {plural(unit)}, the largest gain first")
        axes.set_ylabel(f"gain in {metric}")
        return as_svg(figure, salt="gains", told=f"Gain in {metric} by {unit}, the largest first")


def slices_plot(groups: Mapping[str, Sequence[Mapping[str, Any]]], *, metric: str) -> str:
    """The paired gain of each slice with its interval, one group of slices under the other.

    Args:
        groups: by slicing, rows of `slices.slice_rows`.
        metric: the axis's name.
    """
    labels: list[str] = []
    heads: list[int] = []
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for name, found in groups.items():
        heads.append(len(labels))
        labels.append(name)
        for row in found:
            rows.append((len(labels), row))
            labels.append(f"{short(row['slice'])}  ({row['n']})")
    with drawing(rows=len(labels)) as (figure, axes):
        axes.axvline(0.0, color=MUTED, linewidth=1)
        for place, row in rows:
            if row["gain"] is not None:
                dot(axes, Interval(row["gain"], row["gain_low"], row["gain_high"]), place=place, colour=tone(row))
        axes.set_yticks(range(len(labels)), labels)
        for place in heads:
            axes.get_yticklabels()[place].set_fontweight("bold")
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel(f"gain in {metric}, 95 % paired interval; in brackets how many count")
        return as_svg(figure, salt="slices", told=f"Gain in {metric} by slice with intervals")


def reliability_plot(stated: Mapping[str, Any]) -> str:
    """Stated probabilities against what came true; `stated` as of `calibration.measure_calibration`."""
    with drawing(rows=SQUARE_ROWS, wide=SQUARE) as (figure, axes):
        draw_reliability(axes, stated, point=ACCENT, line=MUTED)
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.grid(visible=True, axis="y", color=RULE, linewidth=0.5)
        told = f"Reliability plot: ECE {stated['ece']:.4f}, by sampling alone {stated['ece_by_sampling']:.4f}"
        return as_svg(figure, salt="reliability", told=told)


@contextmanager
def drawing(*, rows: int, wide: float = WIDE) -> "Iterator[tuple[Figure, Axes]]":
    """A figure as tall as its rows, in the style of the page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        # The page's font draws the letters; those that matplotlib's own lacks are only measured less exactly.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(wide, 0.9 + ROW * max(1, rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.tick_params(length=0)
        axes.grid(visible=True, axis="x", color=RULE, linewidth=0.5)
        axes.set_axisbelow(True)
        yield figure, axes


def dot(axes: "Axes", interval: Interval, *, place: int, colour: str) -> None:
    """A mean and the line of its interval; hollow where it is muted, so that not colour alone tells."""
    face = CARD if colour == MUTED else colour
    axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
    axes.plot([interval.mean], [place], color=colour, marker="o", markersize=7, markerfacecolor=face)


def tone(row: Mapping[str, Any]) -> str:
    """The colour of a slice's gain: its sign, where enough count and the interval leaves 0 out."""
    if row["n"] < FEWEST:
        return MUTED
    return GAIN if row["gain_low"] > 0 else LOSS if row["gain_high"] < 0 else MUTED


def as_svg(figure: "Figure", *, salt: str, told: str) -> str:
    """The figure as an SVG element whose colours are the page's; the same figure gives the same text.

    Args:
        figure: the picture.
        salt: keeps the ids of several pictures on one page apart.
        told: what the picture is, for those who have it read aloud.
    """
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": salt}), io.StringIO() as text:
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg = text.getvalue()
    svg = f'<svg role="img" aria-label="{escape(told, quote=True)}"' + svg[svg.index("<svg") + len("<svg") :]
    for stand_in, name in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def short(text: str) -> str:
    """A label on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1]}…"


def plural(unit: str) -> str:
    """More than one query or user."""
    return {"query": "queries", "user": "users"}[unit]
