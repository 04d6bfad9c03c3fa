"""Earn your latency: what each stage of a search gains over the list of the stages before it, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.engine.search import Search
from recsys.engine.steps import steps_of
from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap

Floats = NDArray[np.float64]
CHAIN: Mapping[str, str] = {"bm25": "bm25", "dense": "hybrid", "cross_encoder": "full", "blender": "blended"}
"""By stage, the name under which the engine runs it with all before it."""
SEEN = 10  # products that a page of answers shows
EARNED = ("gain", "low", "high", "ms p50", "ms p95", "verdict")
CLASSES = ("stage", "by", "class", "queries", "gain", "low", "high", "verdict")
TIMED = 5  # searches of an evaluation that are timed, each stage of each


@dataclass(frozen=True, slots=True)
class Ran:
    """The stages of a search as they ran.

    Attributes:
        on: by stage of CHAIN, whether a search that names no stages does it.
        times: by stage, milliseconds of single searches of the whole catalogue with it and all before it.
    """

    on: Mapping[str, bool]
    times: Mapping[str, Sequence[float]]


def run_stages(finder: Search, texts: Sequence[str], *, stages: Sequence[str]) -> Ran:
    """Time the stages that are measured on the first of some queries.

    Args:
        finder: the stages.
        texts: of the queries.
        stages: the names of the rankings that are measured; others than those of CHAIN are passed over.
    """
    usual = ("bm25", *steps_of(finder.default))
    wanted = [stage for stage, name in CHAIN.items() if name in stages]
    times = time_stages(finder, texts[:TIMED], wanted=wanted)
    return Ran({stage: stage in usual for stage in times}, times)


def time_stages(
    finder: Search, texts: Sequence[str], *, wanted: Sequence[str] = tuple(CHAIN)
) -> dict[str, list[float]]:
    """By stage of the index, milliseconds of each query alone, searched with it and all before it."""
    found: dict[str, list[float]] = {}
    for stage, name in CHAIN.items():
        if name not in finder.available or stage not in wanted:
            continue
        for text in texts[:1]:
            list(finder.run([text], k=SEEN, allowed=None, stages=name))  # what is made on first use is no query's cost
        found[stage] = []
        for text in texts:
            begun = perf_counter()
            list(finder.run([text], k=SEEN, allowed=None, stages=name))
            found[stage].append((perf_counter() - begun) * 1000)
    return found


def stage_rows(
    ran: Ran,
    systems: Mapping[str, Mapping[str, Floats]],
    *,
    metric: str,
    groups: Mapping[str, Sequence[str]],
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each stage: its list's metric, gain over the list without it, cost, and the gain by class of queries.

    Args:
        ran: the stages.
        systems: by the name of the ranking and metric, float64 [queries]; NaN where a query does not count.
        metric: the one that is told.
        groups: by classification, the class of each query.
        seed: of the bootstrap.
    """
    rows: list[dict[str, Any]] = []
    before: Floats | None = None
    for stage, name in CHAIN.items():
        if stage not in ran.on or name not in systems:
            continue
        values = systems[name][metric]
        row = {"stage": stage, "on": ran.on[stage], metric: as_interval(bootstrap(values, seed=seed))}
        if before is not None:
            row["gain"] = as_interval(paired_bootstrap(values, before, seed=seed))
            row["classes"] = by_class(values - before, groups, seed=seed)
        rows.append(row | cost(ran.times, stage))
        before = values
    return rows


def by_class(gains: Floats, classes: Mapping[str, Sequence[str]], *, seed: int) -> list[dict[str, Any]]:
    """The gain in each query class that has a query that counts."""
    found = []
    for kind, labels in classes.items():
        for label in sorted(set(labels)):
            own = gains[np.asarray(labels) == label]
            interval: Interval = bootstrap(own, seed=seed)
            if np.isfinite(own).any():
                found.append(
                    {"by": kind, "class": label, "queries": int(np.isfinite(own).sum()), "gain": as_interval(interval)}
                    | {"earns": interval.above}
                )
    return found


def cost(times: Mapping[str, Sequence[float]], name: str) -> dict[str, Any]:
    """Milliseconds of a query up to and with a stage; nothing where it was not timed."""
    if not times.get(name):
        return {}
    half, most = np.quantile(times[name], [0.5, 0.95])
    return {"milliseconds": {"p50": round(float(half), 2), "p95": round(float(most), 2)}}


def as_interval(interval: Interval) -> dict[str, float] | None:
    """An interval as JSON holds it; None where no query counts."""
    return None if np.isnan(interval.mean) else interval._asdict()


def earned_tables(rows: Sequence[Mapping[str, Any]], *, metric: str) -> tuple[list[list[object]], list[list[object]]]:
    """The cells of two tables, EARNED and CLASSES: the stages, and each one's gain by class of queries."""
    stages: list[list[object]] = []
    classes: list[list[object]] = []
    for row in rows:
        gain, time, value = row.get("gain") or {}, row.get("milliseconds") or {}, row[metric]
        spread = [gain.get(name) for name in ("mean", "low", "high")]
        cells = [*spread, *(time.get(name) for name in ("p50", "p95"))]
        stages.append([row["stage"], value and value["mean"], *cells, "on" if row["on"] else "off"])
        for one in row.get("classes", ()):
            ends = [one["gain"][name] for name in ("mean", "low", "high")]
            verdict = "earns" if one["earns"] else "does not"
            classes.append([row["stage"], one["by"], one["class"], str(one["queries"]), *ends, verdict])
    return stages, classes
