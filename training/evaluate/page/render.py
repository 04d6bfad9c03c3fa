"""From a table and its report to one page that needs nothing else: no network, no script."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from recsys.metrics.intervals import bootstrap
from recsys.storage import atomic_file
from training.evaluate.compare import DESCRIPTIVE, headline
from training.evaluate.measured import Measured
from training.evaluate.page.plots import gains_plot, plural, slices_plot, systems_plot
from training.evaluate.page.sides import gains_of, pairs_of

TEMPLATE = "page.html.j2"
MOST_SLICES = 12
LEVEL = 0.05


def write_page(measured: Measured, found: Mapping[str, Any], path: Path, *, seed: int) -> None:
    """Write the page of one table.

    Args:
        measured: the table.
        found: what `measured.report` made of it.
        path: the file.
        seed: of the bootstrap.
    """
    text = environment().get_template(TEMPLATE).render(context(measured, found, seed=seed))
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def context(measured: Measured, found: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
    """What the template reads; pictures and pairs only where there is a baseline to compare with."""
    metric = headline(found["metrics"])
    values = {
        "found": found,
        "metric": metric,
        "unit": measured.asked.unit,
        "units": plural(measured.asked.unit),
        "best": best_systems(found["systems"]),
        "level": LEVEL,
        "tests": found["tests"],
        "slices": found["slices"],
        **dict.fromkeys(("systems_plot", "gains_plot", "slices_plot", "gap")),
    }
    if found["tests"] is None:
        return values
    baseline = found["tests"]["baseline"]
    intervals = {name: bootstrap(by_metric[metric], seed=seed) for name, by_metric in measured.systems.items()}
    gains = gains_of(measured, baseline=baseline)
    groups = {name: group["rows"][:MOST_SLICES] for name, group in found["slices"]["by"].items()}
    if len(gains):
        pictures = {
            "systems_plot": systems_plot(intervals, subject=measured.subject, baseline=baseline, metric=metric),
            "gains_plot": gains_plot(gains, unit=measured.asked.unit, metric=metric),
            "slices_plot": slices_plot(groups, metric=metric),
        }
        values |= {name: Markup(svg) for name, svg in pictures.items()}  # noqa: S704 - matplotlib has escaped it
    return values | {
        "baseline": baseline,
        "gap": found["baselines"][baseline]["difference"][metric],
        "won": int((gains > 0).sum()),
        "lost": int((gains < 0).sum()),
        "same": int((gains == 0).sum()),
        "groups": groups,
        "hidden": {
            name: len(group["rows"]) - MOST_SLICES
            for name, group in found["slices"]["by"].items()
            if len(group["rows"]) > MOST_SLICES
        },
        "pairs": pairs_of(measured, baseline=baseline),
    }


def best_systems(systems: Mapping[str, Mapping[str, float | None]]) -> dict[str, set[str]]:
    """By metric, the systems with the highest mean; none for metrics that don't say how good a ranking is."""
    names: Sequence[str] = list(next(iter(systems.values()), {}))
    best = {}
    for metric in names:
        known = {name: row[metric] for name, row in systems.items() if row.get(metric) is not None}
        top = max((value for value in known.values() if value is not None), default=None)
        told = not metric.startswith(DESCRIPTIVE)
        best[metric] = {name for name, value in known.items() if told and value == top}
    return best


@cache
def environment() -> Environment:
    """The templates of this folder; everything that a shop says is escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"figure": figure, "signed": signed, "p": p_value, "number": number}
    return made


def figure(value: float | None) -> str:
    """A metric's value with four digits."""
    return "–" if value is None or np.isnan(value) else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A gain with its sign."""
    return "–" if value is None or np.isnan(value) else f"{value:+.4f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value with four digits, the finest that the samples can tell."""
    return f"{value:.4f}".lstrip("0") if value < 1 else "1"


def number(value: float | None) -> str:
    """A grade without needless digits."""
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
