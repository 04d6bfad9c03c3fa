"""Earn your latency: what each stage gains over the list without it, what it costs, and whether it stays on."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from recsys.engine.search import Search
from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap
from training.blender.choose import ndcg_of
from training.blender.rows import Floats, Rows
from training.evaluate.measured import as_fields

STAGES = ("dense", "cross_encoder", "blender")
CHAIN: Mapping[str, str] = {"bm25": "bm25", "dense": "hybrid", "cross_encoder": "full", "blender": "blended"}
"""By stage, the name under which the engine runs it with all before it."""
PARTS: Mapping[str, tuple[str, ...]] = {"dense": ("dense", "image"), "cross_encoder": ("cross_encoder", "feedback")}
"""By stage, the parts of the weighted sum that are there only where it is."""
SEEN = 10  # products that a page of answers shows


def earn(
    rows: Rows,
    blended: Floats,
    *,
    classes: Mapping[str, Sequence[str]],
    times: Mapping[str, Sequence[float]],
    earn_all: bool,
    seed: int,
) -> dict[str, Any]:
    """The report: by stage NDCG@10, gain, milliseconds, verdict and the same by query class; and what goes off.

    A stage is held against the list of those before it that stayed on. The blender reads every stage's scores, so
    where it stays on, so do they.

    Args:
        rows: the held-out pairs.
        blended: float64 [pairs], the blender's cross-fitted scores.
        classes: by classification, the class of each query.
        times: by stage, milliseconds of queries that were searched with it and all before it.
        earn_all: whether other stages than the blender may go off.
        seed: of the bootstrap.
    """
    total = rows.parts["bm25"].astype(np.float64)
    before = ndcg_of(rows, total)
    stages: list[dict[str, Any]] = [
        {"stage": "bm25", "on": True, "ndcg@10": as_fields(bootstrap(before, seed=seed))} | cost(times, "bm25")
    ]
    off: list[str] = []
    for name in (stage for stage in STAGES if stage == "blender" or stage in rows.parts):
        scores = blended if name == "blender" else total + added(rows, name)
        values = ndcg_of(rows, scores)
        gain = paired_bootstrap(values, before, seed=seed)
        stays = bool(gain.above) or (name != "blender" and not earn_all)
        stages.append(
            {"stage": name, "on": stays, "ndcg@10": as_fields(bootstrap(values, seed=seed)), "gain": as_fields(gain)}
            | cost(times, name)
            | {"classes": by_class(values - before, classes, seed=seed)}
        )
        if stays:
            before, total = values, scores
        else:
            off.append(name)
    if "blender" not in off:
        off = []
        stages = [stage | {"on": True} for stage in stages]
    return {"queries": int(np.isfinite(before).sum()), "stages": stages, "off": off}


def added(rows: Rows, stage: str) -> Floats:
    """float64 [pairs]: what a stage adds to the weighted sum."""
    found = [rows.parts[name].astype(np.float64) for name in PARTS[stage] if name in rows.parts]
    return np.asarray(np.stack(found).sum(axis=0), dtype=np.float64)


def by_class(gains: Floats, classes: Mapping[str, Sequence[str]], *, seed: int) -> list[dict[str, Any]]:
    """The gain in each query class that has a query that counts."""
    found = []
    for kind, labels in classes.items():
        for label in sorted(set(labels)):
            own = gains[np.asarray(labels) == label]
            interval: Interval = bootstrap(own, seed=seed)
            if np.isfinite(own).any():
                found.append(
                    {"by": kind, "class": label, "queries": int(np.isfinite(own).sum()), "gain": as_fields(interval)}
                    | {"earns": interval.above}
                )
    return found


def cost(times: Mapping[str, Sequence[float]], name: str) -> dict[str, Any]:
    """Milliseconds of a query up to and with a stage; nothing where it was not timed."""
    if not times.get(name):
        return {}
    half, most = np.quantile(times[name], [0.5, 0.95])
    return {"milliseconds": {"p50": round(float(half), 2), "p95": round(float(most), 2)}}


def time_stages(finder: Search, texts: Sequence[str]) -> dict[str, list[float]]:
    """By stage of the index, milliseconds of each query alone, searched with it and all before it."""
    found: dict[str, list[float]] = {}
    for stage, name in CHAIN.items():
        if name not in finder.available:
            continue
        for text in texts[:1]:
            list(finder.run([text], k=SEEN, allowed=None, stages=name))  # what is made on first use is no query's cost
        found[stage] = []
        for text in texts:
            begun = perf_counter()
            list(finder.run([text], k=SEEN, allowed=None, stages=name))
            found[stage].append((perf_counter() - begun) * 1000)
    return found
