"""From a table and its report to one page that needs nothing else: no network, no script."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from recsys.metrics.intervals import bootstrap
from recsys.page.environment import page_environment
from recsys.storage import atomic_file
from training.evaluate.compare import DESCRIPTIVE, headline
from training.evaluate.measured import Measured
from training.evaluate.page.plots import FEWEST, gains_plot, plural, reliability_plot, slices_plot, systems_plot
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
    metric, stated = headline(found["metrics"]), found.get("calibration")
    values = {
        "found": found,
        "metric": metric,
        "unit": measured.asked.unit,
        "units": plural(measured.asked.unit),
        "best": best_systems(found["systems"]),
        "above": better_systems(found["systems"], subject=measured.subject, metric=metric),
        "level": LEVEL,
        "fewest": FEWEST,
        "tests": found["tests"],
        "slices": found["slices"],
        "calibration": stated,
        "uncalibrated": found.get("uncalibrated", ""),
        "reliability_plot": Markup(reliability_plot(stated)) if stated else None,  # noqa: S704 - matplotlib has escaped it
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


def better_systems(systems: Mapping[str, Mapping[str, float | None]], *, subject: str, metric: str) -> list[str]:
    """The systems with a higher mean than the subject, the best first."""
    own = systems[subject].get(metric)
    known = {name: value for name, row in systems.items() if (value := row.get(metric)) is not None}
    return sorted((name for name in known if own is not None and known[name] > own), key=lambda name: -known[name])


@cache
def environment() -> Environment:
    """The templates of this folder; everything that a shop says is escaped."""
    made = page_environment(Path(__file__).parent)
    made.filters |= {"figure": figure, "signed": signed, "p": p_value, "number": number, "percent": percent}
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


def percent(share: float | None) -> str:
    """A share with the digits that a list of a few hundred can tell."""
    return "–" if share is None else f"{100 * share:.1f}".removesuffix(".0") + " %"
