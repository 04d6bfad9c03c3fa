"""Settings of the calibration."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from recsys.engine.policy import Fusion, Temperature, Weight

Kind = Literal["temperature", "platt", "isotonic"]
Auto = Literal["auto"]
POLICY = (
    *("fusion", "candidates", "depth", "bm25", "dense", "cross_encoder", "feedback", "feedback_temperature"),
    *("good_only", "relaxations"),
)
"""The fields of `recsys.engine.policy.SearchPolicy` that can be set."""


class CalibrationConfig(BaseModel):
    """How scores become probabilities, which cut-off is looked for, and how the stages of a search work together.

    A field of the policy, see `recsys.engine.policy.SearchPolicy`, stays as it was set for the model before where it is
    None. What was never set, or is "auto", is free: `dense` and `feedback` are then chosen on the held-out queries, and
    the others stand at their defaults.

    Attributes:
        kind: "temperature" (a straight line through even odds), "platt" (any straight line on the log-odds), "isotonic"
            (any rising line), or "auto": the plainest that left-out queries can't tell from the best.
        threshold: the grade from which a product is a good match; None takes two thirds of the scale, see
            `relevant_grade`.
        folds: parts of the held-out queries for leaving some out; figures and the cut-off come from those.
        irrelevant_share: the most that may be irrelevant in what a list shows above the cut-off, on average.
        confidence: of that promise.
        floor: no cut-off stands below it: what is more likely irrelevant than not is no good match, however good the
            rest of its list.
        k: where the first so many of a list are shown.
        measure: whether weights are chosen and stages held against the list without them, which opens an index of the
            snapshot's catalogue.
        enough: held-out queries that it takes for a stage to go off, see `training.blender.config.BlenderConfig`.
        timed: queries that the stages are timed on.
        good_only: of the policy, and those below: whether searches of this model show nothing below the cut-off unless
            the caller says otherwise.
        relaxations: how many other searches are tried at most for a query without a good match.
        fusion: whether the first two stages count by score or by rank.
        candidates: how many products each of them brings.
        depth: how many of these the cross-encoder scores.
        bm25: weight of BM25.
        dense: weight of the cosine.
        cross_encoder: weight of the cross-encoder.
        feedback: weight of the feedback.
        feedback_temperature: how far below the best score a product may stand and still speak.
        seed: of the folds, of the bootstrap and of the order of the queries in the test.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["auto"] | Kind = "auto"
    threshold: Annotated[float, Field(gt=0)] | None = None
    folds: Annotated[int, Field(ge=2)] = 5
    irrelevant_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.9
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.5
    k: Annotated[int, Field(ge=1)] = 10
    measure: bool = True
    enough: Annotated[int, Field(ge=1)] = 100
    timed: Annotated[int, Field(ge=1)] = 10
    good_only: bool | Auto | None = None
    relaxations: Annotated[int, Field(ge=0)] | Auto | None = None
    fusion: Fusion | Auto | None = None
    candidates: Annotated[int, Field(ge=1)] | Auto | None = None
    depth: Annotated[int, Field(ge=0)] | Auto | None = None
    bm25: Weight | Auto | None = None
    dense: Weight | Auto | None = None
    cross_encoder: Weight | Auto | None = None
    feedback: Weight | Auto | None = None
    feedback_temperature: Temperature | Auto | None = None
    seed: Annotated[int, Field(ge=0)] = 0


def wishes(config: CalibrationConfig, before: Mapping[str, Any]) -> dict[str, Any]:
    """The policy's fields that are set by hand: now, or before.

    Args:
        config: of this calibration.
        before: those of the model that the calibration joins.
    """
    asked = {name: getattr(config, name) for name in POLICY}
    found = {name: before.get(name) if value is None else value for name, value in asked.items()}
    return {name: value for name, value in found.items() if value not in (None, "auto")}


def relevant_grade(max_grade: float) -> float:
    """The grade from which a product is a good match: two thirds of the scale, as a whole grade where it has some.

    2 of 3, 1 of 1, 1 of 2, 3 of 4 and of 5.
    """
    share = 2 / 3 * max_grade
    return max(1.0, math.floor(share + 0.5)) if max_grade >= 1 else share
