"""The weights of cosine and feedback beside the cross-encoder's, chosen on queries it had not learned from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from recsys.engine.policy import SearchPolicy
from recsys.metrics.intervals import Interval, bootstrap, paired_bootstrap
from recsys.ranking.feedback import feedback
from recsys.types import Vectors
from training.blender.choose import mean_of, ndcg_of
from training.blender.earn import STAGES, Step, with_parts
from training.blender.rows import Floats, Rows
from training.evaluate.earned import as_interval
from training.folds import text_folds

TRIED: Mapping[str, tuple[float, ...]] = {"dense": (0.0, 0.25, 0.5, 1.0, 2.0), "feedback": (0.0, 0.5, 1.0, 2.0)}
WEIGHTS: Mapping[str, str] = {name: name for name in ("bm25", "dense", "cross_encoder")} | {"image": "dense"}
"""By part of the weighted sum, the policy's field that weighs it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Held-out pairs as the stages see them.

    Attributes:
        rows: the pairs, each part of their sum at weight 1, without feedback.
        vectors: float32 [pairs, width], of the products; None where there are none.
    """

    rows: Rows
    vectors: Vectors | None

    def weighed(self, policy: SearchPolicy) -> Rows:
        """The pairs, their parts at the policy's weights."""
        parts = {name: np.float32(getattr(policy, WEIGHTS[name])) * part for name, part in self.rows.parts.items()}
        return replace(self.rows, parts=parts)

    def steps(self, policy: SearchPolicy) -> dict[str, Step]:
        """What each stage makes of the scores before it, under a policy; feedback belongs to the cross-encoder."""
        rows = self.weighed(policy)
        found: dict[str, Step] = {name: partial(with_parts, rows, name) for name in STAGES if name in rows.parts}
        if "cross_encoder" in found and policy.feedback and self.vectors is not None:
            found["cross_encoder"] = lambda total: self.heard(with_parts(rows, "cross_encoder", total), policy)
        return found

    def heard(self, scores: Floats, policy: SearchPolicy) -> Floats:
        """float64 [pairs]: the scores with the feedback of each query's list."""
        if self.vectors is None:
            return scores
        total = scores.copy()
        for part in np.split(np.arange(len(scores)), self.rows.starts[1:]):
            said = feedback(
                scores[part].astype(np.float32), self.vectors[part], temperature=policy.feedback_temperature
            )
            total[part] += policy.feedback * said.clip(min=0)
        return total

    def total(self, policy: SearchPolicy) -> Floats:
        """float64 [pairs]: the scores that a search with all stages of the sum gives."""
        total = self.weighed(policy).parts["bm25"].astype(np.float64)
        for step in self.steps(policy).values():
            total = step(total)
        return total


class Shares(NamedTuple):
    """What was chosen.

    Attributes:
        chosen: by field of the policy, its weight; empty where the weights that there are stay.
        report: of the choice, as JSON holds it.
    """

    chosen: dict[str, float]
    report: dict[str, Any]


def choose_shares(judged: Judged, policy: SearchPolicy, *, free: Sequence[str], folds: int, seed: int) -> Shares:
    """The weights with the best mean NDCG@10, where they surely gain over the policy's own.

    The gain is that of choosing: each query is ranked by the weights that are best for the other folds' queries. It is
    sure where the paired 95 % interval lies above 0; else the policy's own weights stay.

    Args:
        judged: the held-out pairs.
        policy: with the weights to hold against.
        free: the fields of TRIED that may change, one or more.
        folds: parts of the queries.
        seed: of folds and bootstrap.
    """
    own = {name: float(getattr(policy, name)) for name in free}
    grid = [own, *(dict(zip(free, row, strict=True)) for row in product(*(TRIED[name] for name in free)))]
    grid = [row for place, row in enumerate(grid) if row not in grid[:place]]
    tried = sorted(grid, key=lambda row: sum(row[name] != own[name] for name in free))  # of equals what changes least
    values = np.stack([ndcg_of(judged.rows, judged.total(policy.model_copy(update=row))) for row in tried])
    part = text_folds(judged.rows.texts, folds=folds, seed=seed)
    held = np.empty(values.shape[1])
    for fold in np.unique(part):
        held[part == fold] = values[best(values[:, part != fold]), part == fold]
    gain = paired_bootstrap(held, values[0], seed=seed)
    first = tried[best(values)]
    return Shares(
        chosen=first if gain.above else {},
        report={
            "free": list(free),
            "own": own,
            "best": first,
            "gain": as_interval(gain),
            "sure": gain.above,
            "ndcg@10": {
                told(row): as_interval(bootstrap(one, seed=seed)) for row, one in zip(tried, values, strict=True)
            },
            "why": why(own, first, gain=gain, queries=int(np.isfinite(held).sum())),
        },
    )


def best(values: Floats) -> int:
    """The row of float64 [tried, queries] with the best mean, of equals the first."""
    return int(np.argmax([mean_of(row) for row in values]))


def why(own: Mapping[str, float], first: Mapping[str, float], *, gain: Interval, queries: int) -> str:
    """What was chosen, and why, in a line."""
    spread = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] NDCG@10 on {queries} held-out queries"
    if gain.above:
        return f"{told(first)}, not {told(own)}: choosing gains {spread}"
    return f"{told(own)} stay: choosing others gains {spread}, not surely above 0"


def told(shares: Mapping[str, float]) -> str:
    """Weights in words."""
    return ", ".join(f"{name} {value:g}" for name, value in shares.items())
