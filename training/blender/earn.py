"""Whether each stage stays on: by what it gains, on held-out queries, over the list of those before it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.metrics.intervals import bootstrap, paired_bootstrap
from training.blender.choose import ndcg_of
from training.blender.rows import Floats, Rows
from training.evaluate.earned import as_interval, by_class, cost

STAGES = ("dense", "cross_encoder", "blender")
PARTS: Mapping[str, tuple[str, ...]] = {"dense": ("dense", "image"), "cross_encoder": ("cross_encoder", "feedback")}
"""By stage, the parts of the weighted sum that are there only where it is."""


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
        {"stage": "bm25", "on": True, "ndcg@10": as_interval(bootstrap(before, seed=seed))} | cost(times, "bm25")
    ]
    off: list[str] = []
    for name in (stage for stage in STAGES if stage == "blender" or stage in rows.parts):
        scores = blended if name == "blender" else total + added(rows, name)
        values = ndcg_of(rows, scores)
        gain = paired_bootstrap(values, before, seed=seed)
        stays = bool(gain.above) or (name != "blender" and not earn_all)
        row = {"stage": name, "on": stays, "ndcg@10": as_interval(bootstrap(values, seed=seed))}
        row |= {"gain": as_interval(gain)} | cost(times, name)
        stages.append(row | {"classes": by_class(values - before, classes, seed=seed)})
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
