"""Whether each stage stays on: by what it gains, on held-out queries, over the list of those before it.

A stage beats the list without it where the 95 % interval of its gain lies above 0. One whose gain can't be told from
none does not, however few the queries are: it costs its time for sure.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from recsys.metrics.intervals import bootstrap, paired_bootstrap
from training.blender.choose import ndcg_of
from training.blender.rows import Floats, Rows
from training.evaluate.earned import as_interval, by_class, cost

Step = Callable[[Floats], Floats]
"""From the scores of the stages before, float64 [pairs], to those with one more."""
STAGES = ("dense", "cross_encoder")
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
    """What `hold_up` reports of the weighted sum's stages and then the blender.

    The blender reads every stage's scores, so where it stays on, so do they.

    Args:
        rows: the held-out pairs.
        blended: float64 [pairs], the blender's cross-fitted scores.
        classes: by classification, the class of each query.
        times: by stage, milliseconds of queries that were searched with it and all before it.
        earn_all: whether other stages than the blender may go off.
        seed: of the bootstrap.
    """
    steps: dict[str, Step] = {name: partial(with_parts, rows, name) for name in STAGES if name in rows.parts}
    steps["blender"] = lambda total: blended
    may_go = tuple(steps) if earn_all else ("blender",)
    found = hold_up(rows, steps, classes=classes, times=times, may_go=may_go, seed=seed)
    if "blender" in found["off"]:
        return found
    return found | {"off": [], "stages": [stage | {"on": True} for stage in found["stages"]]}


def hold_up(
    rows: Rows,
    steps: Mapping[str, Step],
    *,
    classes: Mapping[str, Sequence[str]],
    times: Mapping[str, Sequence[float]],
    may_go: Collection[str],
    seed: int,
) -> dict[str, Any]:
    """The report: by stage NDCG@10, gain, milliseconds, verdict and the same by query class; and what goes off.

    A stage is held against the list of those before it that stayed on, BM25 first.

    Args:
        rows: the held-out pairs.
        steps: by stage, in their order.
        classes: by classification, the class of each query.
        times: by stage, milliseconds of queries that were searched with it and all before it.
        may_go: the stages that may go off; the others are told of only.
        seed: of the bootstrap.
    """
    total = rows.parts["bm25"].astype(np.float64)
    before = ndcg_of(rows, total)
    stages: list[dict[str, Any]] = [
        {"stage": "bm25", "on": True, "ndcg@10": as_interval(bootstrap(before, seed=seed))} | cost(times, "bm25")
    ]
    off: list[str] = []
    for name, step in steps.items():
        scores = step(total)
        values = ndcg_of(rows, scores)
        gain = paired_bootstrap(values, before, seed=seed)
        stays = bool(gain.above) or name not in may_go
        row = {"stage": name, "on": stays, "ndcg@10": as_interval(bootstrap(values, seed=seed))}
        row |= {"gain": as_interval(gain)} | cost(times, name)
        stages.append(row | {"classes": by_class(values - before, classes, seed=seed)})
        if stays:
            before, total = values, scores
        else:
            off.append(name)
    return {"queries": int(np.isfinite(before).sum()), "stages": stages, "off": off}


def with_parts(rows: Rows, stage: str, total: Floats) -> Floats:
    """float64 [pairs]: the scores with what a stage adds to the weighted sum."""
    found = [rows.parts[name].astype(np.float64) for name in PARTS[stage] if name in rows.parts]
    return np.asarray(total + np.stack(found).sum(axis=0), dtype=np.float64)


def metrics_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a report as a component's metrics."""
    found: dict[str, float] = {}
    for stage in report["stages"]:
        name = stage["stage"]
        if stage["ndcg@10"] is not None:
            found[f"validation/{name}.ndcg@10"] = stage["ndcg@10"]["mean"]
        if stage.get("gain"):
            found |= {f"validation/{name}.gain.{end}": value for end, value in stage["gain"].items()}
        found |= {f"{name}.milliseconds.{end}": value for end, value in stage.get("milliseconds", {}).items()}
    return found
